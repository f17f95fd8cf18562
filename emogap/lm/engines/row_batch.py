"""Rows of conversations that are decoded together, one to a slot of one cache, and the sampling of their tokens.

Each row has its own stream of uniform numbers. Its next token depends on its own logits and its own number alone:
neither on the rows beside it nor on where it stands in the batch.
"""

import inspect
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from emogap.config import Sampling
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.kv_slots import SlotCache, copy_for
from emogap.lm.own_numbers import shared_tokens

SHARED_PREFIX = 16
"""A common beginning shorter than this many tokens is not worth a pass of its own."""
CANDIDATES = 1024
"""How many of the likeliest tokens are looked at first; sorting a whole vocabulary costs ten times as much."""


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
        """Compute once the beginning that the prompts of all later rows have in common."""
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
        """Read texts into a cache. Padding stands on the right, where causal attention never sees it."""
        width = max(map(len, texts))
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=self._device)
        # The body without the head: no logits are needed of a prompt.
        self._model.base_model(input_ids=ids, use_cache=True, **{self._takes: cache})

    def step(self) -> list[tuple[Row, bool]]:
        """Decode one more token of every row. Rows that are done leave; returns them, with whether the model ended."""
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


def uniforms(seed: int, count: int) -> np.ndarray:
    """``count`` numbers in [0, 1), the same for the same seed on every device; a larger ``count`` only adds to them."""
    return np.random.Generator(np.random.PCG64(seed)).random(count)


def penalise(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make tokens that a row has seen less likely (Keskar et al. 2019, as ``transformers`` defines it).

    ``logits`` (rows, vocabulary) and ``seen`` (the same shape, bool; tokens of the prompt count too). A positive
    logit is divided by the penalty, a negative one multiplied.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def sample_tokens(
    logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling, candidates: int = CANDIDATES
) -> torch.Tensor:
    """The next token of each row.

    ``logits`` (rows, vocabulary) float32, the repetition penalty already applied; ``uniform`` (rows,) float64 in
    [0, 1). Order of the filters as in ``transformers``: temperature, top_k, top_p. Sampling inverts the cumulative
    distribution in the order of the token ids: in that of the logits, a rounding error could swap two tokens.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    logits = logits / sampling.temperature
    if not sampling.top_k and sampling.top_p == 1:
        return _invert(logits.double().softmax(-1), uniform)
    vocabulary = logits.shape[-1]
    width = min(sampling.top_k or candidates, vocabulary)
    values, ids = logits.topk(width, dim=-1)
    whole = (values if sampling.top_k else logits).double().logsumexp(-1, keepdim=True)
    shares = (values.double() - whole).exp()
    before = shares.cumsum(-1) - shares
    ids, order = ids.sort(dim=-1)
    tokens = ids.gather(-1, _invert((shares * (before < sampling.top_p)).gather(-1, order), uniform)[:, None])[:, 0]
    reached = before[:, -1] + shares[:, -1] >= sampling.top_p
    if sampling.top_k or width == vocabulary or bool(reached.all()):
        return tokens
    wide = ~reached
    tokens[wide] = sample_tokens(
        logits[wide], uniform[wide], sampling.model_copy(update={"temperature": 1.0}), vocabulary
    )
    return tokens


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight exceeds ``uniform`` times the sum; (rows, n), (rows,) → (rows,)."""
    cumulative = weights.cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=weights.shape[-1] - 1)
