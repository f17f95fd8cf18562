"""Files that people give, read in one way whatever they are called: plain text, JSON, and tables of records.

The content decides what a file is: gzip, Parquet and JSON are recognised by how they begin, the separator of a table by
its first lines. The name decides where the content cannot; a name that contradicts it is mentioned on stderr. Text is
UTF-8, or UTF-16 or UTF-32 with a byte-order mark; the mark is no part of it. A line ends at ``\\n``, ``\\r\\n`` or
``\\r`` and nowhere else. What cannot be read is an ``InputError`` of one line, with the line or record.
"""

import csv
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Literal

from emogap.errors import InputError, MissingInput, UsageError, reading_parquet
from emogap.store.artefacts import RULE

DEFAULT_COLUMN = "text"
Format = Literal["text", "CSV", "TSV", "JSON", "JSON lines", "Parquet"]
Row = tuple[str, dict[str, Any]]
"""Where a record stands, for messages (``<path>, line 3``, ``<path>, record 3``; counted from 1), and its values."""

_ENDINGS: dict[str, Format] = {
    ".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".json": "JSON", ".jsonl": "JSON lines", ".ndjson": "JSON lines",
    ".parquet": "Parquet",
}  # fmt: skip
RECORD_ENDINGS = tuple(f"{ending}{packed}" for ending in _ENDINGS for packed in ("", ".gz"))
"""How the names of files of records end."""
_SEPARATORS = (",", ";", "\t")
_LOOKED_AT = 50
"""How many rows of a table are read to find its separator."""
_HEAD = 1 << 16
MOST_RATIO = 100
"""Text is packed to a quarter or a tenth; what shrinks to less than a hundredth was made to fill a disk."""
UNCHECKED_BYTES = 64 << 20
"""Any archive may unpack to this many bytes."""
_BRING_AGAIN = "bring it again"
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV"),
    (b"PK\x05\x06", "an empty zip archive; give the file itself"),
    (_GZIP, "packed twice with gzip; unpack it once"),
    (b"BZh91AY", "packed with bzip2; unpack it"),
    (b"\xfd7zXZ", "packed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"\xd0\xcf\x11\xe0", "a document of old Office programs; save it as text or CSV"),
    (b"%PDF-", "a PDF; give its text"),
    (b"ARROW1", "an Arrow file; give Parquet"),
    *((b"\x80%c" % version, "a Python pickle; give its content as text or as a table") for version in range(2, 6)),
    (b"version https://git-lfs", "a pointer of Git LFS; bring the file itself (git lfs pull)"),
    (b"<!DOCTYPE html", "a web page; bring the file itself"),
    (b"<!doctype html", "a web page; bring the file itself"),
)
"""How files begin that are no text, or not the text that was meant."""
_ENCODINGS = (
    (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)  # fmt: skip
"""Byte-order mark → encoding, the longer marks first."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_OBJECT_OR_LIST = re.compile(r'\{\s*"|\[\s*[\[{"\]]')
"""How JSON begins, and hardly any other text."""


# --- what a file is --------------------------------------------------------------------------------------------------


def given_file(path: Path, what: str, remedy: str) -> Path:
    """``path`` itself if it is a file, else ``MissingInput``: ``<what> <path> not found; <remedy>``."""
    if not path.is_file():
        raise MissingInput(f"{what} {path} {'is a folder' if path.is_dir() else 'not found'}; {remedy}")
    return path


def format_by_name(name: str) -> Format:
    """What a file is by the ending of its name, whether or not it is packed (``.gz``); ``text`` for any other."""
    return _ENDINGS.get(Path(name.lower().removesuffix(".gz")).suffix, "text")


def format_of(path: Path) -> Format:
    """What a file is: by its content where that says it, else by its name. Raises ``InputError`` for an empty one."""
    named, head = format_by_name(path.name), _head(path)
    if head in (b"", *(mark for mark, _ in _ENCODINGS)):
        raise InputError(f"{path} is empty")
    found = "Parquet" if head.startswith(_PARQUET) else _json_format(path, named)
    if found is None and named == "Parquet":
        raise InputError(f"{path} cannot be read as Parquet (it does not begin as Parquet does); name it as what it is")
    found = found or named
    if found != named and not {found, named} <= {"JSON", "JSON lines"}:
        _mention(f"{path} is called {named} but holds {found}; it is read as {found}")
    return found


@lru_cache
def _mention(note: str) -> None:
    """Say something once."""
    print(f"emogap: {note}", file=sys.stderr)


def _head(path: Path) -> bytes:
    with _opened(path) as (stream, _):
        return stream.read(_HEAD)


def _json_format(path: Path, named: Format) -> Format | None:
    """JSON or JSON lines, where the text is that; None for any other text."""
    begun = list(islice((line.strip() for line in read_lines(path) if line.strip()), 3))
    first = begun[0] if begun else ""
    if first.startswith("{") and all(isinstance(_parsed(line), dict) for line in begun[: 1 if named == "JSON" else 3]):
        return "JSON" if named == "JSON" and len(begun) == 1 else "JSON lines"
    if named in ("JSON", "JSON lines"):
        return "JSON" if first.startswith("[") else named
    if first == "{" or first == "[" or _OBJECT_OR_LIST.match(first):
        return "JSON" if isinstance(_parsed(read_text(path)), dict | list) else None
    return None


def _parsed(text: str) -> Any:
    """The value of a JSON text; None for a text that is none."""
    with suppress(ValueError, RecursionError):
        return _DECODER.decode(text)
    return None


# --- bytes and text --------------------------------------------------------------------------------------------------


def check_unpacked(name: object, packed: int, unpacked: int) -> None:
    """Raises ``InputError`` if ``unpacked`` bytes are suspiciously many for ``packed`` bytes."""
    if unpacked > max(UNCHECKED_BYTES, MOST_RATIO * packed):
        raise InputError(f"{name} unpacks to over {MOST_RATIO} times its size; unpack it by hand")


class _Unpacked(gzip.GzipFile):
    """The content of a gzip file; ``check_unpacked`` runs each time that more of it is read as text."""

    def read1(self, size: int = -1) -> bytes:
        check_unpacked(self.name, os.fstat(self.fileobj.fileno()).st_size, self.tell())
        return super().read1(size)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The bytes of a file, unpacked where it is gzip, and whether it was. Raises ``InputError`` for a damaged one."""
    given_file(path, "file", "correct its name")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if packed:
                with _Unpacked(fileobj=file) as stream:
                    yield stream, True
            else:
                yield file, False
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked ({error}); bring it again") from error


def _decoded(path: Path) -> Iterator[str]:
    """The lines of a text file, each with its end. Raises ``InputError`` for what is no text."""
    with _opened(path) as (stream, _):
        head = stream.read(_HEAD)
        stream.seek(0)
        encoding = _encoding(path, head)
        try:
            for number, line in enumerate(io.TextIOWrapper(stream, encoding, newline=""), start=1):
                if "\0" in line:
                    raise _no_text(path, number)
                yield line.lstrip("\ufeff") if number == 1 else line
        except UnicodeDecodeError as error:
            raise _undecodable(path, encoding, error) from error


def _encoding(path: Path, head: bytes) -> str:
    """The encoding of a text by its first bytes. Raises ``InputError`` for what begins as something else."""
    if head.startswith(_PARQUET):
        raise InputError(f"{path} is Parquet, where text is wanted; give a text file")
    for mark, what in _FOREIGN:
        if head.startswith(mark):
            raise InputError(f"{path} is {what}")
    for mark, encoding in _ENCODINGS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        zeros = (head[::2].count(0), head[1::2].count(0))
        if max(zeros) > len(head) // 5 and not min(zeros):
            raise InputError(f"{path} seems to be UTF-16 without a byte-order mark; save it as UTF-8")
        raise _no_text(path, 1 + _line_ends(head[: head.index(0)]))
    return "utf-8"


def _no_text(path: Path, line: int) -> InputError:
    return InputError(f"{path}, line {line}: a NUL byte; it is no text, or a damaged one")


def _undecodable(path: Path, encoding: str, error: UnicodeDecodeError) -> InputError:
    """The error for bytes that are no text, with the line, the byte and the remedy."""
    if encoding != "utf-8":
        return InputError(f"{path} begins as {encoding.upper()} but is none ({error.reason}); save it as UTF-8")
    number = 1
    with _opened(path) as (stream, _):
        for line in stream:  # up to \n: a \r in it ends a line too
            try:
                line.decode()
            except UnicodeDecodeError as found:
                number += _line_ends(line[: found.start])
                return InputError(
                    f"{path}, line {number}: byte 0x{line[found.start]:02x} is not UTF-8 ({found.reason}); save the "
                    "file as UTF-8 (from Latin-1: iconv -f LATIN1 -t UTF-8)"
                )
            number += _line_ends(line)
    return InputError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8")


def _line_ends(part: bytes) -> int:
    return part.count(b"\n") + part.count(b"\r") - part.count(b"\r\n")


def begins_with_mark(path: Path) -> bool:
    """Whether a text begins with a byte-order mark, which readers do not see."""
    return any(_head(path).startswith(mark) for mark, _ in _ENCODINGS)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends, one at a time. Raises ``MissingInput`` or ``InputError``."""
    for line in _decoded(path):
        yield line.removesuffix("\n").removesuffix("\r")


def read_text(path: Path) -> str:
    """A whole text file, its lines ended by ``\\n``. Raises ``MissingInput`` or ``InputError``."""
    return "".join(_decoded(path)).replace("\r\n", "\n").replace("\r", "\n")


# --- JSON ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fault:
    """Stands in a parsed value for something that JSON does not allow, until it is refused with its place."""

    said: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _Fault(f"'{key}' stands twice; keep one of them") if key in found else value
    return found


def _float(digits: str) -> float | _Fault:
    number = float(digits)
    return number if abs(number) < float("inf") else _Fault(f"{digits} is too large for a number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_float,
    parse_constant=lambda name: _Fault(f"{name} is no value in JSON; write null or leave it out"),
)


def _value(text: str, path: Path, line: int | None = None) -> Any:
    """The value of a JSON text: a file's, or a line's. Raises ``InputError`` with the place of what is wrong."""
    where = str(path) if line is None else f"{path}, line {line}"
    try:
        value = _DECODER.decode(text)
        fault = next(_faults(value, ()), None)
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply to be read") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno if line is None else line}: not JSON ({error.msg} at column {error.colno}); "
            "correct it"
        ) from error
    except ValueError as error:  # a whole number of thousands of digits
        raise InputError(f"{where}: not JSON ({error}); correct it") from error
    if fault:
        place, said = fault
        raise InputError(f"{where}{_place(place, line is None)}: {said}")
    return value


def _faults(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(place, what is wrong) for all that is no value or no text in a parsed value."""
    if isinstance(value, str):
        if half := _SURROGATE.search(value):
            yield place, f"holds half of a surrogate pair (\\u{ord(half[0]):04x}), which is no character; correct it"
    elif isinstance(value, _Fault):
        yield place, value.said
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _faults(key, place)
            yield from _faults(inside, (*place, key))
    elif isinstance(value, list | tuple):
        for number, inside in enumerate(value):
            yield from _faults(inside, (*place, number))


def check_texts(value: Any, where: str) -> None:
    """Raises ``InputError`` if a text anywhere in a value holds half of a surrogate pair, which no file can hold."""
    for place, said in _faults(value, ()):
        raise InputError(f"{where}{_place(place, False)}: {said}")


def _place(place: tuple[str | int, ...], records: bool) -> str:
    """``, record 3, 'input'``: a place inside a value; numbers count from 1."""
    named = [
        f", {'record' if records and not depth else 'item'} {part + 1}"
        if isinstance(part, int)
        else f", {part.encode('utf-8', 'backslashreplace').decode()!r}"
        for depth, part in enumerate(place)
    ]
    return "".join(named)


def read_json(path: Path) -> Any:
    """The one JSON value of a file. Raises ``MissingInput`` or ``InputError``.

    Refused are what JSON does not have (NaN, Infinity), keys that stand twice, and halves of surrogate pairs.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty")
    return _value(text, path)


def _json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, value) of each element of a list, or of each line that is not blank."""
    if format_of(path) == "JSON lines":
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                yield f"{path}, line {number}", _value(line, path, number)
        return
    values = read_json(path)
    if not isinstance(values, list):
        raise InputError(f"{path} holds one JSON {named_type(values)}, not a list of records, or a record a line")
    for number, value in enumerate(values, start=1):
        yield f"{path}, record {number}", value


def quoted(value: Any) -> str:
    """A value as messages show it: in one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = f"'{text[1:-1]}'" if isinstance(value, str) else text
    return text if len(text) <= 60 else text[:59] + "…"


def listed(names: Iterable[str]) -> str:
    """Names of columns as messages list them."""
    known = [quoted(name)[1:].removesuffix("'") for name in names if name]
    return ", ".join([*known[:20], *(["…"] if len(known) > 20 else [])]) or "none"


def named_type(value: Any) -> str:
    """What a value is, as JSON calls it."""
    names = {dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Records of a file, whatever its form."""

    columns: tuple[str, ...]
    """All its columns; a wanted one has the name by which it was wanted."""
    rows: Iterable[Row]
    """Read while they are iterated over, which can be done once."""


def read_table(path: Path, wanted: Collection[str] = (), required: Collection[str] = ()) -> Table:
    """The records of CSV, TSV (never quoted), Parquet, a JSON list of objects or JSON lines of objects.

    ``wanted``: columns that will be used; a header that differs from one only in case or outer spaces means it. From
    Parquet only these are read, or all if none is named. ``required``: columns that a table must have. CSV gives texts.

    Raises ``MissingInput``, or ``InputError`` with the line or record: a row with another number of fields than the
    header, a column that stands twice, an element that is no object.
    """
    file_format = format_of(path)
    if file_format in ("JSON", "JSON lines"):
        rows = [(where, _as_object(where, value)) for where, value in _json_values(path)]
        return Table(tuple(dict.fromkeys(name for _, values in rows for name in values)), rows)
    table = _parquet(path, wanted) if file_format == "Parquet" else _separated(path, file_format, wanted)
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}; it needs {', '.join(required)} and has {listed(table.columns)}"
        )
    return table


