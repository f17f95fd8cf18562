"""Rules of training whose second revision makes another model of the same settings: entries of the recipes concerned.

What a model starts from decides, as far as it can be told without fetching it: a folder says of what kind it is, and so
do the packages and GPT-2's names on the hub. Of another model on the hub it is not known, and its trainings are named.
"""

import re
from pathlib import Path
from typing import NamedTuple

from emogap.config import Config, HubModel
from emogap.hub import settings_in
from emogap.paths import from_root
from emogap.store.artefacts import RULE
from emogap.train.strategies import Run

COUNTED = {RULE + "training loss": "2 (a mean over what is predicted; the first token of a row is not)"}
APART = {RULE + "documents apart": "2 (in padded rows, where the model does not tell them apart by their positions)"}

_TELLS_APART = {
    "codegen", "cohere", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "gpt2", "gpt_bigcode", "gpt_neo",
    "gpt_neox", "gptj", "granite", "llama", "mistral", "mixtral", "nemotron", "olmo", "olmo2", "persimmon", "phi",
    "phi3", "qwen2", "qwen2_moe", "qwen3", "smollm3", "stablelm", "starcoder2",
}  # fmt: skip
"""Kinds of models whose attention masks are made of positions that begin anew; each training tries it by itself."""


class _Kind(NamedTuple):
    model_type: str
    architecture: str


def changed(config: Config, run: Run, *, open_rows: bool, shared_rows: bool) -> dict[str, str]:
    """Entries for a training. ``open_rows``: a row's first token had a label; ``shared_rows``: documents that must not
    see each other stand in one row."""
    kind = _kind(config, run)
    # By the ending of its name, Trainer knows that a model's loss leaves a row's first token out.
    counted_right = kind is not None and kind.architecture.endswith("ForCausalLM")
    told_apart = kind is not None and kind.model_type in _TELLS_APART
    return (COUNTED if open_rows and not counted_right else {}) | (APART if shared_rows and not told_apart else {})


def _kind(config: Config, run: Run) -> _Kind | None:
    """Of the base that a training comes from in the end; None if that cannot be told."""
    parents = {strategy.name: strategy.parent for strategy in config.strategies}
    name = run.strategy.parent
    while name not in config.bases:
        name = parents[name]
    return _described(config.bases[name])


def _described(model: HubModel) -> _Kind | None:
    if model.name.startswith("embedded:"):
        return _Kind("llama", "LlamaForCausalLM")
    file = from_root(model.name) / "config.json"
    if file.is_file():
        return _read(file)
    gpt2 = re.fullmatch(r"(openai-community/)?gpt2(-medium|-large|-xl)?", model.name)
    return _Kind("gpt2", "GPT2LMHeadModel") if gpt2 else None


def _read(file: Path) -> _Kind | None:
    found = settings_in(file)
    try:
        return _Kind(found["model_type"], found["architectures"][0])
    except (LookupError, TypeError):
        return None
