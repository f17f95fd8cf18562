"""Recipe entries for models whose numbers a correction of the code changed, found without fetching or loading a model.

Once, all models were scored from their heads alone and in prefix trees whatever their windows, decoded in cache slots
whatever their cache, and continued with the generation defaults of their folder. Where that gave other numbers than the
model's own, the recipe of an artefact has an entry with the rule's new revision; artefacts of all other models stay
fresh. A model on the hub that is not in the local cache gets no entry.

For a training, what counts is the base that its chain of trainings starts from: the base's folder, or its name if that
is known here. If the type of the base is unknown, its trainings get the entry.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from emogap.config import HubModel
from emogap.controls import NEW
from emogap.errors import ModelError
from emogap.lm.attention_reach import bounds
from emogap.lm.hub import settings_in, with_bases
from emogap.paths import from_root
from emogap.store.artefacts import RULE

SENTENCE, PASSAGE = 64, 1024
"""Upper bounds, in tokens, of a sentence in a minimal pair, and of a passage or a question with its answer."""
_AFTER_THE_HEAD = {
    "final_logit_softcapping": None, "logits_soft_cap": None, "output_logit_soft_cap": None,
    "logit_scale": 1, "logits_scaling": 1, "lm_head_multiplier": 1,
}  # fmt: skip
"""Settings that change logits after the head → the value that changes nothing, as None does."""
_OTHER_HEADS = {
    "bert", "bert-generation", "big_bird", "camembert", "cpmant", "data2vec-text", "electra", "ernie", "inkling_text",
    "megatron-bert", "minicpm3", "modernbert-decoder", "roberta", "roberta-prelayernorm", "roc_bert", "roformer",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Types of models with a layer or a factor before their head, or whose tokens attend to later ones."""
_OTHER_CACHES = {
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "git", "marian", "mbart", "mvp", "pegasus", "plbart",
    "prophetnet", "rembert", "trocr", "xlnet", *_OTHER_HEADS,
} - {"inkling_text", "minicpm3", "modernbert-decoder"}  # fmt: skip
"""Types of models that gave other replies when they were decoded in slots."""
_SHAPES_GREEDY = {
    "repetition_penalty": 1, "encoder_repetition_penalty": 1, "num_beams": 1, "guidance_scale": 1, "min_length": 0,
    "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
} | dict.fromkeys(
    ("min_new_tokens", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
     "forced_eos_token_id", "sequence_bias", "exponential_decay_length_penalty", "penalty_alpha", "dola_layers",
     "prompt_lookup_num_tokens", "force_words_ids", "constraints", "watermarking_config", "stop_strings", "max_time")
)  # fmt: skip
"""Defaults for generation that change a greedy continuation → the value that does nothing, as None does."""
_TELLS_DOCUMENTS_APART = {
    "codegen", "cohere", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "gpt2", "gpt_bigcode", "gpt_neo",
    "gpt_neox", "gptj", "granite", "llama", "mistral", "mixtral", "nemotron", "olmo", "olmo2", "persimmon", "phi",
    "phi3", "qwen2", "qwen2_moe", "qwen3", "smollm3", "stablelm", "starcoder2",
}  # fmt: skip
"""Types of models that separate documents in a row by positions that restart at 0; each training also tests this."""
_ROW_TEXTS, _ROW = 4, 128
"""The size of a row of trees at that time: room for so many texts, and for so many nodes at least."""


def scores_rule(model: HubModel | Path, longest: int) -> dict[str, str]:
    """The recipe's entry for scores of texts of up to ``longest`` tokens; none where the correction changed nothing."""
    settings = _settings(model, "config.json")
    text = settings.get("text_config") if isinstance(settings.get("text_config"), dict) else settings
    if text.get("model_type") == "gpt_neo":  # its windows count positions in a row, not in a text
        longest = max(_ROW, _ROW_TEXTS * longest)
    parted = any(bound < longest for bound in bounds(text))
    if parted or text.get("model_type") in _OTHER_HEADS or _any_set(text, _AFTER_THE_HEAD):
        return {f"{RULE}sentence scores": "2 (the model's own logits, in windows of its own)"}
    return {}


