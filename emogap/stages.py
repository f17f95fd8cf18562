"""The stages of the study, in order, as data: what runs them, what they read and write, and which function does it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from emogap.config import Config
from emogap.errors import LockHeld, MadeMeanwhile, UsageError
from emogap.store.artefacts import Artefact, Piece, Summary


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    source: str | None
    """The notebook or script that runs it, from the repository's root; None: the command line alone."""
    module: str
    function: str
    """``function(config) -> Summary`` does the work; ``<function>_artefacts(config) -> list[Artefact]`` says what it
    makes, without heavy imports. The latter raises ``MissingInput`` while what it depends on is not there."""
    folder: str
    """Its folder under the home, whose exhibits the report shows."""
    title: str
    reads: str
    writes: str
    after: tuple[str, ...] = ()
    """The stages whose artefacts it reads."""
    draws_last: bool = False
    """Whether its tables and figures are drawn when all its artefacts are there, by ``exhibits.draw_if_new``."""

    def run(self, config: Config) -> Summary:
        return self._load(self.function)(config)

    def artefacts(self, config: Config) -> list[Artefact]:
        return self._load(f"{self.function}_artefacts")(config)

    def exhibits_folder(self, config: Config) -> Path:
        return config.home.root / self.folder

    def _load(self, name: str) -> Callable:
        return getattr(import_module(self.module), name)


STAGES: tuple[Stage, ...] = (
    Stage("process", "process_pretrain_data.py", "emogap.data.babylm", "process", "processed_data",
          "Clean the text and find its emotional lines", "BabyLM `*.train` files",
          "`processed_data/babylm.parquet`, `babylm_filtered.parquet`"),
    Stage("augment", "pretrain_data_augment.ipynb", "emogap.generate.augment", "augment", "babylm_augment",
          "Write emotional stories from them", "`babylm_filtered.parquet`",
          "`babylm_augment/<method>/chunk_*.parquet`", after=("process",), draws_last=True),
    Stage("corpus", "pretrain_data_corpus.ipynb", "emogap.data.corpus", "corpus", "babylm_pretrain_corpus",
          "Compile stories and factual text to a corpus", "chunks, wiki files",
          "`babylm_pretrain_corpus/<name>.parquet`, `.txt`, `.json`", after=("augment",), draws_last=True),
    Stage("rewrite", "alpaca-instruction/emotion-alpaca.py", "emogap.generate.rewrite", "rewrite", "alpaca-instruction",
          "Rewrite Alpaca answers towards an emotion", "Alpaca records",
          "`alpaca-instruction/emotion_alpaca_<version>.json`, `.rows.parquet`", draws_last=True),
    Stage("clm", "casual_lm.ipynb", "emogap.train.causal_lm", "clm", "models",
          "Fine-tune on the corpus (causal LM)", "corpus", "`models/<base>-baby/`", after=("corpus",), draws_last=True),
    Stage("sft", "fine-tune/sft_instruction.ipynb", "emogap.train.sft", "sft", "models",
          "Fine-tune on the rewritten answers (SFT)", "rewrites, a base or `-baby` model",
          "`models/<base>-instr/`, `models/<base>-baby-instr/`", after=("rewrite", "clm"), draws_last=True),
    Stage("evaluate", "quantitative_analysis/quantitative_analysis.ipynb", "emogap.evaluate.evaluate", "evaluate",
          "quantitative_analysis", "Measure emotion and grammar", "models, prompts, minimal pairs",
          "`quantitative_analysis/responses/`, `emotions.parquet`, `scores.parquet`, tables, figures",
          after=("clm", "sft")),
    Stage("lens", "model_analysis.ipynb", "emogap.evaluate.lens", "lens", "model_analysis",
          "Look inside the models (logit lens)", "models, sentences, openings",
          "`model_analysis/<model>.parquet`, `.openings.parquet`, tables, figures", after=("clm", "sft"),
          draws_last=True),
    Stage("babylm-stats", "prompt_analysis_babylm.ipynb", "emogap.evaluate.textstats", "story_stats",
          "prompt_analysis_babylm", "Statistics of the stories", "chunks", "`prompt_analysis_babylm/`",
          after=("augment",)),
    Stage("alpaca-stats", "prompt_analysis.ipynb", "emogap.evaluate.textstats", "rewrite_stats", "prompt_analysis",
          "Statistics of the rewrites", "rewrites", "`prompt_analysis/`", after=("rewrite",)),
    Stage("report", None, "emogap.show.report", "report", "report", "Everything on one page", "all of the above",
          "`report/index.html`", after=("evaluate", "lens", "babylm-stats", "alpaca-stats")),
)  # fmt: skip


