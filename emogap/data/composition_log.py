"""The composition log: what is in a corpus and where it came from, for machines and for people."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from emogap.data.composition import DIMENSIONS, FACTUAL, STORY, TRAIN, VALIDATION, Pool

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
        "notes": _notes(by, words, budget),
    }


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    return {"documents": len(rows), "words": int(rows["words"].sum())}


def _file(file: InputFile) -> dict[str, Any]:
    return {
        "file": file.name,
        "kind": file.kind,
        "records": file.kept + sum(file.rejected.values()),
        "kept": file.kept,
        "words": file.words,
        "rejected": dict(file.rejected.most_common()),
        "sha256": file.sha256,
    }


def _averages(chosen: pd.DataFrame, files: list[InputFile]) -> dict[str, float | None]:
    """Words a sample; the last as the published corpus counted: every wiki file is one sample."""
    words = chosen.groupby("kind")["words"].agg(["sum", "count"])
    story_words, stories = words.loc[STORY] if STORY in words.index else (0, 0)
    factual_words, articles = words.loc[FACTUAL] if FACTUAL in words.index else (0, 0)
    wiki_files = sum(file.kind == FACTUAL for file in files)
    return {
        "words_per_document": _ratio(story_words + factual_words, stories + articles),
        "words_per_story": _ratio(story_words, stories),
        "words_per_article": _ratio(factual_words, articles),
        "words_per_sample_wiki_files_whole": _ratio(story_words + factual_words, stories + wiki_files),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole else None


def _table(chosen: pd.DataFrame, dimension: str, asked: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """A row a value, most words first: documents and words, of them held out, share of all words got and asked."""
    rows = chosen[chosen[dimension] != ""]
    total = int(chosen["words"].sum())
    table = []
    for value, part in rows.groupby(dimension):
        held_out = _sizes(part[part["split"] == VALIDATION])
        table.append(
            {
                "value": value,
                **_sizes(part),
                "validation_documents": held_out["documents"],
                "validation_words": held_out["words"],
                "share": round(int(part["words"].sum()) / total, 6),
                "asked": asked.get((dimension, value)),
            }
        )
    return sorted(table, key=lambda row: (-row["words"], row["value"]))


def _notes(by: dict[str, list[dict[str, Any]]], words: int, budget: int) -> list[str]:
    """What a reader must not overlook: a budget or a share that the texts could not fill."""
    notes = []
    if words < _ENOUGH * budget:
        notes.append(f"{words:,} of the {budget:,} words asked for; there is no more text that fits")
    for dimension, table in by.items():
        for row in table:
            if row["asked"] is not None and row["words"] < _ENOUGH * row["asked"] * budget:
                notes.append(
                    f"{dimension} {row['value']}: {row['words'] / budget:.4f} of the budget, asked {row['asked']:.4f}"
                )
    return notes


def render(log: dict[str, Any]) -> str:
    """The log as text for people."""
    totals, averages, left = log["totals"], log["averages"], log["left_out"]
    asked = log["budget"]["asked"]
    lines = [
        f"Corpus {log['name']}",
        "",
        f"documents {totals['documents']:,}, words {totals['words']:,}"
        + (f" (asked for {asked:,})" if asked else " (all there is)"),
        f"sha256 {log['sha256']}, seed {log['seed']}",
        *(f"NOTE {note}" for note in log["notes"]),
        "",
        "Words a sample on average",
        f"  all documents {_shown(averages['words_per_document'])}",
        f"  stories alone {_shown(averages['words_per_story'])}",
        f"  articles alone {_shown(averages['words_per_article'])}",
        f"  each wiki file counted as one sample {_shown(averages['words_per_sample_wiki_files_whole'])}",
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
        lines.append(
            f"  {file['records']:>10,}{file['kept']:>10,}{file['words']:>14,}  {file['file']}  {file['sha256'][:12]}"
        )
    return "\n".join(lines) + "\n"


def _rendered_table(table: list[dict[str, Any]]) -> list[str]:
    width = max(len(row["value"]) for row in table)
    return [
        f"  {row['value']:<{width}}{row['documents']:>10,} documents{row['words']:>14,} words{row['share']:>9.2%}"
        + ("" if row["asked"] is None else f"  (asked {row['asked']:.2%})")
        for row in table
    ]


def _shown(average: float | None) -> str:
    return "–" if average is None else f"{average:,.2f}"


def composition_rows(log: dict[str, Any]) -> pd.DataFrame:
    """The tables of the log as one tidy frame: dimension, value, documents, words, share, asked, held-out words."""
    return pd.DataFrame([{"dimension": dimension, **row} for dimension, table in log["by"].items() for row in table])
