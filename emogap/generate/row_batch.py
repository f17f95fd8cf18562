"""Rows of conversations that are decoded together, one to a slot of one cache."""

import inspect
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from emogap.config import Sampling
from emogap.generate.engines import Conversation
from emogap.generate.kv_slots import SlotCache, copy_for
from emogap.generate.next_token import penalise, sample_tokens
from emogap.lm.own_numbers import shared_tokens

SHARED_PREFIX = 16
"""A common beginning shorter than this many tokens is not worth a pass of its own."""


@dataclass
class Row:
    """A conversation that is being decoded."""

    index: int
    conversation: Conversation
    prompt: list[int]
    limit: int
    """New tokens at most: the sampling's limit, or what the model's context leaves."""
    uniforms: np.ndarray
    new: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def restart(self) -> None:
        self.new.clear()
        self.seconds = 0.0


class RowBatch:
    """The rows that are decoded together, one to a slot, and their cache."""

    def __init__(self, model: PreTrainedModel, slots: int, sampling: Sampling, ends: frozenset[int]):
        self.slots = slots
        self.rows: list[Row] = []
        self._model, self._sampling, self._ends = model, sampling, ends
        self._device = model.device
        self._takes = cache_argument(model)
        settings = model.config.get_text_config()
        self._cache = SlotCache(settings.num_hidden_layers, slots)
        self._prefix: DynamicCache | None = None
        self._shared = 0
        self._seen = None
        if sampling.repetition_penalty != 1:
            self._seen = torch.zeros(slots, settings.vocab_size, dtype=torch.bool, device=self._device)

    def share(self, prefix: list[int]) -> None:
        """Compute once what the prompts of all rows to come begin with."""
        if len(prefix) >= SHARED_PREFIX:
            self._prefix, self._shared = DynamicCache(), len(prefix)
            self._read([prefix], self._prefix)

    def admit(self, rows: list[Row]) -> None:
        """Read the prompts of new rows, all but their last token: that one is the input of their first step."""
        started = time.perf_counter()
        filled = copy_for(self._prefix, len(rows))
        rests = [row.prompt[self._shared : -1] for row in rows]
        if any(rests):
            self._read(rests, filled)
        self._cache.admit(filled, [len(row.prompt) - 1 for row in rows])
        if self._seen is not None:
            for slot, row in enumerate(rows, start=len(self.rows)):
                self._seen[slot] = False
                self._seen[slot, row.prompt] = True
        self.rows += rows
        share_time(rows, time.perf_counter() - started)

    def _read(self, texts: list[list[int]], cache: DynamicCache) -> None:
        """Fill a cache. Padding stands on the right, where causal attention never looks back at it."""
        width = max(map(len, texts))
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=self._device)
        # The body without the head: no logits are needed of a prompt.
        self._model.base_model(input_ids=ids, use_cache=True, **{self._takes: cache})

    def step(self) -> list[tuple[Row, bool]]:
        """One token more for every row; those that are done leave. Returns them, with whether the model ended."""
        started = time.perf_counter()
        tokens = self._next_tokens()
        for row, token in zip(self.rows, tokens, strict=True):
            row.new.append(token)
        share_time(self.rows, time.perf_counter() - started)
        done = []
        for slot in reversed(range(len(self.rows))):
            row = self.rows[slot]
            ended = row.new[-1] in self._ends
            if ended or len(row.new) == row.limit:
                done.append((row, ended))
                self._drop(slot)
        return done[::-1]

    def _next_tokens(self) -> list[int]:
        logits = self.next_logits()
        count = len(self.rows)
        if self._seen is not None:
            logits = penalise(logits, self._seen[:count], self._sampling.repetition_penalty)
        uniform = torch.tensor([row.uniforms[len(row.new)] for row in self.rows], dtype=torch.float64)
        tokens = sample_tokens(logits, uniform.to(self._device), self._sampling)
        if self._seen is not None:
            self._seen[:count].scatter_(1, tokens[:, None], True)
        return tokens.tolist()

    def next_logits(self) -> torch.Tensor:
        """Logits of every row's next token: float32 (rows, vocabulary)."""
        ids = [row.new[-1] if row.new else row.prompt[-1] for row in self.rows]
        self._cache.before_step()
        output = self._model(
            input_ids=torch.tensor(ids, device=self._device)[:, None],
            attention_mask=self._cache.mask(self._device),
            position_ids=torch.tensor(self._cache.lengths, device=self._device)[:, None],
            use_cache=True,
            **{self._takes: self._cache},
        )
        self._cache.after_step()
        return output.logits[:, -1].float()

    def _drop(self, slot: int) -> None:
        last = self.rows.pop()
        self._cache.drop(slot)
        if slot < len(self.rows):
            self.rows[slot] = last
            if self._seen is not None:
                self._seen[slot] = self._seen[len(self.rows)]


def cache_argument(model: PreTrainedModel) -> str:
    """The name of a model's argument for its cache, which newer releases of transformers renamed."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def common_prefix(prompts: list[list[int]]) -> list[int]:
    """What all prompts begin with, leaving each at least one token of its own; nothing for a single prompt."""
    if len(prompts) < 2:
        return []
    common = shared_tokens(min(prompts), max(prompts))
    return prompts[0][: min(common, *(len(prompt) - 1 for prompt in prompts))]


def share_time(rows: list[Row], seconds: float) -> None:
    for row in rows:
        row.seconds += seconds / len(rows)
