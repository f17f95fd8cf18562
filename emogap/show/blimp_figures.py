"""Figures of grammar."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emogap.show.style import model_colours, use_style

_LEVEL = 0.05
_ROW = 0.11
"""Inches that one point takes in height."""


def differences_figure(differences: pd.DataFrame, bases: list[str]) -> Figure:
    """Points with intervals: each model's difference to its base, a row a phenomenon or paradigm.

    ``differences``: model, group, pairs, difference, low, high (percentage points), p_holm; groups in the order they
    are to stand in. A filled point has ``p_holm`` below 0.05.
    """
    use_style()
    groups = list(dict.fromkeys(differences["group"]))
    models = list(dict.fromkeys(differences["model"]))
    colours = model_colours(models, bases)
    markers = dict(zip(models, "osD^vPX*" * len(models), strict=False))
    height = max(0.36, _ROW * (len(models) + 1))
    figure, axes = plt.subplots(figsize=(7, height * len(groups) + 1.4))
    reach = (len(models) - 1) / (2 * len(models) + 1)
    offsets = np.linspace(-reach, reach, len(models))
    for model, offset in zip(models, offsets, strict=True):
        rows = differences[differences["model"] == model].set_index("group").loc[groups]
        places = np.arange(len(groups)) + offset
        axes.hlines(places, rows["low"], rows["high"], color=colours[model], linewidth=1)
        filled = np.where(rows["p_holm"] < _LEVEL, colours[model], "white")
        axes.scatter(
            rows["difference"], places, marker=markers[model], s=22, c=filled, edgecolors=colours[model], zorder=3
        )
    axes.axvline(0, color="black", linewidth=0.8)
    for place in range(1, len(groups)):
        axes.axhline(place - 0.5, color="#dddddd", linewidth=0.6)
    counts = differences.groupby("group")["pairs"].first()
    axes.set_yticks(range(len(groups)), [f"{group.replace('_', ' ')} (n={counts[group]:,})" for group in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accuracy minus the base model's (percentage points)")
    axes.set_title("Grammar after fine-tuning, against the base")
    below = 0.6 / (height * len(groups))  # inches under the axes, whatever their height
    axes.legend(
        handles=_handles(models, colours, markers), loc="upper center", bbox_to_anchor=(0.35, -below), ncols=2,
        frameon=False, fontsize="small",
    )  # fmt: skip
    return figure


def _handles(models: list[str], colours: dict[str, str], markers: dict[str, str]) -> list[Line2D]:
    own = [
        Line2D([], [], marker=markers[m], color=colours[m], linewidth=1, markersize=5, label=m, markerfacecolor="white")
        for m in models
    ]
    significant = Line2D([], [], marker="o", color="black", linestyle="", markersize=5, label="filled: p < 0.05 (Holm)")
    return [*own, significant]
