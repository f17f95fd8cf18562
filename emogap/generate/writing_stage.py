"""A stage whose rows a model writes: parts that stand and resume on their own, each asked, judged and published.

Stories are such a stage, a part a chunk of lines and a method; rewrites another, a part a version. Equal commands in
one home share the parts: one that another process holds is passed over and come back to.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.artefacts import Artefact, Draft, Recipe, Summary
from emogap.cluster import make_on_cluster
from emogap.config import Config
from emogap.data.classify import classifier_identity
from emogap.errors import MadeMeanwhile
from emogap.exhibits import draw_if_new
from emogap.generate.judging import JUDGING_RULE, Judging, judge
from emogap.generate.review import read_verdicts, verdicts_input
from emogap.generate.tried import Tried
from emogap.generate.writing import (
    Answering,
    Ask,
    Row,
    answering,
    answering_here,
    clear_journal,
    journal_of,
    kept_engine,
    write,
)
from emogap.hub import identify
from emogap.paths import Home
from emogap.progress import Progress, Unseen, progress
from emogap.records import KEPT, RowType, write_rows
from emogap.stages import make_apart, make_shared, stage


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
        inputs=replies.inputs | verdicts_input(path),
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

    def __init__(
        self, config: Config, parts: Iterable[Part], judging: Judging, tried: Path, show: Callable[[Home], None]
    ):
        self.config, self.judging, self.show = config, judging, show
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
        with progress(self.written, total, self.written) as bar:
            if self.parts_apart and self.config.scale.executor == "ray":
                summary = make_apart(self.name, self.artefacts, lambda wanted: self._on_cluster(wanted, bar))
            else:
                with answering(self.config, bar) as answer_all:
                    summary = make_shared(self.name, self.artefacts, self.maker(answer_all, bar))
        for part in self.parts.values():
            clear_journal(part.artefact, part.replies.sha256())
        folder, home = stage(self.name).exhibits_folder(self.config), self.config.home
        draw_if_new(folder, self.name, self.artefacts, lambda: self.show(home))
        return summary

    def _on_cluster(self, wanted: list[Artefact], bar: Progress) -> list[Artefact]:
        worker = partial(_open_worker, type(self), self.config)
        make_on_cluster(self.config.scale, worker, wanted, lambda made: bar.advance(self.size(self.parts[made.path])))
        return wanted

    def maker(self, answer_all: Answering, bar: Progress) -> Callable[[Artefact], None]:
        """Makes the parts' artefacts, one after another."""
        return lambda artefact: self._make(self.parts[artefact.path], answer_all, bar)

    def _make(self, part: Part, answer_all: Answering, bar: Progress) -> None:
        with part.artefact.making() as draft:
            if part.artefact.freshness().state == "fresh":
                bar.advance(self.size(part))
                raise MadeMeanwhile(f"{part.artefact.path} was made by another process just now; run the stage again")
            asks, sha256 = self.asks(part), part.replies.sha256()
            judging = replace(self.judging, verdicts=read_verdicts(part.artefact.path))
            shown = {ask.id: ask.shown for ask in asks}
            journal = journal_of(part.artefact, sha256)
            rows = write(
                asks,
                journal,
                answer_all,
                self.config,
                getattr(self.config, self.name),
                lambda new, earlier: judge(new, earlier, shown, judging),
                bar,
                self.tried,
            )
            write_rows(draft.path, pd.DataFrame(rows), self.rows)
            kept = sum(row["status"] == KEPT for row in rows)
            draft.counts |= {self.counted: len(asks), "kept": kept, "rejected": len(rows) - kept}
            draft.notes["replies"] = sha256
            self.beside(part, rows, draft)
        journal.discard()


def _open_worker(kind: Callable[[Config], WritingStage], config: Config) -> tuple[Callable[[Artefact], None], Any]:
    """A worker of a cluster: it keeps its engine open for all parts that it is given."""
    engine, bar = kept_engine(config.writer), Unseen()
    return kind(config).maker(answering_here(lambda: engine, bar), bar), engine.identity
