"""Figures and tables of the statistics of texts, each figure drawn from one file under ``tables/`` alone."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emogap.records import KEPT
from emogap.store.exhibits import Exhibit, Shown, read_table
from emogap.store.style import EMOTION_ORDER, METHOD_COLOURS, SEQUENTIAL, TYPE, nothing_figure, use_style
from emogap.store.views import View
from emogap.text.statistics import leader, mean, wilson_interval
from emogap.textstats.describe import Tables, read_statistics

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#000000")
_LINES = ("-", "--", ":", "-.")
_MARKS = "osD^vP*"
_NONE_KEPT = "There are no {kind}: none was kept."
_NONE_ASKED = "Of none of the {kind} is it known which emotion was asked for."
_WORDS_SHOWN = 8
_PROFILE = {
    "average_words": "words a text",
    "words_a_sentence": "words a sentence",
    "flesch_reading_ease": "Flesch reading ease",
    "distinct_2": "distinct pairs of words",
    "self_similarity": "self-similarity (cosine)",
    "opening_3_share": "share with the commonest\nfirst 3 words",
    "name_share": "share with the\ncommonest name",
    "emotion_stated_share": "share that states\nits emotion",
    "emotion_found_share": "share whose emotion\nis found",
}


def statistics_exhibits(folder: Path, kind: str, preset: str, published: str) -> Iterator[Shown]:
    """The tables and figures for the report, made from the statistics under ``folder/tables``.

    ``kind``: ``stories`` or ``rewrites``; ``preset``: the definition of a word by which the published counts were made;
    ``published``: key of the table of published counts.
    """
    found = read_statistics(folder / "tables")
    yield from _tables(found, kind, preset, published)
    for order, (draw, (table, caption, alt)) in enumerate(_DRAWN.items()):
        if not draw.has(found[table]):
            caption = alt = draw.nothing
        exhibit = Exhibit(draw.__name__, "figure", caption.format(kind=kind), 92 + order, alt=alt.format(kind=kind))
        yield exhibit, draw(found[table])


def _tables(found: Tables, kind: str, preset: str, published: str) -> Iterator[Shown]:
    caption = f"Words of the {kind} by each definition; the published counts are made by {preset}."
    exhibit = Exhibit("word_counts", "table", caption, 90, published=published, view=View({"": 2}))
    yield exhibit, word_counts(found["statistics"])
    caption = f"What the {kind} are like, with 95 % intervals (shares: Wilson's; means: Student's t)."
    yield Exhibit("measures", "table", caption, 91, view=MEASURES), measures(found["statistics"])
    if len(found["comparisons"]):
        caption = (
            f"Differences between groups of {kind} on equal footing: on texts from the same source lines where "
            "there are such, else within the sources that both have, with 95 % intervals (means: Student's t; shares: "
            "Newcombe's)."
        )
        yield Exhibit("comparisons", "table", caption, 92, view=View({"": 4})), found["comparisons"]
    if len(words := found["emotion_words"]):
        caption = (
            f"Words that set the {kind} of an emotion apart from all others: log-odds ratio with an informative "
            "Dirichlet prior, highest z first, stop words left out."
        )
        view = View(rows=("emotion",), values=("word",), joined=", ")
        yield Exhibit("words_by_emotion", "table", caption, 93, view=view), words[words["rank"] <= _WORDS_SHOWN]
    if len(found["names"]):
        caption = f"The commonest names in the {kind} and the commonest first three words, with shares of the texts."
        view = View({"share": ".1%"}, ("group",), "measure", ("found",), behind="share", joined="; ")
        yield Exhibit("names_and_openings", "table", caption, 94, view=view), names_and_openings(found)


def word_counts(table: pd.DataFrame) -> pd.DataFrame:
    """One row per group and preset: texts, unique, average and total words."""
    columns = ["texts", "unique_words", "average_words", "total_words"]
    rows = table[table["measure"].isin(columns)].astype({"value": float})
    wide = rows.pivot_table(index=["group", "preset"], columns="measure", values="value", sort=False)
    wide = wide.reindex(columns=columns)  # without any text there are no averages
    counts = ["texts", "unique_words", "total_words"]
    return wide.astype(dict.fromkeys(counts, int)).reset_index()


MEASURES = View({"low": ".4g", "high": ".4g"}, ("measure",), "group", ("value",))
"""One row per measure, one column per group: the value and its interval."""


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """measure, group, value, low, high by the preset ``words``; low and high are NaN where there is no interval."""
    own = table[table["preset"].eq("words")].astype({"value": float})
    ends = own["measure"].str.extract(r"^(.*)_(low|high)$")
    named = own.assign(measure=ends[0].fillna(own["measure"]), end=ends[1].fillna("value"))
    wide = named.pivot_table(index=["measure", "group"], columns="end", values="value", sort=False)
    return wide.reindex(columns=["value", "low", "high"]).rename_axis(columns=None).reset_index()


def names_and_openings(counted: Tables) -> pd.DataFrame:
    """group, measure (names, or first words), found, texts, share: each group's five commonest names and openings."""
    opened = counted["openings"][counted["openings"]["words"].eq(3)].drop(columns="words")
    tables = [
        found.groupby("group", sort=False).head(5).rename(columns={column: "found"}).assign(measure=measure)
        for found, column, measure in ((counted["names"], "name", "names"), (opened, "opening", "first words"))
    ]
    return pd.concat(tables, ignore_index=True)[["group", "measure", "found", "texts", "share"]]


