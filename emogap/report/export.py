"""Exports a run for a paper: each registered figure at column width, each table for LaTeX, each number by name."""

import hashlib
import json
import math
import re
import unicodedata
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.errors import InputError, MissingInput
from emogap.paths import Home
from emogap.report.entries import exhibit_folders
from emogap.share.outgoing import Delivery, deliver
from emogap.store.exhibits import DPI, NAMES, Exhibit, exhibits, read_table
from emogap.store.latex import PREAMBLE, latex, latex_number, to_latex
from emogap.store.style import TYPE
from emogap.store.views import MISSING, View, cells, intervals
from emogap.study.stages import STAGES

COLUMN, PAGE, TURNED = WIDTHS = 3.3, 6.9, 8.6
"""Widths in inches: one of two columns, both, and a page turned by 90°. The last is also a figure's greatest height."""
LEAST_TYPE = 5.0
"""Smallest type, in points. A figure gets the first of ``WIDTHS`` at which its type is not smaller."""
COUNTS = ("n", "prompts", "pairs", "questions", "texts", "stories", "answers", "documents", "records", "raters")
"""Columns that say how many cases a number rests on."""
MOST_ROWS = 200
"""A longer table is not in ``all.tex``, and its numbers have no names; its CSV has everything."""
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_TEXTS = {"reply", "opening", "original answer", "reason", "verdict"}
"""Columns of ``NAMES`` that do not identify a row."""


def export(home: Home, folder: Path) -> Delivery:
    """Write what is registered in a home into a folder: ``<stage's folder>/figures/<name>.pdf``, ``.png`` and ``.tex``,
    ``<stage's folder>/tables/<name>.tex`` and ``.csv``, ``numbers.json``, ``numbers.tex``, ``all.tex`` (everything in
    one document) and ``README.md``.

    Raises ``MissingInput`` where nothing is registered, ``InputError`` where a file in the folder was not written
    by this command.
    """
    files: dict[str, bytes] = {}
    records: list[dict[str, Any]] = []
    shown: list[str] = []
    about: list[str] = []
    long: set[str] = set()
    for place in exhibit_folders(home):
        for exhibit in exhibits(place):
            file = exhibit.file(place)
            name = f"{place.name}/{exhibit.key}"
            if exhibit.kind == "table":
                table = read_table(file)
                long |= {name} if len(table) > MOST_ROWS else set()
                files[f"{name}.csv"] = file.read_bytes()
                files[f"{name}.tex"] = to_latex(table, exhibit.view, caption(exhibit, table), f"tab:{name}").encode()
                records += numbers_of(f"{name}.csv", table, exhibit.view)
            else:
                twin = place / "tables" / f"{exhibit.name}.csv"
                title = caption(exhibit, read_table(twin) if twin.exists() else None)
                own, said = figure_files(file, name, title)
                files |= own
                about.append(f"| `{name}` | {said} |")
            shown.append(name)
    if not files:
        raise MissingInput(f"no table or figure is registered in {home.root}; run a stage, such as emogap run")
    numbers = named(records)
    files["numbers.json"] = (json.dumps(numbers, indent=1, ensure_ascii=False) + "\n").encode()
    files["numbers.tex"] = _commands(numbers).encode()
    files["all.tex"] = _document([name for name in shown if name not in long]).encode()
    files["README.md"] = _readme(home, numbers, about).encode()
    return deliver(folder, files)


def caption(exhibit: Exhibit, table: pd.DataFrame | None) -> str:
    """The caption, with the number of cases and what brackets or bars mean. ``table``: the exhibit's own, or the one
    that a figure shows."""
    said = [exhibit.caption.rstrip()]
    if table is None or table.empty:
        return said[0]
    for name in [name for name in COUNTS if name in table and is_number(table[name]) and table[name].notna().any()]:
        ends = dict.fromkeys(f"{int(end):,}" for end in (table[name].min(), table[name].max()))
        said.append(f"{name if name == 'n' else name.capitalize()}: {' to '.join(ends)}.")
    if "95 %" not in said[0] and intervals(table):
        said.append("In brackets: 95 % intervals." if exhibit.kind == "table" else "Bars and bands: 95 % intervals.")
    return " ".join(said)


# --- figures ---------------------------------------------------------------------------------------------------------


