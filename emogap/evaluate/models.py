"""Which models the study measures, what their files are called, and which base each one stands beside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogap import hub
from emogap.config import Config, HubModel
from emogap.errors import UsageError
from emogap.paths import Home
from emogap.store.artefacts import manifest_path, read_manifest
from emogap.train.strategies import model_name, settings_of, untrained

NO_TRAINED = "There is no model that was trained from a base, and so none to hold against its base"


@dataclass(frozen=True)
class StudyModel:
    """A base, or one training of a strategy."""

    name: str
    """The base's or the strategy's name: the ``model`` column of every table."""
    train_seed: int
    """The training's seed; 0 for a base, which was not trained here."""
    base: str
    """The base it comes from; its own name for a base."""
    key: str
    """What its folder and files are called: the name, with ``.s<seed>`` where a strategy is trained several times."""


def study_models(config: Config) -> list[StudyModel]:
    """The models to measure: those that were asked for, without those for which there was nothing to train on."""
    return measurable(config, wanted_models(config))


def measurable(config: Config, models: Sequence[StudyModel]) -> list[StudyModel]:
    """Those that can have been trained; where there is none among them, the bases that they were to come from."""
    without = untrained(config)
    there = [model for model in models if model.key not in without]
    return there or [StudyModel(base, 0, base, base) for base in dict.fromkeys(model.base for model in models)]


def not_measured(config: Config, models: Sequence[StudyModel]) -> list[str]:
    """A line for each model that was asked for and could not be trained."""
    without = untrained(config)
    return [
        f"not measured: {model.key} (nothing to train: {without[model.key]})"
        for model in models
        if model.key in without
    ]


def wanted_models(config: Config) -> list[StudyModel]:
    """The models that are asked for, each base followed by what was trained from it.

    Raises ``UsageError`` if ``respond.models`` names one that is neither a base nor a strategy.
    """
    known, wanted = known_models(config), config.respond.models
    for name in wanted:
        check_known(name, dict.fromkeys(model.name for model in known), "respond.models: ")
    return [model for model in known if not wanted or model.name in wanted]


def known_models(config: Config) -> list[StudyModel]:
    """All models that the settings speak of, each base followed by what is trained from it."""
    bases = {name: name for name in config.bases}
    for strategy in config.strategies:
        bases[strategy.name] = bases[strategy.parent]
    order = list(config.bases)
    names = sorted(bases, key=lambda name: order.index(bases[name]))
    return [model for name in names for model in _trainings(config, name, bases[name])]


def check_known(name: str, known: Collection[str], where: str = "") -> None:
    """Raises ``UsageError`` naming the models of the study, if ``name`` is none of them."""
    if name not in known:
        raise UsageError(f"{where}'{name}' is no model of the study; choose among {', '.join(known)}")


def _trainings(config: Config, name: str, base: str) -> list[StudyModel]:
    if name == base:
        return [StudyModel(name, 0, base, name)]
    strategy = next(strategy for strategy in config.strategies if strategy.name == name)
    seeds = settings_of(config, strategy.task).seeds
    return [StudyModel(name, seed, base, model_name(config, strategy, seed)) for seed in seeds]


def recipe_parts(config: Config, model: StudyModel) -> dict[str, dict[str, Any]]:
    """``inputs`` and ``identities`` of a recipe that depends on this model's weights; loads nothing.

    Raises ``MissingInput`` if the model was not trained in this home.
    """
    if model.name in config.bases:
        return {"inputs": {}, "identities": {"model": hub.identify(config.bases[model.name])}}
    return {"inputs": {"model": trained_folder(config, model)}, "identities": {}}


def weights(config: Config, model: StudyModel) -> HubModel | Path:
    """A base as the settings name it, or the folder of what was trained. Raises ``MissingInput``."""
    return config.bases[model.name] if model.name in config.bases else trained_folder(config, model)


def trained_folder(config: Config, model: StudyModel) -> Path:
    return config.home.require(config.home.model(model.key))


def model_identity(home: Home, manifest: dict[str, Any]) -> str:
    """The model that an artefact's manifest names; of one that was trained, the base that it comes from.

    ``not known`` where a model between is gone, or there are several.
    """
    for name in ("writer.model", "classifier", "model", "parent"):
        if name in manifest["identities"]:
            return manifest["identities"][name]
        if name in manifest["inputs"]:
            trained = home.model(Path(manifest["inputs"][name]["path"]).name)
            return model_identity(home, read_manifest(trained)) if manifest_path(trained).exists() else "not known"
    return "not known"
