"""Tables as the pages of the report show them: cells are strings, wide tables go in parts, long ones are folded."""

import re
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.store.exhibits import read_table

ROWS_UNFOLDED = 30
ROWS_SHOWN = 200
"""A longer table is cut in the page; its CSV has all of it."""
ROWS_OF_A_CUT = 20
SHORT = 28
"""Characters up to which a column of text is never broken into lines."""
PART_CHARACTERS = 122
"""What fits side by side on paper at the size of print; a wider table goes on in a further part below."""
_GAP = 2
_TEXT_CHARACTERS = 24
"""The least that a column of running text needs; it takes what the others leave."""


@dataclass(frozen=True)
class Part:
    """A table, or those columns of a wide one that fit side by side."""

    columns: list[str]
    kinds: list[str]
    """How each column is set: ``n`` a number, flush right; ``s`` short text, never broken; ``t`` running text."""
    rows: list[list[str]]


@dataclass(frozen=True)
class Cells:
    """A table ready for the page."""

    parts: list[Part]
    """The columns that name a row stand in each of them."""
    all_rows: int
    left_out: int = 0

    @property
    def is_long(self) -> bool:
        """Whether the table is folded away until somebody asks for it."""
        return self.all_rows > ROWS_UNFOLDED

    @property
    def characters(self) -> int:
        """How wide its widest part is."""
        return max(sum(_widths(part)) for part in self.parts)


def read_cells(csv: Path) -> Cells:
    return to_cells(read_table(csv).replace("", None))


def to_cells(table: pd.DataFrame, together: int = 1) -> Cells:
    """A frame as cells: intervals beside their values, missing numbers as dashes, parts that fit the paper.

    ``together``: so many neighbouring columns behind the first are one thing and stay in one part.
    """
    kept = table if len(table) <= ROWS_SHOWN else table.head(ROWS_OF_A_CUT)
    folded = _fold_intervals(kept)
    whole = Part(
        columns=[str(name).replace("_", " ") for name in folded.columns],
        kinds=[_kind(folded[name]) for name in folded.columns],
        rows=[[_cell(value) for value in row] for row in folded.itertuples(index=False)],
    )
    return Cells(_parts(whole, together), len(table), len(table) - len(kept))


def _fold_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Three columns ``x, x_low, x_high`` (or ``x, low, high``) become one, ``value [low, high]``."""
    names = list(table.columns)
    folded = table.copy()
    for name in names:
        ends = [f"{name}_low", f"{name}_high"]
        if "low" in names and names[names.index("low") - 1] == name:
            ends = ["low", "high"]
        if all(end in names for end in ends) and _are_estimates(table[[name, *ends]]):
            triples = zip(table[name], table[ends[0]], table[ends[1]], strict=True)
            folded[name] = pd.Series([_estimate(*triple) for triple in triples], index=table.index, dtype=object)
            folded = folded.drop(columns=ends)
    return folded


def _are_estimates(columns: pd.DataFrame) -> bool:
    """Three columns of texts, or of counts, only happen to be called like a value and its ends."""
    kinds = columns.dtypes
    return all(map(pd.api.types.is_numeric_dtype, kinds)) and not all(map(pd.api.types.is_integer_dtype, kinds))


def _estimate(value: Any, low: Any, high: Any) -> str:
    if pd.isna(value) or pd.isna(low) or pd.isna(high):
        return _cell(value)
    return f"{_cell(value)} [{low:.3g}, {high:.3g}]"


def _parts(whole: Part, together: int) -> list[Part]:
    widths = _widths(whole)
    if sum(widths) <= PART_CHARACTERS:
        return [whole]
    named = next((i for i, kind in enumerate(whole.kinds) if kind == "n"), 1)
    keys = list(range(max(1, min(named, 2))))
    room = PART_CHARACTERS - sum(widths[i] for i in keys)
    groups: list[list[int]] = []
    taken = room + 1
    for start in range(len(keys), len(widths), together):
        block = range(start, min(start + together, len(widths)))
        width = sum(widths[i] for i in block)
        if taken + width > room:
            groups.append([])
            taken = 0
        groups[-1] += block
        taken += width
    return [_columns(whole, keys + group) for group in groups]


def _columns(whole: Part, chosen: list[int]) -> Part:
    return Part(
        [whole.columns[i] for i in chosen],
        [whole.kinds[i] for i in chosen],
        [[row[i] for i in chosen] for row in whole.rows],
    )


def _widths(part: Part) -> list[int]:
    """Characters that each column needs; a heading may be broken between its words."""
    widths = []
    for i, (name, kind) in enumerate(zip(part.columns, part.kinds, strict=True)):
        heading = max(map(len, re.split(r"[ -]", name)), default=0)
        longest = max((len(row[i]) for row in part.rows), default=0)
        widths.append(max(heading, min(longest, _TEXT_CHARACTERS) if kind == "t" else longest) + _GAP)
    return widths


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(column) or all(isinstance(value, Real) for value in column):
        return "n"
    texts = column.astype(str)
    if texts.str.match(r"^[-−\d.,]+( \[.*\])?$|^–$|^nan$").all():
        return "n"
    return "s" if texts.str.len().max() <= SHORT else "t"


def _cell(value: Any) -> str:
    """A number as people read it, a missing one as a dash."""
    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else str(value)
