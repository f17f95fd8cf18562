"""Which models the study measures, what their files are called, and which models each one is compared with."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from emogap.config import Config, HubModel
from emogap.controls import is_new
from emogap.errors import UsageError
from emogap.lm import hub
from emogap.paths import Home, folder_or_name, is_name
from emogap.store.artefacts import manifest_path, read_manifest
from emogap.train.checkpoints import FACTS
from emogap.train.strategies import model_name, settings_of, untrained

NO_TRAINED = "There is no model that was trained from a base, and so none to compare with its base"
NOT_SEPARATED = (
    "No model has a control here: what emotion did is not separated from what any training of this kind does"
)
CONTROLLED, TUNED, CONTROL = "tuned - control", "tuned - base", "control - base"
Kind = Literal["tuned - control", "tuned - base", "control - base"]
KINDS: tuple[Kind, ...] = (CONTROLLED, TUNED, CONTROL)
"""What two models differ in, in the order in which tables and figures show it: the effect of emotion comes first."""
CORRECTED = "for the number of comparisons of its kind (Holm)"
"""What p-values are corrected for in tables of comparisons."""


@dataclass(frozen=True)
class StudyModel:
    """A base, or one training of a strategy."""

    name: str
    """The base's or the strategy's name: the ``model`` column of every table."""
    train_seed: int
    """The training's seed; 0 for a base, which was not trained here."""
    base: str
    """The base it comes from; its own name for a base and for a strategy that is trained from scratch, which is itself
    the base of what is trained from it."""
    key: str
    """What its folder and files are called: the name, with ``.s<seed>`` where a strategy is trained several times."""
    control_of: str = ""
    """The strategy that it is a control of; empty for all others."""


@dataclass(frozen=True)
class Comparison:
    """Two models that are compared: the values of ``other`` are subtracted from those of ``model``."""

    model: str
    other: str
    kind: Kind

    @property
    def columns(self) -> dict[str, str]:
        """The cells that name the comparison in a row of a table: column → value."""
        return {"comparison": self.kind, "model": self.model, "against": self.other}


def comparisons(config: Config, by: Literal["name", "key"] = "name") -> list[Comparison]:
    """The models that are measured, each against its controls and its base, as far as these are measured too.

    First every tuned model against its controls, then every one against its base, last the controls against their
    bases. ``by``: ``name`` takes all trainings of a strategy together; ``key`` compares each training with that of the
    same seed, or with the only one there is.
    """
    models = study_models(config)
    found = {
        CONTROLLED: [(model, c) for model in models for c in models if c.control_of == model.name],
        TUNED: [(model, b) for model in models for b in models if not model.control_of and _is_base_of(b, model)],
        CONTROL: [(model, b) for model in models for b in models if model.control_of and _is_base_of(b, model)],
    }
    pairs = [
        Comparison(getattr(model, by), getattr(other, by), kind)
        for kind, both in found.items()
        for model, other in both
        if by == "name" or _same_seed(model, other, models)
    ]
    return list(dict.fromkeys(pairs))


def _is_base_of(base: StudyModel, model: StudyModel) -> bool:
    return base.name == model.base != model.name


def _same_seed(model: StudyModel, other: StudyModel, models: Sequence[StudyModel]) -> bool:
    """Whether two trainings have the same seed, or ``other`` is the only training of its name."""
    return model.train_seed == other.train_seed or sum(one.name == other.name for one in models) == 1


def as_compared(table: pd.DataFrame) -> pd.DataFrame:
    """A table of comparisons with the columns ``comparison`` and ``against``, added to one that was written before
    there were controls: then every model was compared with its ``base``."""
    return table if "comparison" in table else table.rename(columns={"base": "against"}).assign(comparison=TUNED)


def are_controlled(pairs: Iterable[Comparison]) -> bool:
    """Whether any model is compared with a control."""
    return any(pair.kind == CONTROLLED for pair in pairs)


def compared(pairs: Iterable[Comparison]) -> str:
    """How a caption describes these comparisons."""
    if are_controlled(pairs):
        return (
            "Each model against its controls (the effect of emotion), then its base, and the controls against their "
            "bases"
        )
    return "Each model against its base"


def separated(pairs: Iterable[Comparison]) -> str:
    """A caption's sentence on comparisons without any control; empty if there is a control, or nothing is compared."""
    pairs = list(pairs)
    return f" {NOT_SEPARATED}." if pairs and not are_controlled(pairs) else ""