def replies_rule(model: HubModel | Path) -> dict[str, str]:
    """The entry of a recipe for replies of a model; none where the correction changed nothing."""
    settings = _settings(model, "config.json")
    if settings.get("model_type") in _OTHER_CACHES:
        return {f"{RULE}decoding": "2 (by the model's own cache where slots do not fit)"}
    return {}


def continuation_rule(model: HubModel | Path) -> dict[str, str]:
    """The entry of a recipe for a greedy continuation; none where the correction changed nothing."""
    found = [_settings(model, name) for name in ("generation_config.json", "config.json")]
    if any(_any_set(settings, _SHAPES_GREEDY) for settings in found):
        return {f"{RULE}continuation": "2 (the likeliest tokens, whatever generation_config.json says)"}
    return {}


def training_rules(base: HubModel, *, labels_first_token: bool, documents_share_rows: bool) -> dict[str, str]:
    """The entries of a recipe for a training that comes from a base; none where the corrections changed nothing.

    ``labels_first_token``: a row's first token had a label. ``documents_share_rows``: documents that must not see each
    other stand in one row.
    """
    if base.name.startswith(NEW):  # training from scratch is newer than these rules
        return {}
    model_type, architecture = _type_and_architecture(base)
    rules = {}
    # Trainer tells by the ending of the class's name that a model's loss leaves out the first token of a row.
    if labels_first_token and not architecture.endswith("ForCausalLM"):
        rules[f"{RULE}training loss"] = "2 (a mean over what is predicted; the first token of a row is not)"
    if documents_share_rows and model_type not in _TELLS_DOCUMENTS_APART:
        rules[f"{RULE}documents apart"] = (
            "2 (in padded rows, where the model does not tell them apart by their positions)"
        )
    return rules


def _type_and_architecture(base: HubModel) -> tuple[str, str]:
    """Both as the base's configuration names them; empty texts if they are unknown. The hub's cache and the model below
    an adapter are not read: recipes were first written without them and must stay equal."""
    if base.name.startswith("embedded:"):
        return "llama", "LlamaForCausalLM"
    file = from_root(base.name) / "config.json"
    if file.is_file():
        settings = settings_in(file)
        with suppress(LookupError, TypeError):
            return settings["model_type"], settings["architectures"][0]
        return "", ""
    gpt2 = re.fullmatch(r"(openai-community/)?gpt2(-medium|-large|-xl)?", base.name)
    return ("gpt2", "GPT2LMHeadModel") if gpt2 else ("", "")


def _any_set(settings: Mapping[str, Any], neutral: Mapping[str, Any]) -> bool:
    values = [(settings.get(key), nothing) for key, nothing in neutral.items()]
    return any(value not in (None, [], nothing) for value, nothing in values)


def _settings(model: HubModel | Path, name: str) -> dict[str, Any]:
    """The settings in a file of a model's folder, or of the model below an adapter; empty if it is not available."""
    with suppress(ModelError, OSError, ValueError):
        folder = model if isinstance(model, Path) else _folder(model)
        return settings_in(with_bases(folder, _folder)[0] / name)
    return {}


def _folder(model: HubModel) -> Path:
    """Where a model lies on this disk, without fetching or unpacking it. Raises ``ModelError``."""
    from huggingface_hub import try_to_load_from_cache

    folder = from_root(model.name)
    if folder.is_dir():
        return folder
    # Models from packages were always run as they are now: they need no entry.
    carried = model.name.startswith("embedded:")
    found = None if carried else try_to_load_from_cache(model.name, "config.json", revision=model.revision)
    if not isinstance(found, str):
        raise ModelError(f"{model.name} is not on this disk")
    return Path(found).parent