def figure_files(png: Path, name: str, title: str) -> tuple[dict[str, bytes], str]:
    """Name → content of a figure's files at column width, and a text that says its width and the size of its type.

    The figure is scaled as a whole, type included. Raises ``InputError`` for a PDF that the project did not draw.
    """
    from PIL import Image

    with Image.open(png) as image:
        drawn, scaled = image.width / DPI, BytesIO()
        set_at = next((inches for inches in WIDTHS if TYPE * inches / drawn >= LEAST_TYPE), TURNED)
        width = round(min(set_at, TURNED * image.width / image.height), 2)
        image.save(scaled, "png", dpi=(image.width / width,) * 2)
    kind, turn = "figure" if set_at == COLUMN else "figure*", "angle=90," if set_at == TURNED else ""
    snippet = (
        f"\\begin{{{kind}}}\n\\centering\n\\includegraphics[{turn}scale=1]{{{name}.pdf}}\n"
        f"\\caption{{{latex(title)}}}\\label{{fig:{name}}}\n\\end{{{kind}}}\n"
    )
    files = {f"{name}.pdf": scaled_pdf(png.with_suffix(".pdf"), width), f"{name}.png": scaled.getvalue()}
    files[f"{name}.tex"] = snippet.encode()
    return files, f"{width:g} in{', turned' if turn else ''} | {TYPE * width / drawn:.1f} pt"


_PAGE_OBJECT = re.compile(
    rb"(\d+) 0 obj\n(<< /Type /Page .*?/MediaBox) \[ 0 0 ([\d.]+) ([\d.]+) \](.*?/Contents) (\d+) 0 R(.*?endobj\n)",
    re.S,
)
_TRAILER = re.compile(rb"trailer\n<< /Size (\d+) (.*?) >>\nstartxref\n(\d+)\n%%EOF\s*$", re.S)


def scaled_pdf(file: Path, width: float) -> bytes:
    """A figure's PDF, of one page, scaled to that width in inches.

    Done by an incremental update (ISO 32000-1, 7.5.6): a new page object whose contents begin with a scaling.
    """
    pdf = file.read_bytes()
    page, trailer = _PAGE_OBJECT.search(pdf), _TRAILER.search(pdf)
    if not page or not trailer:
        raise InputError(f"{file} is no figure that was drawn here; delete its stage's figures and run the stage again")
    number, head, wide, high, between, contents, end = page.groups()
    scale, size = 72 * width / float(wide), int(trailer[1])
    box = f" [ 0 0 {72 * width:.4f} {float(high) * scale:.4f} ]".encode()
    matrix = f"{scale:.6f} 0 0 {scale:.6f} 0 0 cm\n".encode()
    objects = {
        int(number): head + box + between + f" [ {size} 0 R ".encode() + contents + b" 0 R ]" + end,
        size: f"<< /Length {len(matrix)} >>\nstream\n".encode() + matrix + b"endstream\nendobj\n",
    }
    table = b"xref\n"
    for key, body in objects.items():
        table += f"{key} 1\n{len(pdf):010d} 00000 n \n".encode()
        pdf += f"{key} 0 obj\n".encode() + body
    more = f"trailer\n<< /Size {size + 1} ".encode() + trailer[2] + b" /Prev " + trailer[3] + b" >>\n"
    return pdf + table + more + f"startxref\n{len(pdf)}\n%%EOF\n".encode()


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers_of(source: str, table: pd.DataFrame, view: View | None) -> list[dict[str, Any]]:
    """One record per number of a table: ``value``, ``low`` and ``high`` where it has an interval, ``shown`` as people
    read it, and where it stands: ``table`` (``source``), ``row``, ``column``."""
    if len(table) > MOST_ROWS:
        return []
    keys, ends, texts = _keys(table), intervals(table), cells(table, View(view.digits if view else {}))
    columns = [column for column in texts if column not in keys and is_number(table[column])]
    return [
        {"value": _finite(row[column])}
        | {end: _finite(row[name]) for end, name in zip(("low", "high"), ends.get(column, ()), strict=False)}
        | {"shown": texts[column].iloc[place], "table": source, "column": column}
        | {"row": {key: str(row[key]) for key in keys} or {"row": str(place + 1)}}
        for place, row in enumerate(table.to_dict("records"))
        for column in columns
        if texts[column].iloc[place] != MISSING
    ]


