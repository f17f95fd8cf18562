"""What became of the replies: shares of kept and rejected rows by reason, as a table and a figure."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emogap.babylm.process import NO_LINE
from emogap.controls import PLAIN
from emogap.errors import reading_parquet
from emogap.paths import Home
from emogap.records import KEPT
from emogap.store.artefacts import Artefact
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View
from emogap.stories.rows import raw_beside
from emogap.text.statistics import proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def story_outcomes(home: Home) -> pd.DataFrame:
    """``method, outcome, rows, share``."""
    return outcome_table(_stories(home), "method")


def rewrite_outcomes(home: Home) -> pd.DataFrame:
    """``version, outcome, rows, share``."""
    return outcome_table(_rewrites(home), "version")


def _stories(home: Home) -> pd.DataFrame:
    return _read(home.stories.glob("*/chunk_*.parquet"), "method")


def _rewrites(home: Home) -> pd.DataFrame:
    return _read(home.alpaca.glob("emotion_alpaca_*.rows.parquet"), "version")


def _read(files: Iterable[Path], by: str) -> pd.DataFrame:
    columns = [by, "status", "reason", "emotion_score"]
    tables = []
    for file in sorted(files):
        with reading_parquet(file):
            tables.append(pd.read_parquet(file, columns=columns))
    return pd.concat(tables) if tables else pd.DataFrame(columns=columns)


def outcome_table(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row for each value of ``by`` and each outcome (``kept`` or a reason): how many rows and which share.

    ``rows`` has the columns ``by``, ``status`` and ``reason``. ``kept`` comes first, then the reasons, most frequent
    first.
    """
    if rows.empty:
        return pd.DataFrame(columns=[by, "outcome", "rows", "share"])
    outcome = rows["reason"].where(rows["status"] != KEPT, KEPT)
    counts = pd.crosstab(rows[by], outcome)
    reasons = counts.drop(columns=KEPT, errors="ignore").sum().sort_values(ascending=False, kind="stable").index
    table = counts.reindex(columns=[KEPT, *reasons], fill_value=0).rename_axis(columns="outcome")
    long = table.stack().rename("rows").reset_index()
    long["share"] = long["rows"] / long.groupby(by)["rows"].transform("sum")
    return long


def story_drawing(home: Home, name: str, chunks: Iterable[Artefact]) -> Drawing:
    """What became of all stories of this home, drawn anew when these chunks change."""
    inputs = {f"{chunk.path.parent.name}/{chunk.path.stem}": chunk.path for chunk in chunks}
    # The first two exist only if a story without emotion was asked for; cards of the report have replaced the third.
    gone = ("tables/story_emotions", "figures/story_emotions", "tables/story_examples")
    return drawing(home.stories, name, "tables/story_outcomes", inputs, partial(_stories_shown, home), optional=gone)


def rewrite_drawing(home: Home, versions: Iterable[Artefact]) -> Drawing:
    """What became of all rewrites of this home, drawn anew when these tables of rows change."""
    inputs = {version.path.stem: version.path for version in versions}
    draw, gone = partial(_rewrites_shown, home), ("tables/rewrite_examples",)
    return drawing(home.alpaca, "rewrite", "tables/rewrite_outcomes", inputs, draw, optional=gone)


def _stories_shown(home: Home) -> Iterator[Shown]:
    """The exhibits of the outcomes, which are printed too."""
    rows = _stories(home)
    yield from _shown("story", "stories", "method", 20, rows)
    if rows["method"].eq(PLAIN).any():
        yield from _emotions_shown(emotions_found(rows))


def _rewrites_shown(home: Home) -> Iterator[Shown]:
    """The exhibits of the outcomes, which are printed too."""
    yield from _shown("rewrite", "rewrites", "version", 40, _rewrites(home))


