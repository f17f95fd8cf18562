"""Replies made while trying out prompts, by all that shaped them: nothing is asked for twice, nor lost.

Whatever way of asking they come from, a bulk run that asks the same takes them over, and trying it again shows them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emogap.store.parts import Rows

_KIND = "tried replies"


class Tried:
    """A file of replies, one a line, each under the key of ``writing.reply_keys``. Several processes may add to it."""

    def __init__(self, path: Path):
        self._kept = Rows(path, _KIND, shared=True)
        self._answers = _by_key(self._kept.rows)

    def any(self) -> bool:
        return bool(self._answers)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer as journals keep it, or None."""
        return self._answers.get(key)

    def add(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Key → answer; they are on the disk when this returns. What another process added is read in too."""
        self._kept.append({"key": key, **answer} for key, answer in answers.items())
        self._answers = _by_key(self._kept.rows)


def _by_key(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["key"]: {name: value for name, value in row.items() if name != "key"} for row in rows}
