"""Writes files into a folder of the user's: only those that changed, and never over a file of another origin."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emogap.errors import InputError, UsageError
from emogap.store.artefacts import write_json

RECORD = ".emogap-written.json"
"""File in the folder: name → sha256 of everything that was written there the last time."""


@dataclass(frozen=True)
class Delivery:
    """What a run did to a folder."""

    folder: Path
    written: tuple[str, ...]
    same: int
    """How many files were there already, byte for byte."""
    gone: tuple[str, ...]
    """Files of the last time that were deleted because they are not made any more."""

    def __str__(self) -> str:
        gone = f", {len(self.gone)} taken away" if self.gone else ""
        return f"{self.folder}: {len(self.written)} files written, {self.same} as they were{gone}"


def deliver(folder: Path, files: Mapping[str, bytes]) -> Delivery:
    """Write files (name, which may hold ``/`` → content) into a folder, each under a temporary name first.

    Raises ``UsageError`` where the folder is a file; ``InputError``, before anything is written, where a file of such a
    name was not written by this function, or was changed since.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder")
    known, hashes = _known(folder), {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    there = {name: _sha256(folder / name) for name in {*known, *files}}
    foreign = sorted(name for name in files if there[name] not in (None, hashes[name], known.get(name)))
    if foreign:
        more = f" and {len(foreign) - 1} more files are" if len(foreign) > 1 else " is"
        raise InputError(
            f"{folder / foreign[0]}{more} not as this command wrote it, or not its own; move it away, or name another "
            "folder"
        )
    changed = [name for name in files if there[name] != hashes[name]]
    gone = [name for name in known if name not in files and there[name] in (None, known[name])]
    record = known | {name: sha256 for name, sha256 in hashes.items() if name not in changed}
    try:
        for name in changed:
            _write(folder / name, files[name])
            record[name] = hashes[name]
        for name in gone:
            (folder / name).unlink(missing_ok=True)
            del record[name]
    finally:
        write_json(folder / RECORD, dict(sorted(record.items())))
    return Delivery(folder, tuple(changed), len(files) - len(changed), tuple(gone))


def _known(folder: Path) -> dict[str, str]:
    file = folder / RECORD
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); name another folder") from error


def _sha256(path: Path) -> str | None:
    """None where there is nothing; ``a folder``, which equals no hash, where there is a folder."""
    if path.is_dir():
        return "a folder"
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
