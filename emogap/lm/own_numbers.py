"""A causal model's own logits, from a forward pass of one text alone: the reference for faster ways of running it.

Scores, the lens and the engine batch several texts, apply the head to hidden states separately from the body, or decode
in slots of one cache. Not every architecture can be run in these ways, and one that cannot may give other numbers
without an error. So, when a model is opened, each way is tried on a few texts of random tokens and compared with the
model's own logits of each; a way that fails or differs is not used.
"""

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emogap.errors import ModelError, one_line
from emogap.lm.attention_reach import context_length, rotary_limit, smallest_window

PROBE_TOKENS = 32
"""Length of the longest probe, unless a small window or context says otherwise."""
SMALL_WINDOW = 64
"""If the smallest window has at most this many tokens, the longest probe is made longer than the window."""
TOLERANCE = {"torch.float32": 1e-3, "torch.float16": 0.05, "torch.bfloat16": 0.3}
"""How far two ways of computing the same logits may differ by rounding, in units of the spread of a position's logits:
the mean over the positions of a text. At a single position, in bf16, rounding may switch the choice of an expert, so
that one position says little."""
REFUSAL = 2
"""A model is refused only beyond this multiple of the tolerance: a slower way costs less than a refusal."""
FLOAT32_PARAMETERS = 1_000_000_000
"""A half-precision model of at most this many parameters is probed in float32 too; that takes four bytes each."""
_UNSTEADY = {"reformer": ("attn_layers", "lsh"), "big_bird": ("attention_type", "block_sparse")}
"""Type of model → a setting and the value in it that makes the logits of a text differ from call to call."""


def probe_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Three texts of random ordinary tokens: a long one, one that begins as it does, and the first few tokens of it."""
    every = set(tokenizer.get_vocab().values())
    ordinary = sorted(every - {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}) or sorted(every)
    random_tokens = random.Random(0)
    settings = model.config.get_text_config().to_dict()
    window = smallest_window(settings)
    longest = window + 16 if window and window <= SMALL_WINDOW else PROBE_TOKENS
    # One token of room for an empty context before it.
    room = [limit - 1 for limit in (context_length(model.config), rotary_limit(settings)) if limit]
    longest = max(4, min([longest, *room]))
    first, second = (random_tokens.choices(ordinary, k=longest) for _ in range(2))
    half = longest // 2
    return [first, first[:half] + second[half : longest - 1], first[: max(2, longest // 6)]]


def own_logits(model: PreTrainedModel, ids: Sequence[int], name: str | Path) -> torch.Tensor:
    """Logits of the token after each token of one text, by a plain forward pass: float32 (tokens, vocabulary).

    Raises ``ModelError`` if the model does not give such logits.
    """
    kind = type(model).__name__
    try:
        logits = forward(model, torch.tensor([list(ids)], device=model.device)).logits
    except Exception as error:  # a dozen kinds, all of which mean: it reads something else than a text
        raise ModelError(
            f"{name}: a {kind} does not read a text alone ({one_line(error)}); name another model"
        ) from error
    if tuple(logits.shape[:2]) != (1, len(ids)):
        raise ModelError(
            f"{name}: a {kind} gives logits of shape {tuple(logits.shape)} for {len(ids)} tokens; name another model"
        )
    if logits.isnan().any():
        raise ModelError(f"{name}: the model's logits are not numbers (NaN); its training diverged, name another model")
    return logits[0].float()


def forward(model: PreTrainedModel, ids: torch.Tensor, **inputs: object) -> object:
    """The output of a model, or of its body, for ids (texts, tokens), without a cache."""
    accepted = inspect.signature(model.forward).parameters
    if "use_cache" in accepted or any(one.kind is one.VAR_KEYWORD for one in accepted.values()):
        inputs["use_cache"] = False
    return model(input_ids=ids, **inputs)


def references(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], name: str | Path
) -> Iterator[list[torch.Tensor]]:
    """The model's own logits of the texts of ``probe_texts``, (tokens, vocabulary) each, to compare other ways with.

    They are yielded once; for a small model in half precision twice: first while it computes in float32, where rounding
    hides no difference, then in its own format. Raises ``ModelError`` for a model that gives none, or whose logits
    depend on later tokens.
    """
    _check_steady(model, name)
    if _can_be_float32(model):
        with suppress(torch.OutOfMemoryError), _in_float32(model):
            try:
                own = [own_logits(model, ids, name) for ids in texts]
            except ModelError:  # it computes in no other format than its own
                own = []
            if own:
                _check_causal(model, texts, own, name)
                yield own
    own = [own_logits(model, ids, name) for ids in texts]
    _check_causal(model, texts, own, name)
    yield own


def _check_steady(model: PreTrainedModel, name: str | Path) -> None:
    """Raises ``ModelError`` for attention that is random on long texts, or that changes for good at a short one."""
    setting, value = _UNSTEADY.get(model.config.model_type, ("model_type", None))
    if value is not None and value in getattr(model.config, setting):
        raise ModelError(
            f"{name}: what a {type(model).__name__} says of a long text is not the same each time ({setting} has "
            f"'{value}'); name another model"
        )


def _can_be_float32(model: PreTrainedModel) -> bool:
    small = model.num_parameters() <= FLOAT32_PARAMETERS
    return small and model.dtype != torch.float32 and getattr(model, "hf_quantizer", None) is None


@contextmanager
def _in_float32(model: PreTrainedModel) -> Iterator[None]:
    tensors = [one for one in (*model.parameters(), *model.buffers()) if one.is_floating_point()]
    kept = [one.data for one in tensors]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for one in tensors:
                one.data = one.data.float()
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for one, data in zip(tensors, kept, strict=True):
                one.data = data


def _check_causal(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], own: Sequence[torch.Tensor], name: str | Path
) -> None:
    """Raises ``ModelError`` if the logits of a text's beginning depend on what follows it."""
    common = [shared_tokens(text, texts[0]) for text in texts]
    apart = [distances(one[:n], own[0][:n]).mean() for one, n in zip(own, common, strict=True)]
    if not max(apart) <= REFUSAL * TOLERANCE[str(model.dtype)]:
        raise not_causal(model, name)


