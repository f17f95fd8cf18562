"""The tables and figures of a grid, and what is printed of it."""

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from emogap.config import Config
from emogap.errors import reading_parquet
from emogap.store.exhibits import Exhibit, Shown, show
from emogap.store.style import METHOD_COLOURS, SEQUENTIAL, SPARE_COLOURS, use_style
from emogap.trial.grid import grid_path
from emogap.trial.grid_scores import (
    REASON,
    TEXT_COLUMNS,
    grid_scores,
    measure_of,
    most_different,
    word_statistics,
)
from emogap.trial.preview import verdict

_ORDER = {"augment": 26, "rewrite": 46}
_PUBLISHED = {"augment": "story_statistics", "rewrite": "rewrite_statistics"}
_LEVEL = 0.05
_COLUMN = 24
"""Characters of a printed column: a value with its interval."""
_MAP_REASONS = 4
"""How many of the commonest reasons the heat map has room for."""


def show_grid(config: Config, stage: str) -> None:
    """Measure the grid of a stage, print it, and register its tables and figures beside the stage's own.

    Raises ``MissingInput`` while there is no grid.
    """
    path = config.home.require(grid_path(config, stage))
    with reading_parquet(path, f"delete it and run `emogap grid --stage {stage}` again"):
        rows = pd.read_parquet(path)
    folder = {"augment": config.home.stories, "rewrite": config.home.alpaca}[stage]
    cells, differences = grid_scores(rows, stage)
    print(*printed_cells(cells), "", *printed_differences(differences), sep="\n")
    show(folder, _exhibits(stage, rows, cells, differences))
    print(f"\nto read: tables/grid_*.csv and figures/grid_*.png in {config.home.relative(folder)}/")


def _exhibits(stage: str, rows: pd.DataFrame, cells: pd.DataFrame, differences: pd.DataFrame) -> Iterator[Shown]:
    lines, order = rows["source_id"].nunique(), _ORDER[stage]
    over = f"over {lines} lines, with 95 % intervals"
    yield Exhibit("grid_scores", "table", f"Every cell of the grid {over}.", order), cells
    caption = f"Prompts and samplings against each other {over}, paired over lines; p corrected by Holm."
    yield Exhibit("grid_differences", "table", caption, order), differences
    caption = f"Words of the replies, counted as the study did, {over} of the average."
    words = Exhibit("grid_words", "table", caption, order, published=_PUBLISHED[stage])
    yield words, word_statistics(rows, stage)
    one_line = rows[rows["source_id"] == rows["source_id"].iloc[0]]
    yield Exhibit("grid_one_line", "table", "One line in every cell.", order), _for_reading(one_line)
    caption = "The five replies of each cell that are least like each other."
    yield Exhibit("grid_to_read", "table", caption, order), _for_reading(most_different(rows, stage))
    yield from _figures(stage, cells, lines)


def _figures(stage: str, cells: pd.DataFrame, lines: int) -> Iterator[Shown]:
    shown = cells[cells["measure"].isin(_on_the_map(cells))]
    caption = f"Every cell of the grid over {lines} lines; the colours go from a column's lowest to its highest value."
    alt = "Heat map with a row for each prompt and sampling and a column for each measure."
    yield Exhibit("grid_heat_map", "figure", caption, _ORDER[stage], alt=alt), heat_map(shown)
    caption = f"Each prompt at each sampling, {lines} lines, 95 % intervals."
    alt = "A panel for each measure: points with intervals, one colour per prompt, the samplings from left to right."
    yield Exhibit("grid_intervals", "figure", caption, _ORDER[stage], alt=alt), interval_panels(shown)


def _on_the_map(cells: pd.DataFrame) -> list[str]:
    """All measures, but of the reasons only the commonest."""
    means = cells.groupby("measure", sort=False)["value"].mean()
    reasons = means[means.index.str.startswith(REASON)].nlargest(_MAP_REASONS).index
    return [name for name in means.index if not name.startswith(REASON) or name in reasons]


def _for_reading(rows: pd.DataFrame) -> pd.DataFrame:
    """``template, setting, emotion, line, reply, verdict, words, seconds``, for rewrites the original answer too."""
    rewrites = "original_output" in rows
    original = {"original answer": rows["original_output"]} if rewrites else {}
    return pd.DataFrame(
        {
            "template": rows["template"],
            "setting": rows["setting"],
            "emotion": rows["emotion"],
            "line": rows["instruction"] if rewrites else rows["text"],
            **original,
            "reply": rows[TEXT_COLUMNS["rewrite" if rewrites else "augment"]].where(rows["words"] > 0, rows["reply"]),
            "verdict": list(map(verdict, rows["reasons"])),
            "words": rows["words"],
            "seconds": rows["seconds"].round(2),
        }
    )


def printed_cells(cells: pd.DataFrame) -> Iterator[str]:
    """A block for each measure: a line for each template, a column for each setting, each value with its interval."""
    settings = list(dict.fromkeys(cells["setting"]))
    width = max(len(name) for name in cells["template"])
    column = max(_COLUMN, *(len(setting) + 2 for setting in settings))
    yield f"{cells['lines'].max()} lines in every cell; 95 % intervals"
    for name, block in cells.groupby("measure", sort=False):
        measure = measure_of(name)
        yield f"\n{measure.title}{f', {measure.unit}' if measure.unit else ''}"
        yield " " * (width + 2) + "".join(f"{setting:<{column}}" for setting in settings).rstrip()
        for template, row in block.groupby("template", sort=False):
            values = row.set_index("setting").loc[settings]
            texts = [_with_interval(measure, *v) for v in values[["value", "low", "high"]].itertuples(index=False)]
            yield f"{template:<{width + 2}}" + "".join(f"{text:<{column}}" for text in texts).rstrip()


