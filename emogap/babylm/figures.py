"""Figures about the emotions of the text that everything starts from."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import seaborn as sns

from emogap.emotions import NEUTRAL
from emogap.store.style import EMOTION_ORDER, SEQUENTIAL, use_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def emotion_shares(table: "pd.DataFrame") -> "Figure":
    """Heat map of ``emotions_by_source``: which share of a source's lines has which emotion on top, in per cent.

    Neutral lines count in the shares but have no row: they would hide all the rest; their share stands below. A cell
    without a number is an emotion that no line of the source has on top.
    """
    use_style()
    counts = table.set_index("emotion").drop(columns="emotional")
    shares = 100 * counts / counts.sum()
    emotions = [label for label in EMOTION_ORDER if label != NEUTRAL]
    labels = [
        f"{source}\n{counts[source].sum():,} lines\n{shares.loc[NEUTRAL, source]:.0f} % neutral" for source in counts
    ]
    numbers = shares.loc[emotions].map("{:.1f}".format).where(counts.loc[emotions] > 0, "")
    figure, axes = plt.subplots(figsize=(1.2 + 1.25 * len(labels), 8.2))
    sns.heatmap(
        shares.loc[emotions].to_numpy(),
        annot=numbers.to_numpy(),
        fmt="",
        cmap=SEQUENTIAL,
        linewidths=0.5,
        xticklabels=labels,
        yticklabels=emotions,
        cbar_kws={"label": "share of the source's lines (%)", "shrink": 0.6},
        ax=axes,
    )
    axes.tick_params(axis="x", rotation=90)
    axes.set_title(_title(counts.loc[emotions, "all"], counts["all"].sum()))
    axes.set_xlabel("source")
    axes.set_ylabel("top emotion of the line")
    return figure


_NAMED = 3
"""So many emotions that tie for the first place are named; of more it is said that they tie."""


def _title(counts: "pd.Series", lines: int) -> str:
    """Of which emotion most of the ``lines`` are; ``counts`` of all emotions but neutral."""
    most = int(counts.max())
    first = list(counts.index[counts == most])
    title = f"Top emotion of {lines:,} lines by source"
    if most == 0:
        return f"{title}: all are neutral"
    if len(first) > _NAMED:
        return f"{title}: {len(first)} emotions have {most:,} each, none has more"
    return f"{title}: {', '.join(first)} most often ({most:,}{' each' if len(first) > 1 else ''})"
