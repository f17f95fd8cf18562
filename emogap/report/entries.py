"""Prepares what is registered in a home for a page, and fills in the page's template.

Cells of tables become strings, wide tables are split into parts, rows of emotions are put into one order.
"""

import base64
import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emogap.emotions import INDEX
from emogap.paths import Home
from emogap.store.exhibits import DPI, Exhibit, exhibits, read_table
from emogap.store.views import View, are_numbers, balanced, cells
from emogap.study.stages import STAGES

if TYPE_CHECKING:
    from markupsafe import Markup

Read = Callable[[str], pd.DataFrame | None]
"""Reads ``<folder>/<name>``, the table ``<folder>/tables/<name>.csv`` of a home; None where it is not there."""
ROWS_UNFOLDED = 20
"""A longer table is folded away until somebody asks for it."""
ROWS_SHOWN = 200
"""A longer table is cut in the page; its CSV has all of it."""
ROWS_OF_A_CUT = 20
SHORT = 28
"""Characters up to which a column of text is never broken into lines."""
PART_CHARACTERS = 114
"""Characters that fit the width of a printed page; a wider table goes on in a further part below."""
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
    """Each of them has the columns that name a row."""
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

    Columns that belong together (the several values that a wide view has for one thing) stay in one part.
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
    """Put rows that are named by emotions into the project's order of emotions, block by block (equal cells in the
    columns before the emotion). Rows that are no emotion, such as a sum, come last in their block."""
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


HERE = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One exhibit as the page shows it."""

    exhibit: Exhibit
    anchor: str
    name: str
    """``<folder>/<kind>s/<name>``."""
    source: str
    """Where its file lies, from the home: the numbers of a table as CSV, a figure as PDF."""
    cells: Cells | None
    image: str | None
    """The figure as a ``data:`` address, so that the page needs no other file."""
    inches: float
    """Width of the figure as it was drawn; 0 for a table."""

    @property
    def heading(self) -> str:
        """The beginning of the caption, short enough for one line."""
        return textwrap.shorten(self.exhibit.caption.partition(". ")[0].rstrip("."), 90, placeholder=" …")


def render(template: str, **values: Any) -> str:
    """A page's HTML. All text that comes from data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["ticks"] = _ticks
    environment.globals["colours"] = values.pop("colours", {})
    return environment.get_template(template).render(**values)


def _ticks(text: str) -> "Markup":
    """Text with what stands between backticks set as code."""
    from markupsafe import Markup, escape

    pieces = [escape(piece) for piece in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(pieces))


def home_entries(home: Home) -> list[Entry]:
    """Everything that is registered in a home, in the order of its stages and of ``Exhibit.order``."""
    return [_entry(home, folder, exhibit) for folder in exhibit_folders(home) for exhibit in exhibits(folder)]


def exhibit_folders(home: Home) -> list[Path]:
    return list(dict.fromkeys(home.root / stage.folder for stage in STAGES if stage.name != "report"))


def reader(home: Home) -> Read:
    """The reader of a home's tables."""

    def read(name: str) -> pd.DataFrame | None:
        folder, _, table = name.rpartition("/")
        file = home.root / folder / "tables" / f"{table}.csv"
        return read_table(file) if file.exists() else None

    return read


def _entry(home: Home, folder: Path, exhibit: Exhibit) -> Entry:
    file = exhibit.file(folder)
    return Entry(
        exhibit=exhibit,
        anchor=f"{folder.name}-{exhibit.kind}-{exhibit.name}",
        name=f"{folder.name}/{exhibit.key}",
        source=home.relative(file.with_suffix(".csv" if exhibit.kind == "table" else ".pdf")),
        cells=to_cells(read_table(file), exhibit.view) if exhibit.kind == "table" else None,
        image=_data_address(file) if exhibit.kind == "figure" else None,
        inches=_inches(file) if exhibit.kind == "figure" else 0,
    )


def _data_address(png: Path) -> str:
    """The picture as lossless WebP, which is smaller than a PNG: a page has dozens of them."""
    from PIL import Image

    packed = io.BytesIO()
    with Image.open(png) as picture:
        picture.convert("RGB").save(packed, "WEBP", lossless=True, quality=20, method=1)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()


def _inches(png: Path) -> float:
    """The width of a figure as it was drawn; a PNG has its pixels in bytes 16 to 19."""
    return round(int.from_bytes(png.read_bytes()[16:20]) / DPI, 2)