def study_models(config: Config) -> list[StudyModel]:
    """The models to measure: those that were asked for, without those for which there was nothing to train on."""
    return measurable(config, wanted_models(config))


def measurable(config: Config, models: Sequence[StudyModel]) -> list[StudyModel]:
    """The models for which there was something to train on; if none is left, the bases that they were to come from."""
    without = untrained(config)
    there = [model for model in models if model.key not in without]
    bases = dict.fromkeys(model.base for model in models if model.base in config.bases)
    return there or [StudyModel(base, 0, base, base) for base in bases]


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
    trainings = {name: [StudyModel(name, 0, name, name)] for name in config.bases}
    for one in config.strategies:
        base = bases[one.name] = one.name if is_new(one) else bases[one.parent]
        seeds = {seed: model_name(config, one, seed) for seed in settings_of(config, one.task).seeds}
        trainings[one.name] = [StudyModel(one.name, seed, base, key, one.control_of) for seed, key in seeds.items()]
    order = list(dict.fromkeys(bases.values()))
    names = sorted(bases, key=lambda name: order.index(bases[name]))
    return [model for name in names for model in trainings[name]]


def check_known(name: str, known: Collection[str], where: str = "") -> None:
    """Raises ``UsageError`` naming the models of the study, if ``name`` is none of them."""
    if name not in known:
        raise UsageError(f"{where}'{name}' is no model of the study; choose among {', '.join(known)}")


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
    """The model that an artefact's manifest names; for a trained one, the base that it comes from.

    ``not known`` if a model between the two is gone, or if the manifest names several.
    """
    for name in ("writer.model", "classifier", "model", "parent"):
        if name in manifest["identities"]:
            return manifest["identities"][name]
        if name in manifest["inputs"]:
            trained = home.model(Path(manifest["inputs"][name]["path"]).name)
            return model_identity(home, read_manifest(trained)) if manifest_path(trained).exists() else "not known"
    return "not known"


def named_models(config: Config, names: Iterable[str]) -> dict[str, HubModel]:
    """Label → model, in the order given; one that is named twice stands once.

    ``NAME/chck_1M`` names a checkpoint that a training of the study kept after so many words, and is its label too.

    Bases and trained models of the study go by their names, even if a folder has the same name (``./NAME`` is that
    folder). A folder, relative to the working directory, is labelled with its own name; a hub id,
    ``owner/name[@revision]``, or ``embedded:name``, with its last part. Raises ``UsageError`` if two different models
    have one label, ``MissingInput`` if a model of the study was not trained in this home.
    """
    study = {model.key for model in known_models(config)}
    models: dict[str, HubModel] = {}
    for name in names:
        label, model = _named(config, name, study)
        if models.setdefault(label, model) != model:
            raise UsageError(f"--model {name}: two models are called '{label}'; rename or copy one of the folders")
    return models


def _named(config: Config, name: str, study: Collection[str]) -> tuple[str, HubModel]:
    if name in config.bases:
        return name, config.bases[name]
    if name in study or (is_name(name) and config.home.model(name).is_dir()):
        return name, HubModel(name=str(config.home.require(config.home.model(name))))
    if all(map(is_name, name.split("/"))) and (config.home.models / name / FACTS).is_file():
        return name, HubModel(name=str(config.home.models / name))
    folder = Path(folder_or_name(name))
    if folder.is_dir():
        return folder.name, HubModel(name=str(folder))
    repository, _, revision = name.partition("@")
    label = repository.removeprefix("embedded:").rsplit("/", 1)[-1]
    return label, HubModel(name=repository, revision=revision or "main")


def bases_of(labels: Iterable[str], bases: Iterable[str]) -> Mapping[str, str]:
    """Model → the base it is compared with: the only one, or of several the one whose name its own begins with.

    Without bases every model stands for itself. Raises ``UsageError`` if a model fits none of several bases.
    """
    bases = sorted(bases, key=len, reverse=True)
    found = {}
    for label in labels:
        fitting = [base for base in bases if label == base or label.startswith(f"{base}-")]
        if label in bases or not bases:
            found[label] = label
        elif len(bases) == 1 or fitting:
            found[label] = (fitting or bases)[0]
        else:
            raise UsageError(f"--base: '{label}' begins with none of {', '.join(bases)}; compare one base at a time")
    return found
