"""Finished parts of work that is under way: rows in a file, or arrays in a folder.

Both are flushed to the disk when they are added, and both are bound to what shapes them (a recipe), so that parts made
by another recipe are never mixed in. The next run finds what a killed run had finished.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from emogap.errors import InputError
from emogap.store.artefacts import write_json
from emogap.store.locks import lock

_BINDING = "binding.json"


class Rows:
    """A JSON-lines file: its first line is what it is bound to (a recipe's hash), each further line a finished row.

    A torn last line (the writer was killed) is cut off; any other line that cannot be read is an ``InputError`` that
    names it. A file that is bound to something else is moved aside as ``<name>.<hash>.jsonl``.

    ``shared``: several processes add to it, each while it holds the file's lock; ``append`` also reads what the others
    have added.
    """

    def __init__(self, path: Path, binding: str, shared: bool = False):
        self.path, self._binding, self._shared = path, binding, shared
        self.rows: list[dict[str, Any]] = []
        if not shared or path.exists():
            with self._held():
                self.rows = self._read()

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add finished rows; they are on the disk when this returns."""
        rows = list(rows)
        with self._held():
            if self._shared:
                self.rows = self._read()
            self._write(rows, "a")
        self.rows.extend(rows)

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._shared:
            with lock(self.path, wait=True):
                yield
        else:
            yield

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return self._begin()
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        lines = [(number, line) for number, line in enumerate(whole.split(b"\n"), start=1) if line]
        if not lines:
            return self._begin()
        binding = self._object(*lines[0], "delete the file: its rows are made again").get("recipe")
        if not isinstance(binding, str):
            raise InputError(f"{self.path}, line 1, is damaged (no recipe); delete the file: its rows are made again")
        if binding != self._binding:
            os.replace(self.path, self.path.with_suffix(f".{binding[:8]}.jsonl"))
            return self._begin()
        return [self._object(*line, "delete that line: its row is made again") for line in lines[1:]]

    def _object(self, number: int, line: bytes, remedy: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{self.path}, line {number}, is damaged ({error}); {remedy}") from error
        if not isinstance(row, dict):
            raise InputError(f"{self.path}, line {number}, is damaged (no JSON object); {remedy}")
        return row

    def _begin(self) -> list[dict[str, Any]]:
        self._write([{"recipe": self._binding}], "w")
        return []

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        with self.path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())


class Arrays:
    """A folder of finished arrays, ``<key>.npy`` each.

    ``binding``: what shapes them, with the hash of a recipe under ``recipe``; a folder that is bound to something else
    is emptied. None: each key by itself identifies the content of its array.
    """

    def __init__(self, folder: Path, binding: Mapping[str, Any] | None = None):
        self.folder = folder
        if binding is None:
            return
        digest = hashlib.sha256(json.dumps(binding, sort_keys=True).encode()).hexdigest()
        bound = folder / _BINDING
        if not bound.exists() or json.loads(bound.read_text(encoding="utf-8"))["sha256"] != digest:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(bound, {"sha256": digest, **binding})

    def has(self, key: str) -> bool:
        return self._file(key).exists()

    def read(self, key: str) -> np.ndarray:
        return np.load(self._file(key), allow_pickle=False)

    def put(self, key: str, array: np.ndarray) -> None:
        """Keep an array; it is on the disk when this returns."""
        file = self._file(key)
        temporary = file.with_name(f".{key}.tmp-{os.getpid()}")
        with temporary.open("wb") as handle:
            np.save(handle, array, allow_pickle=False)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npy"


def clear(place: Path, recipe_sha256: str) -> None:
    """Remove the rows or arrays at ``place``, if there are any and they are bound to that recipe."""
    if place.exists() and _bound_to(place) == recipe_sha256:
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def _bound_to(place: Path) -> str | None:
    """The hash of the recipe that parts are bound to; None where it cannot be told."""
    try:
        if place.is_dir():
            return json.loads((place / _BINDING).read_text(encoding="utf-8"))["recipe"]
        with place.open(encoding="utf-8") as file:
            return json.loads(file.readline())["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