def _keys(table: pd.DataFrame) -> list[str]:
    """The columns that identify a row of the table: those of names; where these do not suffice, also other texts and
    whole numbers."""
    keys = [name for name in table if name in NAMES - _TEXTS]
    for name in table:
        if keys and not table.duplicated(keys).any():
            break
        is_whole = is_number(table[name]) and (table[name] % 1 == 0).all() and name not in COUNTS
        keys += [name] if name not in keys and (is_whole or not is_number(table[name])) else []
    return keys


def is_number(column: pd.Series) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _finite(value: float) -> float | None:
    """The number, or None for what JSON has no number for: NaN and infinity."""
    return value if math.isfinite(value) else None


def named(numbers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name → number. The name joins stage, table, row and column, in letters alone, as LaTeX requires; where several
    numbers would have the same name, letters of a hash are appended."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in numbers:
        found.setdefault(command_name(number), []).append(number)
    return {
        name + (_letters(number) if len(alike) > 1 else ""): number for name, alike in found.items() for number in alike
    }


def command_name(number: dict[str, Any]) -> str:
    folder, _, table = number["table"].removesuffix(".csv").split("/")
    stage = next(stage.name for stage in STAGES if stage.folder == folder)
    said = " ".join([stage, table, *number["row"].values(), number["column"]])
    plain = unicodedata.normalize("NFKD", said.replace("%", " percent "))
    words = re.findall(r"[A-Za-z]+|[0-9]", plain)
    return "".join(_DIGITS[int(word)] if word.isdigit() else word[0].upper() + word[1:] for word in words)


def _letters(number: dict[str, Any]) -> str:
    text = json.dumps([number[key] for key in ("table", "row", "column")])
    return "".join(chr(ord("A") + byte % 26) for byte in hashlib.sha256(text.encode()).digest()[:6])


# --- documents -------------------------------------------------------------------------------------------------------


def _commands(numbers: dict[str, dict[str, Any]]) -> str:
    """A LaTeX command for each number, and another for its interval where it has one."""
    lines = []
    for name, number in numbers.items():
        value, _, interval = number["shown"].partition(" ")
        lines.append(f"\\newcommand{{\\{name}}}{{{latex_number(value)}}}\n")
        if interval:
            lines.append(f"\\newcommand{{\\{name}Interval}}{{{latex_number(interval)}}}\n")
    return "".join(lines)


def _document(shown: list[str]) -> str:
    """One document with everything, for looking it through."""
    taken_in = "".join(f"\\input{{{name}.tex}}\n\\clearpage\n" for name in shown)
    return (
        f"\\documentclass[10pt]{{article}}\n\\usepackage[textwidth={PAGE}in,textheight=9.5in]{{geometry}}\n{PREAMBLE}\n"
        f"\\begin{{document}}\n\\input{{numbers.tex}}\n{taken_in}\\end{{document}}\n"
    )


def _readme(home: Home, numbers: dict[str, dict[str, Any]], figures: list[str]) -> str:
    example = next(iter(numbers), "Name")
    rows = "\n".join(figures)
    return f"""# Tables, figures and numbers of the run {home.root.name}

Written by `emogap report --export`; written again, what changed is replaced. A file that was edited here is not written
over: the command says so and stops.

- `all.tex` takes in all but tables of more than {MOST_ROWS} rows: `pdflatex all.tex` (`lualatex` where texts have signs
  of other scripts). A paper needs `{PREAMBLE}`, and `\\input{{numbers.tex}}` before the first number.
- `<folder>/tables/NAME.tex`: a table with booktabs; one longer than a page is a longtable, which stands in one-column
  parts only. `NAME.csv`: the same as numbers, exactly.
- `numbers.tex`: a command a number, and `\\…Interval` where it has one, such as
  `\\{example}`; `numbers.json`: the same unrounded, with the table, row and column that it comes from.
  Tables of more than {MOST_ROWS} rows have none.
- `<folder>/figures/NAME.pdf`, `.png`: scaled to {COLUMN} in (a column), {PAGE} in (both) or {TURNED} in (turned), the
  first at which the type has {LEAST_TYPE:g} pt, and no higher than a page. `NAME.tex` takes it in with its caption.

| figure | width | type |
|---|---|---|
{rows}
"""
