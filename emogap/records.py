"""The row types of the pipeline: which columns a table must have, how it is written and read, and a row's own seed."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emogap.errors import InputError, MissingInput, reading_parquet

KEPT = "kept"
REJECTED = "rejected"

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_SCORES = pa.list_(pa.float32())
_TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class RowType:
    """The columns that readers of a table rely on; a table may have more."""

    name: str
    columns: dict[str, pa.DataType]


PROCESSED = RowType(
    "processed lines",
    {"id": _TEXT, "source": _TEXT, "text": _TEXT, "emotion": _TEXT, "score": pa.float32(), "scores": _SCORES},
)
STORIES = RowType(
    "stories",
    {
        "id": _TEXT, "line_id": _TEXT, "source": _TEXT, "text": _TEXT, "emotions": _TEXTS, "method": _TEXT,
        "prompt_sha": _TEXT, "model": _TEXT, "seed": _INT, "reply": _TEXT, "story": _TEXT, "status": _TEXT,
        "reason": _TEXT,
    },
)  # fmt: skip
CORPUS = RowType(
    "corpus documents",
    {
        "id": _TEXT, "kind": _TEXT, "source": _TEXT, "line_id": _TEXT, "method": _TEXT, "emotion": _TEXT,
        "split": _TEXT, "text": _TEXT, "words": _INT,
    },
)  # fmt: skip
REWRITES = RowType(
    "rewrites",
    {
        "id": _TEXT, "instruction": _TEXT, "input": _TEXT, "original_output": _TEXT, "emotion": _TEXT,
        "version": _TEXT, "reply": _TEXT, "output": _TEXT, "status": _TEXT, "reason": _TEXT,
    },
)  # fmt: skip
RESPONSES = RowType(
    "responses",
    {
        "model": _TEXT, "train_seed": _INT, "prompt_id": _TEXT, "sample": _INT, "instruction_emotion": _TEXT,
        "instruction": _TEXT, "input": _TEXT, "response": _TEXT, "finished": _BOOL,
    },
)  # fmt: skip
EMOTIONS = RowType(
    "emotions of responses",
    {
        "model": _TEXT, "train_seed": _INT, "prompt_id": _TEXT, "sample": _INT, "classifier": _TEXT,
        "response_emotion": _TEXT, "score": pa.float32(),
    },
)  # fmt: skip
SCORES = RowType(
    "scores",
    {
        "model": _TEXT, "train_seed": _INT, "task": _TEXT, "item": _TEXT, "sample": _INT, "group": _TEXT,
        "metric": _TEXT, "value": _FLOAT,
    },
)  # fmt: skip
LENS = RowType(
    "lens readings",
    {
        "model": _TEXT, "prompt_id": _TEXT, "layer": _INT, "position": _INT, "measure": _TEXT, "token": _TEXT,
        "value": _FLOAT,
    },
)  # fmt: skip


_COUNTED = {"prompt_tokens": _INT, "new_tokens": _INT, "finish": _TEXT}
"""Optional columns of what a model wrote, with their types, which missing values would otherwise change."""
ROWS_AT_ONCE = 2000
"""Rows of a table that are in memory while it is read or written piece by piece."""


def to_arrow(rows: pd.DataFrame, row_type: RowType) -> pa.Table:
    """A table whose required columns stand first, in order and with their types; further columns follow as they are.

    Raises ``InputError`` if a required column is missing.
    """
    missing = [name for name in row_type.columns if name not in rows.columns]
    if missing:
        raise InputError(f"a table of {row_type.name} lacks the column {', '.join(missing)}")
    extra = [name for name in rows.columns if name not in row_type.columns]
    arrays = {name: pa.array(rows[name], type=kind, from_pandas=True) for name, kind in row_type.columns.items()}
    arrays |= {name: pa.array(rows[name], type=_COUNTED.get(name), from_pandas=True) for name in extra}
    return pa.table(arrays)


def write_rows(path: Path, rows: pd.DataFrame, row_type: RowType) -> None:
    """Write a Parquet table of that row type to ``path`` (the temporary path of a draft)."""
    pq.write_table(to_arrow(rows, row_type), path, compression="zstd")


def read_rows(path: Path, row_type: RowType, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table and check that it is of that row type.

    Raises ``MissingInput`` if there is no file, ``InputError`` if it is no Parquet file or lacks a column.
    """
    if not path.exists():
        raise MissingInput(f"{path} not found")
    with reading_parquet(path):
        _check_columns(path, pq.read_schema(path).names, row_type, row_type.columns)
        return pd.read_parquet(path, columns=columns)


def stream_rows(path: Path, row_type: RowType, columns: list[str]) -> Iterator[dict]:
    """The given columns of a table of that row type, row by row; ``ROWS_AT_ONCE`` rows are in memory at a time.

    Raises ``InputError`` if it is no Parquet file or lacks one of them.
    """
    with reading_parquet(path), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, row_type, columns)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            yield from batch.to_pylist()


def count_rows(path: Path) -> int:
    """How many rows a table has, read from the file's footer alone. Raises ``InputError`` if it is no Parquet file."""
    with reading_parquet(path):
        return pq.read_metadata(path).num_rows


def _check_columns(path: Path, present: Collection[str], row_type: RowType, wanted: Iterable[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}; it is not a table of {row_type.name}")


def row_seed(run_seed: int, row_id: str, purpose: str) -> int:
    """A seed in 0 … 2⁶³-1 that depends on the run's seed, the row and the purpose alone, never on order or batch."""
    digest = hashlib.blake2b(f"{run_seed}\x1f{row_id}\x1f{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
