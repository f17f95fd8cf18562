"""Lengths of text at which an architecture begins to compute attention or positions differently, by its configuration.

In shorter texts every token attends to all before it, wherever in a batch it stands. No model is loaded to tell them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_WINDOW = re.compile(r"window|attention_chunk|chunk_length|block_size|local_attention|index_topk|indexer_budget")
"""Settings that limit how far back a token sees, or part a text into stretches: ``sliding_window``, GPT-Neo's
``window_size``, Llama 4's ``attention_chunk_size``, RecurrentGemma's ``attention_window_size``, …"""
_NO_WINDOW = re.compile(r"layer|pattern|num_|audio|vision")
"""Settings that are named alike and are none: ``max_window_layers``, ``sliding_window_pattern``, …"""


def smallest_window(settings: Mapping[str, Any]) -> int | None:
    """The least number of tokens that any setting of a model's configuration names as a window; None if none does.

    No layer may use that window; then the caller is more careful than it need be.
    """
    named = [value for key, value in settings.items() if _WINDOW.search(key) and not _NO_WINDOW.search(key)]
    each = [one for value in named for one in (value if isinstance(value, list | tuple) else [value])]
    return min((one for one in each if type(one) is int and one > 0), default=None)


def rotary_limit(settings: Mapping[str, Any]) -> int | None:
    """The length from which on rotary positions of a whole batch change (``longrope``); None if there is none."""
    found = [
        rope.get("original_max_position_embeddings", settings.get("original_max_position_embeddings"))
        for rope in _ropes(settings)
        if "longrope" in (rope.get("rope_type"), rope.get("type"))
    ]
    return min((length for length in found if type(length) is int), default=None)


def bounds(settings: Mapping[str, Any]) -> list[int]:
    """The lengths of both kinds, in ascending order."""
    return sorted({bound for bound in (smallest_window(settings), rotary_limit(settings)) if bound is not None})


def _ropes(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The descriptions of rotary positions: one for all layers, or one for each type of them."""
    for key in ("rope_parameters", "rope_scaling"):
        rope = settings.get(key)
        if isinstance(rope, Mapping):
            yield rope
            yield from (part for part in rope.values() if isinstance(part, Mapping))
