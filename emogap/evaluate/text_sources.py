"""Texts to be described: read from a home's artefacts, from any Parquet, JSON or JSON-lines files, or from old chunks.

What the rest works on is one frame, a row a text, with the columns ``group, text, emotion, source, line``: ``line`` is
what the text was written from (equal values mean the same source line), empty strings where a file does not say.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emogap.errors import InputError, MissingInput
from emogap.published import published_methods
from emogap.records import KEPT

GroupBy = Literal["method", "file", "version"]
COLUMNS = ("group", "text", "emotion", "source", "line")

STORY_COLUMNS = ("augmented_text", "story")
"""Where the text of a story is looked for when no column is named, first to last."""
REWRITE_COLUMNS = ("rewritten_output", "output")
_LINE_COLUMNS = (["line_id"], ["text"], ["instruction", "input"], ["instruction"])
_READ = {
    *STORY_COLUMNS, *REWRITE_COLUMNS, "status", "method", "version", "emotion", "emotions", "source", "line_id", "text",
    "instruction", "input",
}  # fmt: skip


def read_texts(
    paths: Sequence[Path],
    candidates: Sequence[str],
    column: str | None = None,
    group: GroupBy | None = None,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """The texts of all files. Rejected rows (a column ``status`` that says so) are left out.

    ``column``: where the text stands, else the first of ``candidates`` that the files have. ``group``: a column, or
    ``file`` for a group a file; None takes the column ``method`` or ``version`` where all files have it, else files.

    Raises ``MissingInput`` for a file that is not there, ``InputError`` for one that cannot be read, lacks the column,
    differs from the others in it, or leaves a group without a text, unless that ``may_be_empty``; ``attrs["groups"]``
    names all groups.
    """
    wanted = _READ | {name for name in (column, group) if name}
    tables = {name: _read(path, wanted) for name, path in zip(_names(paths), paths, strict=True)}
    column = column or _shared_column(tables, paths, candidates)
    group = group or _default_group(tables)
    parts = [_part(table, path, name, column, group) for (name, table), path in zip(tables.items(), paths, strict=True)]
    groups = dict.fromkeys(name for part in parts for name in part.attrs.pop("groups"))
    texts = pd.concat(parts, ignore_index=True)
    texts.attrs["groups"] = list(groups)
    for name in groups:
        if not texts["group"].eq(name).any() and not may_be_empty:
            raise InputError(f"group '{name}' has no text: none of its rows was accepted; leave it out or make them")
    return texts


def _read(path: Path, wanted: set[str]) -> pd.DataFrame:
    """The wanted columns of a file; ``attrs["columns"]`` says which it has."""
    if not path.is_file():
        raise MissingInput(f"{path} not found; give Parquet, JSON, JSON-lines or the study's .pkl files")
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
            table = pq.read_table(path, columns=[name for name in names if name in wanted]).to_pandas()
            table.attrs["columns"] = names
            return table
        if path.suffix == ".pkl":
            return _read_old_chunk(path)
        text = path.read_text(encoding="utf-8")
        records = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if _is_lines(path) else json.loads(text)
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:] or 'JSON'}: {error}") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} is not a list of records; give a JSON list of objects, JSON lines or Parquet")
    table = pd.DataFrame(records)
    table.attrs["columns"] = list(table.columns)
    return table


def _read_old_chunk(path: Path) -> pd.DataFrame:
    """One of the study's pickled chunks, through the unpickler that runs nothing; its method by its name."""
    from emogap.generate.import_pickles import read_pickle

    table = pd.DataFrame(read_pickle(path))
    method = published_methods().get(path.stem.removeprefix("babylm_augment_"))
    if method:
        table["method"] = method
    table.attrs["columns"] = list(table.columns)
    return table


def _is_lines(path: Path) -> bool:
    return path.suffix in (".jsonl", ".ndjson")


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without extension; with their folder before it where two would be the same."""
    stems = [path.name.removesuffix(path.suffix).removesuffix(".rows") for path in paths]
    names = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the files are called '{name}'; give each once, or rename one")
    return names


def _shared_column(tables: dict[str, pd.DataFrame], paths: Sequence[Path], candidates: Sequence[str]) -> str:
    for column in candidates:
        having = [column in table for table in tables.values()]
        if all(having):
            return column
        if any(having):
            lacking = paths[having.index(False)]
            raise InputError(
                f"mixed schemas: {lacking} has no column '{column}' as others have; name one with --column"
            )
    names = " or ".join(f"'{name}'" for name in candidates)
    has = _columns(next(iter(tables.values())))
    raise InputError(f"{paths[0]}: no column {names}; it has {has}; name one with --column")


def _columns(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.attrs["columns"])) or "none"


def _default_group(tables: dict[str, pd.DataFrame]) -> str:
    for column in ("method", "version"):
        if all(column in table for table in tables.values()):
            return column
    return "file"


def _part(table: pd.DataFrame, path: Path, name: str, column: str, group: str) -> pd.DataFrame:
    if table.empty:
        raise InputError(f"{path} has no rows: group '{name}' would be empty; leave it out")
    for needed in (column, *([group] if group != "file" else [])):
        if needed not in table:
            raise InputError(f"{path}: no column '{needed}'; it has {_columns(table)}")
    groups = pd.Series(name, index=table.index) if group == "file" else table[group].astype(str)
    kept = table["status"].eq(KEPT) if "status" in table else pd.Series(True, index=table.index)
    rows = table[kept]
    missing = rows[column].map(lambda value: not isinstance(value, str))
    if missing.any():
        raise InputError(
            f"{path}: row {missing.idxmax()} has no text in column '{column}'; mark it rejected or mend it"
        )
    part = pd.DataFrame(
        {
            "group": groups[kept],
            "text": rows[column],
            "emotion": _emotions(rows),
            "source": rows["source"].map(_source_name) if "source" in rows else "",
            "line": _lines(rows),
        }
    )
    part.attrs["groups"] = sorted(groups.unique())
    return part


def _emotions(rows: pd.DataFrame) -> pd.Series:
    """The first emotion of each row: of a list, or of names joined by ", "."""
    if "emotions" in rows:
        return rows["emotions"].map(lambda labels: labels[0] if len(labels) else "")
    if "emotion" in rows:
        return rows["emotion"].fillna("").astype(str).str.split(", ").str[0]
    return pd.Series("", index=rows.index)


def _source_name(source: str) -> str:
    """A source given as the path of its file is called as the file is."""
    return Path(source).name.removesuffix(".train")


def _lines(rows: pd.DataFrame) -> pd.Series:
    for columns in _LINE_COLUMNS:
        if all(name in rows for name in columns):
            parts = [rows[name].fillna("").astype(str) for name in columns]
            return parts[0].str.cat(parts[1:], sep="\x1f") if len(parts) > 1 else parts[0]
    return pd.Series("", index=rows.index)
