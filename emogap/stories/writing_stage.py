"""Stages whose tables a model writes; each table is written, checked, published and resumed independently.

The stage of stories has a table for each chunk of lines and method, that of rewrites one for each version. Several runs
of the same command in one home share the tables: a table that another process holds is skipped and tried again later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from emogap.config import Config, Writer
from emogap.errors import LockHeld, MadeMeanwhile
from emogap.lm.hub import identify
from emogap.records import write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.cluster import Advance, workers
from emogap.store.pieces import MakeAll, OnDone, Piece, Summary, make, run
from emogap.store.progress import progress
from emogap.stories.gating import gating_recipe
from emogap.stories.rows import table, tallied
from emogap.stories.texts import SourceText, Texts
from emogap.stories.writing import Asking, asking, asking_here, has_replies, kept_by_piece, kept_engine, write


@dataclass(frozen=True)
class WrittenPiece(Piece):
    """A table that a model writes. Its ``parts`` are replies, bound only to what shapes replies, not to the gates."""

    name: str = field(kw_only=True)
    """The method or version by which its texts are asked for."""
    size: Callable[[], int] = field(kw_only=True)
    """How many texts are wanted."""

    def said_of_remaking(self) -> str:
        return "its replies go through the gates again" if has_replies(self) else super().said_of_remaking()


def written_piece(
    texts: Texts,
    name: str,
    path: Path,
    own: Recipe,
    sources: Callable[[], Sequence[SourceText]],
    size: Callable[[], int],
    beside: Mapping[str, str] | None = None,
) -> WrittenPiece:
    """The table at ``path`` of the texts that method or version ``name`` makes from ``sources``. ``own``: the part of
    its recipe that only its stage has; ``beside``: further identities of the recipe, which do not shape the replies."""
    config = texts.config
    replies = replace(
        own,
        settings=own.settings
        | config.flat(own.stage, "sampling")
        | config.flat_writer("engine", "dtype", "quantization", "batch_size"),
        identities=own.identities | {"writer.model": identify(config.writer.model)},
        seed=config.seed,
    )
    gates, gate_identities = gating_recipe(config, own.stage, texts.gates)
    identities = replies.identities | gate_identities | (beside or {})
    recipe = replace(replies, settings=replies.settings | gates, identities=identities)
    return WrittenPiece(
        path,
        recipe,
        keep_superseded=True,
        make=partial(_make, texts, name, sources),
        parts=path.with_name(path.name.split(".")[0] + ".partial.jsonl"),
        parts_recipe=replies,
        name=name,
        size=size,
    )


def _make(
    texts: Texts, name: str, sources: Callable[[], Sequence[SourceText]], draft: Draft, by: Asking | None = None
) -> None:
    """Write a piece's table. ``by``: who answers the requests; None: this process."""
    piece, prompting = draft.artefact, texts.prompting(name)
    requests = [texts.request(source, prompting) for source in sources()]
    kept = kept_by_piece(texts, requests, piece)
    by = by or asking_here(texts.config.writer)
    rows = write(texts, requests, prompting.sampling, kept, by, texts.settings.gates.retries)
    write_rows(draft.path, table(rows), texts.row_type)
    draft.counts |= {texts.counted: len(requests), **tallied(rows)}
    draft.notes["replies"] = piece.parts_recipe.sha256()
    texts.beside(name, rows, draft)


def run_writing(texts: Texts, pieces: Sequence[Piece], apart: bool = False) -> Summary:
    """Make all tables that are not fresh, then draw. ``apart``: each worker of a cluster makes whole tables; otherwise
    the workers share the requests of each table. Raises ``MissingInput``, ``InputError`` and ``UsageError``."""
    *tables, shown = pieces
    stale = [piece for piece in tables if piece.freshness().state != "fresh"]
    if stale:
        texts.check_examples()
    total = sum(piece.size() for piece in stale)
    with progress(texts.written, total, texts.written) as bar, _makers(texts.config, apart, bar.advance) as make_all:
        summary = run(texts.stage, tables, make_all)
    run(texts.stage, [shown])
    return summary


@contextmanager
def _makers(config: Config, apart: bool, advance: Advance) -> Iterator[MakeAll]:
    if apart and config.scale.executor != "plain":
        with workers(config.scale, partial(_open_maker, config.writer), advance, _size_made) as crew:
            yield crew.run
        return
    with asking(config, advance) as by:

        def make_all(pieces: list[Piece], on_done: OnDone) -> None:
            for piece in pieces:
                why_not = make(replace(piece, make=partial(piece.make, by=by)))
                if isinstance(why_not, MadeMeanwhile):
                    advance(piece.size())
                on_done(piece, why_not)

        yield make_all


def _open_maker(writer: Writer, advance: Advance) -> tuple[Callable[[Piece], LockHeld | None], Callable[[], Any]]:
    """The function by which a worker makes tables, with an engine that it keeps open, and one that returns the engine's
    identity."""
    return make, lambda: kept_engine(writer).identity


def _size_made(piece: WrittenPiece, why_not: LockHeld | None) -> int:
    return piece.size() if why_not is None or isinstance(why_not, MadeMeanwhile) else 0
