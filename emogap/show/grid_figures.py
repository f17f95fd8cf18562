"""Figures of a grid of prompts and samplings."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from emogap.show.style import METHOD_COLOURS, SEQUENTIAL, SPARE_COLOURS, use_style

_COLUMNS = 4
"""Panels side by side."""


def heat_map(cells: pd.DataFrame, title: Callable[[str], str], text: Callable[[str, float], str]) -> Figure:
    """A row a cell, a column a measure: the values, coloured from the column's lowest to its highest.

    ``cells``: ``template, setting, measure, value``. ``title`` and ``text`` name a measure and print its value.
    """
    use_style()
    wide = cells.pivot(index=["template", "setting"], columns="measure", values="value")
    wide = wide.loc[list(dict.fromkeys(zip(cells["template"], cells["setting"], strict=True)))]
    wide = wide[list(dict.fromkeys(cells["measure"]))]
    reach = wide.max() - wide.min()
    shades = ((wide - wide.min()) / reach.where(reach > 0)).fillna(0.5)
    printed = pd.DataFrame({name: [text(name, value) for value in wide[name]] for name in wide}, index=wide.index)
    figure, axes = plt.subplots(figsize=(1.6 + 0.72 * wide.shape[1], 1.9 + 0.36 * len(wide)))
    sns.heatmap(
        shades.to_numpy(), annot=printed.to_numpy(), fmt="", cmap=SEQUENTIAL, vmin=0, vmax=1, ax=axes,
        annot_kws={"fontsize": 8}, linewidths=0.5,
        cbar_kws={"ticks": [0, 1], "label": "within a column"},
    )  # fmt: skip
    axes.collections[0].colorbar.set_ticklabels(["lowest", "highest"])
    axes.set_xticks(
        np.arange(wide.shape[1]) + 0.5, [title(name) for name in wide], rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(np.arange(len(wide)) + 0.5, [f"{template}, {setting}" for template, setting in wide.index])
    axes.tick_params(axis="y", rotation=0)
    _rule_between_templates(axes, [template for template, _ in wide.index])
    axes.set_title(f"{len(wide)} ways of asking, {_lines(cells)} each")
    return figure


def _rule_between_templates(axes, templates: list[str]) -> None:
    for row in range(1, len(templates)):
        if templates[row] != templates[row - 1]:
            axes.axhline(row, color="white", linewidth=4)


def interval_panels(cells: pd.DataFrame, title: Callable[[str], str], scale: Callable[[str], float]) -> Figure:
    """A panel a measure: each template's value at every setting, with its interval.

    ``cells``: ``template, setting, measure, value, low, high, lines``. ``scale``: what a measure's values are
    multiplied by (100 for percent).
    """
    use_style()
    measures, settings = list(dict.fromkeys(cells["measure"])), list(dict.fromkeys(cells["setting"]))
    templates = list(dict.fromkeys(cells["template"]))
    rows = -(-len(measures) // _COLUMNS)
    figure, panels = plt.subplots(rows, _COLUMNS, figsize=(2.5 * _COLUMNS, 2.3 * rows), squeeze=False)
    offsets = np.linspace(-0.18, 0.18, len(templates)) if len(templates) > 1 else [0.0]
    for axes, measure in zip(panels.flat, measures, strict=False):
        for place, template in enumerate(templates):
            of = cells[(cells["measure"] == measure) & (cells["template"] == template)].set_index("setting")
            of = of.loc[settings, ["value", "low", "high"]] * scale(measure)
            x = np.arange(len(settings)) + offsets[place]
            errors = [of["value"] - of["low"], of["high"] - of["value"]]
            axes.errorbar(x, of["value"], np.clip(errors, 0, None), fmt="o", markersize=4, capsize=2, label=template,
                          color=_colour(template, place))  # fmt: skip
        axes.set_title(title(measure), fontsize=9)
        axes.set_xticks(range(len(settings)), [_short(setting) for setting in settings])
        axes.set_xlim(-0.5, len(settings) - 0.5)
        axes.grid(axis="x", visible=False)
    for axes in panels.flat[len(measures) :]:
        axes.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(templates), frameon=False,
                  title=f"{_lines(cells)} in every cell, 95 % intervals; across: {_across(settings)}")  # fmt: skip
    figure.tight_layout()
    return figure


def _lines(cells: pd.DataFrame) -> str:
    return f"{cells['lines'].max():,} lines"


def _colour(template: str, place: int) -> str:
    return METHOD_COLOURS.get(template, SPARE_COLOURS[place % len(SPARE_COLOURS)])


def _across(settings: list[str]) -> str:
    """The parameters that vary: ``temperature`` of ``temperature=0.3``."""
    return ", ".join(part.split("=")[0] for part in settings[0].split(", "))


def _short(setting: str) -> str:
    """The values alone: ``0.3`` of ``temperature=0.3``."""
    return "\n".join(part.split("=")[-1] for part in setting.split(", "))
