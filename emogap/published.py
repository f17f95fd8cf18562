"""The published study's numbers, to compare one's own with: one small file of tables, each with its source.

Also a table of a run's settings, each with its value in the published study and its meaning.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic.fields import FieldInfo

from emogap.errors import UsageError
from emogap.home_settings import toml

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


def settings_table(values: dict[str, Any], fields: Mapping[str, FieldInfo], sections: Sequence[str]) -> pd.DataFrame:
    """The table that ``Config.show`` returns. ``values``: those of all settings, by section; ``fields``: key → field;
    ``sections``: sections or settings to show, all if empty. Raises ``UsageError`` for a name that is neither."""
    for name in sections:
        if not any(_is_of(key, name) for key in fields):
            raise UsageError(f"'{name}' is no section and no setting; sections are {', '.join(values)}")
    said = {setting: value for setting, value, _ in published("settings").rows}
    return pd.DataFrame(
        [
            {
                "setting": key,
                "value": toml(_at(values, key)),
                "published": toml(_like(said[key], _at(values, key))) if key in said else "",
                "meaning": " ".join((field.description or "").replace("``", "`").split()),
            }
            for key, field in fields.items()
            if not sections or any(_is_of(key, name) for name in sections)
        ]
    )


def _like(published: Any, value: Any) -> Any:
    """A published number in the type of the setting's value: 10 becomes 10.0 where that is a float."""
    return float(published) if isinstance(value, float) and isinstance(published, int) else published


def _is_of(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
