"""The engine that runs a model in this process with ``transformers``, on a CPU or a GPU.

Rows are decoded together in a fixed number of slots, longest prompt first. A row that is done leaves its slot at once
and a waiting row takes it, so that no step is spent past a row's end. The common beginning of all prompts of a call is
computed once. Rows of a model that cannot be decoded in slots (``slot_check``) are decoded one by one.
"""

import time
from collections.abc import Callable, Sequence

import torch
from accelerate.utils.memory import clear_device_cache

from emogap.config import Sampling
from emogap.device import is_out_of_memory, pick_device, pick_dtype
from emogap.errors import one_line
from emogap.lm.attention_reach import context_length, rotary_limit
from emogap.lm.engines.engine import ChatFormat, Conversation, Reply, end_tokens, failed, without_room
from emogap.lm.engines.row_batch import Row, RowBatch, common_prefix, penalise, sample_tokens, uniforms
from emogap.lm.engines.slot_check import decoding_mode
from emogap.lm.generation import continued
from emogap.lm.hub import LocalModel
from emogap.lm.loading import load_causal


class TransformersEngine:
    """A causal language model, loaded, with its tokenizer. See ``emogap.lm.engines.engine.Engine``."""

    def __init__(self, local: LocalModel, *, device: str, dtype: str, quantization: str, batch_size: int):
        """Load the model. Raises ``ModelError`` if it is no causal language model, cannot be loaded that way, or
        does not read from left to right."""
        self.identity = local.identity
        self._device = pick_device(device)
        self._batch_size = batch_size
        number_format = pick_dtype(self._device, dtype)
        self._model, self._tokenizer = load_causal(
            local.path, device=self._device, dtype=number_format, quantization=quantization
        )
        self._format = ChatFormat(self._tokenizer)
        self._ends = end_tokens(local.path, self._tokenizer)
        self._rotary_limit = rotary_limit(self._model.config.get_text_config().to_dict())
        self.context = context_length(self._model.config)
        self._mode = decoding_mode(self._model, self._tokenizer, local.path.name)
        self._told_of_memory = False

    def as_sent(self, conversation: Conversation) -> str:
        """See ``Engine.as_sent``."""
        return self._format.text(conversation)

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
        self._decode_all([row for row in waiting if not self._goes_alone(row)], sampling, finish)
        for row in waiting:
            if self._goes_alone(row):
                finish(row.index, self._decode_alone(row, sampling))
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = None
        clear_device_cache(garbage_collection=True)

    def _row(self, index: int, conversation: Conversation, sampling: Sampling) -> Row | Reply:
        prompt = self._format.encode(conversation)
        room = self.context - len(prompt) if self.context else sampling.max_new_tokens
        limit = min(sampling.max_new_tokens, room)
        return without_room(conversation, prompt, self.context) or Row(
            index, conversation, prompt, limit, uniforms(conversation.seed, limit)
        )

    def _decode_all(self, waiting: list[Row], sampling: Sampling, finish: Callable[[int, Reply], None]) -> None:
        """Finish every row. When memory runs out, try again with half the slots, and at last without the row that
        never fits."""
        slots = self._batch_size
        while waiting:
            batch = RowBatch(self._model, min(slots, len(waiting)), sampling, self._ends)
            try:
                with torch.inference_mode():
                    self._decode(batch, waiting, finish)
                return
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                row = (batch.rows or waiting)[0] if slots == 1 else None
            waiting[:0] = batch.rows
            for unfinished in waiting:
                unfinished.restart()
            del batch
            clear_device_cache(garbage_collection=True)
            if row is not None:
                waiting.remove(row)
                finish(row.index, self._too_large(row))
                slots = self._batch_size
            else:
                slots = self._halve(slots)

    def _goes_alone(self, row: Row) -> bool:
        """Whether a row is decoded by itself: one that may pass the rotary limit would change all rows' positions."""
        return self._mode != "slots" or (
            self._rotary_limit is not None and len(row.prompt) + row.limit > self._rotary_limit
        )

    def _decode_alone(self, row: Row, sampling: Sampling) -> Reply:
        """Decode a row by itself; each token is sampled as it would be in a slot."""

        def choose(logits: torch.Tensor) -> int:
            logits = logits[None]
            if sampling.repetition_penalty != 1:
                seen = torch.zeros_like(logits, dtype=torch.bool)
                seen[0, [*row.prompt, *row.new]] = True
                logits = penalise(logits, seen, sampling.repetition_penalty)
            uniform = torch.tensor([row.uniforms[len(row.new)]], dtype=torch.float64, device=logits.device)
            row.new.append(int(sample_tokens(logits, uniform, sampling)))
            return row.new[-1]

        started = time.perf_counter()
        try:
            continued(self._model, row.prompt, row.limit, self._ends, choose, cached=self._mode != "uncached")
        except Exception as error:  # a dozen kinds, all of which mean: not this row
            clear_device_cache(garbage_collection=True)
            if is_out_of_memory(error):
                return self._too_large(row)
            return failed(row.conversation, len(row.prompt), one_line(error))
        row.seconds = time.perf_counter() - started
        return self._reply(row, row.new[-1] in self._ends)

    def _too_large(self, row: Row) -> Reply:
        reason = f"out of memory on {self._device} with this row alone ({len(row.prompt)} prompt tokens)"
        return failed(row.conversation, len(row.prompt), reason)

    def _halve(self, slots: int) -> int:
        if not self._told_of_memory:
            print(f"Out of memory on {self._device} with {slots} rows at a time; going on with fewer.")
            self._told_of_memory = True
        return slots // 2

    def _decode(self, batch: RowBatch, waiting: list[Row], finish: Callable[[int, Reply], None]) -> None:
        batch.share(common_prefix([row.prompt for row in waiting]))
        while waiting or batch.rows:
            free = batch.slots - len(batch.rows)
            # Several rows are read in at a time: one by one would cost a pass each.
            if waiting and free >= min(len(waiting), max(1, batch.slots // 4)):
                batch.admit(waiting[:free])
                del waiting[:free]
            for row, ended in batch.step():
                finish(row.index, self._reply(row, ended))

    def _reply(self, row: Row, ended: bool) -> Reply:
        text = self._tokenizer.decode(row.new, skip_special_tokens=True)
        return Reply(
            id=row.conversation.id,
            text=text,
            prompt_tokens=len(row.prompt),
            new_tokens=len(row.new),
            finish="stop" if ended else "length",
            seconds=row.seconds,
        )