def _named(measures: Sequence[str]) -> str:
    """The titles of the measures; the reasons of rejections, of which there are many, are summed up in one phrase."""
    reasons = [name for name in measures if name.startswith(REASON)]
    titles = [measure_of(name).title for name in measures if name not in reasons]
    return ", ".join([*titles, *(["any reason of a rejection that is not named above"] if reasons else [])])


def _with_interval(measure, value: float, low: float, high: float) -> str:
    return f"{measure.text(value)} ({measure.text(low)} to {measure.text(high)})"


def printed_differences(differences: pd.DataFrame) -> Iterator[str]:
    """For every two levels: the measures that differ beyond chance (p under 0.05, corrected for all comparisons), and
    those for which these lines do not show a difference."""
    for (_, level, minus), rows in differences.groupby(["factor", "level", "minus"], sort=False):
        clear = rows["p_holm"] < _LEVEL
        yield f"{level} against {minus}, line by line:"
        for row in rows[clear].itertuples():
            measure = measure_of(row.measure)
            points = f" {'points' if measure.unit == '%' else measure.unit}".rstrip()
            sign = "+" if row.difference > 0 else ""
            difference = _with_interval(measure, row.difference, row.low, row.high)
            yield f"  {measure.title}: {sign}{difference}{points}"
        yield f"  not told apart by these lines: {_named(rows.loc[~clear, 'measure'].tolist()) or 'nothing'}"
    yield "(cells run one after another: what else the machine did meanwhile is in the times, not in their intervals)"


_COLUMNS = 4
"""Panels side by side."""


def heat_map(cells: pd.DataFrame) -> Figure:
    """A row for each cell, a column for each measure: the values, coloured from the column's lowest to its highest."""
    use_style()
    wide = cells.pivot(index=["template", "setting"], columns="measure", values="value")
    wide = wide.loc[list(dict.fromkeys(zip(cells["template"], cells["setting"], strict=True)))]
    wide = wide[list(dict.fromkeys(cells["measure"]))]
    reach = wide.max() - wide.min()
    shades = ((wide - wide.min()) / reach.where(reach > 0)).fillna(0.5)
    measures = [measure_of(name) for name in wide]
    printed = pd.DataFrame({measure.name: wide[measure.name].map(measure.text) for measure in measures})
    figure, axes = plt.subplots(figsize=(1.6 + 0.72 * wide.shape[1], 1.9 + 0.36 * len(wide)))
    sns.heatmap(
        shades.to_numpy(), annot=printed.to_numpy(), fmt="", cmap=SEQUENTIAL, vmin=0, vmax=1, ax=axes,
        annot_kws={"fontsize": 8}, linewidths=0.5,
        cbar_kws={"ticks": [0, 1], "label": "within a column"},
    )  # fmt: skip
    axes.collections[0].colorbar.set_ticklabels(["lowest", "highest"])
    axes.set_xticks(
        np.arange(len(measures)) + 0.5, [measure.heading for measure in measures], rotation=40, ha="right",
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set_yticks(np.arange(len(wide)) + 0.5, [f"{template}, {setting}" for template, setting in wide.index])
    axes.tick_params(axis="y", rotation=0)
    for row in range(1, len(wide)):
        if wide.index[row][0] != wide.index[row - 1][0]:  # a rule between templates
            axes.axhline(row, color="white", linewidth=4)
    axes.set_title(f"{len(wide)} ways of asking, {_lines(cells)} each")
    return figure


def interval_panels(cells: pd.DataFrame) -> Figure:
    """A panel for each measure: each template's value at every setting, with its interval."""
    use_style()
    measures, settings = list(map(measure_of, dict.fromkeys(cells["measure"]))), list(dict.fromkeys(cells["setting"]))
    templates = list(dict.fromkeys(cells["template"]))
    rows = -(-len(measures) // _COLUMNS)
    figure, panels = plt.subplots(rows, _COLUMNS, figsize=(2.5 * _COLUMNS, 2.3 * rows), squeeze=False)
    offsets = np.linspace(-0.18, 0.18, len(templates)) if len(templates) > 1 else [0.0]
    for axes, measure in zip(panels.flat, measures, strict=False):
        for place, template in enumerate(templates):
            of = cells[(cells["measure"] == measure.name) & (cells["template"] == template)].set_index("setting")
            of = of.loc[settings, ["value", "low", "high"]] * measure.scale
            x = np.arange(len(settings)) + offsets[place]
            errors = [of["value"] - of["low"], of["high"] - of["value"]]
            colour = METHOD_COLOURS.get(template, SPARE_COLOURS[place % len(SPARE_COLOURS)])
            axes.errorbar(x, of["value"], np.clip(errors, 0, None), fmt="o", markersize=4, capsize=2, label=template,
                          color=colour)  # fmt: skip
        axes.set_title(measure.heading, fontsize=9)
        axes.set_xticks(range(len(settings)), ["\n".join(_parts(setting)[1]) for setting in settings])
        axes.set_xlim(-0.5, len(settings) - 0.5)
        axes.grid(axis="x", visible=False)
    for axes in panels.flat[len(measures) :]:
        axes.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    across = ", ".join(_parts(settings[0])[0])
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(templates), frameon=False,
                  title=f"{_lines(cells)} in every cell, 95 % intervals; across: {across}")  # fmt: skip
    figure.tight_layout()
    return figure


def _lines(cells: pd.DataFrame) -> str:
    return f"{cells['lines'].max():,} lines"


def _parts(setting: str) -> tuple[list[str], list[str]]:
    """The parameters that vary, and their values: ``temperature`` and ``0.3`` of ``temperature=0.3``."""
    parts = [part.split("=") for part in setting.split(", ")]
    return [part[0] for part in parts], [part[-1] for part in parts]
