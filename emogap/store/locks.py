"""One lock per artefact, held through the kernel so that a dead owner's lock is free at once."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from emogap.errors import LockHeld


@contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of the artefact at ``path`` (a file ``<name>.lock`` beside it) for the length of the block.

    The kernel drops the lock when its owner dies, however it dies; the file then left behind is simply taken over.
    If a living process holds it: ``wait`` for that process, or raise ``LockHeld`` naming the process and its host.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(path.name + ".lock")
    handle = _acquire(lock_path, path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        lock_path.unlink()
        os.close(handle)


def _acquire(lock_path: Path, artefact: Path, how: int) -> int:
    while True:
        handle = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, how)
        except BlockingIOError:
            owner = os.read(handle, 4096).decode()
            os.close(handle)
            raise LockHeld(f"{artefact} is being made by {_describe(owner)}; wait for it or stop it") from None
        # The former owner unlinks the file before it lets go: a lock on an unlinked file protects nothing.
        if _is_same_file(handle, lock_path):
            break
        os.close(handle)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(owner).encode())
    return handle


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _describe(owner: str) -> str:
    try:
        fields = json.loads(owner)
    except json.JSONDecodeError:  # the owner holds the lock but has not yet written its name
        return "another process"
    return f"process {fields['pid']} on {fields['host']} since {fields['since']}"
