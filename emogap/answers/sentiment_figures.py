"""Figures about the emotion of answers, each drawn from a table of the evaluation alone."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from emogap.store.style import (
    EMOTION_ORDER,
    GROUP_COLOURS,
    SEQUENTIAL,
    ink_on,
    model_colours,
    nothing_figure,
    use_style,
)
from emogap.train.models import CONTROL, CONTROLLED, NO_TRAINED, TUNED, as_compared

GROUP_ROWS = ("positive", "ambiguous", "neutral", "negative")


def stacked_groups(table: pd.DataFrame) -> Figure:
    """Shares of the groups of emotions found, one bar per model, one panel per group of emotions asked for.

    ``table``: the columns of ``sentiment_table(by="group")``.
    """
    use_style()
    groups = [name for name in GROUP_ROWS if f"{name}_count" in table]
    rows = [row for row in groups if row in set(table["row"])]
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(
        1, len(rows), figsize=(3 * len(rows) + 1.6, 0.5 * len(models) + 1.8), sharey=True, squeeze=False
    )
    for axis, row in zip(axes[0], rows, strict=True):
        part = table[table["row"] == row].set_index("model").reindex(models)
        _stack(axis, part, groups)
        axis.set_title(f"asked: {row} (n = {_span(part['n'].dropna())})")
        axis.set_xlabel("answers that say something, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(groups), frameon=False, bbox_to_anchor=(0.5, -0.06))
    figure.suptitle("Groups of emotions found in the answers, by the group asked for", x=0.01, ha="left")
    figure.tight_layout()
    return figure


def _span(counts: pd.Series) -> str:
    """One number where all are equal, else the least and the greatest."""
    return " to ".join(f"{count:.0f}" for count in sorted({counts.min(), counts.max()}))


def _stack(axis: plt.Axes, part: pd.DataFrame, groups: Sequence[str]) -> None:
    left = np.zeros(len(part))
    for group in groups:
        values = part[group].to_numpy()
        axis.barh(part.index, values, left=left, color=GROUP_COLOURS[group], label=group, edgecolor="white")
        for place, value in enumerate(values):
            if value >= 12:
                colour = ink_on(GROUP_COLOURS[group])
                axis.text(left[place] + value / 2, place, f"{value:.0f}", ha="center", va="center", color=colour)
        left += values
    axis.set_xlim(0, 100)
    axis.grid(False)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()


def asked_found_heatmap(table: pd.DataFrame, model: str) -> Figure:
    """One model's 28 × 28 shares: one row per emotion asked for, one column per emotion found.

    ``table``: the columns of ``asked_and_found``. The row of an emotion that was never asked for is left blank.
    """
    use_style()
    own = table[table["model"] == model]
    matrix = own.pivot(index="asked", columns="found", values="share").reindex(
        index=list(EMOTION_ORDER), columns=list(EMOTION_ORDER)
    )
    figure, axis = plt.subplots(figsize=(8.2, 7.4))
    image = axis.imshow(100 * matrix.to_numpy(dtype=float), cmap=SEQUENTIAL, vmin=0, vmax=100)
    axis.set_xticks(range(28), matrix.columns, rotation=90)
    axis.set_yticks(range(28), matrix.index)
    axis.set_xlabel("emotion found in the answer")
    axis.set_ylabel("emotion asked for")
    axis.grid(False)
    figure.colorbar(image, ax=axis, label="answers to these prompts, %", shrink=0.8)
    hits = own.loc[own["asked"] == own["found"], "count"].sum()
    total = own["count"].sum()
    axis.set_title(f"{model}: emotion asked for ranked first in {hits} of {total} answers")
    return figure


def change_per_emotion(emotions: pd.DataFrame, groups: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """Change of the positive share with 95 % intervals, one row per emotion asked for, one panel per fine-tuned model;
    at the top the groups, whose prompts are pooled. A point in the model's colour is the change against a control, a
    grey one that against the base; without a control the latter has the model's colour.

    Both tables have the columns of ``change_table``. Points without a bar rest on a single prompt.
    """
    if emotions.empty:
        return nothing_figure(f"{NO_TRAINED}.")
    use_style()
    emotions, groups = (table[table["comparison"] != CONTROL] for table in map(as_compared, (emotions, groups)))
    models = list(dict.fromkeys(emotions["model"]))
    colours = model_colours([*bases, *models], bases)
    pooled = groups[groups["outcome"] == "positive"]
    pooled = pooled.assign(row="all " + pooled["row"])
    order = [*dict.fromkeys(pooled["row"]), *(label for label in EMOTION_ORDER if label in set(emotions["row"]))]
    table = pd.concat([pooled, emotions])
    figure, axes = plt.subplots(
        1, len(models), figsize=(2.9 * len(models) + 1.5, 8.2), sharex=True, sharey=True, squeeze=False
    )
    for axis, model in zip(axes[0], models, strict=True):
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.axhline(pooled["row"].nunique() - 0.5, color="0.5", linewidth=0.8)
        _changes_of(axis, table[table["model"] == model], order, colours[model])
        axis.set_yticks(range(len(order)), order)
        axis.set_xlabel("positive answers,\npercentage points")
        axis.set_title(model)
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    axes[0][0].invert_yaxis()
    prompts = int(emotions["prompts"].max())
    first = emotions["comparison"].iloc[0]
    leading = [part[part["comparison"] == first] for part in (pooled, emotions)]
    standing = [int((part["p_holm"] < 0.05).sum()) for part in leading]
    figure.suptitle(
        f"Changes ({first}) that stand after Holm's correction: {standing[0]} of {len(leading[0])} by group, "
        f"{standing[1]} of {len(leading[1])} by emotion\n(at most {prompts} prompt{'s' * (prompts > 1)} an emotion)",
        x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def _changes_of(axis: plt.Axes, table: pd.DataFrame, order: Sequence[str], colour: str) -> None:
    """One model's changes, each comparison a little below the one before it."""
    others = list(dict.fromkeys(table["against"]))
    is_controlled = table["comparison"].eq(CONTROLLED).any()
    for number, other in enumerate(others):
        part = table[table["against"] == other]
        shade = "0.6" if is_controlled and part["comparison"].iloc[0] == TUNED else colour
        places = np.arange(len(order)) + 0.24 * (number - (len(others) - 1) / 2)
        part = part.set_index("row").reindex(order)
        axis.hlines(places, part["low"], part["high"], color=shade, linewidth=1.2)
        marker = "osD^v"[number % 5]
        axis.plot(part["change"], places, marker, color=shade, markersize=4, label=f"against {other}")


