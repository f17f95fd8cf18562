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
"""How often a lock that another process holds is tried, when nothing else is left to be made."""


@dataclass(frozen=True)
class Piece(Artefact):
    """An artefact that knows how to make itself."""

    make: Callable[[Draft], None] = field(kw_only=True)
    """Writes the draft's path and fills in its counts and notes."""
    parts: Path | None = field(default=None, kw_only=True)
    """Where what is finished of it is kept (``store/parts``); cleared away when it is published."""
    parts_recipe: Recipe | None = field(default=None, kw_only=True)
    """What shapes the parts, where that is not the whole recipe."""
    for_drawings: bool = field(default=False, kw_only=True)
    """Whether tables and figures alone are made from it: where it is missing these are not drawn, and nothing else."""

    @contextmanager
    def making(self) -> Iterator[Draft]:
        """As every artefact's; also raises ``MadeMeanwhile`` if it is fresh by the time its lock is had."""
        with super().making() as draft:
            if self.freshness().state == "fresh":
                raise MadeMeanwhile(f"{self.path} was made by another process just now; run the stage again")
            draft.afterwards.append(self._clear_parts)
            yield draft

    def said_of_remaking(self) -> str:
        """What is done about it where it is stale."""
        return "making it again"

    def clear_leftovers(self) -> None:
        """Clear away parts that a kill between publishing and clearing up has left."""
        if self.parts and self.parts.exists():
            with suppress(LockHeld), lock(self.path):  # whoever holds it is at work on it, under other settings
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
        """Take in a piece that is there now, and whether it was made just now."""
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
"""Hears of a piece that is made, or of why it is left to another process."""
MakeAll = Callable[[list[Piece], OnDone], None]


def run(name: str, pieces: Iterable[Piece], make_all: MakeAll | None = None) -> Summary:
    """Make every piece that is not fresh, saying of a stale one what changed; add up the counts of all.

    One piece may be made from another that comes before it: each is taken from ``pieces`` when all before it are there.
    ``make_all``, where it is given, makes pieces of which none is made from another, all at once.

    What another process holds is waited for; of several pieces that are made at once it is passed over and come back
    to, so that equal commands share the work. What a process that died has begun is taken over as soon as its lock is
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
    """Make a piece, or give back why that is left to another process."""
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
    """Make those that are not fresh; which were made here."""
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
# The home of a variant names its parent in a file; what is made by an equal recipe there is taken from there. Taken
# over means linked: the files of both homes are the same on the disk until one of them is made anew, which never writes
# into a file that is there.


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


def is_there(artefact: Artefact) -> bool:
    """Whether an artefact is fresh in its home, or is now, taken over."""
    return artefact.freshness().state == "fresh" or take_over(artefact)


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
        shutil.copytree(source, temporary, copy_function=link_file)
    else:
        link_file(source, temporary)
    os.replace(temporary, target)


def link_file(source: str | Path, target: str | Path) -> None:
    """Both are the same file on the disk; a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
