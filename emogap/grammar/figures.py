"""Figures of what benchmarks found: grammar, and the understanding of emotions."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emogap.store.style import PERCENT, model_colours, nothing_figure, use_style
from emogap.train.models import NO_TRAINED, as_compared

NO_QUESTIONS = "EmoBench was not measured: its questions are not there."
_LEVEL = 0.05
_ROW = 0.11
"""Height in inches that one point takes."""
_MARKERS = "osD^vPX*"


def differences_figure(differences: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """Points with intervals: a panel per kind of comparison, a row per phenomenon or paradigm, a point per comparison.

    ``differences``: comparison, model, against, group (or phenomenon, or paradigm), pairs, difference, low, high
    (percentage points), p_holm; groups in the order of the rows. A filled point has ``p_holm`` below 0.05.
    """
    if differences.empty:
        return nothing_figure(f"{NO_TRAINED}.")
    use_style()
    differences = as_compared(differences).rename(columns={"phenomenon": "group", "paradigm": "group"})
    groups = list(dict.fromkeys(differences["group"]))
    kinds = {kind: differences[differences["comparison"] == kind] for kind in dict.fromkeys(differences["comparison"])}
    most = max(len(part[["model", "against"]].drop_duplicates()) for part in kinds.values())
    height = max(0.36, _ROW * (most + 1)) * len(groups)
    size = (3.6 * len(kinds) + 3.4, height + 1.4)
    figure, panels = plt.subplots(1, len(kinds), figsize=size, sharey=True, squeeze=False)
    counts = differences.groupby("group")["pairs"].first()
    names = {group: f"{group.replace('_', ' ')} (n={counts[group]:,})" for group in groups}
    for axes, (kind, part) in zip(panels[0], kinds.items(), strict=True):
        _differences_panel(axes, part, names, bases, below=0.6 / height)
        axes.set_title(kind)
    figure.suptitle("Grammar after fine-tuning: what differs in accuracy", x=0.01, y=0.94, ha="left")
    return figure


def _differences_panel(
    axes: Axes, part: pd.DataFrame, names: dict[str, str], bases: Sequence[str], below: float
) -> None:
    """One kind of comparison. ``names``: group → what its row is called; ``below``: where the legend stands."""
    colours = model_colours(dict.fromkeys(part["model"]), bases)
    pairs = part[["model", "against"]].drop_duplicates().itertuples(index=False, name=None)
    labels = {(model, other): f"{model} - {other}" for model, other in pairs}
    named = part.assign(
        model=[labels[pair] for pair in zip(part["model"], part["against"], strict=True)],
        filled=part["p_holm"] < _LEVEL,
    )
    shown = {label: colours[model] for (model, _), label in labels.items()}
    _points(axes, named, "group", "difference", names, shown)
    axes.axvline(0, color="black", linewidth=0.8)
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color="#dddddd", linewidth=0.6)
    axes.set_xlabel("accuracy (percentage points)")
    axes.legend(handles=_handles(shown), loc="upper center", bbox_to_anchor=(0.5, -below), frameon=False)


def accuracy_figure(accuracies: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """One panel per task, one row per way of asking, one point per model; chance is a line.

    ``accuracies``: model, task, way, questions, accuracy, low, high, chance (percent).
    """
    if accuracies.empty:
        return nothing_figure(NO_QUESTIONS)
    use_style()
    tasks, ways = list(dict.fromkeys(accuracies["task"])), list(dict.fromkeys(accuracies["way"]))
    models = list(dict.fromkeys(accuracies["model"]))
    colours = model_colours(models, bases)
    size = (2.6 * len(tasks), _row_height(models, 0.5) * len(ways) + 1)
    figure, panels = plt.subplots(1, len(tasks), figsize=size, sharey=True, squeeze=False)
    for axes, task in zip(panels[0], tasks, strict=True):
        of_task = accuracies[accuracies["task"] == task].assign(filled=True)
        _points(axes, of_task, "way", "accuracy", {way: way for way in ways}, colours)
        axes.axvline(of_task["chance"].iloc[0], color="black", linestyle="--", linewidth=0.9, label="chance")
        axes.set_title(f"{task} (n={of_task['questions'].iloc[0]})")
        axes.set_xlim(PERCENT)
        axes.set_xlabel("accuracy (%)")
    _finish(figure, panels[0][0], "Questions on emotions: accuracy against chance", ncols=3)
    return figure


def positions_figure(positions: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """How often each place of the list was taken: one panel per task and number of choices, one line per model and way.

    ``positions``: model, task, way, choices, position, share, expected (percent). Solid lines: choices by
    log-probability; dotted lines: by log-probability per character.
    """
    if positions.empty:
        return nothing_figure(NO_QUESTIONS)
    use_style()
    panels = list(dict.fromkeys(positions[["task", "choices"]].itertuples(index=False, name=None)))
    colours = model_colours(list(dict.fromkeys(positions["model"])), bases)
    lines = dict(zip(dict.fromkeys(positions["way"]), ("-", ":"), strict=False))
    figure, grid = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.9), sharey=True, squeeze=False)
    for axes, (task, count) in zip(grid[0], panels, strict=True):
        part = positions[(positions["task"] == task) & (positions["choices"] == count)]
        for (model, way), of_model in part.groupby(["model", "way"], sort=False):
            axes.plot(
                of_model["position"], of_model["share"], lines[way], marker="o", markersize=3, color=colours[model],
                linewidth=1.2, label=f"{model}, {way}",
            )  # fmt: skip
        axes.axhline(100 / count, color="black", linestyle="--", linewidth=0.9, label="no bias")
        axes.set_title(f"{task}, {count} choices")
        axes.set_xticks(range(1, count + 1))
        axes.set_xlabel("place in the list")
    grid[0][0].set_ylim(PERCENT)
    grid[0][0].set_ylabel("share of answers (%)")
    title = "Questions on emotions: which place of the list is taken"
    _finish(figure, grid[0][0], title, ncols=2)
    return figure


def _row_height(models: Sequence[str], least: float) -> float:
    """Height in inches of a row that holds a point of each model."""
    return max(least, _ROW * (len(models) + 1))


def _points(
    axes: Axes, table: pd.DataFrame, by: str, value: str, rows: dict[str, str], colours: dict[str, str]
) -> None:
    """In every row a point with its interval for each model, one below the other; hollow where it is not ``filled``.

    ``table``: model, ``by``, ``value``, low, high, filled. ``rows``: value of ``by`` → what its row is called.
    """
    models = list(dict.fromkeys(table["model"]))
    reach = (len(models) - 1) / (2 * len(models) + 1)
    for number, (model, offset) in enumerate(zip(models, np.linspace(-reach, reach, len(models)), strict=True)):
        part, colour = table[table["model"] == model].set_index(by).loc[list(rows)], colours[model]
        places = np.arange(len(rows)) + offset
        axes.hlines(places, part["low"], part["high"], color=colour, linewidth=1)
        faces = [colour if filled else "white" for filled in part["filled"]]
        marker = _MARKERS[number % len(_MARKERS)]
        axes.scatter(part[value], places, marker=marker, s=20, c=faces, edgecolors=colour, zorder=3, label=model)
    axes.set_yticks(range(len(rows)), list(rows.values()))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def _handles(colours: dict[str, str]) -> list[Line2D]:
    style = {"linewidth": 1, "markersize": 5, "markerfacecolor": "white"}
    own = [
        Line2D([], [], marker=_MARKERS[number % len(_MARKERS)], color=colour, label=model, **style)
        for number, (model, colour) in enumerate(colours.items())
    ]
    significant = Line2D([], [], marker="o", color="black", linestyle="", markersize=5, label="filled: p < 0.05 (Holm)")
    return [*own, significant]


def _finish(figure: Figure, first: Axes, title: str, **legend) -> None:
    """A title over all panels and one legend below them."""
    figure.suptitle(title, x=0.01, ha="left")
    handles, labels = first.get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), frameon=False, **legend)