def _as_object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is a {named_type(value)}, not an object; a record is an object")
    return value


def _canonical(path: Path, header: Iterable[str], wanted: Collection[str]) -> list[str]:
    """The header, with the wanted name in place of each that means it. Raises ``InputError`` if two mean the same."""
    names = [name.strip() for name in header]
    for column in wanted:
        fitting = [i for i, name in enumerate(names) if name == column]
        fitting = fitting or [i for i, name in enumerate(names) if name.casefold() == column.casefold()]
        if len(fitting) > 1:
            twins = " and ".join(quoted(names[i]) for i in fitting)
            raise InputError(f"{path}: the column '{column}' stands twice ({twins}); rename one of them")
        for i in fitting:
            names[i] = column
    return names


def _separated(path: Path, file_format: Format, wanted: Collection[str]) -> Table:
    header, rows = _with_header(path, _rows(path, _style(path, file_format, wanted)))
    columns = _canonical(path, header, wanted)
    return Table(tuple(columns), ((where, dict(zip(columns, row, strict=True))) for where, row in rows))


def _style(path: Path, file_format: Format, wanted: Collection[str] = ()) -> dict[str, Any]:
    """How a table is separated and quoted: by the separator under which its header has the wanted columns, else the one
    of its name, else another that splits all of its first rows into equally many fields."""
    own = "\t" if file_format == "TSV" else ","
    styles = [_quoted(separator, file_format) for separator in (own, *(s for s in _SEPARATORS if s != own))]
    begun = [_first_rows(path, style) for style in styles]
    lowered = {name.casefold() for name in wanted}
    named = [len(lowered & {name.strip().casefold() for name in rows[0]}) if rows else 0 for rows in begun]
    if any(named):
        return styles[named.index(max(named))]
    widths = [{len(row) for row in rows} for rows in begun]
    return next((s for s, found in zip(styles, widths, strict=True) if len(found) == 1 and found != {1}), styles[0])