def not_causal(model: torch.nn.Module, name: str | Path) -> ModelError:
    """The error for a model whose logits depend on later tokens."""
    return ModelError(
        f"{name}: what a {architecture(model)} says of a token depends on the tokens after it; name a model that "
        "writes from left to right (some are one only with is_decoder in their config.json)"
    )


def architecture(model: torch.nn.Module) -> str:
    """The class name of a model, or of the model below its adapters."""
    return type(model.get_base_model() if hasattr(model, "get_base_model") else model).__name__


def shared_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    shortest = min(len(one), len(other))
    return next((i for i in range(shortest) if one[i] != other[i]), shortest)


def close(found: torch.Tensor, own: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether logits (tokens, vocabulary) are the model's own, but for rounding."""
    return negligible(distances(found, own), dtype)


def negligible(apart: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether distances, one per token, in units of the spread of the logits, are no more than rounding."""
    return bool(apart.mean() <= TOLERANCE[str(dtype)])


def distances(found: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """How far logits (tokens, vocabulary) lie from the model's own, in units of their spread: (tokens,)."""
    apart = (found - own).masked_fill(found == own, 0)  # some models forbid tokens by minus infinity
    return apart.square().mean(dim=-1).sqrt() / spread(own)


def spread(logits: torch.Tensor) -> torch.Tensor:
    """Standard deviation over the vocabulary of each position: (tokens, vocabulary) → (tokens,)."""
    forbidden = logits <= torch.finfo(torch.float16).min
    count = (~forbidden).sum(dim=-1)
    logits = logits.masked_fill(forbidden, 0)
    centred = (logits - (logits.sum(dim=-1) / count)[:, None]).masked_fill(forbidden, 0)
    return (centred.square().sum(dim=-1) / count).sqrt().clamp(min=torch.finfo(torch.float32).tiny)


def reads_head_alone(model: PreTrainedModel, ids: Sequence[int]) -> bool:
    """Whether the logits are exactly what the head gives, and the head reads the body's last hidden state.

    False where a model caps, scales or shifts what its head gives, or has a layer between body and head.
    """
    head, body = model.get_output_embeddings(), model.base_model
    if head is None or body is model:
        return False
    read: list[tuple[torch.Tensor, torch.Tensor]] = []
    watch = head.register_forward_hook(lambda _module, inputs, output: read.append((inputs[0], output)))
    try:
        text = torch.tensor([list(ids)], device=model.device)
        logits = forward(model, text).logits
    finally:
        watch.remove()
    if len(read) != 1 or not torch.equal(read[0][1].float(), logits.float()):
        return False
    hidden = forward(body, text).last_hidden_state
    return close(read[0][0][0].float(), hidden[0].float(), model.dtype)


def holds(claim: Callable[[], bool]) -> bool:
    """Whether a claim about a model is true; it is false where trying it ends in an error of any kind."""
    try:
        return claim()
    except Exception:  # a dozen kinds, all of which mean: not with this architecture
        return False
