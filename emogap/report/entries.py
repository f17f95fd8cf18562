"""What is registered in a home, ready for a page, and the filling in of a page's template."""

import base64
import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emogap.paths import Home
from emogap.store.exhibits import DPI, Exhibit, exhibits, read_table
from emogap.study.stages import STAGES

if TYPE_CHECKING:
    from markupsafe import Markup

    from emogap.report.tables import Cells

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
    cells: "Cells | None"
    image: str | None
    """The figure as a ``data:`` address, so that the page needs no other file."""
    inches: float
    """Width of the figure as it was drawn; 0 for a table."""

    @property
    def heading(self) -> str:
        """How the caption begins, for a line of its own."""
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


def exhibit_file(folder: Path, exhibit: Exhibit) -> Path:
    suffix = ".csv" if exhibit.kind == "table" else ".png"
    return folder / f"{exhibit.kind}s" / f"{exhibit.name}{suffix}"


def reader(home: Home) -> Callable[[str], pd.DataFrame | None]:
    """Reads ``<folder>/<name>``, the table ``<folder>/tables/<name>.csv`` of a home; None where it is not there."""

    def read(name: str) -> pd.DataFrame | None:
        folder, _, table = name.rpartition("/")
        file = home.root / folder / "tables" / f"{table}.csv"
        return read_table(file) if file.exists() else None

    return read


def _entry(home: Home, folder: Path, exhibit: Exhibit) -> Entry:
    from emogap.report.tables import to_cells

    file = exhibit_file(folder, exhibit)
    return Entry(
        exhibit=exhibit,
        anchor=f"{folder.name}-{exhibit.kind}-{exhibit.name}",
        name=f"{folder.name}/{exhibit.kind}s/{exhibit.name}",
        source=home.relative(file.with_suffix(".csv" if exhibit.kind == "table" else ".pdf")),
        cells=to_cells(read_table(file), exhibit.view) if exhibit.kind == "table" else None,
        image=_data_address(file) if exhibit.kind == "figure" else None,
        inches=_inches(file) if exhibit.kind == "figure" else 0,
    )


def _data_address(png: Path) -> str:
    """The same picture to the last dot, packed closer than a PNG can be: a page has dozens of them."""
    from PIL import Image

    packed = io.BytesIO()
    with Image.open(png) as picture:
        picture.convert("RGB").save(packed, "WEBP", lossless=True, quality=20, method=1)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode()


def _inches(png: Path) -> float:
    """A PNG says its width in bytes 16 to 19."""
    return round(int.from_bytes(png.read_bytes()[16:20]) / DPI, 2)
