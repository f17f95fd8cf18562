"""Figures of the understanding of emotions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from emogap.show.style import model_colours, use_style

_MARKERS = "osD^vPX*"


def accuracy_figure(accuracies: pd.DataFrame, bases: list[str]) -> Figure:
    """A panel a task, a row a way of asking, a point a model, chance as a line.

    ``accuracies``: model, task, way, questions, accuracy, low, high, chance (percent).
    """
    use_style()
    tasks, ways = list(dict.fromkeys(accuracies["task"])), list(dict.fromkeys(accuracies["way"]))
    models = list(dict.fromkeys(accuracies["model"]))
    colours = model_colours(models, bases)
    reach = (len(models) - 1) / (2 * len(models) + 1)
    height = max(0.5, 0.11 * (len(models) + 1)) * len(ways)
    figure, panels = plt.subplots(1, len(tasks), figsize=(2.6 * len(tasks), height + 1), sharey=True, squeeze=False)
    for axes, task in zip(panels[0], tasks, strict=True):
        of_task = accuracies[accuracies["task"] == task]
        for number, (model, offset) in enumerate(zip(models, np.linspace(-reach, reach, len(models)), strict=True)):
            rows = of_task[of_task["model"] == model].set_index("way").loc[ways]
            places = np.arange(len(ways)) + offset
            axes.hlines(places, rows["low"], rows["high"], color=colours[model], linewidth=1)
            axes.scatter(
                rows["accuracy"], places, s=18, color=colours[model], marker=_MARKERS[number % len(_MARKERS)],
                label=model, zorder=3,
            )  # fmt: skip
        axes.axvline(of_task["chance"].iloc[0], color="black", linestyle="--", linewidth=0.9, label="chance")
        axes.set_title(f"{task} (n={of_task['questions'].iloc[0]})", fontsize="medium")
        axes.set_yticks(range(len(ways)), ways)
        axes.set_ylim(len(ways) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy (%)")
        axes.grid(axis="y", visible=False)
    figure.suptitle("Questions on emotions: accuracy against chance", x=0.01, ha="left", fontweight="bold")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False)
    return figure


def positions_figure(positions: pd.DataFrame, bases: list[str]) -> Figure:
    """How often each place of the list was taken: a panel a task and number of choices, a line a model.

    ``positions``: model, task, way, choices, position, share, expected (percent). A solid line is the log-probability,
    a dotted one that per character.
    """
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
        axes.set_title(f"{task}, {count} choices", fontsize="medium")
        axes.set_xticks(range(1, count + 1))
        axes.set_xlabel("place in the list")
    grid[0][0].set_ylim(0, 100)
    grid[0][0].set_ylabel("share of answers (%)")
    figure.suptitle("Questions on emotions: which place of the list is taken", x=0.01, ha="left", fontweight="bold")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize="small"
    )
    return figure