def _shown(one: str, many: str, by: str, order: int, rows: pd.DataFrame) -> Iterator[Shown]:
    """``one``, ``many``: the texts' name, singular and plural; ``by``: the column of the method or version."""
    table = outcome_table(rows, by)
    if table.empty:  # there was no line to write about
        from emogap.store.style import nothing_figure

        caption = alt = f"No {one} was written: {NO_LINE}."
        figure = nothing_figure(caption)
    else:
        said = emotion_said(rows, many)
        _print(table, by)
        print(said)
        caption = f"{_caption(table, many, by)} {said}"
        alt = f"Stacked horizontal bars, one per {by}: shares of kept {many} and of each reason for a rejection."
        figure = outcome_shares(table, by, many)
    yield Exhibit(f"{one}_outcomes", "table", caption, order, view=View({"share": 4})), table
    yield Exhibit(f"{one}_outcomes", "figure", caption, order + 1, alt=alt), figure


def emotions_found(rows: pd.DataFrame) -> pd.DataFrame:
    """The emotion of the line in the kept stories about it, a row a method: ``method, asked for, stories, found, low,
    high`` (percent, with a 95 % interval) and the ``mean_score``.

    ``rows``: ``method, status, emotion_score``.
    """
    kept = rows[(rows["status"] == KEPT) & rows["emotion_score"].notna()]
    table = []
    for method, scores in kept["emotion_score"].astype(float).groupby(kept["method"], sort=True):
        share = proportion(int((scores >= FOUND_AT).sum()), len(scores))
        ends = {"found": 100 * share.value, "low": 100 * share.low, "high": 100 * share.high}
        asked = "no emotion" if method == PLAIN else "the line's emotion"
        table.append(
            {"method": method, "asked for": asked, "stories": len(scores), **ends, "mean_score": scores.mean()}
        )
    return pd.DataFrame(table, columns=["method", "asked for", "stories", "found", "low", "high", "mean_score"])


def _emotions_shown(table: pd.DataFrame) -> Iterator[Shown]:
    caption = (
        f"The emotion of the line (score {FOUND_AT:g} or more) in the stories about it, in percent with 95 % "
        f"intervals, and the mean score. {PLAIN} asks for a story without any emotion, about lines that are emotional "
        "all the same: it is a control of the prompt, not of the topic."
    )
    yield Exhibit("story_emotions", "table", caption, 23, view=View({"": 1, "mean_score": 3})), table
    alt = "A point with an interval for each method: share of stories in which the line's emotion is found."
    yield Exhibit("story_emotions", "figure", caption, 24, alt=alt), emotions_figure(table)


def emotions_figure(table: pd.DataFrame) -> "Figure":
    """A point with its interval for each method, from the table of ``emotions_found``."""
    import matplotlib.pyplot as plt

    from emogap.store.style import METHOD_COLOURS, PERCENT, nothing_figure, use_style

    if table.empty:
        return nothing_figure("No emotion was measured: no story was kept.")
    use_style()
    figure, axes = plt.subplots(figsize=(6.4, 1.1 + 0.4 * len(table)))
    for place, row in enumerate(table.to_dict("records")):
        colour = METHOD_COLOURS.get(row["method"], "0.3")
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.4)
        axes.plot(row["found"], place, "o", color=colour, markersize=5)
    names = [f"{method}, asked for {asked} (n = {n})" for method, asked, n in table.iloc[:, :3].to_numpy()]
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(PERCENT)
    axes.set_xlabel(f"stories in which the line's emotion is found (score {FOUND_AT:g} or more), %")
    axes.grid(axis="y", visible=False)
    axes.set_title("Emotion in the stories, by what was asked for")
    return figure


FOUND_AT = 0.5
"""The classifier's score from which on an emotion counts as found: the study's threshold for lines."""


def emotion_said(rows: pd.DataFrame, what: str) -> str:
    """A sentence on how many of the kept rows show the emotion that was asked for, and a warning if few do.

    ``rows``: ``status, emotion_score``, for stories ``method`` too: ``m0`` asks for no emotion and is left out. The
    warning is added only if the whole 95 % interval lies below a half.
    """
    rows = rows[rows["method"] != PLAIN] if "method" in rows else rows
    scores = rows.loc[rows["status"] == KEPT, "emotion_score"].dropna().astype(float)
    if scores.empty:
        return f"No emotion was measured: none of the {what} was kept."
    hits, count = int((scores >= FOUND_AT).sum()), len(scores)
    share = proportion(hits, count)
    ends = f" (95 % interval {share.low:.0%} to {share.high:.0%})" if count > 1 else ""
    said = (
        f"The emotion asked for is found (score {FOUND_AT:g} or more) in {hits:,} of {count:,} kept {what}{ends}; the "
        f"median score is {scores.median():.2g}."
    )
    if share.high < 0.5:
        return f"{said} By that measure most lack it, and training on them can hardly show what the emotion does."
    return said


