"""Figures about what a model wrote and what the gates made of it."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import seaborn as sns

from emogap.records import KEPT
from emogap.show.style import use_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_KEPT_COLOUR = "#d9d9d9"
_SMALLEST_LABEL = 0.04
"""A share smaller than this has no room for its number."""


def outcome_shares(table: "pd.DataFrame", by: str, what: str) -> "Figure":
    """Stacked bars of an outcome table (``by, outcome, rows, share``): one bar for each value of ``by``."""
    use_style()
    shares = table.pivot(index=by, columns="outcome", values="share")[table["outcome"].unique()]
    shares = shares.loc[:, shares.sum() > 0]
    totals = table.groupby(by)["rows"].sum()
    reasons = [outcome for outcome in shares.columns if outcome != KEPT]
    colours = {KEPT: _KEPT_COLOUR} | dict(zip(reasons, sns.color_palette("colorblind", len(reasons)), strict=True))
    figure, axes = plt.subplots(figsize=(7.2, 1.2 + 0.55 * len(shares)))
    names = [f"{name} ({totals[name]:,} {what})" for name in shares.index]
    left = [0.0] * len(shares)
    for outcome in shares.columns:
        values = list(shares[outcome] * 100)
        bars = axes.barh(names, values, left=left, color=colours[outcome], label=outcome.replace("_", " "))
        labels = [f"{value:.0f}" if value >= 100 * _SMALLEST_LABEL else "" for value in values]
        axes.bar_label(bars, labels, label_type="center", fontsize=8)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"share of {what} (%)")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.45 / len(shares) - 0.12), ncols=4, frameon=False)
    kept = table[table["outcome"] == KEPT]["rows"].sum() / totals.sum()
    axes.set_title(f"{kept:.0%} of the {what} pass all gates")
    return figure