def language_and_sentiment(sentiment: pd.DataFrame, language: pd.DataFrame, bases: Mapping[str, str]) -> Figure:
    """Positive answers against asked emotions found, variety, perplexity: one point per model, one marker per base.

    ``sentiment``: ``sentiment_table(by="all")``; ``language``: ``language_table``; ``bases``: model → its base.
    """
    use_style()
    both = sentiment.merge(language, on="model", suffixes=("", "_language"))
    colours = model_colours(bases, set(bases.values()))
    markers = dict(zip(dict.fromkeys(bases.values()), "osD^v<>", strict=False))
    panels = {"top1": "asked emotion found, %", "distinct_2": "different word pairs (distinct-2)"}
    panels |= {"perplexity": "perplexity of plain text"} if "perplexity" in both else {}
    figure, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.2), sharex=True, squeeze=False)
    for axis, (column, label) in zip(axes[0], panels.items(), strict=True):
        for row in both.itertuples():
            marker = markers[bases[row.model]]
            _point(axis, row, column, color=colours[row.model], fmt=marker, label=row.model)
        axis.set_xlabel("positive answers, %")
        axis.set_ylabel(label)
    answers = f"{_span(both['n'])} answers"
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=2, frameon=False, bbox_to_anchor=(0.5, 0))
    figure.suptitle(f"Positive answers beside what else is measured ({answers} a model)", x=0.01, ha="left")
    figure.tight_layout()
    return figure


def _point(axis: plt.Axes, row: NamedTuple, column: str, **style: str) -> None:
    """One model's point, with the intervals that its tables give."""
    y = getattr(row, column)
    errors = {"xerr": [[row.positive - row.positive_low], [row.positive_high - row.positive]]}
    if hasattr(row, f"{column}_low"):
        errors["yerr"] = [[y - getattr(row, f"{column}_low")], [getattr(row, f"{column}_high") - y]]
    axis.errorbar(row.positive, y, **errors, markersize=8, elinewidth=1, **style)
