"""A variant of a run beside its parent: what is made by an equal recipe there is taken from there.

The home of a variant names its parent in a file. Taken over means linked: the files of both homes are the same on the
disk until one of them is made anew, which never writes into a file that is there.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from emogap.errors import LockHeld
from emogap.home_settings import PARENT, parent_of
from emogap.store.artefacts import Artefact, portable, read_manifest, write_json
from emogap.store.locks import lock


def came_from(artefact: Artefact) -> str:
    """The home from which an artefact was taken over; empty where it was made in its own."""
    return artefact.manifest().get("from", "")


def take_over(artefact: Artefact) -> bool:
    """Take an artefact from the parent of its home, if it is fresh there under the same recipe; whether it is done."""
    there = _at_parent(artefact)
    if there is None or there.freshness().state != "fresh":
        return False
    manifest = read_manifest(there.path)
    with suppress(LockHeld), lock(artefact.path):
        artefact.retire()
        for name in manifest["files"]:
            _link(there.path.with_name(name), artefact.path.with_name(name))
        source = manifest.get("from") or portable(there.path)
        write_json(artefact.manifest_path, manifest | {"from": source})
        return True
    return False  # somebody makes it


def _at_parent(artefact: Artefact) -> Artefact | None:
    """The same artefact in the parent of its home, or in the parent's parent."""
    home = next((folder for folder in artefact.path.parents if (folder / PARENT).exists()), None)
    name = artefact.path.relative_to(home) if home else None
    while home and (home := parent_of(home)):
        if (home / name).exists():
            return replace(artefact, path=home / name)
    return None


def _link(source: Path, target: Path) -> None:
    """Link a file or a folder's files; a copy where the file system links nothing."""
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    if source.is_dir():
        shutil.copytree(source, temporary, copy_function=_link_file)
    else:
        _link_file(source, temporary)
    os.replace(temporary, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
