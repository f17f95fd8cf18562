"""The study's trainings as data: every row of ``[strategies]`` times every seed, what it starts from and reads."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from emogap import hub
from emogap.config import Config, Strategy, Task, Training
from emogap.errors import UsageError
from emogap.paths import from_root
from emogap.store.artefacts import RULE, Artefact, Recipe


@dataclass(frozen=True)
class Run:
    """One training: a strategy with one seed."""

    name: str
    """Of the model that comes out: the strategy's name, with ``.s<seed>`` where there are several seeds."""
    strategy: Strategy
    seed: int
    parent: str
    """A base, or the name of another run."""


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


def _stage_of(config: Config, strategy: Strategy) -> Task:
    if strategy.task == "sft" or strategy.parent in config.bases:
        return strategy.task
    return _stage_of(config, _strategy(config, strategy.parent))


def _strategy(config: Config, name: str) -> Strategy:
    return next(strategy for strategy in config.strategies if strategy.name == name)


def model_name(config: Config, strategy: Strategy, seed: int) -> str:
    several = len(settings_of(config, strategy.task).seeds) > 1
    return f"{strategy.name}.s{seed}" if several else strategy.name


def _parent(config: Config, strategy: Strategy, seed: int) -> str:
    """The parent with the same seed; the only one, where the parent has one seed."""
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


@dataclass(frozen=True)
class Parts:
    """What a kind of training adds to the recipe of its models."""

    inputs: dict[str, Path]
    settings: dict[str, Any]
    identities: dict[str, str]


def artefact(config: Config, run: Run) -> Artefact:
    """The model folder of a run. Raises ``MissingInput`` if its data or its parent is not there."""
    task = run.strategy.task
    parts = kind(task).recipe_parts(config, run)
    shaping = {key: value for key, value in config.flat(task).items() if key != f"{task}.seeds"}
    inputs, identities = parts.inputs, parts.identities
    if run.parent in config.bases:
        parent = from_root(config.bases[run.parent].name)
        identities = identities | {"parent": hub.identify(config.bases[run.parent])}
    else:
        parent = config.home.require(config.home.model(run.parent))
        inputs = inputs | {"parent": parent}
    if settings_of(config, task).lora.keeps_adapter and hub.is_adapter(parent):
        identities = identities | {RULE + "adapter on adapter": "2 (one adapter holds both)"}
    recipe = Recipe(task, inputs, shaping | parts.settings, identities, run.seed)
    return Artefact(config.home.model(run.name), recipe, is_folder=True, keep_superseded=True)


def kind(task: Task) -> ModuleType:
    """The module of a kind of training: its ``recipe_parts`` and ``prepare``."""
    return import_module({"clm": "emogap.train.causal_lm", "sft": "emogap.train.sft"}[task])