def for_reading(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of stories or rewrites in columns to be read: the text that is kept, beside the raw reply.

    Columns: ``method, emotion, line`` (rewrites: ``version, emotion, instruction, original answer``), ``text`` as it
    was read out of the reply, ``raw reply`` ("(the same)" where nothing was taken away), ``score`` of the emotion asked
    for, ``reason`` of a rejection, ``notes`` on what was taken away.
    """
    rewrites = "version" in rows
    asked = (
        {"version": "version", "emotion": "emotion", "instruction": "instruction", "original_output": "original answer"}
        if rewrites
        else {"method": "method", "emotion": "emotion", "text": "line"}
    )
    shown = rows[list(asked)].rename(columns=asked)
    texts = rows["output" if rewrites else "story"]
    return shown.assign(
        text=texts,
        **{"raw reply": list(map(raw_beside, rows["reply"], texts))},
        score=rows["emotion_score"],
        reason=rows["reason"].fillna(""),
        notes=["; ".join(notes) for notes in rows["notes"]],
    )


def _caption(table: pd.DataFrame, what: str, by: str) -> str:
    totals = table.groupby(by)["rows"].sum()
    kept = table[table["outcome"] == KEPT].set_index(by)["rows"]
    parts = [f"{name} {kept[name]:,} of {total:,}" for name, total in totals.items()]
    return f"What became of the {what}; kept: {', '.join(parts)}."


def _print(table: pd.DataFrame, by: str) -> None:
    for name, rows in table[table["rows"] > 0].groupby(by):
        parts = [f"{row.outcome} {row.rows:,} ({row.share:.0%})" for row in rows.itertuples()]
        print(f"{name}: {', '.join(parts)}")


_KEPT_COLOUR = "#d9d9d9"
_SMALLEST_LABEL = 4
"""A share smaller than this (%) has no room for its number."""


def outcome_shares(table: pd.DataFrame, by: str, what: str) -> "Figure":
    """Stacked bars of an outcome table (``by, outcome, rows, share``): one bar for each value of ``by``.

    ``what``: the rows' name in the plural, for labels. For an empty table the figure says that there is nothing.
    """
    import seaborn as sns

    from emogap.store.style import TYPE, ink_on, nothing_figure, use_style

    if table.empty:
        return nothing_figure(f"There are no {what} yet.")
    use_style()
    shares = 100 * table.pivot(index=by, columns="outcome", values="share")[table["outcome"].unique()]
    shares = shares.loc[:, shares.sum() > 0]
    totals = table.groupby(by)["rows"].sum()
    reasons = iter(sns.color_palette("colorblind", len(shares.columns)))
    colours = [_KEPT_COLOUR if outcome == KEPT else next(reasons) for outcome in shares]
    named = shares.rename(index=lambda name: f"{name} ({totals[name]:,} {what})", columns=lambda o: o.replace("_", " "))
    axes = named.plot.barh(stacked=True, width=0.8, color=colours, figsize=(7.2, 1.2 + 0.55 * len(shares)))
    for bars, colour in zip(axes.containers, colours, strict=True):
        labels = [f"{share:.0f}" if share >= _SMALLEST_LABEL else "" for share in bars.datavalues]
        axes.bar_label(bars, labels, label_type="center", fontsize=TYPE, color=ink_on(colour))
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel=f"share of {what} (%)", ylabel="")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.45 / len(shares) - 0.12), ncols=4, frameon=False)
    kept = table[table["outcome"] == KEPT]["rows"].sum()
    axes.set_title(f"{kept:,} of {totals.sum():,} {what} pass all gates")
    return axes.figure
