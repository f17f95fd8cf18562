"""The engine that runs a model in this process with ``transformers``, on a CPU or a GPU.

Rows are decoded together in a fixed number of slots, longest prompt first. A row that is done leaves its slot at once
and a waiting row takes it, so that no step is spent past a row's end. What all prompts of a call have in common at
their beginning is computed once.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogap.config import Sampling
from emogap.device import pick_device, pick_dtype
from emogap.errors import ModelError
from emogap.generate.chat_format import ChatFormat, end_tokens
from emogap.generate.engines import Conversation, Reply
from emogap.generate.next_token import draw, penalise, uniforms
from emogap.hub import LocalModel
from emogap.lm.loading import context_length, load_causal

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

SHARED_PREFIX = 16
"""A common beginning shorter than this many tokens is not worth a pass of its own."""


@dataclass
class _Row:
    """A conversation in work."""

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


class TransformersEngine:
    """A causal language model, loaded, with its tokenizer. See ``emogap.generate.engines.Engine``."""

    def __init__(self, local: LocalModel, *, device: str, dtype: str, quantization: str, batch_size: int):
        """Load the model. Raises ``ModelError`` if it is no causal language model or cannot be loaded that way."""
        self.identity = local.identity
        self._device = pick_device(device)
        self._batch_size = batch_size
        self._model, self._tokenizer = _load(local.path, self._device, pick_dtype(self._device, dtype), quantization)
        self._format = ChatFormat(self._tokenizer)
        self._ends = end_tokens(local.path, self._tokenizer)
        self._told_of_memory = False

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """See ``Engine.generate``. A reply in fp32 is the same at any batch size; in bf16 and fp16 it is the same for
        the same call."""
        replies: dict[int, Reply] = {}

        def finish(index: int, reply: Reply) -> None:
            replies[index] = reply
            if on_reply:
                on_reply(reply)

        waiting = []
        for index, conversation in enumerate(conversations):
            row = self._row(index, conversation, sampling)
            if isinstance(row, Reply):
                finish(index, row)
            else:
                waiting.append(row)
        waiting.sort(key=lambda row: (-len(row.prompt), row.index))
        self._decode_all(waiting, sampling, finish)
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = None
        _free_memory()

    def _row(self, index: int, conversation: Conversation, sampling: Sampling) -> "_Row | Reply":
        prompt = self._format.encode(conversation)
        context = context_length(self._model.config)
        room = context - len(prompt) if context else sampling.max_new_tokens
        if not prompt:
            return _failed(conversation, 0, "the prompt has no tokens")
        if room < 1:
            return _failed(conversation, len(prompt), f"the prompt has {len(prompt)} tokens, the model reads {context}")
        limit = min(sampling.max_new_tokens, room)
        return _Row(index, conversation, prompt, limit, uniforms(conversation.seed, limit))

    def _decode_all(self, waiting: list[_Row], sampling: Sampling, finish: Callable[[int, Reply], None]) -> None:
        """Finish every row; out of memory, with half the slots again, and at last without the row that never fits."""
        import torch

        slots = self._batch_size
        while waiting:
            batch = _Batch(self._model, min(slots, len(waiting)), sampling, self._ends)
            try:
                with torch.inference_mode():
                    self._decode(batch, waiting, finish)
                return
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if slots == 1:
                    row = (batch.rows or waiting)[0]
                    reason = f"out of memory on {self._device} with this row alone ({len(row.prompt)} prompt tokens)"
                else:
                    row = None
            waiting[:0] = batch.rows
            for unfinished in waiting:
                unfinished.restart()
            del batch
            _free_memory()
            if row is not None:
                waiting.remove(row)
                finish(row.index, _failed(row.conversation, len(row.prompt), reason))
                slots = self._batch_size
            else:
                slots = self._halve(slots)

    def _halve(self, slots: int) -> int:
        if not self._told_of_memory:
            print(f"Out of memory on {self._device} with {slots} rows at a time; going on with fewer.")
            self._told_of_memory = True
        return slots // 2

    def _decode(self, batch: "_Batch", waiting: list[_Row], finish: Callable[[int, Reply], None]) -> None:
        batch.share(_common_prefix([row.prompt for row in waiting]))
        while waiting or batch.rows:
            free = batch.slots - len(batch.rows)
            # Several rows are read in at a time: one by one would cost a pass each.
            if waiting and free >= min(len(waiting), max(1, batch.slots // 4)):
                batch.admit(waiting[:free])
                del waiting[:free]
            for row, ended in batch.step():
                finish(row.index, self._reply(row, ended))

    def _reply(self, row: _Row, ended: bool) -> Reply:
        text = self._tokenizer.decode(row.new, skip_special_tokens=True)
        return Reply(
            id=row.conversation.id,
            text=text,
            prompt_tokens=len(row.prompt),
            new_tokens=len(row.new),
            finish="stop" if ended else "length",
            seconds=row.seconds,
        )


class _Batch:
    """The rows that are decoded together, one to a slot, and their cache."""

    def __init__(self, model: "PreTrainedModel", slots: int, sampling: Sampling, ends: frozenset[int]):
        import torch

        from emogap.generate.kv_slots import SlotCache

        self.slots = slots
        self.rows: list[_Row] = []
        self._model, self._sampling, self._ends = model, sampling, ends
        self._device = model.device
        settings = model.config.get_text_config()
        self._cache = SlotCache(settings.num_hidden_layers, slots)
        self._prefix: DynamicCache | None = None
        self._shared = 0
        self._seen = None
        if sampling.repetition_penalty != 1:
            self._seen = torch.zeros(slots, settings.vocab_size, dtype=torch.bool, device=self._device)

    def share(self, prefix: list[int]) -> None:
        """Compute once what the prompts of all rows to come begin with."""
        from transformers import DynamicCache

        if len(prefix) >= SHARED_PREFIX:
            self._prefix, self._shared = DynamicCache(), len(prefix)
            self._read([prefix], self._prefix)

    def admit(self, rows: list[_Row]) -> None:
        """Read the prompts of new rows, all but their last token: that one is the input of their first step."""
        from emogap.generate.kv_slots import copy_for

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
        _share_time(rows, time.perf_counter() - started)

    def _read(self, texts: list[list[int]], cache: "DynamicCache") -> None:
        """Fill a cache. Padding stands on the right, where causal attention never looks back at it."""
        import torch

        width = max(map(len, texts))
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=self._device)
        # The body without the head: no logits are needed of a prompt.
        self._model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)

    def step(self) -> list[tuple[_Row, bool]]:
        """One token more for every row; those that are done leave. Returns them, with whether the model ended."""
        started = time.perf_counter()
        tokens = self._next_tokens()
        for row, token in zip(self.rows, tokens, strict=True):
            row.new.append(token)
        _share_time(self.rows, time.perf_counter() - started)
        done = []
        for slot in reversed(range(len(self.rows))):
            row = self.rows[slot]
            ended = row.new[-1] in self._ends
            if ended or len(row.new) == row.limit:
                done.append((row, ended))
                self._drop(slot)
        return done[::-1]

    def _next_tokens(self) -> list[int]:
        import torch

        ids = [row.new[-1] if row.new else row.prompt[-1] for row in self.rows]
        self._cache.before_step()
        output = self._model(
            input_ids=torch.tensor(ids, device=self._device)[:, None],
            attention_mask=self._cache.mask(self._device),
            position_ids=torch.tensor(self._cache.lengths, device=self._device)[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.after_step()
        logits = output.logits[:, -1].float()
        count = len(self.rows)
        if self._seen is not None:
            logits = penalise(logits, self._seen[:count], self._sampling.repetition_penalty)
        uniform = torch.tensor([row.uniforms[len(row.new)] for row in self.rows], dtype=torch.float64)
        tokens = draw(logits, uniform.to(self._device), self._sampling)
        if self._seen is not None:
            self._seen[:count].scatter_(1, tokens[:, None], True)
        return tokens.tolist()

    def _drop(self, slot: int) -> None:
        last = self.rows.pop()
        self._cache.drop(slot)
        if slot < len(self.rows):
            self.rows[slot] = last
            if self._seen is not None:
                self._seen[slot] = self._seen[len(self.rows)]


def _load(
    folder: Path, device: str, dtype: "torch.dtype", quantization: str
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    from emogap.generate.kv_slots import GROUPED, register_attention

    model, tokenizer = load_causal(folder, device=device, dtype=dtype, quantization=quantization)
    if model._is_stateful:
        raise ModelError(
            f"{folder}: a {model.config.model_type} keeps no key-value cache; use --set writer.engine=vllm"
        )
    if model.config._attn_implementation == "sdpa":
        register_attention()
        model.set_attn_implementation(GROUPED)
    return model, tokenizer


def _common_prefix(prompts: list[list[int]]) -> list[int]:
    """What all prompts begin with, leaving each at least one token of its own; nothing for a single prompt."""
    if len(prompts) < 2:
        return []
    first, last = min(prompts), max(prompts)
    pairs = enumerate(zip(first, last, strict=False))
    common = next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))
    return first[: min(common, *(len(prompt) - 1 for prompt in prompts))]


def _share_time(rows: list[_Row], seconds: float) -> None:
    for row in rows:
        row.seconds += seconds / len(rows)


def _failed(conversation: Conversation, prompt_tokens: int, reason: str) -> Reply:
    return Reply(conversation.id, "", prompt_tokens, 0, "error", 0.0, reason)


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
