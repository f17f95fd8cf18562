"""What this machine can run: device, memory, disk, versions, and which of a profile's models are available."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from emogap.config import Config, HubModel
from emogap.device import pick_device, pick_dtype
from emogap.emotion.classifier import MODELS
from emogap.emotion.lexicon import lexicon_identity
from emogap.errors import ModelError
from emogap.lm.engines.vllm_engine import check_installed
from emogap.lm.hub import ADAPTER, check_name, packaged_file
from emogap.paths import from_root
from emogap.store.artefacts import package_versions


def examine(config: Config) -> Iterator[str]:
    """Lines for people, most important first."""
    yield from _device()
    yield f"python       {sys.version.split()[0]}; " + ", ".join(f"{n} {v}" for n, v in package_versions().items())
    yield from _disk(config)
    yield f"hub          {_hub_access()}"
    for model in _models(config):
        yield f"model        {model.name}: {_availability(model)}"
    found = "installed" if find_spec("bitsandbytes") else "not installed (pip install -r requirements-gpu.txt)"
    yield f"lexicon      {lexicon_identity()}"
    yield f"optional     bitsandbytes, for 4-bit weights: {found}"
    yield f"optional     vLLM, for writer.engine=vllm: {_vllm(config)}"


def _vllm(config: Config) -> str:
    try:
        return f"started by {check_installed(config.writer)[0]}"
    except ModelError as error:
        return f"not there ({error})"


def _device() -> Iterator[str]:
    import psutil
    import torch

    device = pick_device()
    memory = psutil.virtual_memory()
    yield f"device       {device}, computes in {str(pick_dtype(device)).removeprefix('torch.')}"
    total, free = memory.total / 2**30, memory.available / 2**30
    yield f"processor    {os.cpu_count()} cores, {total:.0f} GiB memory, {free:.0f} GiB of it free"
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        yield f"gpu {i}        {properties.name}, {properties.total_memory / 2**30:.0f} GiB"


def _disk(config: Config) -> Iterator[str]:
    home = config.home.root
    existing = next(parent for parent in (home, *home.parents) if parent.exists())
    yield f"disk         {shutil.disk_usage(existing).free / 2**30:.0f} GiB free for {home}"


def _hub_access() -> str:
    from huggingface_hub import constants, get_token

    offline = "offline (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else "online if there is a network"
    return f"{offline}; {'a token is set' if get_token() else 'no token: gated models need HF_TOKEN'}"


def _models(config: Config) -> list[HubModel]:
    named = [*config.bases.values(), config.writer.model, config.process.classifier, *config.sentiment.classifiers]
    return list({model.name: model for model in named}.values())


def _availability(model: HubModel) -> str:
    if (MODELS / model.name).is_dir():
        return "here (ships with the project)"
    try:
        check_name(model)
    except ModelError as error:
        return f"NOT HERE: {error}"
    if model.name.startswith("embedded:"):
        return f"here ({packaged_file(model.name.removeprefix('embedded:'))})"
    if from_root(model.name).is_dir():
        return f"here ({from_root(model.name)})"
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(model.name, file, revision=model.revision) for file in ("config.json", ADAPTER)]
    if any(isinstance(file, str) for file in files):
        return f"in the local hub cache, revision {model.revision}"
    return f"to be downloaded at revision {model.revision} (not in the local hub cache)"
