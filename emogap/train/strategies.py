"""The study's trainings as data: each row of ``[strategies]`` with each seed, its parent model and its data.

A training whose data exist but hold too little is left out, with the reason. Data that do not exist yet are no such
reason: an earlier stage makes them. Of tables, only the columns needed for this are read.
"""

from dataclasses import dataclass
from pathlib import Path

from emogap.config import Config, HubModel, Strategy, Task, Training
from emogap.controls import ORIGINAL, is_new
from emogap.errors import InputError, MissingInput, UsageError
from emogap.paths import from_root
from emogap.records import CORPUS, KEPT, REWRITES, read_rows
from emogap.text.alpaca import load_records
from emogap.text.reading import RECORD_ENDINGS

UNTRAINED = ".untrained"
"""Ends the name of the model that a training from scratch begins with: random weights and a tokenizer."""
_BOTH = "training and validation need one each"
_LARGE = 1 << 16
"""A file of records of at least so many bytes is taken to hold two records or more, without being read."""


@dataclass(frozen=True)
class Run:
    """One training: a strategy with one seed."""

    name: str
    """The name of the trained model: the strategy's name, with ``.s<seed>`` where there are several seeds."""
    strategy: Strategy
    seed: int
    parent: str
    """The name of a base, of another run or, for a training from scratch, of the untrained model it begins with."""


def settings_of(config: Config, task: Task) -> Training:
    return config.clm if task == "clm" else config.sft


def runs(config: Config, stage: Task) -> list[Run]:
    """All trainings of a stage, in the order of the profile.

    The stage ``clm`` makes what comes from a base by causal language modelling alone; ``sft``, which runs after it,
    makes the rest, such as a causal LM on top of an SFT model. Raises ``UsageError`` if a parent lacks the seed.
    """
    return [
        Run(model_name(config, strategy, seed), strategy, seed, _parent(config, strategy, seed))
        for strategy in config.strategies
        if _stage_of(config, strategy) == stage
        for seed in settings_of(config, strategy.task).seeds
    ]


def trainable(config: Config, stage: Task) -> list[Run]:
    """The trainings of a stage, without those for which there is nothing to train on."""
    without = untrained(config)
    return [run for run in runs(config, stage) if run.name not in without]


def nothing_to_train(config: Config, stage: Task) -> list[str]:
    """A line for each training of a stage that cannot be made."""
    without = untrained(config)
    return [f"nothing to train: {run.name} ({without[run.name]})" for run in runs(config, stage) if run.name in without]


def untrained(config: Config) -> dict[str, str]:
    """Model → why it cannot be trained: its data exist and hold too little, or its parent cannot be trained."""
    found: dict[str, str] = {}
    for stage in ("clm", "sft"):
        for run in runs(config, stage):
            why = f"{run.parent} is not trained" if run.parent in found else _too_little(config, run.strategy)
            if why:
                found[run.name] = why
    return found


def model_name(config: Config, strategy: Strategy, seed: int) -> str:
    several = len(settings_of(config, strategy.task).seeds) > 1
    return f"{strategy.name}.s{seed}" if several else strategy.name


def base_of(config: Config, strategy: Strategy) -> HubModel:
    """The base at the root of a strategy's chain of parents. A training from scratch has none: a ``HubModel`` called
    ``new:<size>`` stands for it."""
    while strategy.parent not in config.bases and not is_new(strategy):
        strategy = _strategy(config, strategy.parent)
    return HubModel(name=strategy.parent) if is_new(strategy) else config.bases[strategy.parent]


def data_file(config: Config, strategy: Strategy) -> Path:
    """Where a strategy's data lie: a corpus, the rows of a version of the rewrites, or a file of Alpaca records."""
    if strategy.task == "clm":
        return config.home.corpus(strategy.data)
    if is_file_of_records(strategy):
        return from_root(strategy.data)
    return config.home.rewrite_rows(strategy.data.removeprefix(ORIGINAL))


def learns_originals(strategy: Strategy) -> bool:
    """Whether a strategy is trained on the original answers to the rewritten records, not on the rewrites."""
    return strategy.task == "sft" and strategy.data.startswith(ORIGINAL)


