"""Errors that a user is meant to read: one line with what was wrong, where, the value and the remedy.

The command line prints the message and ends with ``exit_code``; anything that is not an ``EmogapError`` is a defect
and keeps its traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EmogapError(Exception):
    """Base of all errors with a remedy. Exit code 1 unless a subclass says otherwise."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """The first line of what another library's error says, as a part of a message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class UsageError(EmogapError):
    """A command, an option or a setting is wrong: unknown profile, key, stage, method, an impossible value."""

    exit_code = 2


class InputError(EmogapError):
    """A file is there but is not what the stage can read."""


class MissingInput(InputError):
    """A file that a stage reads is not there; the message names the file and what makes it."""


class ModelError(EmogapError):
    """A model is not available or is not of the right kind."""


class LockHeld(EmogapError):
    """Another living process is making the same artefact."""


class MadeMeanwhile(LockHeld):
    """Another process has made the artefact after this one had checked it and before this one got its lock."""


class DiskError(EmogapError):
    """Writing failed: full disk, read-only folder."""


class TrainingError(EmogapError):
    """A training cannot go on: its loss is not finite, or memory ran out."""


@contextmanager
def reading_parquet(path: Path, remedy: str = "delete it and rerun its stage") -> Iterator[None]:
    """Turn an error of reading the file as Parquet in this block into an ``InputError`` with the remedy."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({one_line(error)}); {remedy}") from error
