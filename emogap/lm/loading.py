"""Models and their tokenizers, loaded in one way wherever one is needed.

A folder holds a whole model or an adapter (PEFT), which is merged into what it stands on. What would give wrong numbers
without an error is refused here: weights that are not in the folder and would be random, a tokenizer without a
vocabulary or with ids that the model has no rows for, a model that is not of the kind asked for.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from emogap.errors import ModelError, one_line
from emogap.lm.adapters import PREFIX, merge
from emogap.lm.hub import describe, with_bases

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# When a library imports bitsandbytes, it warns that an optional kernel for 4-bit weights on a CPU is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

CONFIG = "config.json"
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model", "spiece*", "sentencepiece*")


class Loaded(NamedTuple):
    """A model, in evaluation mode, and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


def load_causal(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: "torch.dtype | None" = None,
    quantization: Literal["none", "nf4"] = "none",
) -> Loaded:
    """The causal language model in a folder on a device that ``pick_device`` gave; fp32 unless ``dtype`` is given.

    Its generation defaults are the folder's own; if these contradict each other, only the token ids among them are kept
    and a line is printed. Raises ``ModelError``: which folder, what is wrong with it, what to do.
    """
    from transformers import AutoModelForCausalLM

    from emogap.lm.generation import mend_defaults, read_defaults

    check_causal(folder)
    whole = with_bases(folder)[0]
    defaults = read_defaults(whole, _config(whole))
    options = {"generation_config": defaults} if defaults else {}
    loaded = _load(folder, AutoModelForCausalLM, "causal language model", device, dtype, quantization, options)
    mend_defaults(whole, loaded.model)
    return loaded


def load_classifier(folder: Path, *, device: str, dtype: "torch.dtype") -> Loaded:
    """The text-classification model in a folder. Raises ``ModelError`` as ``load_causal`` does."""
    from transformers import AutoModelForSequenceClassification

    options = {"config": read_config(folder), "use_safetensors": True}
    return _load(folder, AutoModelForSequenceClassification, "text classifier", device, dtype, "none", options)


def load_encoder(folder: Path) -> Loaded:
    """The encoder in a folder, in fp32 on the CPU. Raises ``ModelError`` as ``load_causal`` does."""
    from transformers import AutoModel

    return _load(folder, AutoModel, "encoder", "cpu", None, "none", {"use_safetensors": True})