def require_data(config: Config, strategy: Strategy) -> Path:
    """The path that ``data_file`` gives. Raises ``MissingInput`` if no file is there."""
    path = data_file(config, strategy)
    if not is_file_of_records(strategy):
        return config.home.require(path)
    if not path.is_file():
        raise MissingInput(f"{path} not found; strategy {strategy.name} names it as its records")
    return path


def check_data(config: Config, stage: Task) -> None:
    """Raises ``InputError`` naming a strategy of the stage whose data are not there and are made by no setting."""
    made = {"clm": [corpus.name for corpus in config.all_corpora], "sft": config.rewrite.versions}
    for strategy in [run.strategy for run in runs(config, stage)]:
        own = strategy.data.removeprefix(ORIGINAL)
        if is_file_of_records(strategy):
            require_data(config, strategy)
        elif own not in made[strategy.task] and not data_file(config, strategy).exists():
            clm = strategy.task == "clm"
            what, where = ("corpus", "corpus.name or corpora") if clm else ("version", "rewrite.versions")
            other = "" if clm else ", a file of records (such as mine.json)"
            raise InputError(
                f"strategy '{strategy.name}' is trained on '{strategy.data}', a {what} that is not there and that no "
                f"setting makes; give its data one of {', '.join(made[strategy.task])}{other}, or name it in {where}"
            )


def is_file_of_records(strategy: Strategy) -> bool:
    """Whether it is trained on a file of the user's own."""
    return strategy.task == "sft" and strategy.data.endswith(RECORD_ENDINGS)


def _stage_of(config: Config, strategy: Strategy) -> Task:
    if strategy.task == "sft" or strategy.parent in config.bases or is_new(strategy):
        return strategy.task
    return _stage_of(config, _strategy(config, strategy.parent))


def _strategy(config: Config, name: str) -> Strategy:
    return next(strategy for strategy in config.strategies if strategy.name == name)


def _parent(config: Config, strategy: Strategy, seed: int) -> str:
    """The name of the parent model with the same seed, or of the parent's only model where that has one seed."""
    if is_new(strategy):
        return model_name(config, strategy, seed) + UNTRAINED
    if strategy.parent in config.bases:
        return strategy.parent
    parent = _strategy(config, strategy.parent)
    seeds = settings_of(config, parent.task).seeds
    if len(seeds) > 1 and seed not in seeds:
        raise UsageError(
            f"strategy '{strategy.name}' has no parent for seed {seed}: '{parent.name}' has the seeds "
            f"{', '.join(map(str, seeds))}; set {strategy.task}.seeds to some of them"
        )
    return model_name(config, parent, seed if len(seeds) > 1 else seeds[0])


def _too_little(config: Config, strategy: Strategy) -> str:
    """Why the data are too few to train on some and hold out some; empty if they suffice, or do not exist yet."""
    path, data = data_file(config, strategy), strategy.data
    if not path.is_file():
        return ""
    if strategy.task == "clm":
        shares = {corpus.name: corpus.validation_share for corpus in config.all_corpora}
        return _too_few_documents(path, data, shares.get(data, config.corpus.validation_share))
    if is_file_of_records(strategy):
        large = path.stat().st_size >= _LARGE
        count = 2 if large else len({record.id for record in load_records(str(path))})
        which = f"of the records in {path} are there"
    else:
        rows = read_rows(path, REWRITES, ["id", "status"])
        version = data.removeprefix(ORIGINAL)
        count, which = rows.loc[rows["status"] == KEPT, "id"].nunique(), f"of the rewrites {version} were kept"
    return "" if count > 1 else f"{count} {which}; {_BOTH}"


def _too_few_documents(path: Path, name: str, share: float) -> str:
    """The reason if a corpus is empty, or has so few lines and articles that ``share`` holds out none or all of them.

    A corpus without validation documents for another reason is faulty, not too small: it is refused where it is read.
    """
    splits = read_rows(path, CORPUS, ["split"])["split"]
    if splits.empty:
        return f"the corpus {name} has no document"
    if splits.nunique() > 1 or not share:
        return ""
    lines = read_rows(path, CORPUS, ["line_id"])["line_id"].nunique()
    held_out = int(lines * share + 0.5)
    return f"lines and articles in the corpus {name}: {lines}; {_BOTH}" if held_out in (0, lines) else ""
