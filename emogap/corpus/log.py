"""The composition log: what is in a corpus and where it came from, for machines, for people, and as a figure."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap.corpus.composition import DIMENSIONS, FACTUAL, LINE, STORY, TRAIN, VALIDATION, Pool
from emogap.corpus.wiki import said_articles
from emogap.store.exhibits import Exhibit, Shown
from emogap.store.style import EMOTION_ORDER, TYPE, nothing_figure, use_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = (
    "dimension", "value", "documents", "words", "validation_documents", "validation_words", "share", "asked",
)  # fmt: skip
_TEXT = Path(__file__).with_name("log.txt.j2")
_ENOUGH = 0.99
"""A share that reaches this part of what was asked for counts as filled: documents are never cut to fit."""


@dataclass
class InputFile:
    """A chunk or wiki file: how many of its records can go into a corpus, and why the others cannot."""

    name: str
    kind: str
    sha256: str
    kept: int = 0
    words: int = 0
    """Words of the records kept."""
    rejected: Counter = field(default_factory=Counter)
    """Reason → records."""
    form: str = ""
    """For a wiki file: how its articles are separated (a key of ``LAYOUTS``)."""

    @property
    def records(self) -> int:
        return self.kept + sum(self.rejected.values())


def composition(
    name: str,
    chosen: pd.DataFrame,
    supply: pd.DataFrame,
    files: list[InputFile],
    shares: list[Pool],
    budget: int,
    wanted: int,
) -> dict[str, Any]:
    """The log of a corpus as plain values.

    ``chosen`` and ``supply`` are catalogues (see ``composition``), the first with a column ``split``; ``shares`` are
    the pools over ``supply``; ``budget`` the words the corpus could have, ``wanted`` those asked for (0: all).
    """
    words = int(chosen["words"].sum())
    asked = {(pool.dimension, pool.name): pool.share for pool in shares}
    by = {dimension: _table(chosen, dimension, asked) for dimension in DIMENSIONS}
    return {
        "name": name,
        "totals": {"documents": len(chosen), "words": words},
        "budget": {"asked": wanted, "words": budget},
        "averages": _averages(chosen, files),
        "splits": {side: _sizes(chosen[chosen["split"] == side]) for side in (TRAIN, VALIDATION)},
        "by": by,
        "left_out": {"documents": len(supply) - len(chosen), "words": int(supply["words"].sum()) - words},
        "rejected": dict(sum((file.rejected for file in files), Counter()).most_common()),
        "files": [_file(file) for file in files],
        "notes": _notes(by, asked, words, budget) + _too_long(supply, shares, budget),
    }


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    return {"documents": len(rows), "words": int(rows["words"].sum())}


def _file(file: InputFile) -> dict[str, Any]:
    return {
        "file": file.name,
        "kind": file.kind,
        "records": file.records,
        "kept": file.kept,
        "words": file.words,
        "rejected": dict(file.rejected.most_common()),
        "sha256": file.sha256,
        **({"form": file.form} if file.form else {}),
    }


def _averages(chosen: pd.DataFrame, files: list[InputFile]) -> dict[str, float | None]:
    """Average words of a sample; the last one counts as the published corpus did: every wiki file is one sample."""
    words = chosen.groupby("kind")["words"].agg(["sum", "count"]).reindex([STORY, FACTUAL, LINE], fill_value=0)
    (story_words, stories), (factual_words, articles), (_, lines) = words.to_numpy()
    every = words["sum"].sum()
    wiki_files = sum(file.kind == FACTUAL for file in files)
    return {
        "words_per_document": _ratio(every, stories + articles + lines),
        "words_per_story": _ratio(story_words, stories),
        "words_per_article": _ratio(factual_words, articles),
        "words_per_sample_wiki_files_whole": _ratio(every, stories + wiki_files + lines),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole else None


def _table(chosen: pd.DataFrame, dimension: str, asked: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """A row for each value, most words first: documents and words, how many of these are held out, and the share of
    all words, reached and asked for."""
    total, table = int(chosen["words"].sum()), []
    for value, part in chosen[chosen[dimension] != ""].groupby(dimension):
        held_out = _sizes(part[part["split"] == VALIDATION])
        row = {"value": value, **_sizes(part)} | {f"validation_{name}": size for name, size in held_out.items()}
        row["share"] = round(row["words"] / total, 6)
        table.append(row | {"asked": asked.get((dimension, value))})
    return sorted(table, key=lambda row: (-row["words"], row["value"]))


def _notes(
    by: dict[str, list[dict[str, Any]]], asked: dict[tuple[str, str | None], float], words: int, budget: int
) -> list[str]:
    """What a reader must not overlook: a budget or a share that the texts could not fill."""
    notes = []
    if words < _ENOUGH * budget:
        notes.append(f"{words:,} of the {budget:,} words asked for; there is no more text that fits")
    got = {(dimension, row["value"]): row["words"] for dimension, table in by.items() for row in table}
    for (dimension, name), share in asked.items():
        filled = got.get((dimension, name), 0)
        if name is not None and filled < _ENOUGH * share * budget:
            notes.append(f"{dimension} {name}: {filled / budget:.4f} of the budget, asked {share:.4f}")
    return notes


def _too_long(supply: pd.DataFrame, shares: list[Pool], budget: int) -> list[str]:
    """Documents that fit into no corpus of this size: longer than the budget, or than a share that they belong to."""
    room = np.full(len(supply), float(budget))
    for pool in shares:
        room[pool.members] = np.minimum(room[pool.members], pool.share * budget)
    too_long = supply[(room > 0) & (supply["words"].to_numpy() > room + 1e-6)]
    if too_long.empty:
        return []
    longest = too_long.loc[too_long["words"].idxmax()]
    return [
        f"documents longer than the budget of {budget:,} words or their share of it: {len(too_long):,}; the longest, "
        f"{longest['id']}, has {longest['words']:,}: raise corpus.words, ask for other corpus.shares, or part its file "
        "into articles"
    ]


def render(log: dict[str, Any]) -> str:
    """The log as text for people."""
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["form"] = format
    return environment.from_string(_TEXT.read_text(encoding="utf-8")).render(log, said_articles=said_articles)


def composition_rows(log: dict[str, Any]) -> pd.DataFrame:
    """The tables of the log as one tidy frame: dimension, value, documents, words, share, asked, held-out words."""
    rows = [{"dimension": dimension, **row} for dimension, table in log["by"].items() for row in table]
    return pd.DataFrame(rows, columns=_ROW)


# --- what is seen of it ----------------------------------------------------------------------------------------------


def composition_exhibits(path: Path, ending: str = "") -> Iterator[Shown]:
    """The composition of the corpus at ``path``, read from its log, as a table and a figure, whose names have this
    ``ending``."""
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
    figure = composition_figure(rows) if totals["documents"] else nothing_figure(caption)
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
        "All corpora side by side, in words. Controls are trained on those that are to have as many words as another: "
        "they have its factual text, and their stories or lines were sampled by the run's seed until they had as many "
        "words."
    )
    yield Exhibit("corpora", "table", caption, 31), pd.DataFrame(rows)


def composition_figure(table: pd.DataFrame) -> "Figure":
    """Words by source, method and emotion, held-out words hatched; from all or some rows of the table ``composition``.
    For an empty table the figure says that there is nothing."""
    if table.empty:
        return nothing_figure("There is no document to show.")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import EngFormatter

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
    """Sort keys: emotions have a fixed order, all other values are sorted by name."""
    order = {emotion: f"{i:02d}" for i, emotion in enumerate(EMOTION_ORDER)}
    return values.map(lambda value: order.get(value, value))


def _bars(axis: "Axes", rows: pd.DataFrame) -> None:
    train = rows["words"] - rows["validation_words"]
    axis.barh(rows["value"], train, color="#0072b2", label="training")
    axis.barh(rows["value"], rows["validation_words"], left=train, color="#56b4e9", hatch="////", label="held out")
    for value, words in zip(rows["value"], rows["words"], strict=True):
        axis.annotate(f" {words:,}", (words, value), va="center", fontsize=TYPE)
    axis.margins(x=0.25, y=0.03)
    axis.grid(axis="y", visible=False)
