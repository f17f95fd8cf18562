"""Reads the texts to be described: from a home's artefacts, from files of records in any format, or from old chunks.

All become one frame with one row per text and the columns of ``COLUMNS``: ``line`` identifies what the text was written
from (equal values mean the same source line), ``made_from`` is that line's text, or a rewrite's original answer; both
are empty strings where a file does not say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from emogap.errors import InputError
from emogap.published import published_methods
from emogap.records import KEPT
from emogap.store.artefacts import RULE
from emogap.text.forms import Label, check
from emogap.text.reading import RECORD_ENDINGS, Row, given_file, listed, quoted, read_table
from emogap.text.words import rule_of_column

GroupBy = Literal["method", "file", "version"]
COLUMNS = ("group", "text", "emotion", "source", "line", "made_from")

STORY_COLUMNS = ("augmented_text", "story")
"""Where the text of a story is looked for when no column is named, first to last."""
REWRITE_COLUMNS = ("rewritten_output", "output")
_ORIGINALS = {"augmented_text": "text", "story": "text", "output": "original_output"}
"""Column of a text → column of what the text was made from."""
_LINE_COLUMNS = (["line_id"], ["text"], ["instruction", "input"], ["instruction"])
_SOURCES = {f"{RULE}sources": "2 (10M/cbt and 100M/cbt are two)"}
_READ = {
    *STORY_COLUMNS, *REWRITE_COLUMNS, "status", "method", "version", "emotion", "emotions", "source", "line_id", "text",
    "instruction", "input", *_ORIGINALS.values(),
}  # fmt: skip


@dataclass(frozen=True)
class _File:
    """A file's records."""

    path: Path
    name: str
    """File name without extension; with the folder in front where two files would have the same name."""
    columns: tuple[str, ...]
    rows: list[Row]


