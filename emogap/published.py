"""The published numbers, which people compare their own with: one small file, each table with where it comes from."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from emogap.errors import UsageError

FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class PublishedTable:
    """One table of the published study."""

    key: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...]

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.rows), columns=list(self.columns))


@lru_cache
def published_tables() -> dict[str, PublishedTable]:
    """Key → table, for all of them."""
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        key: PublishedTable(key, e["title"], e["source"], tuple(e["columns"]), tuple(map(tuple, e["rows"])))
        for key, e in entries.items()
    }


def published(key: str) -> PublishedTable:
    """One table by key. Raises ``UsageError`` if there is none."""
    tables = published_tables()
    if key not in tables:
        raise UsageError(f"no published table '{key}'; there are {', '.join(tables)}")
    return tables[key]


@lru_cache
def published_methods() -> dict[str, str]:
    """Chunk of the study's stories, as its file is named (``0``, ``0_new``, …) → the method that wrote it."""
    return {
        chunk: method
        for method, chunks in published("story_chunks").rows
        for part in chunks.split(",")
        for chunk in _chunks(part)
    }


def _chunks(part: str) -> list[str]:
    first, _, last = part.partition("-")
    return [str(number) for number in range(int(first), int(last) + 1)] if last else [part]
