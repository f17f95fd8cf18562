"""Pieces: artefacts that know how to make themselves, and the one way in which stages make them."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from emogap.errors import LockHeld, MadeMeanwhile
from emogap.home_settings import PARENT, parent_of
from emogap.store.artefacts import Artefact, Draft, Recipe, portable, read_manifest, write_json
from emogap.store.locks import lock
from emogap.store.parts import clear

LOOK_SECONDS = 1.0
"""Seconds between two attempts to get a lock that another process holds, when nothing else is left to be made."""


@dataclass(frozen=True)
class Piece(Artefact):
    """An artefact that knows how to make itself."""

    make: Callable[[Draft], None] = field(kw_only=True)
    """Writes the draft's path and fills in its counts and notes."""
    parts: Path | None = field(default=None, kw_only=True)
    """Where its finished parts are kept while it is being made (``store/parts``); removed when it is published."""
    parts_recipe: Recipe | None = field(default=None, kw_only=True)
    """What shapes the parts, where that is not the whole recipe."""
    for_drawings: bool = field(default=False, kw_only=True)
    """Whether only tables and figures are made from it: a stage that lacks it lacks no more than these."""

    @contextmanager
    def making(self) -> Iterator[Draft]:
        """Like ``Artefact.making``; also raises ``MadeMeanwhile`` if it is fresh once the lock is held."""
        with super().making() as draft:
            if self.freshness().state == "fresh":
                raise MadeMeanwhile(f"{self.path} was made by another process just now; run the stage again")
            draft.afterwards.append(self._clear_parts)
            yield draft

    def said_of_remaking(self) -> str:
        """What is done about it where it is stale."""
        return "making it again"

    def clear_leftovers(self) -> None:
        """Remove parts that are left because a process was killed after publishing and before removing them."""
        if self.parts and self.parts.exists():
            with suppress(LockHeld), lock(self.path):  # a process that holds it makes it with other settings
                self._clear_parts()

    def _clear_parts(self) -> None:
        if self.parts:
            clear(self.parts, (self.parts_recipe or self.recipe).sha256())


@dataclass
class Summary:
    """What a stage says when it is done."""

    stage: str
    made: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    drawn: bool = False
    """Whether tables and figures were drawn."""

    def add(self, piece: Piece, made: bool) -> None:
        """Add a piece that exists now. ``made``: whether this run made it."""
        if piece.is_drawing:
            self.drawn |= made
            return
        (self.made if made else self.fresh).append(piece.path.name)
        for key, value in piece.manifest()["counts"].items():
            self.counts[key] = self.counts.get(key, 0) + value

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {value:,}" for name, value in self.counts.items())
        nothing = "tables and figures drawn" if self.drawn else "nothing to do"
        made = f"made {len(self.made)}" if self.made else nothing
        fresh = f", {len(self.fresh)} already fresh" if self.fresh else ""
        return f"{self.stage}: {made}{fresh} in {self.seconds:.1f} s" + (f" ({counts})" if counts else "")


OnDone = Callable[[Piece, LockHeld | None], None]
"""Called with each piece that is made, or with the reason why it is left to another process."""
MakeAll = Callable[[list[Piece], OnDone], None]


def run(name: str, pieces: Iterable[Piece], make_all: MakeAll | None = None) -> Summary:
    """Make every piece that is not fresh, print why a stale one is stale, and add up the counts of all pieces.

    A piece may be made from an earlier one: each is taken from ``pieces`` only when all before it are made.
    ``make_all``, if it is given, makes all pieces together; none of them may then be made from another.

    A piece that another process is making is waited for. With ``make_all`` it is skipped and tried again later, so that
    several runs of the same command share the work. A piece whose process died is taken over as soon as its lock is
    free.
    """
    started, summary = time.monotonic(), Summary(name)
    for group in [[*pieces]] if make_all else ([piece] for piece in pieces):
        made = _made(name, group, make_all or _make_each)
        for piece in group:
            piece.clear_leftovers()
            summary.add(piece, piece.path in made)
    summary.seconds = time.monotonic() - started
    return summary


def make(piece: Piece) -> LockHeld | None:
    """Make a piece, or return the error that says that another process is making it or has made it."""
    try:
        with piece.making() as draft:
            piece.make(draft)
    except LockHeld as error:
        return error
    return None


def _make_each(pieces: list[Piece], on_done: OnDone) -> None:
    for piece in pieces:
        on_done(piece, make(piece))


def _made(name: str, pieces: list[Piece], make_all: MakeAll) -> set[Path]:
    """Make the pieces that are not fresh. Returns the paths of those that this process made."""
    made: set[Path] = set()
    left, waits = [piece for piece in pieces if not _is_fresh(piece)], False
    while left:
        held: dict[Path, LockHeld] = {}

        def on_done(piece: Piece, why_not: LockHeld | None, held: dict[Path, LockHeld] = held) -> None:
            if why_not is None:
                made.add(piece.path)
            elif not isinstance(why_not, MadeMeanwhile):
                held[piece.path] = why_not

        make_all(left, on_done)
        if len(held) == len(left):
            if not waits:
                print(f"{name} has nothing else to make: {held[left[-1].path]}", flush=True)
            waits = True
            time.sleep(LOOK_SECONDS)
        left = [piece for piece in left if piece.path in held]
    return made


def _is_fresh(piece: Piece) -> bool:
    freshness = piece.freshness()
    if freshness.state != "fresh" and not piece.is_drawing and take_over(piece):
        print(f"{piece.path.name} is taken from {came_from(piece)}")
        return True
    if freshness.state == "stale" and not piece.is_drawing:
        kept = " (the old one is kept under superseded/)" if piece.keep_superseded else ""
        print(f"{piece.path.name} is stale: {'; '.join(freshness.reasons)}; {piece.said_of_remaking()}{kept}")
    return freshness.state == "fresh"


# --- variants --------------------------------------------------------------------------------------------------------
#
# The home of a variant names its parent in a file; an artefact that the parent has under an equal recipe is taken over
# from there. Taken over means hard-linked: both homes share the file on the disk until one of them makes it again,
# which writes a new file and never changes the shared one.


def came_from(artefact: Artefact) -> str:
    """The path of the artefact from which this one was taken over; empty if it was made in its own home."""
    return artefact.manifest().get("from", "")


def take_over(artefact: Artefact) -> bool:
    """Take an artefact from a parent of its home, if it is fresh there under the same recipe. True if it was taken."""
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
    return False  # another process is making it


def is_there(artefact: Artefact) -> bool:
    """Whether an artefact is fresh in its home, if need be after taking it over from a parent."""
    return artefact.freshness().state == "fresh" or take_over(artefact)


def _at_parent(artefact: Artefact) -> Artefact | None:
    """The same artefact in the nearest parent, or parent's parent, of its home that has it; None if none has."""
    home = next((folder for folder in artefact.path.parents if (folder / PARENT).exists()), None)
    name = artefact.path.relative_to(home) if home else None
    while home and (home := parent_of(home)):
        if (home / name).exists():
            return replace(artefact, path=home / name)
    return None


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or all files of a folder; copy them where that is impossible."""
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    if source.is_dir():
        shutil.copytree(source, temporary, copy_function=link_file)
    else:
        link_file(source, temporary)
    os.replace(temporary, target)


def link_file(source: str | Path, target: str | Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy of it where that is impossible."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