def stage(name: str) -> Stage:
    """The stage of that name. Raises ``UsageError`` if there is none."""
    for candidate in STAGES:
        if candidate.name == name:
            return candidate
    raise UsageError(f"unknown stage '{name}'; choose among {', '.join(s.name for s in STAGES)}")


def make_each(name: str, artefacts: Iterable[Artefact], make: Callable[[Artefact], None]) -> Summary:
    """Make every artefact that is not fresh, saying of a stale one what changed; add up the counts of all.

    ``make`` opens ``artefact.making()`` itself. One artefact may be made from another that comes before it: each is
    taken from ``artefacts`` when all before it are made.
    """
    started, seen, made = time.monotonic(), [], []
    for artefact in artefacts:
        seen.append(artefact)
        if not _is_fresh(artefact):
            make(artefact)
            made.append(artefact)
    return _summary(name, seen, made, started)


def run(name: str, pieces: Iterable[Piece]) -> Summary:
    """Make every piece that is not fresh, one after another; see ``make_each``."""

    def make(piece: Piece) -> None:
        with piece.making() as draft:
            piece.make(draft)

    return make_each(name, pieces, make)


def _summary(name: str, artefacts: list[Artefact], made: list[Artefact], started: float) -> Summary:
    summary = Summary(name)
    for artefact in artefacts:
        (summary.made if artefact in made else summary.fresh).append(artefact.path.name)
        for key, value in artefact.manifest()["counts"].items():
            summary.counts[key] = summary.counts.get(key, 0) + value
    summary.seconds = time.monotonic() - started
    return summary


LOOK_SECONDS = 1.0
"""How often a lock that another process holds is tried, when nothing else is left to be made."""


MakeAll = Callable[[list[Artefact], Callable[[Artefact, LockHeld | None], None]], None]
"""(artefacts, on_done): makes them, none from another; ``on_done`` hears of each, and why it is left to another
process."""


def make_shared(name: str, artefacts: Iterable[Artefact], make_all: MakeAll) -> Summary:
    """The same, shared with whoever makes them too: what another process holds is passed over and come back to.

    What is made when its lock is had is reported as ``MadeMeanwhile``. What a process that died has begun is taken over
    as soon as its lock is free.
    """
    started, artefacts, made, waits = time.monotonic(), list(artefacts), [], False
    left = [artefact for artefact in artefacts if not _is_fresh(artefact)]
    while left:
        held: dict[Path, LockHeld] = {}

        def on_done(artefact: Artefact, why_not: LockHeld | None, held: dict[Path, LockHeld] = held) -> None:
            if why_not is None:
                made.append(artefact)
            elif not isinstance(why_not, MadeMeanwhile):
                held[artefact.path] = why_not

        make_all(left, on_done)
        if len(held) == len(left):
            if not waits:
                print(f"{name} has nothing else to make: {held[left[-1].path]}", flush=True)
            waits = True
            time.sleep(LOOK_SECONDS)
        left = [artefact for artefact in left if artefact.path in held]
    return _summary(name, artefacts, made, started)


def _is_fresh(artefact: Artefact) -> bool:
    freshness = artefact.freshness()
    if freshness.state == "stale":
        kept = " (the old one is kept under superseded/)" if artefact.keep_superseded else ""
        print(f"{artefact.path.name} is stale: {'; '.join(freshness.reasons)}; making it again{kept}")
    return freshness.state == "fresh"
