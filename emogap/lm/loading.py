"""Causal language models and their tokenizers, loaded in one way wherever one is needed.

A folder holds a whole model or an adapter (PEFT), which is merged into what it stands on. What would give wrong numbers
without a word is refused here: weights that are not in the folder and would be random, a tokenizer without a vocabulary
or with ids that the model has no rows for, a model that is no causal one.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from emogap.config import HubModel
from emogap.errors import ModelError, one_line
from emogap.hub import describe, resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ADAPTER = "adapter_config.json"
"""The file by which a folder is an adapter."""


class CausalLM(NamedTuple):
    """A causal language model, in evaluation mode, and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


def load_causal(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: "torch.dtype | None" = None,
    quantization: Literal["none", "nf4"] = "none",
) -> CausalLM:
    """The model in a folder on a device that ``pick_device`` gave; fp32 unless another ``dtype`` is given.

    Its defaults for generation are the folder's own; one whose values contradict each other is reduced to the ids of
    its tokens, with a line that says so. Raises ``ModelError``: which folder, what is wrong with it, what to do.
    """
    import torch

    check_causal(folder)
    tokenizer = load_tokenizer(folder)
    model = _load_weights(folder, device, dtype or torch.float32, quantization)
    _check_vocabulary(folder, model, tokenizer)
    _mend_generation_config(folder, model)
    return CausalLM(model.eval(), tokenizer)


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder, or of what an adapter stands on. Raises ``ModelError``."""
    from transformers import AutoTokenizer

    remedy = "save the model's tokenizer beside it"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a dozen kinds, all of which mean: not to be had
        if is_adapter(folder):
            return load_tokenizer(base_of_adapter(folder))
        raise ModelError(f"{folder} has no tokenizer that loads ({one_line(error)}); {remedy}") from error
    # Without its files some tokenizers load all the same, with no vocabulary.
    if not tokenizer("a word", add_special_tokens=False)["input_ids"]:
        raise ModelError(f"{folder} has no tokenizer: there is a model but no vocabulary; {remedy}")
    return tokenizer


def check_causal(folder: Path) -> None:
    """Raises ``ModelError`` unless the folder describes a causal language model; reads its configuration alone."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if is_adapter(folder):
        check_causal(describe(_named_base(folder)))
        return
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a dozen kinds, all of which mean: no model that can be read
        raise ModelError(f"{folder} holds no model that can be read ({one_line(error)}); name another one") from error
    kinds = config.architectures or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, "of unknown kind")]
    if not set(kinds) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise ModelError(f"{folder} is a {', '.join(kinds)}, not a causal language model; name one that writes text")


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def base_of_adapter(folder: Path) -> Path:
    """The folder of the model that an adapter stands on, which may be an adapter itself. Raises ``ModelError``."""
    return resolve(_named_base(folder)).path


def context_length(config: "PreTrainedConfig") -> int | None:
    """How many tokens a model can read at most; None if its configuration names no limit."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _named_base(folder: Path) -> HubModel:
    try:
        settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        name, revision = settings["base_model_name_or_path"], settings.get("revision")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / ADAPTER} names no model that it stands on; save the adapter again") from error
    if not isinstance(name, str) or not name:
        raise ModelError(f"{folder / ADAPTER} names no model that it stands on; write its base_model_name_or_path")
    return HubModel(name=name, revision=revision or "main")


def _load_weights(folder: Path, device: str, dtype: "torch.dtype", quantization: str) -> "PreTrainedModel":
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        if is_adapter(folder):
            return _merged(folder, quantization).to(dtype=dtype, device=device)
        return _whole(folder, device, dtype, quantization)
    except ModelError:
        raise
    except Exception as error:  # a dozen kinds, of several libraries, all of which mean: it does not load
        raise ModelError(f"{folder} is no causal language model that loads on {device} ({one_line(error)})") from error
    finally:
        logging.enable_progress_bar()


def _whole(folder: Path, device: str, dtype: "torch.dtype", quantization: str) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    options = {"dtype": dtype, "trust_remote_code": False}
    if quantization == "nf4":
        options |= {"quantization_config": _nf4(device, dtype), "device_map": {"": device}}
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    missing = sorted(loading["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the model's weights ({', '.join(missing[:3])}…), which would be random; "
            "get the whole model, or correct its config.json"
        )
    return model if quantization == "nf4" else model.to(device)


def _merged(folder: Path, quantization: str) -> "PreTrainedModel":
    """An adapter merged, in fp32 on the CPU, into what it stands on."""
    import torch
    from peft import PeftModel

    if quantization != "none":
        raise ModelError(
            f"{folder} is an adapter, which cannot be merged into {quantization} weights; load it without quantization"
        )
    base = _load_weights(base_of_adapter(folder), "cpu", torch.float32, "none")
    adapted = PeftModel.from_pretrained(base, folder)
    if not hasattr(adapted, "merge_and_unload"):
        raise ModelError(f"{folder} is an adapter of a kind that cannot be merged; give a LoRA, or the whole model")
    return adapted.merge_and_unload().requires_grad_(True)  # what an adapter stands on is frozen


def _nf4(device: str, dtype: "torch.dtype") -> object:
    """4-bit NormalFloat weights (Dettmers et al. 2023), computed with in ``dtype``."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if not device.startswith("cuda"):
        raise ModelError(f"4-bit nf4 weights need a GPU and this is {device}; use --set writer.quantization=none")
    if find_spec("bitsandbytes") is None:
        raise ModelError("4-bit nf4 weights need the package bitsandbytes; pip install -r requirements-gpu.txt")
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _check_vocabulary(folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raises ``ModelError`` if the tokenizer has a token that the model has no row for."""
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = sorted((id_, token) for token, id_ in tokenizer.get_vocab().items() if id_ >= rows)
    if beyond:
        named = ", ".join(f"{token!r} is {id_}" for id_, token in beyond[:3])
        raise ModelError(
            f"{folder}: {len(beyond)} tokens of the tokenizer lie beyond the model's {rows:,} rows ({named}); save the "
            "model after resize_token_embeddings, or the tokenizer without them"
        )


def _mend_generation_config(folder: Path, model: "PreTrainedModel") -> None:
    """Reduce defaults for generation that contradict each other to the ids of tokens: with them the model could not be
    saved again."""
    from transformers import GenerationConfig

    found = model.generation_config
    if found is None:
        return
    try:
        found.validate(strict=True)
    except ValueError as error:
        print(f"{folder.name}: its generation_config.json is left out but for token ids ({one_line(error)})")
        ids = {name: getattr(found, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**ids)
