"""Figures of the corpus: what it is made of."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from emogap.corpus.composition import VALIDATION
from emogap.corpus.log import composition_rows
from emogap.store.exhibits import Exhibit, Shown
from emogap.store.style import EMOTION_ORDER, TYPE, nothing_figure, use_style

_TRAIN, _HELD_OUT = "#0072b2", "#56b4e9"


def composition_exhibits(path: Path, ending: str = "") -> Iterator[Shown]:
    """The composition of the corpus at ``path``, read from its log, as a table and a figure; ``ending``: of their
    names."""
    name = path.stem
    log = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    totals, averages = log["totals"], log["averages"]
    drawn = f"What corpus {name} is made of: words by source, method and emotion, training and held-out part."
    alt = "Three panels of horizontal bars, words by source, method and emotion, each bar in two parts."
    if totals["documents"]:
        caption = (
            f"Corpus {name}: {totals['documents']:,} documents, {totals['words']:,} words "
            f"({averages['words_per_document']:.1f} a document; {averages['words_per_sample_wiki_files_whole']:.1f} "
            "if each wiki file is one sample), by kind, source, method and emotion."
        )
    else:
        caption = drawn = alt = f"Corpus {name} has no document: {log['notes'][0]}."
    table = Exhibit(f"composition{ending}", "table", caption, 30, published=None if ending else "composition")
    rows = composition_rows(log)
    yield table, rows
    figure = composition(rows) if totals["documents"] else nothing_figure(caption)
    yield Exhibit(f"composition{ending}", "figure", drawn, 30, alt=alt), figure


def corpora_exhibits(paths: Sequence[Path]) -> Iterator[Shown]:
    """All corpora side by side: a table from their logs."""
    rows = []
    for path in paths:
        log = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        kinds = {row["value"]: row["words"] for row in log["by"]["kind"]}
        rows.append(
            {"corpus": log["name"], "documents": log["totals"]["documents"], "words": log["totals"]["words"]}
            | {f"words of {name}": kinds.get(kind, 0) for kind, name in _KIND.items()}
            | {"words held out": log["splits"][VALIDATION]["words"], "as many as": log["budget"].get("as", "")}
        )
    caption = (
        "All corpora side by side, in words. Those that are to have as many words as another are what controls are "
        "trained on: they have its factual text, and their stories or lines were drawn by the run's seed until its "
        "words were reached."
    )
    yield Exhibit("corpora", "table", caption, 31), pd.DataFrame(rows)


def composition(table: pd.DataFrame) -> Figure:
    """Words by source, method and emotion, held-out words hatched; from the table ``composition``, all of it or a
    part. Of an empty table it says that there is nothing."""
    if table.empty:
        return nothing_figure("There is no document to show.")
    use_style()
    panels = {name: table[table["dimension"] == name] for name in ("source", "method", "emotion")}
    panels = {name: rows for name, rows in panels.items() if len(rows)}
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(6.4, 1.0 + 0.24 * sum(len(rows) + 2.5 for rows in panels.values())), sharex=True,
        height_ratios=[len(rows) + 1 for rows in panels.values()], squeeze=False,
    )  # fmt: skip
    for axis, (name, rows) in zip(axes[:, 0], panels.items(), strict=True):
        _bars(axis, rows.sort_values("value", key=_place, ascending=False))
        axis.set_title(f"by {name}" + ("" if name == "source" else " of the stories"), fontsize="medium")
    axes[-1, 0].set_xlabel("words")
    axes[-1, 0].xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0, 0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    kinds = table[table["dimension"] == "kind"].set_index("value")
    parts = [f"{row['words']:,} ({row['share']:.0%}) of {_KIND[kind]}" for kind, row in kinds.iterrows()]
    figure.suptitle(f"Words: {', '.join(parts)}" if parts else "Words", x=0.02, ha="left", fontweight="bold")
    figure.tight_layout()
    return figure


_KIND = {"story": "stories", "line": "lines", "factual": "factual text"}


def _place(values: pd.Series) -> pd.Series:
    """Emotions keep their place, everything else is in order of name."""
    order = {emotion: f"{i:02d}" for i, emotion in enumerate(EMOTION_ORDER)}
    return values.map(lambda value: order.get(value, value))


def _bars(axis: Axes, rows: pd.DataFrame) -> None:
    train = rows["words"] - rows["validation_words"]
    axis.barh(rows["value"], train, color=_TRAIN, label="training")
    axis.barh(rows["value"], rows["validation_words"], left=train, color=_HELD_OUT, hatch="////", label="held out")
    for value, words in zip(rows["value"], rows["words"], strict=True):
        axis.annotate(f" {words:,}", (words, value), va="center", fontsize=TYPE)
    axis.margins(x=0.25, y=0.03)
    axis.grid(axis="y", visible=False)
