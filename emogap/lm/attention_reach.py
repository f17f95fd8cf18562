"""Text lengths beyond which a model computes attention or positions differently, and how much it reads at most.

In shorter texts every token attends to all before it, wherever it stands in a batch. The lengths are read from a
model's configuration, without loading the model.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_WINDOW = re.compile(r"window|attention_chunk|chunk_length|block_size|local_attention|index_topk|indexer_budget")
"""Settings that limit how far back a token sees, or split a text into chunks: ``sliding_window``, GPT-Neo's
``window_size``, Llama 4's ``attention_chunk_size``, RecurrentGemma's ``attention_window_size``, …"""
_NO_WINDOW = re.compile(r"layer|pattern|num_|audio|vision")
"""Settings with similar names that are no windows: ``max_window_layers``, ``sliding_window_pattern``, …"""
_LIMITS = ("max_position_embeddings", "max_seq_len", "max_target_positions")
"""What configurations call the number of positions (attribute maps of transformers lead other names to the first)."""
_PAD_TAKES_POSITIONS = {
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Models whose first position is the padding token's id plus 1: the places before it in their table are not usable."""


def smallest_window(settings: Mapping[str, Any]) -> int | None:
    """The least number of tokens that any setting of a model's configuration names as a window; None if none does.

    Perhaps no layer uses that window; then the caller is more careful than necessary.
    """
    named = [value for key, value in settings.items() if _WINDOW.search(key) and not _NO_WINDOW.search(key)]
    each = [one for value in named for one in (value if isinstance(value, list | tuple) else [value])]
    return min((one for one in each if type(one) is int and one > 0), default=None)


def rotary_limit(settings: Mapping[str, Any]) -> int | None:
    """The length beyond which a text changes the rotary positions of its whole batch (``longrope``); None if none."""
    found = [
        rope.get("original_max_position_embeddings", settings.get("original_max_position_embeddings"))
        for rope in _ropes(settings)
        if "longrope" in (rope.get("rope_type"), rope.get("type"))
    ]
    return min((length for length in found if type(length) is int), default=None)


def bounds(settings: Mapping[str, Any]) -> list[int]:
    """The smallest window and the rotary limit, as far as there are any, in ascending order."""
    return sorted({bound for bound in (smallest_window(settings), rotary_limit(settings)) if bound is not None})


def _ropes(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The descriptions of rotary positions: one for all layers, or one for each type of them."""
    for key in ("rope_parameters", "rope_scaling"):
        rope = settings.get(key)
        if isinstance(rope, Mapping):
            yield rope
            yield from (part for part in rope.values() if isinstance(part, Mapping))


def context_length(config: "PreTrainedConfig") -> int | None:
    """How many tokens a model can read at most; None if its configuration names no limit."""
    text = config.get_text_config()
    limit = next((limit for name in _LIMITS if (limit := getattr(text, name, None))), None)
    if not isinstance(limit, int) or limit < 0:  # XLNet's is -1
        return None
    if text.model_type in _PAD_TAKES_POSITIONS:
        pad = 1 if text.model_type == "mpnet" else text.pad_token_id or 0
        return limit - pad - 1
    return limit