def _look(groups: list[str]) -> dict[str, dict]:
    """Group → colour, line and mark; a method has its own colour everywhere."""
    return {
        group: {
            "color": METHOD_COLOURS.get(group, _COLOURS[i % len(_COLOURS)]),
            "linestyle": _LINES[i % len(_LINES)],
            "marker": _MARKS[i % len(_MARKS)],
        }
        for i, group in enumerate(groups)
    }


def _has_measures(table: pd.DataFrame) -> bool:
    """Whether any group has a text; a group without one has only rows of counts, all 0."""
    return table["measure"].isin(_PROFILE).any()


def _drawn_from(nothing: str, has: Callable[[pd.DataFrame], bool] = lambda table: len(table) > 0) -> Callable:
    """Decorates a function that draws a table: unless the table ``has`` something to draw, ``nothing`` is shown."""

    def around(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], Figure]:
        @wraps(draw)
        def drawn(table: pd.DataFrame) -> Figure:
            return draw(table) if has(table) else nothing_figure(nothing.format(kind="texts"))

        drawn.nothing, drawn.has = nothing, has
        return drawn

    return around


def _panels(count: int, height: float, more: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` small panels, three in a row. ``height``: inches of a row; ``more``: inches besides."""
    rows = -(-count // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9, rows * height + more), sharey=True, squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def _rows(axis: Axes, names: Sequence[str]) -> None:
    """Label the y axis with one row for each name, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)


@_drawn_from(_NONE_KEPT)
def lengths(table: pd.DataFrame) -> Figure:
    """Histograms of lengths, one panel per unit, as shares of each group's texts."""
    use_style()
    units, look = list(dict.fromkeys(table["unit"])), _look(list(dict.fromkeys(table["group"])))
    figure, axes = plt.subplots(1, len(units), figsize=(3.1 * len(units), 2.9), sharey=False)
    for axis, unit in zip(axes, units, strict=True):
        for group, part in table[table["unit"] == unit].groupby("group", sort=False):
            total = part["texts"].sum()
            share = 100 * part["texts"] / total
            style = {key: look[group][key] for key in ("color", "linestyle")}
            axis.stairs(share, [*part["low"], part["high"].iloc[-1]], label=f"{group} (n = {total:,})", **style, lw=1.6)
        axis.set_xlabel(f"{unit} a text")
    axes[0].set_ylabel("share of the texts (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False)
    figure.suptitle(_longest(table), x=0.01, ha="left")
    figure.tight_layout()
    return figure


def _longest(table: pd.DataFrame) -> str:
    words = table[table["unit"] == "words"]
    middles = ((words["low"] + words["high"]) / 2).repeat(words["texts"])
    means = {group: mean(values) for group, values in middles.groupby(words["group"].repeat(words["texts"]))}
    ends = pd.DataFrame(means.values(), index=list(means))
    first = leader(ends["low"], ends["high"])
    return f"Lengths: the texts of {first} have the most words on average" if first else "Lengths of the texts"


@_drawn_from(_NONE_KEPT)
def growth(table: pd.DataFrame) -> Figure:
    """Distinct words against words read, both logarithmic, one line per group."""
    use_style()
    look = _look(list(dict.fromkeys(table["group"])))
    figure, axis = plt.subplots(figsize=(5.2, 3.6))
    for group, part in table.groupby("group", sort=False):
        axis.plot(part["words"], part["distinct"], markevery=8, markersize=4, label=group, **look[group])
    axis.set(xscale="log", yscale="log", xlabel="words read", ylabel="distinct words")
    axis.legend(frameon=False)
    common = table.groupby("group")["words"].max().min()
    axis.axvline(common, color="0.5", linestyle=":", linewidth=0.8)
    axis.set_title(f"Vocabulary (dotted: {common:,} words, which every group has)")
    return figure


@_drawn_from(_NONE_KEPT, _has_measures)
def profile(table: pd.DataFrame) -> Figure:
    """Small panels, one per measure: every group's value with its 95 % interval."""
    use_style()
    own = table[table["preset"] == "words"].set_index(["measure", "group"])["value"].astype(float)
    groups = list(dict.fromkeys(table["group"]))
    look = _look(groups)
    shown = {name: label for name, label in _PROFILE.items() if name in own.index.get_level_values(0)}
    figure, panels = _panels(len(shown), 0.7 + 0.28 * len(groups), 0.4)
    for axis, (name, label) in zip(panels, shown.items(), strict=True):
        for place, group in enumerate(groups):
            if (name, group) in own:
                value = own[name, group]
                ends = [abs(own.get((f"{name}_{end}", group), value) - value) for end in ("low", "high")]
                style = {key: look[group][key] for key in ("color", "marker")}
                axis.errorbar(value, place, xerr=[[ends[0]], [ends[1]]], capsize=2, markersize=5, **style)
        axis.set_xlabel(label)
        _rows(axis, [f"{group} (n = {own['texts', group]:,.0f})" for group in groups])
        axis.xaxis.set_major_locator(MaxNLocator(4))
    figure.suptitle(_most_alike(own.unstack("measure")), x=0.01, ha="left")
    figure.tight_layout()
    return figure


def _most_alike(table: pd.DataFrame) -> str:
    """The title of ``profile``. ``table``: one row per group, one column per measure."""
    # Where every group has one text, there are no intervals, and so no columns for their ends.
    table = table.reindex(columns=[*table, *{"opening_3_share_low", "opening_3_share_high"} - {*table}])
    repeats = table["opening_3_different"] < table["texts"]  # where all differ, none is the commonest
    first = leader(table["opening_3_share_low"], table["opening_3_share_high"])
    if first is None or not repeats[first]:
        return "What the texts of each group are like"
    share, texts = table.loc[first, ["opening_3_share", "texts"]]
    return f"{first} opens with the same three words most often: in {share:.0%} of its {texts:,.0f} texts"


@_drawn_from(_NONE_ASKED)
def confusion(table: pd.DataFrame) -> Figure:
    """Emotion asked for × the classifier's first choice, per cent of the texts asked for it, all groups together."""
    use_style()
    counts = table.pivot_table(index="asked", columns="found", values="texts", aggfunc="sum", fill_value=0)
    asked = [label for label in EMOTION_ORDER if label in counts.index]
    found = [label for label in EMOTION_ORDER if label in counts.columns]
    counts = counts.loc[asked, found]
    totals = counts.sum(axis=1)
    shares = 100 * counts.div(totals, axis=0)
    figure, axis = plt.subplots(figsize=(1.8 + 0.32 * len(found), 1.6 + 0.27 * len(asked)))
    labels = [f"{label} (n = {totals[label]:,})" for label in asked]
    sns.heatmap(
        shares, cmap=SEQUENTIAL, vmin=0, vmax=100, linewidths=0.4, yticklabels=labels, xticklabels=found, ax=axis,
        cbar_kws={"label": "share of the row (%)"},
    )  # fmt: skip
    right = sum(counts.loc[label, label] for label in asked if label in found)
    axis.set_title(f"Emotion asked for ranked first: {right:,} of {totals.sum():,} texts")
    axis.set(xlabel="emotion found", ylabel="emotion asked for")
    return figure


@_drawn_from(_NONE_ASKED)
def counts(table: pd.DataFrame) -> Figure:
    """How many texts of each emotion every group has, by source."""
    use_style()
    table = table.assign(column=table["group"] + np.where(table["source"] != "", "\n" + table["source"], ""))
    wide = table.pivot_table(index="emotion", columns="column", values="texts", aggfunc="sum", fill_value=0, sort=False)
    wide = wide.loc[[label for label in EMOTION_ORDER if label in wide.index]]
    figure, axis = plt.subplots(figsize=(2 + 0.75 * wide.shape[1], 1.5 + 0.25 * len(wide)))
    sns.heatmap(
        np.log10(wide + 1), annot=wide.map("{:,}".format), fmt="", cmap=SEQUENTIAL, linewidths=0.4, cbar=False, ax=axis,
        annot_kws={"size": TYPE},
    )  # fmt: skip
    axis.set_title(_commonest(wide.sum(axis=1)))
    axis.set(xlabel="", ylabel="emotion asked for")
    return figure


@_drawn_from("No two groups have texts from the same lines or sources.")
def differences(table: pd.DataFrame) -> Figure:
    """Differences between two groups: one panel per measure, one row per pair of groups, with 95 % intervals.

    ``table``: ``comparisons`` with measure, group, minus, n (lines, or texts of shared sources), difference, low, high.
    """
    use_style()
    named = table.assign(pair=table["group"] + " − " + table["minus"] + " (n = " + table["n"].astype(str) + ")")
    pairs, shown = list(dict.fromkeys(named["pair"])), list(dict.fromkeys(named["measure"]))
    figure, panels = _panels(len(shown), 0.8 + 0.3 * len(pairs))
    for axis, measure in zip(panels, shown, strict=True):
        part = named[named["measure"] == measure].set_index("pair").reindex(pairs)
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.hlines(range(len(pairs)), part["low"], part["high"], color="black", linewidth=1.2)
        axis.plot(part["difference"], range(len(pairs)), "o", color="black", markersize=4)
        axis.set_xlabel(measure.replace("_", " "))
        _rows(axis, pairs)
    figure.suptitle("Differences between groups, like with like, with 95 % intervals", x=0.01, ha="left")
    figure.tight_layout()
    return figure


@_drawn_from("No rewrite's similarity to its original was measured.", lambda table: table["similarity"].notna().any())
def similarities(table: pd.DataFrame) -> Figure:
    """Similarity of each rewrite to its original answer, one row per version: kept filled, rejected hollow.

    ``table``: one row per rewrite with version, similarity (cosine; missing where none was measured), status.
    """
    use_style()
    table = table[table["similarity"].notna()]
    versions = list(dict.fromkeys(table["version"]))
    look = _look(versions)
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.5 * len(versions)))
    for place, version in enumerate(versions):
        part = table[table["version"] == version]
        colour = look[version]["color"]
        for is_kept, own in part.groupby(part["status"].eq(KEPT)):
            face = colour if is_kept else "none"
            axis.scatter(own["similarity"], [place] * len(own), s=24, facecolors=face, edgecolors=colour, alpha=0.8)
        axis.scatter(part["similarity"].mean(), place, marker="|", s=300, color="black")
    counts = table["version"].value_counts()
    _rows(axis, [f"{version} (n = {counts[version]:,})" for version in versions])
    axis.set_xlabel("similarity to the original answer (cosine; filled: kept; stroke: mean of all)")
    axis.set_title("Rewrites and their originals")
    return figure


def _commonest(texts: pd.Series) -> str:
    ends = [wilson_interval(count, texts.sum()) for count in texts]
    first = leader(*(pd.Series(end, index=texts.index) for end in zip(*ends, strict=True)))
    most = f"; most of {first}: {texts[first]:,}" if first else ""
    return f"Texts by emotion: {texts.sum():,}{most}"


_DRAWN = {
    profile: ("statistics", "What the {kind} are like, group by group, with 95 % intervals.",
              "Small panels, one per measure, a point with an interval for each group."),
    lengths: ("lengths",
              "Lengths of the {kind} in words, sentences and tokens; the longest hundredth is in the last bin.",
              "Three histograms with an outline for each group."),
    growth: ("growth", "How the vocabulary of the {kind} grows as more of them are read.",
             "Rising curves of distinct words against words read, one per group."),
    counts: ("counts", "Numbers of {kind} by group, source and emotion asked for.",
             "A grid of counts, emotions down, groups and sources across."),
    confusion: ("confusion",
                "Emotion asked for against emotion found by the classifier in the {kind} (the first that it ranks).",
                "A grid, emotions asked for down, emotions found across; agreement would fill the diagonal."),
}  # fmt: skip
"""Function that draws a figure → the table that it draws, its caption, and its description in words (alt text)."""


# --- compared with what the texts were made from ---------------------------------------------------------------------

_SUITABLE = {
    "flesch_reading_ease": "Flesch reading ease",
    "rare_word_share": "share of rare words",
    "unsuitable_share": "share of texts with\nunsuitable words",
}


def suitability_shown(file: Path, kind: str) -> Iterator[Shown]:
    """How suitable texts, and what they were made from, are for children: the table at ``file`` and its figure."""
    table = read_table(file)
    said = (
        f"Suitability for children of the {kind} and of what they were made from: readability, words rarer in English "
        "than once in a million, texts with an oath, a slur or a sexual word; with 95 % intervals."
    )
    if table.empty:
        said = _NONE_KEPT.format(kind=kind)
    view = View(dict.fromkeys(("low", "high", "value"), ".3g"), ("measure", "of"), "group", ("value",))
    yield Exhibit("suitability", "table", said, 97, view=view), table.drop(columns="texts")
    alt = "Three small panels, one per measure: a filled mark for each group's texts, a hollow one for their sources."
    yield Exhibit("suitability", "figure", said, 98, alt=alt), suitability(table)


@_drawn_from(_NONE_KEPT)
def suitability(table: pd.DataFrame) -> Figure:
    """Small panels, one per measure: each group's texts (filled) and what they were made from (hollow)."""
    use_style()
    groups, kinds = (list(dict.fromkeys(table[column])) for column in ("group", "of"))
    figure, panels = _panels(len(_SUITABLE), 1.3 + 0.45 * len(groups))
    for axis, (measure, label) in zip(panels, _SUITABLE.items(), strict=True):
        for row in table[table["measure"] == measure].itertuples():
            place = groups.index(row.group) + 0.3 * kinds.index(row.of)
            ends = [[abs(row.value - row.low)], [abs(row.high - row.value)]]
            face = None if row.of == kinds[0] else "white"
            axis.errorbar(row.value, place, xerr=ends, fmt="o", color="black", mfc=face, capsize=2, markersize=5)
        axis.set_xlabel(label)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    panels[0].set_yticks([place + 0.15 for place in range(len(groups))], groups)
    panels[0].set_ylim(len(groups) - 0.3, -0.4)
    figure.suptitle(f"For children? {' (filled) and '.join(kinds)}{' (hollow)' * (len(kinds) > 1)}", x=0.01, ha="left")
    figure.tight_layout()
    return figure
