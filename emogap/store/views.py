"""How tables of numbers are shown: files hold plain numbers; they are formatted for readers here and nowhere else.

The report, the notebooks, the command line and the LaTeX files (``store/latex.py``) show a table through ``cells``.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

MISSING = "–"
_MOST_DECIMALS = 5


@dataclass(frozen=True)
class View:
    """How a table is shown. Without any settings: as it is, intervals beside their values."""

    digits: Mapping[str, int | str] = field(default_factory=dict)
    """Column → decimals at most, or a format specification (``.1f``); ``""`` stands for all other columns."""
    rows: tuple[str, ...] = ()
    """For a wide (pivoted) table: the columns that name a row; ``values`` then fill the cells."""
    columns: str = ""
    """For a wide table: the column whose values become the headings."""
    values: tuple[str, ...] = ()
    behind: str = ""
    """A column whose text is appended to the value in its cell."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Value of ``behind`` → the text that is shown for it."""
    joined: str = ""
    """The separator of the values in one cell, if it has several."""
    below: tuple[str, ...] = ()
    """(column, row): what this column holds in this row is shown as a row of its own, below all others."""

    @classmethod
    def read(cls, **entry: Any) -> "View":
        """A view from its JSON form, in which lists stand for tuples."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})


def distinct_name(name: str, fixed: Collection[str], kind: str) -> str:
    """A name that a user gave, for a column or row beside ones with ``fixed`` names; never equal to one of these.

    A name that equals one of them gets its kind appended: ``all (source)``. So does one that has this form already, so
    that different names stay different.
    """
    ending = f" ({kind})"
    bare = name
    while bare.endswith(ending):
        bare = bare.removesuffix(ending)
    return name + ending if bare in fixed else name


def cells(table: pd.DataFrame, view: View | None = None) -> pd.DataFrame:
    """The table as people read it, all cells texts: a value with the ends of its interval, a dash for what is missing.

    Three columns ``x, x_low, x_high`` (or ``x, low, high``) become one, ``84 [77, 91]``, rounded to as many decimals as
    the interval supports (``_decimals``), and at most to the view's digits.
    """
    view = view or View()
    shown = {name: [_number(value, view, name) for value in table[name]] for name in table}
    texts = pd.DataFrame(shown, index=table.index, dtype=object)
    for three in _estimates(table):
        values = _with_intervals(table[list(three)].to_numpy(dtype=float), view, three)
        texts[three[0]] = pd.Series(values, texts.index, dtype=object)
        texts = texts.drop(columns=list(three[1:]))
    if view.behind:
        behind = [view.marks.get(text, text) for text in texts[view.behind]]
        texts[view.values[0]] = (texts[view.values[0]] + " " + behind).str.rstrip()
    return _wide(texts, view) if view.rows else texts


def balanced(widths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of things that stand side by side, split into as few groups of at most ``room`` as possible, of about
    equal width, so that the last is not left alone. A thing wider than ``room`` is a group of its own."""

    def packed(room: int) -> list[list[int]]:
        groups: list[list[int]] = []
        taken = room + 1
        for place, width in enumerate(widths):
            if taken + width > room:
                groups.append([])
                taken = 0
            groups[-1].append(place)
            taken += width
        return groups

    groups = packed(room)
    while room > 1 and len(closer := packed(room - 1)) == len(groups):
        groups, room = closer, room - 1
    return groups


