"""A stage whose rows a model writes: parts that stand and resume on their own, each asked, judged and published.

Stories are such a stage, a part a chunk of lines and a method; rewrites another, a part a version. Equal commands in
one home share the parts: one that another process holds is passed over and come back to.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from emogap.cluster import Advance, Here, Workers, workers
from emogap.config import Config
from emogap.data.classify import classifier_identity
from emogap.errors import LockHeld, MadeMeanwhile
from emogap.generate.judging import JUDGING_RULE, Judging, judge
from emogap.generate.tried import Tried
from emogap.generate.writing import (
    Answering,
    Ask,
    EngineOnDemand,
    Row,
    answering,
    answering_by,
    clear_journal,
    engine_on_demand,
    journal_of,
    open_answerer,
    write,
)
from emogap.hub import identify
from emogap.records import KEPT, RowType, write_rows
from emogap.store.artefacts import Artefact, Draft, Recipe
from emogap.store.exhibits import Drawing
from emogap.store.pieces import Summary, run
from emogap.store.progress import progress

Maker = Callable[[Artefact], LockHeld | None]
"""Makes an artefact, or gives back why that is left to another process."""


@dataclass(frozen=True)
class Part:
    """What is published together."""

    way: str
    """The method or version that asks."""
    artefact: Artefact
    replies: Recipe
    """What shapes the replies; the artefact's recipe adds what shapes their judging."""


def part_recipes(
    config: Config, own: Recipe, path: Path, judged: Mapping[str, str] | None = None
) -> tuple[Artefact, Recipe]:
    """The artefact of a part at ``path`` and the recipe of its replies, made from what is its stage's own.

    ``judged``: entries of the artefact's recipe that do not shape the replies.
    """
    replies = replace(
        own,
        settings=own.settings
        | config.flat(own.stage, "sampling")
        | config.flat_writer("engine", "dtype", "quantization", "batch_size"),
        identities=own.identities | {"writer.model": identify(config.writer.model)},
        seed=config.seed,
    )
    classifier = {"process.classifier": classifier_identity(config.process.classifier)}
    recipe = replace(
        replies,
        settings=replies.settings | config.flat(own.stage, "gates"),
        identities=replies.identities | classifier | JUDGING_RULE | (judged or {}),
    )
    return Artefact(path, recipe, keep_superseded=True), replies


class WritingStage(ABC):
    """What such stages share; what is slow to read is read when it is first asked for."""

    name: str
    """The stage's, and its section of the settings."""
    written: str
    """What progress says is written."""
    counted: str
    """What manifests call that which a text is wanted of."""
    rows: RowType
    parts_apart = False
    """Whether a worker of a cluster makes parts of its own; else the workers share the asks of each part."""

    def __init__(self, config: Config, parts: Iterable[Part], judging: Judging, tried: Path, shown: Drawing):
        self.config, self.judging, self.shown = config, judging, shown
        self.parts = {part.artefact.path: part for part in parts}
        self.artefacts = [part.artefact for part in self.parts.values()]
        self.tried = Tried(tried)

    @abstractmethod
    def size(self, part: Part) -> int:
        """How many texts are wanted."""

    @abstractmethod
    def asks(self, part: Part) -> list[Ask]:
        """Raises ``UsageError`` naming what a template misses, before a model is loaded."""

    def beside(self, part: Part, rows: Sequence[Row], draft: Draft) -> None:  # noqa: B027
        """Write what stands beside a part's table."""

    def run(self) -> Summary:
        """Make all parts that are not fresh, then draw. Raises ``MissingInput``, ``InputError`` and ``UsageError``."""
        total = sum(self.size(part) for part in self.parts.values() if part.artefact.freshness().state != "fresh")
        with progress(self.written, total, self.written) as bar, self._makers(bar.advance) as makers:
            summary = run(self.name, self.artefacts, makers.run)
        for part in self.parts.values():
            clear_journal(part.artefact, part.replies.sha256())
        run(self.name, [self.shown])
        return summary

    @contextmanager
    def _makers(self, advance: Advance) -> Iterator[Workers]:
        """Who makes the parts: the workers of the settings, or this process, whose asks they answer."""
        if self.parts_apart:
            with (
                engine_on_demand(self.config.writer) as engine,
                workers(self.config.scale, partial(self.open_maker, engine), advance, self._made) as makers,
            ):
                yield makers
        else:
            with answering(self.config, advance) as answer_all:
                yield Here(lambda: (self.maker(answer_all, advance), lambda: None))

    def open_maker(self, engine: EngineOnDemand, advance: Advance) -> tuple[Maker, Callable[[], str]]:
        """A worker that makes parts, and what its engine is."""
        answer_all = answering_by(Here(partial(open_answerer, engine, advance)))
        return self.maker(answer_all, advance), lambda: engine().identity

    def maker(self, answer_all: Answering, advance: Advance) -> Maker:
        """Makes the parts' artefacts, one after another."""

        def make(artefact: Artefact) -> LockHeld | None:
            try:
                self._make(self.parts[artefact.path], answer_all, advance)
            except LockHeld as error:
                return error
            return None

        return make

    def _made(self, artefact: Artefact, why_not: LockHeld | None) -> int:
        made = why_not is None or isinstance(why_not, MadeMeanwhile)
        return self.size(self.parts[artefact.path]) if made else 0

    def _make(self, part: Part, answer_all: Answering, advance: Advance) -> None:
        with part.artefact.making() as draft:
            if part.artefact.freshness().state == "fresh":
                advance(self.size(part))
                raise MadeMeanwhile(f"{part.artefact.path} was made by another process just now; run the stage again")
            asks, sha256 = self.asks(part), part.replies.sha256()
            shown = {ask.id: ask.shown for ask in asks}
            journal = journal_of(part.artefact, sha256)
            draft.afterwards.append(journal.discard)
            rows = write(
                asks,
                journal,
                answer_all,
                self.config,
                getattr(self.config, self.name),
                lambda new, earlier: judge(new, earlier, shown, self.judging),
                advance,
                self.tried,
            )
            write_rows(draft.path, pd.DataFrame(rows), self.rows)
            kept = sum(row["status"] == KEPT for row in rows)
            draft.counts |= {self.counted: len(asks), "kept": kept, "rejected": len(rows) - kept}
            draft.notes["replies"] = sha256
            self.beside(part, rows, draft)
