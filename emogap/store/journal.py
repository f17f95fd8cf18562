"""Rows that are finished before their artefact is: appended one line each, read back after a kill."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emogap.errors import InputError


class Journal:
    """A JSON-lines file bound to one recipe: its first line is the recipe's hash, each further line a finished row.

    A torn last line (the writer was killed) is cut off; any other line that cannot be read is an ``InputError`` that
    names it. A journal of another recipe is moved aside as
    ``<name>.<hash>.jsonl`` and never mixed in.
    """

    def __init__(self, path: Path, recipe_sha256: str):
        self.path = path
        self._recipe = recipe_sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = self._read()

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
        recipe = self._object(*lines[0], "delete the file: its rows are made again").get("recipe")
        if not isinstance(recipe, str):
            raise InputError(f"{self.path}, line 1, is damaged (no recipe); delete the file: its rows are made again")
        if recipe != self._recipe:
            os.replace(self.path, self.path.with_suffix(f".{recipe[:8]}.jsonl"))
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
        self._write([{"recipe": self._recipe}], "w")
        return []

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add finished rows; they are on the disk when this returns."""
        rows = list(rows)
        self._write(rows, "a")
        self.rows.extend(rows)

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        with self.path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """To be called once the artefact itself is published."""
        self.path.unlink()
