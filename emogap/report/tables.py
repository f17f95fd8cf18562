"""Tables as the pages of the report show them: cells are strings, wide tables go in parts, emotions have one order."""

import re
from dataclasses import dataclass

import pandas as pd

from emogap.emotions import INDEX
from emogap.store.views import View, are_numbers, balanced, cells

ROWS_UNFOLDED = 20
"""A longer table is folded away until somebody asks for it."""
ROWS_SHOWN = 200
"""A longer table is cut in the page; its CSV has all of it."""
ROWS_OF_A_CUT = 20
SHORT = 28
"""Characters up to which a column of text is never broken into lines."""
PART_CHARACTERS = 114
"""What fits side by side on paper at the size of print; a wider table goes on in a further part below."""
_GAP = 2
_TEXT_CHARACTERS = 24
"""The least that a column of running text needs; it takes what the others leave."""


@dataclass(frozen=True)
class Part:
    """A table, or those columns of a wide one that fit side by side."""

    columns: list[str]
    kinds: list[str]
    """How each column is set: ``n`` a number, flush right; ``i`` a number with its interval in a column of its own
    beside; ``s`` short text, never broken; ``t`` running text."""
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
        return self.all_rows > ROWS_UNFOLDED

    @property
    def characters(self) -> int:
        """How wide its widest part is."""
        return max(sum(_widths(part)) for part in self.parts)


def to_cells(table: pd.DataFrame, view: View | None = None) -> Cells:
    """A frame as the page shows it, in parts that fit the paper.

    Behind the first column, those that belong to one thing (the several values of a wide view) stay in one part.
    """
    shown = _by_emotion(cells(table, view))
    kept = shown if len(shown) <= ROWS_SHOWN else shown.head(ROWS_OF_A_CUT)
    whole = Part(
        columns=[str(name).replace("_", " ") for name in kept.columns],
        kinds=[_kind(kept[name]) for name in kept.columns],
        rows=kept.to_numpy().tolist(),
    )
    return Cells(_parts(whole, len(view.values) if view and view.values else 1), len(shown), len(shown) - len(kept))


def _by_emotion(shown: pd.DataFrame) -> pd.DataFrame:
    """With the rows of each emotion in the one order of the project, where emotions name the rows of each block: the
    columns before them stay as they are, rows that are no emotion (a sum) behind them."""
    for place, name in enumerate(shown.columns[:3]):
        if shown[name].isin(INDEX).sum() > len(shown) / 2:
            blocks = (shown.iloc[:, :place] != shown.iloc[:, :place].shift()).any(axis=1).cumsum()
            ranks = shown[name].map(INDEX).fillna(len(INDEX))
            order = pd.DataFrame({"block": blocks, "rank": ranks}).sort_values(["block", "rank"], kind="stable")
            return shown.loc[order.index]
    return shown


def _parts(whole: Part, together: int) -> list[Part]:
    """Parts of about equal width, so that no column is left over in one of its own."""
    widths = _widths(whole)
    if sum(widths) <= PART_CHARACTERS:
        return [whole]
    named = next((i for i, kind in enumerate(whole.kinds) if kind in "ni"), 1)
    keys = list(range(max(1, min(named, 2))))
    blocks = [range(i, min(i + together, len(widths))) for i in range(len(keys), len(widths), together)]
    room = PART_CHARACTERS - sum(widths[i] for i in keys)
    groups = balanced([sum(widths[i] for i in block) for block in blocks], room)
    return [_columns(whole, [*keys, *(i for place in group for i in blocks[place])]) for group in groups]


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


def _kind(texts: pd.Series) -> str:
    if are_numbers(texts):
        return "i" if texts.str.contains("[", regex=False).any() else "n"
    return "s" if texts.str.len().max() <= SHORT else "t"
