"""Progress of long work: a bar on the screen, or a small file for a program that runs the stage from outside."""

import json
import os
import time
from contextlib import AbstractContextManager, closing
from pathlib import Path

from tqdm.auto import tqdm

PROGRESS_FILE = "EMOGAP_PROGRESS_FILE"
"""Environment variable: where the state of the current bar is written, for a runner that cannot see the bar."""


class Progress:
    """A bar of ``total`` units. ``advance`` it as pieces get done."""

    def __init__(self, label: str, total: int, unit: str):
        self.label, self.total, self.done = label, total, 0
        self._started = time.monotonic()
        self._file = Path(os.environ[PROGRESS_FILE]) if PROGRESS_FILE in os.environ else None
        self._bar = tqdm(total=total, desc=label, unit=f" {unit}", disable=self._file is not None, leave=False)
        self._unit = unit
        self._report()

    def advance(self, pieces: int = 1) -> None:
        self.done += pieces
        self._bar.update(pieces)
        self._report()

    def close(self) -> None:
        self._bar.close()

    def _report(self) -> None:
        if self._file is None:
            return
        seconds = time.monotonic() - self._started
        left = seconds / self.done * (self.total - self.done) if self.done else None
        state = {"label": self.label, "done": self.done, "total": self.total, "unit": self._unit, "seconds_left": left}
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(temporary, self._file)


def progress(label: str, total: int, unit: str) -> AbstractContextManager[Progress]:
    """A bar that is closed at the end of the block."""
    return closing(Progress(label, total, unit))


def clock(seconds: float) -> str:
    """``0:31``, ``2:05:00``: minutes and seconds, or hours too."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
