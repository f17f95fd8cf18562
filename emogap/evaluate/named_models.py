"""Models by whatever a user calls them: a folder, a model of the study, a hub id, an embedded model."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from emogap.config import Config, HubModel
from emogap.errors import UsageError
from emogap.evaluate.models import known_models
from emogap.paths import folder_or_name, is_name


def named_models(config: Config, names: Iterable[str]) -> dict[str, HubModel]:
    """Label → model, in the order given; one that is named twice stands once.

    Bases and trained models of the study go by their names, whatever folder is called the same (``./NAME`` is that
    folder). A folder, from the working directory, is labelled by its own name; so is a hub id,
    ``owner/name[@revision]``, or ``embedded:name``, by its last part. Raises ``UsageError`` if two different models
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
