"""The texts of a file: a line each, or one column of CSV, TSV, JSON lines or Parquet; in order, some at a time."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from emogap.errors import InputError, MissingInput, UsageError

DEFAULT_COLUMN = "text"
_JSON_LINES = (".jsonl", ".ndjson")


def read_texts(path: Path, column: str | None = None, size: int = 8192) -> Iterator[list[str]]:
    """Lists of ``size`` texts (the last may be shorter), in the file's order; an empty line is an empty text.

    By its ending a file is CSV (quoted where needed), TSV (never quoted: a line is a row), JSON lines, Parquet, or
    else plain text. ``column``: which column; None takes ``text``, or the only one there is. A number that no column is
    called by counts the columns (from 1) of a table without a header.

    Raises ``MissingInput``, ``UsageError`` (column) and ``InputError``, which names the row that cannot be read.
    """
    if not path.is_file():
        raise MissingInput(f"{path} not found; give a file of texts with --in FILE")
    readers = {".csv": _table, ".tsv": _table, ".parquet": _parquet} | dict.fromkeys(_JSON_LINES, _json_lines)
    texts = readers.get(path.suffix.lower(), _lines)(path, column)
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def count_texts(path: Path, column: str | None = None) -> int:
    """How many texts a file has. Raises what ``read_texts`` does, and ``InputError`` if it has none."""
    count = sum(len(block) for block in read_texts(path, column))
    if not count:
        raise InputError(f"{path} has no texts")
    return count


def _lines(path: Path, column: str | None) -> Iterator[str]:
    if column is not None:
        raise UsageError(f"--column {column}: {path} is read as plain text, which has no columns; leave it out")
    for line in _decoded(path):
        yield line.removesuffix("\n").removesuffix("\r")


def _decoded(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert it") from error


def _table(path: Path, column: str | None) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix.lower() == ".tsv" else {"strict": True}
    rows = csv.reader(_decoded(path), **style)
    try:
        header = next(rows, None)
        if header is None:
            raise InputError(f"{path} is empty; its first line must name the columns")
        if column not in header and (column or "").isdecimal():
            if not 1 <= int(column) <= len(header):
                raise UsageError(f"{path}: --column {column} of a table without a header; it has 1 to {len(header)}")
            place = int(column) - 1
            yield header[place]
        else:
            place = header.index(_choose(path, column, header))
        for row in rows:
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {rows.line_num}: {len(row)} fields, not the {len(header)} of the first line"
                )
            yield row[place]
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}") from error


def _json_lines(path: Path, column: str | None) -> Iterator[str]:
    for number, line in enumerate(_decoded(path), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not an object with a column {column or DEFAULT_COLUMN}")
        text = row.get(_choose(path, column, list(row)))
        if not isinstance(text, str):
            raise InputError(f"{path}, line {number}: {column or DEFAULT_COLUMN} is {json.dumps(text)}, not a text")
        yield text


def _parquet(path: Path, column: str | None) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} cannot be read as Parquet ({error})") from error
    chosen = _choose(path, column, file.schema_arrow.names)
    kind = file.schema_arrow.field(chosen).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(f"{path}: column {chosen} holds {kind}, not texts")
    number = 0
    for batch in file.iter_batches(columns=[chosen]):
        for text in batch.column(0).to_pylist():
            number += 1
            if text is None:
                raise InputError(f"{path}, row {number}: {chosen} is empty (null); fill it or drop the row")
            yield text


def _choose(path: Path, column: str | None, names: list[str]) -> str:
    if column is None:
        column = names[0] if len(names) == 1 else DEFAULT_COLUMN
    if column not in names:
        raise UsageError(f"{path} has no column '{column}'; choose with --column among {', '.join(names)}")
    return column