def intervals(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Column of a value → the columns that hold the ends of its interval."""
    return {name: (low, high) for name, low, high in _estimates(table)}


def are_numbers(texts: pd.Series) -> bool:
    """Whether all cells of a column are numbers, or dashes for missing ones."""
    return bool(texts.str.match(r"^([-−\d.,]+(e[-+]\d+)?( \[.*\])?( [-+])?|-?inf|–)$").all())


def _estimates(table: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """The columns of each value and of its interval's ends. Columns of texts or counts alone are none, whatever their
    names."""
    from pandas.api.types import is_integer_dtype, is_numeric_dtype

    names = list(table)
    for name, after in zip(names, [*names, ""][1:], strict=True):
        three = (name, "low", "high") if after == "low" else (name, f"{name}_low", f"{name}_high")
        kinds = [table[one].dtype for one in three if one in names]
        if len(kinds) == 3 and all(map(is_numeric_dtype, kinds)) and not all(map(is_integer_dtype, kinds)):
            yield three


def _with_intervals(numbers: np.ndarray, view: View, names: tuple[str, str, str]) -> list[str]:
    """One text for each row of (value, low, high). If the decimals that the rows support differ by one at most, all
    rows get as many as the narrowest interval supports, so that the numbers are aligned."""
    supported = [_decimals(high - low, view.digits.get(names[0], view.digits.get(""))) for _, low, high in numbers]
    known = [decimals for decimals in supported if decimals is not None]
    if known and max(known) - min(known) <= 1:
        supported = [max(known)] * len(supported)
    return [_estimate(row, view, names, decimals) for row, decimals in zip(numbers, supported, strict=True)]


def _decimals(width: float, digits: int | str | None) -> int | None:
    """The decimals that an interval of that width supports: two significant digits of half its width, and at most what
    the view asks for. None where there is no such number: no interval, width 0, too many decimals, no ``f`` format."""
    if not 0 < width < math.inf or (isinstance(digits, str) and not digits.endswith("f")):
        return None
    supported = max(0, 1 - math.floor(math.log10(width / 2)))
    most = int(digits.strip(",.f") or 6) if isinstance(digits, str) else digits
    supported = supported if most is None else min(supported, most)
    return supported if supported <= _MOST_DECIMALS else None


def _estimate(numbers: np.ndarray, view: View, names: tuple[str, str, str], decimals: int | None) -> str:
    if decimals is None:
        value = _number(numbers[0], view, names[0])
        ends = [_number(end, view, name, ".3g") for end, name in zip(numbers[1:], names[1:], strict=True)]
    else:
        while numbers[1] * numbers[2] > 0 and 0 in np.round(numbers[1:], decimals) and decimals < _MOST_DECIMALS:
            decimals += 1  # an interval that leaves out zero is not shown as one that ends there
        value, *ends = (MISSING if math.isnan(n) else f"{round(n, decimals) + 0.0:,.{decimals}f}" for n in numbers)
    return value if MISSING in ends else f"{value} [{', '.join(ends)}]"


def _number(value: Any, view: View, column: str, general: str = ".4g") -> str:
    """A number as people read it, a missing one as a dash."""
    if pd.isna(value) or value == "":
        return MISSING
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    digits = view.digits.get(column, view.digits.get(""))
    if isinstance(digits, str):
        return format(value, digits)
    if isinstance(value, Integral):
        return f"{value:,}"
    value = (value if digits is None else np.round(value, digits)) + 0.0  # no number is shown as -0
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:{general}}"


def _wide(texts: pd.DataFrame, view: View) -> pd.DataFrame:
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    last: dict[str, str] = {}
    headings = list(view.rows)
    for row in texts.to_dict("records"):
        named = {name: row[name] for name in view.rows}
        line = lines.setdefault(tuple(named.values()), named)
        for value in view.values:
            heading = _heading(row, value, view)
            headings += [heading] * (heading not in headings)
            line[heading] = f"{line[heading]}{view.joined}{row[value]}" if heading in line else row[value]
            if view.below and row[view.rows[0]] == view.below[1]:
                last = {**named, view.rows[0]: view.below[0], **last, heading: row[view.below[0]]}
    return pd.DataFrame([*lines.values(), *([last] if last else [])], columns=headings).fillna(MISSING)


def _heading(row: dict[str, str], value: str, view: View) -> str:
    if len(view.values) > 1:
        return f"{row[view.columns]}: {value}"
    return distinct_name(row[view.columns], view.rows, view.columns) if view.columns else value


_PAGE = "var(--jp-layout-color0, var(--vscode-editor-background, Canvas))"
"""The background colour of the page, in a light theme and in a dark one."""
_FIXED = "position: sticky; left: 0; z-index: 1; background: "


def whole(text: str) -> "HTML":
    """A text for reading in a notebook: whole, wrapped between words, with its line breaks, never taken for HTML."""
    from IPython.display import HTML

    style = "white-space: pre-wrap; overflow-wrap: anywhere; max-width: 60em"
    return HTML(f'<div style="{style}">{escape(text)}</div>')


def texts(table: pd.DataFrame) -> "Styler":
    """A table for reading: its texts whole, wrapped and with their line breaks, lists with commas, numbers on one line
    and rounded to two digits, counts to none. Where it is wider than the page, its first column stays while the others
    are scrolled; where it has no row, it says so.

    What a model wrote is shown as it is and never taken for HTML.
    """
    from pandas.api.types import is_float_dtype, is_list_like, is_numeric_dtype

    words = [name for name in table if not is_numeric_dtype(table[name])]
    table = table.reset_index(drop=True)
    for name in words:
        table[name] = [", ".join(map(str, cell)) if is_list_like(cell) else cell for cell in table[name]]
    lines = [name for name in words if len(table) and are_numbers(table[name].astype(str))]
    counts = [name for name in table if is_float_dtype(table[name]) and (table[name].dropna() % 1 == 0).all()]
    wrapped = {"white-space": "pre-wrap", "overflow-wrap": "break-word", "max-width": "44em"}
    shown = table.style if len(table) else table.style.set_caption("no rows")
    return (
        shown.hide(axis="index")
        .format(precision=2, escape="html", na_rep=MISSING)
        .format(precision=0, na_rep=MISSING, subset=counts)
        .set_properties(**{"text-align": "left", "vertical-align": "top"})
        .set_properties(subset=words, **wrapped)
        .set_properties(subset=lines, **{"white-space": "nowrap"})
        .set_table_styles(
            [
                {"selector": "caption", "props": "caption-side: bottom; text-align: left; font-style: italic"},
                {"selector": "th", "props": "text-align: left"},
                {"selector": "th:first-child", "props": _FIXED + _PAGE},
                {"selector": "tbody tr:nth-child(odd)", "props": f"background: {_PAGE}"},
                {"selector": "td:first-child", "props": _FIXED + "inherit"},
            ]
        )
    )