def _quoted(separator: str, file_format: Format) -> dict[str, Any]:
    if file_format == "TSV" and separator == "\t":
        return {"delimiter": separator, "quoting": csv.QUOTE_NONE}
    return {"delimiter": separator, "strict": True}


def _first_rows(path: Path, style: Mapping[str, Any]) -> list[list[str]]:
    """The first rows, up to one that cannot be read in that style."""
    found: list[list[str]] = []
    with suppress(_BadTable):
        for _, row in islice(_rows(path, style), _LOOKED_AT):
            found += [row] if row else []
    return found


class _BadTable(InputError):
    """Quotes that do not fit."""


def _rows(path: Path, style: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """For every row the number of its first line, and its fields. Raises ``InputError``."""
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(_decoded(path), **style)
    first = 1
    try:
        for row in rows:
            yield first, row
            first = rows.line_num + 1
    except csv.Error as error:
        raise _BadTable(
            f"{path}, line {rows.line_num}: {error}; quote texts as CSV does, or, if it is separated by tabs and "
            "never quoted, name it .tsv"
        ) from error


def _with_header(
    path: Path, rows: Iterator[tuple[int, list[str]]]
) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The names in the first line, and the rows below it, each with as many fields as there are names."""
    header = next((row for _, row in rows if row), [])
    while header and not header[-1].strip():
        header.pop()
    if not header:
        raise InputError(f"{path} is empty; its first line must name the columns")
    return header, _even(path, rows, len(header))


def _even(path: Path, rows: Iterator[tuple[int, list[str]]], count: int) -> Iterator[tuple[str, list[str]]]:
    """The rows, each ``count`` fields. Separators at the ends of lines are no fields if all rows have equally many of
    them. In a table of several columns a blank line is no row."""
    width = None
    for number, row in rows:
        if not row:
            if count > 1:
                continue
            row = [""]
        width = width or max(len(row), count)
        if len(row) != width or any(field.strip() for field in row[count:]):
            wanted = f"the {count} of the first line" if len(row) != count else f"{width} as the rows above"
            raise InputError(
                f"{path}, line {number}: {len(row)} fields, not {wanted}; quote a text that has the separator in it"
            )
        yield f"{path}, line {number}", row[:count]


def _parquet(path: Path, wanted: Collection[str]) -> Table:
    import pyarrow.parquet as pq

    with _opened(path) as (_, packed):
        if packed:
            raise InputError(f"{path} is Parquet inside gzip; unpack it")
    with reading_parquet(path, _BRING_AGAIN):
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    columns = _canonical(path, names, wanted)
    chosen = {name: column for name, column in zip(names, columns, strict=True) if not wanted or column in wanted}
    return Table(tuple(columns), _parquet_rows(path, file, chosen))


def _parquet_rows(path: Path, file: Any, chosen: Mapping[str, str]) -> Iterator[Row]:
    number = 0
    with reading_parquet(path, _BRING_AGAIN):
        for batch in file.iter_batches(columns=list(chosen)):
            for values in batch.to_pylist():
                number += 1
                yield f"{path}, record {number}", {column: values[name] for name, column in chosen.items()}


# --- texts -----------------------------------------------------------------------------------------------------------


def read_texts(path: Path, column: str | None = None, size: int = 8192) -> Iterator[list[str]]:
    """Lists of ``size`` texts (the last may be shorter), in the file's order; an empty line is an empty text.

    In plain text every line is a text; in a JSON list (or JSON lines) every text, or one value of every object; in a
    table the values of one column. ``column``: which one; None takes ``text``, or the only one there is. A number
    counts the columns (from 1) of a CSV or TSV without a header, unless all columns have numbers as names.

    Raises ``MissingInput``, ``UsageError`` (column) and ``InputError``, which names the row that cannot be read.
    """
    given_file(path, "file", "give a file of texts with --in FILE")
    texts = iter(_texts(path, column))
    while block := list(islice(texts, size)):
        yield block


def count_texts(path: Path, column: str | None = None) -> int:
    """How many texts a file has. Raises what ``read_texts`` does, and ``InputError`` if it has none."""
    count = sum(len(block) for block in read_texts(path, column))
    if not count:
        raise InputError(f"{path} has no texts")
    return count


def read_passages(path: Path) -> list[str]:
    """All texts of a file except blank ones, without the white space around them; from a table those in its column
    ``text``, or its only one. Raises ``MissingInput`` or ``InputError``."""
    try:
        passages = [text.strip() for block in read_texts(path) for text in block if text.strip()]
    except UsageError as error:
        raise InputError(f"{str(error).partition(';')[0]}, where the texts of a table must stand") from error
    if not passages:
        raise InputError(f"{path} has no texts")
    return passages


def _texts(path: Path, column: str | None) -> Iterator[str]:
    file_format = format_of(path)
    if file_format == "text":
        if column is not None:
            raise UsageError(
                f"--column {column}: {path} is read as plain text, which has no columns; leave it out, or name a table "
                "by what it is (.csv, .tsv)"
            )
        return read_lines(path)
    if file_format in ("JSON", "JSON lines"):
        return _json_texts(path, column)
    if file_format == "Parquet":
        return _parquet_texts(path, column)
    return _separated_texts(path, file_format, column)


def _parquet_texts(path: Path, column: str | None) -> Iterator[str]:
    wanted = column or DEFAULT_COLUMN
    table = _parquet(path, [wanted])
    chosen = _choose(path, column, list(table.columns))
    for where, values in (table if chosen == wanted else _parquet(path, [chosen])).rows:
        yield _as_text(where, chosen, values[chosen])


def _separated_texts(path: Path, file_format: Format, column: str | None) -> Iterator[str]:
    wanted = [column or DEFAULT_COLUMN]
    rows = _rows(path, _style(path, file_format, wanted))
    first = next(((number, row) for number, row in rows if row), (1, []))
    names, rows = _canonical(path, first[1], wanted), chain([first], rows)
    # A number is a column's name only if all names are numbers: a field of the first row may happen to be 1.
    is_place = (column or "").isdecimal() and not (column in names and "".join(names).isdecimal())
    if is_place:
        place = int(column) - 1
        if not 0 <= place < len(names):
            raise UsageError(f"{path}: --column {column} of a table without a header; it has 1 to {len(names)}")
        below = _even(path, rows, len(names))
    else:
        header, below = _with_header(path, rows)
        place = names.index(_choose(path, column, names[: len(header)]))
    for _, row in below:
        yield row[place]


def _json_texts(path: Path, column: str | None) -> Iterator[str]:
    """The elements of a list of texts, or one value of each object."""
    plain, chosen = None, None
    for where, value in _json_values(path):
        plain = isinstance(value, str) if plain is None else plain
        if plain and column is not None:
            raise UsageError(f"--column {column}: {where} is a text, which has no columns; leave it out")
        if not plain and not isinstance(value, dict):
            raise InputError(f"{where} is a {named_type(value)}, not an object with {column or DEFAULT_COLUMN}")
        chosen = chosen or (None if plain else _choose(path, column, list(value)))
        yield _as_text(where, chosen or "it", value if plain else value.get(chosen))


def _as_text(where: str, column: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {column} is {quoted(value)}, not a text")
    return value


def _choose(path: Path, column: str | None, names: list[str]) -> str:
    if column is None:
        column = names[0] if len(names) == 1 else DEFAULT_COLUMN
    if column not in names:
        raise UsageError(f"{path} has no column '{column}'; choose with --column among {listed(names)}")
    return column


# --- what a recipe says ----------------------------------------------------------------------------------------------

_RULE = {RULE + "files of texts": "2 (what a file is, its content says; only line ends end a line)"}


def passages_rule(path: Path) -> dict[str, str]:
    """The entry of recipes for a file whose passages were read differently before this rule; none for any other."""
    with suppress(OSError, UnicodeDecodeError, InputError):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        return {} if list(filter(None, lines)) == read_passages(path) else dict(_RULE)
    return {}


def texts_rule(path: Path, column: str | None, count: int) -> dict[str, str]:
    """The same for a file of ``count`` texts: one that is not what its name says, or has lines that end at ``\\r``."""
    file_format = format_of(path)
    otherwise = file_format != format_by_name(path.name) or path.suffix.lower() in (".json", ".tab")
    if file_format in ("CSV", "TSV"):
        separator = _style(path, file_format, [column or DEFAULT_COLUMN])["delimiter"]
        otherwise |= separator != ("\t" if file_format == "TSV" else ",")
    if file_format == "text":
        with _opened(path) as (stream, _):
            otherwise |= sum(1 for _ in stream) != count
    return dict(_RULE) if otherwise else {}