Opened = TypeVar("Opened")
_KEPT: ContextVar[dict[Any, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def one_model_at_a_time() -> Iterator[None]:
    """Within this block ``kept_open`` keeps a model open until another one is asked for, so that consecutive pieces of
    one model load it once. The old one is closed before the next is loaded, so that a device holds one at a time."""
    kept: dict[Any, Any] = {}
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        _close(kept)


def kept_open(key: Any, opening: Callable[[], Opened]) -> Opened:
    """What is already open under an equal key, or what ``opening`` opens. Outside a block of ``one_model_at_a_time`` it
    is always opened, and the caller must close it."""
    kept = _KEPT.get()
    if kept is None:
        return opening()
    if key not in kept:
        _close(kept)
        kept[key] = opening()
    return kept[key]


def _close(kept: dict[Any, Any]) -> None:
    for one in kept.values():
        if hasattr(one, "close"):
            one.close()
    kept.clear()


@contextmanager
def without_bars() -> Iterator[None]:
    """Without the bars that ``transformers`` draws for every file that it loads or writes."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder; for an adapter without one, that of the model below it. Raises ``ModelError``."""
    from transformers import AutoTokenizer

    place = tokenizer_folder(folder)
    remedy = "save the model's tokenizer beside it"
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # a dozen kinds, all of which mean: it does not load
        raise ModelError(f"{place} has no tokenizer that loads ({one_line(error)}); {remedy}") from error
    # Some tokenizers load even without their files, with an empty vocabulary.
    if not tokenizer("a word", add_special_tokens=False)["input_ids"]:
        raise ModelError(f"{place} has no tokenizer: there is a model but no vocabulary; {remedy}")
    return tokenizer


def tokenizer_folder(folder: Path) -> Path:
    """The folder with a model's tokenizer: its own, or, for an adapter without one, that of the model below it."""
    for place in reversed(with_bases(folder)):
        if any(file for pattern in TOKENIZER_FILES for file in place.glob(pattern)):
            return place
    return folder


def read_config(folder: Path) -> "PreTrainedConfig":
    """The configuration in a folder; for an adapter without one, that of the model below it. Raises ``ModelError``."""
    return _config(next((place for place in reversed(with_bases(folder)) if (place / CONFIG).is_file()), folder))


def _config(folder: Path) -> "PreTrainedConfig":
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a dozen kinds, all of which mean: no model that can be read
        raise ModelError(f"{folder} holds no model that can be read ({one_line(error)}); name another one") from error


def check_causal(folder: Path) -> None:
    """Raises ``ModelError`` unless a folder holds a causal language model or an adapter on one.

    Only the configuration is read; the weights need not be there.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    whole = with_bases(folder, describe)[0]
    config = _config(whole)
    kinds = config.architectures or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, "of unknown kind")]
    if not set(kinds) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise ModelError(f"{whole} is a {', '.join(kinds)}, not a causal language model; name one that writes text")


def _load(
    folder: Path,
    auto: type,
    kind: str,
    device: str,
    dtype: "torch.dtype | None",
    quantization: str,
    options: dict[str, Any],
) -> Loaded:
    import torch

    # Some GPU images set TF32 as the default, whose ten bits of mantissa give other scores than a CPU's float32.
    torch.set_float32_matmul_precision("highest")
    tokenizer = load_tokenizer(folder)
    try:
        with without_bars():
            model = _weights(folder, auto, device, dtype or torch.float32, quantization, options)
        _check_vocabulary(folder, model, tokenizer)
    except ModelError:
        raise
    except Exception as error:  # a dozen kinds, of several libraries, all of which mean: it does not load
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"{folder} is no {kind} that loads on {device} ({why})") from error
    return Loaded(model.eval(), tokenizer)


def _weights(
    folder: Path, auto: type, device: str, dtype: "torch.dtype", quantization: str, options: dict[str, Any]
) -> "PreTrainedModel":
    import torch

    whole, *adapters = with_bases(folder)
    if not adapters:
        if quantization == "nf4":
            options = options | {"quantization_config": _nf4(device, dtype), "device_map": {"": device}}
        model = _whole(whole, auto, dtype, set(), options)
        return model if quantization == "nf4" else model.to(device)
    if quantization != "none":
        raise ModelError(
            f"{folder} is an adapter, which cannot be merged into {quantization} weights; load it without quantization"
        )
    from peft.utils.save_and_load import load_peft_weights

    brought = {key.removeprefix(PREFIX) for adapter in adapters for key in load_peft_weights(adapter, device="cpu")}
    model = _whole(whole, auto, torch.float32, brought, options)
    with warnings.catch_warnings(action="ignore"):  # ``merge`` checks what they are about
        for adapter in adapters:
            model = merge(model.eval(), adapter)
    return _as_loaded_in(dtype, model).to(device)


def _as_loaded_in(dtype: "torch.dtype", model: "PreTrainedModel") -> "PreTrainedModel":
    """The model in another number format, except what the library keeps in fp32 (``to`` would round positions too)."""
    if model.dtype == dtype:
        return model
    parts = {"config": model.config, "state_dict": model.state_dict(), "generation_config": model.generation_config}
    return type(model).from_pretrained(None, dtype=dtype, **parts)


def _whole(folder: Path, auto: type, dtype: "torch.dtype", brought: set[str], options: dict) -> "PreTrainedModel":
    """The whole model in a folder. ``brought``: names of weights that may be missing because an adapter has them."""
    options = options | {"dtype": dtype, "trust_remote_code": False, "ignore_mismatched_sizes": True}
    model, loading = auto.from_pretrained(folder, output_loading_info=True, **options)
    reshaped = {name for name, *_ in loading["mismatched_keys"]} - brought
    if reshaped:
        raise ModelError(
            f"{folder}: {len(reshaped)} weights have other sizes than config.json says "
            f"({', '.join(sorted(reshaped)[:3])}…); correct it, or get the whole model"
        )
    missing = sorted(set(loading["missing_keys"]) - brought)
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the model's weights ({', '.join(missing[:3])}…), which would be random; "
            "get the whole model, or correct its config.json"
        )
    return model


def _nf4(device: str, dtype: "torch.dtype") -> object:
    """4-bit NormalFloat weights (Dettmers et al. 2023); ``dtype``: the format of computation."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise ModelError("4-bit nf4 weights need the package bitsandbytes; pip install -r requirements-gpu.txt")
    if device == "cpu":
        print("4-bit weights on a CPU take many times as long as plain ones; quantization=none does without them")
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _check_vocabulary(folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raises ``ModelError`` if the tokenizer has a token in use that the model has no row for.

    A special token that only comes into a text if somebody writes it there (that of an image, in a model that reads
    none) is refused only then, by a hook.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = {token: id_ for token, id_ in tokenizer.get_vocab().items() if id_ >= rows}
    marks = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    roles = {token for token in tokenizer.special_tokens_map.values() if isinstance(token, str)}
    used = sorted(set(beyond) - (marks - roles), key=beyond.get)
    if used:
        named = ", ".join(f"{token!r} is {beyond[token]}" for token in used[:3])
        raise ModelError(
            f"{folder}: {len(used)} tokens of the tokenizer lie beyond the model's {rows:,} rows ({named}); save the "
            "model after resize_token_embeddings, or the tokenizer without them"
        )
    if beyond:
        model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: _check_ids(folder, inputs[0], rows))


def _check_ids(folder: Path, ids: "torch.Tensor", rows: int) -> None:
    if int(ids.max()) >= rows:
        raise ModelError(
            f"{folder}: a text has the token of id {int(ids.max())}, and the model has {rows:,} rows; take that mark "
            "out of the text"
        )
