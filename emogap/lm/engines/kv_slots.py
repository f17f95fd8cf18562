"""A key-value cache with slots: rows can leave and others come in while the rest are decoded.

All rows end at the same column; a shorter row begins further right (left padding, so that relative distances, and
with them sliding windows, hold). The memory is reserved ahead: a step writes one column instead of copying the cache.
"""

from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

GROUPED = "emogap_grouped_sdpa"
"""Name of the attention that ``register_attention`` offers."""
_RESERVE = 128
"""Columns reserved beyond what is in use."""


class _SlotLayer(CacheLayerMixin):
    """Keys and values of one layer: (slots, heads, columns, head size) each, of which a window is in use."""

    is_sliding = False

    def __init__(self, owner: "SlotCache"):
        super().__init__()
        self._owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (self._empty(x, self._owner.capacity) for x in (key_states, value_states))
        self.is_initialized = True

    def _empty(self, like: torch.Tensor, columns: int) -> torch.Tensor:
        # Zeros: a masked column has weight 0, and 0 times what happened to lie in memory may be NaN.
        _, heads, _, size = like.shape
        return like.new_zeros(self._owner.slots, heads, columns, size)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        owner = self._owner
        rows, written = owner.rows, slice(owner.end, owner.end + key_states.shape[-2])
        self.keys[:rows, :, written] = key_states
        self.values[:rows, :, written] = value_states
        used = slice(owner.start, written.stop)
        return self.keys[:rows, :, used], self.values[:rows, :, used]

    def admit(self, keys: torch.Tensor, values: torch.Tensor, lengths: list[int]) -> None:
        """Copy the first ``lengths[i]`` columns of row i of a filled cache into the next free slots."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        first, end = self._owner.rows, self._owner.end
        for i, length in enumerate(lengths):
            self.keys[first + i, :, end - length : end] = keys[i, :, :length]
            self.values[first + i, :, end - length : end] = values[i, :, :length]

    def move(self, source: int, target: int) -> None:
        used = slice(self._owner.start, self._owner.end)
        self.keys[target, :, used] = self.keys[source, :, used]
        self.values[target, :, used] = self.values[source, :, used]

    def reserve(self, columns: int) -> None:
        """Move what is in use into new memory of so many columns, at its left edge."""
        if not self.is_initialized:
            return
        rows, used = self._owner.rows, slice(self._owner.start, self._owner.end)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._empty(old, columns)
            new[:rows, :, : used.stop - used.start] = old[:rows, :, used]
            setattr(self, name, new)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self._owner.end - self._owner.start

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """The cache of up to ``slots`` rows. The first ``rows`` slots are taken; ``lengths`` holds their tokens."""

    def __init__(self, layers: int, slots: int):
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])
        self.slots = slots
        self.lengths: list[int] = []
        self.start = self.end = self.capacity = 0

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def admit(self, filled: DynamicCache, lengths: list[int]) -> None:
        """Take in rows whose prompts ``filled`` holds, right-padded.

        If rows are being decoded already, no new row may be longer than the longest of them.
        """
        if not self.rows:
            self.start = self.end = 0
        self._make_room(max(lengths))
        self.end = max(self.end, max(lengths))
        for layer, source in zip(self.layers, filled.layers, strict=False):
            if max(lengths):
                layer.admit(source.keys, source.values, lengths)
        self.lengths += lengths
        self.start = self.end - max(self.lengths)

    def before_step(self) -> None:
        """Make room for one more column."""
        self._make_room(self.end - self.start + 1)

    def after_step(self) -> None:
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def drop(self, slot: int) -> None:
        """Free a slot; the last row moves into it."""
        last = self.rows - 1
        if slot != last:
            for layer in self.layers:
                layer.move(last, slot)
            self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
        if self.lengths:
            self.start = self.end - max(self.lengths)

    def _make_room(self, columns: int) -> None:
        if self.start + columns <= self.capacity:
            return
        capacity = columns + _RESERVE
        for layer in self.layers:
            layer.reserve(capacity)
        self.start, self.end, self.capacity = 0, self.end - self.start, capacity

    def mask(self, device: str) -> torch.Tensor:
        """Which columns of the window each row sees in the coming step: (rows, columns + 1), bool."""
        lengths = torch.tensor(self.lengths, device=device)[:, None]
        columns = torch.arange(self.end - self.start + 1, device=device)
        return columns >= self.end - self.start - lengths


def copy_for(prefix: DynamicCache | None, rows: int) -> DynamicCache:
    """A cache to fill with ``rows`` prompts that all begin with what ``prefix`` (one row) holds."""
    cache = DynamicCache()
    if prefix is not None:
        for index, layer in enumerate(prefix.layers):
            cache.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
    return cache


def register_attention() -> None:
    """Offer ``GROUPED``: sdpa that, for one query per row, lets the heads of a group share their keys without copies.

    Whenever there is a mask, ``transformers`` copies keys and values for each query head of a group; in decoding that
    copy costs more than the attention. The heads of a group become the queries of one head: the same sums.
    """
    AttentionInterface.register(GROUPED, _grouped_attention)
    AttentionMaskInterface.register(GROUPED, sdpa_mask)


def _grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` (rows, heads, queries, size), ``key``/``value`` (rows, groups, columns, size)."""
    rows, heads, queries, size = query.shape
    groups = key.shape[1]
    if queries > 1 or heads == groups:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    output = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, groups, heads // groups, size), key, value, attn_mask=attention_mask, scale=scaling
    )
    return output.reshape(rows, 1, heads, value.shape[-1]), None
