"""The study's trainings as data: every row of ``[strategies]`` times every seed, what it starts from and reads."""

from dataclasses import dataclass

from emogap import hub
from emogap.artefacts import Artefact, Recipe
from emogap.config import Config, Strategy, Task, Training
from emogap.errors import UsageError


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


def runs(config: Config, task: Task) -> list[Run]:
    """All trainings of that kind, in the order of the profile. Raises ``UsageError`` if a parent lacks the seed."""
    chosen = [strategy for strategy in config.strategies if strategy.task == task]
    return [
        Run(model_name(config, strategy, seed), strategy, seed, _parent(config, strategy, seed))
        for strategy in chosen
        for seed in settings_of(config, task).seeds
    ]


def model_name(config: Config, strategy: Strategy, seed: int) -> str:
    several = len(settings_of(config, strategy.task).seeds) > 1
    return f"{strategy.name}.s{seed}" if several else strategy.name


def _parent(config: Config, strategy: Strategy, seed: int) -> str:
    """The parent with the same seed; the only one, where the parent has one seed."""
    if strategy.parent in config.bases:
        return strategy.parent
    parent = next(s for s in config.strategies if s.name == strategy.parent)
    seeds = settings_of(config, parent.task).seeds
    if len(seeds) > 1 and seed not in seeds:
        raise UsageError(
            f"strategy '{strategy.name}' has no parent for seed {seed}: '{parent.name}' has the seeds "
            f"{', '.join(map(str, seeds))}; set {strategy.task}.seeds to some of them"
        )
    return model_name(config, parent, seed if len(seeds) > 1 else seeds[0])


def artefact(config: Config, run: Run, inputs: dict, settings: dict, identities: dict[str, str]) -> Artefact:
    """The model folder of a run. Raises ``MissingInput`` if its parent is yet to be trained."""
    task = run.strategy.task
    shaping = {key: value for key, value in config.flat(task).items() if key != f"{task}.seeds"}
    if run.parent in config.bases:
        identities = identities | {"parent": hub.identify(config.bases[run.parent])}
    else:
        inputs = inputs | {"parent": config.home.require(config.home.model(run.parent))}
    recipe = Recipe(task, inputs, shaping | settings, identities, run.seed)
    return Artefact(config.home.model(run.name), recipe, is_folder=True, keep_superseded=True)