def read_texts(
    paths: Sequence[Path],
    candidates: Sequence[str],
    column: str | None = None,
    group: GroupBy | None = None,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """The texts of all files, without rejected rows (their column ``status`` says so).

    ``column``: the column of the text; None takes the first of ``candidates`` that the files have. ``group``: the
    column of the group, or ``file`` for one group per file; None takes ``method`` or ``version`` where all files have
    it, else ``file``. ``attrs["groups"]`` of the frame names all groups.

    Raises ``MissingInput`` for a file that is not there; ``InputError`` for one that cannot be read, has no rows or
    lacks a column, for an emotion that is not one of the 28, and, unless ``may_be_empty``, for a group without texts.
    """
    wanted = [*_READ, *(name for name in (column, group) if name and name not in _READ)]
    files = [_read(path, name, wanted) for path, name in zip(paths, _names(paths), strict=True)]
    column = column or _shared_column(files, candidates)
    by = (name for name in ("method", "version") if all(name in file.columns for file in files))
    group = group or next(by, "file")
    rows, groups = [], {}
    for file in files:
        of_file = _texts(file, column, group)
        groups |= dict.fromkeys(sorted({row["group"] for row in of_file}))
        rows += [row for row in of_file if row.pop("kept")]
    texts = pd.DataFrame(rows, columns=list(COLUMNS))
    texts.attrs["groups"] = list(groups)
    for name in groups:
        if not texts["group"].eq(name).any() and not may_be_empty:
            raise InputError(
                f"group {quoted(name)} has no text: none of its rows was accepted; leave it out or make them"
            )
    return texts


def _read(path: Path, name: str, wanted: Sequence[str]) -> _File:
    given_file(path, "texts", "give a file of records (Parquet, JSON, JSON lines, CSV, TSV) or the study's .pkl files")
    if path.suffix == ".pkl":
        return _read_old_chunk(path, name)
    table = read_table(path, wanted)
    return _File(path, name, table.columns, list(table.rows))


def _read_old_chunk(path: Path, name: str) -> _File:
    """Read one of the study's pickled chunks by an unpickler that runs no code. The file's name tells the method."""
    from emogap.stories.import_pickles import read_chunk

    method = published_methods().get(path.stem.removeprefix("babylm_augment_"))
    known = {"method": method} if method else {}
    rows = [
        (f"{path}, record {number}", record.model_dump() | known)
        for number, record in enumerate(read_chunk(path), start=1)
    ]
    return _File(path, name, tuple(dict.fromkeys(key for _, values in rows for key in values)), rows)


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without extension; with the folder in front where two files would have the same name."""
    stems = [_stem(path.name) for path in paths]
    names = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the files are called '{name}'; give each once, or rename one")
    return names


def _stem(name: str) -> str:
    ending = next((ending for ending in RECORD_ENDINGS if name.endswith(ending)), Path(name).suffix)
    return name.removesuffix(ending).removesuffix(".rows")


def _shared_column(files: Sequence[_File], candidates: Sequence[str]) -> str:
    for column in candidates:
        lacking = [file for file in files if column not in file.columns]
        if not lacking:
            return column
        if len(lacking) < len(files):
            raise InputError(
                f"mixed schemas: {lacking[0].path} has no column '{column}' as others have; name one with --column"
            )
    names = " or ".join(f"'{name}'" for name in candidates)
    raise InputError(f"{files[0].path}: no column {names}; it has {listed(files[0].columns)}; name one with --column")


def _texts(file: _File, column: str, group: str) -> list[dict[str, Any]]:
    """The file's rows for the frame, each with ``kept``: whether it was accepted. A rejected one has only its group."""
    if not file.rows:
        raise InputError(f"{file.path} has no rows: group '{file.name}' would be empty; leave it out")
    for needed in (column, *([group] if group != "file" else [])):
        if needed not in file.columns:
            raise InputError(f"{file.path}: no column '{needed}'; it has {listed(file.columns)}")
    line_columns = next((names for names in _LINE_COLUMNS if all(name in file.columns for name in names)), [])
    rows = []
    for where, values in file.rows:
        row = {"group": file.name if group == "file" else _value(values, group, where).strip()}
        if not row["group"]:
            raise InputError(f"{where}: '{group}' is empty; name its {group}, or give --group file")
        row["kept"] = "status" not in file.columns or values.get("status") == KEPT
        if row["kept"]:
            if not isinstance(values.get(column), str):
                raise InputError(f"{where}: no text in column '{column}'; mark it rejected or mend it")
            row |= {
                "text": values[column],
                "emotion": _emotion(values, where),
                "source": _source(_value(values, "source", where)),
                "line": "\x1f".join(_value(values, name, where) for name in line_columns),
                "made_from": _value(values, _ORIGINALS.get(column, ""), where),
            }
        rows.append(row)
    return rows


def _source(name: str) -> str:
    """The name of a source. The study's old chunks give the path of its ``.train`` file instead."""
    return Path(name).name.removesuffix(".train") if name.endswith(".train") else name


def sources_rule(tables: Iterable[Path]) -> dict[str, str]:
    """The recipe entry for stories with a folder in a source's name, which was once left out; else nothing."""

    def once_lost(name: str) -> bool:
        return _source(name) != Path(name).name

    return rule_of_column(_SOURCES, "a source with a folder in its name", once_lost, tables, "source")


def _value(values: dict[str, Any], name: str, where: str) -> str:
    """A text or whole number as a text; empty where there is none. Raises ``InputError`` for anything else."""
    value = values.get(name)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    if value is not None:
        raise InputError(f"{where}: '{name}' is {quoted(value)}, not a text or a whole number")
    return ""


def _emotion(values: dict[str, Any], where: str) -> str:
    """The first emotion: of a list, or of names joined by commas; empty where none is named."""
    column = "emotions" if values.get("emotions") is not None else "emotion"
    given = values.get(column)
    if given is None:
        return ""
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
    labels = check(list[Label], [] if names == [""] else names, f"{where}, '{column}'")
    return labels[0] if labels else ""
