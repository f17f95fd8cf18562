"""The composition log: what is in a corpus and where it came from, for machines and for people."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from emogap.corpus.composition import DIMENSIONS, FACTUAL, LINE, STORY, TRAIN, VALIDATION, Pool
from emogap.corpus.wiki import said_articles

_ROW = (
    "dimension", "value", "documents", "words", "validation_documents", "validation_words", "share", "asked",
)  # fmt: skip
_ENOUGH = 0.99
"""A share that reaches this part of what was asked counts as filled: documents are whole."""


@dataclass
class InputFile:
    """A chunk or wiki file: how many of its records can go into a corpus, and why the others cannot."""

    name: str
    kind: str
    sha256: str
    kept: int = 0
    words: int = 0
    """Of the records kept."""
    rejected: Counter = field(default_factory=Counter)
    """Reason → records."""
    form: str = ""
    """Of a wiki file: how its articles are told apart."""

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
    """Words a sample; the last as the published corpus counted: every wiki file is one sample."""
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
    """A row a value, most words first: documents and words, of them held out, share of all words got and asked."""
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
    totals, averages, left = log["totals"], log["averages"], log["left_out"]
    asked = log["budget"]["asked"]
    lines = [
        f"Corpus {log['name']}",
        "",
        f"documents {totals['documents']:,}, words {totals['words']:,}"
        + (f" (asked for {asked:,}" if asked else " (all there is")
        + (f", as many as the corpus {log['budget']['as']} has)" if "as" in log["budget"] else ")"),
        f"sha256 {log['sha256']}, seed {log['seed']}",
        *(f"NOTE {note}" for note in log["notes"]),
        "",
        "Words a sample on average",
        f"  all documents {_average_text(averages['words_per_document'])}",
        f"  stories alone {_average_text(averages['words_per_story'])}",
        f"  articles alone {_average_text(averages['words_per_article'])}",
        f"  each wiki file counted as one sample {_average_text(averages['words_per_sample_wiki_files_whole'])}",
        "",
        "Split by source line and by article",
        *(
            f"  {side:<12}{size['documents']:>10,} documents{size['words']:>14,} words"
            for side, size in log["splits"].items()
        ),
    ]
    for dimension, table in log["by"].items():
        if table:
            lines += ["", f"By {dimension}", *_rendered_table(table)]
    lines += ["", f"Left out for want of room: {left['documents']:,} documents, {left['words']:,} words"]
    lines += ["", "Rejected", *(f"  {count:>10,}  {reason}" for reason, count in log["rejected"].items())]
    lines += ["", "Input files (records, kept, words of the kept)"]
    for file in log["files"]:
        told = f"  ({said_articles(file['records'], file['form'])})" if "form" in file else ""
        lines.append(
            f"  {file['records']:>10,}{file['kept']:>10,}{file['words']:>14,}  {file['file']}  {file['sha256'][:12]}"
            + told
        )
    return "\n".join(lines) + "\n"


def _rendered_table(table: list[dict[str, Any]]) -> list[str]:
    width = max(len(row["value"]) for row in table)
    return [
        f"  {row['value']:<{width}}{row['documents']:>10,} documents{row['words']:>14,} words{row['share']:>9.2%}"
        + ("" if row["asked"] is None else f"  (asked {row['asked']:.2%})")
        for row in table
    ]


def _average_text(average: float | None) -> str:
    return "–" if average is None else f"{average:,.2f}"


def composition_rows(log: dict[str, Any]) -> pd.DataFrame:
    """The tables of the log as one tidy frame: dimension, value, documents, words, share, asked, held-out words."""
    rows = [{"dimension": dimension, **row} for dimension, table in log["by"].items() for row in table]
    return pd.DataFrame(rows, columns=_ROW)
