"""The mode in which a model can be decoded, found by trying three short texts when the model is opened.

Slots of one cache work for an architecture that keeps a key and a value for each token and nothing else, and whose
positions and windows follow what the engine tells it. If the logits are then not the model's own, its rows are decoded
one by one, with its own cache; if even those logits are not, each token comes from a forward pass of the whole text.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emogap.config import Sampling
from emogap.errors import one_line
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.kv_slots import GROUPED, register_attention
from emogap.lm.engines.row_batch import Row, RowBatch, common_prefix
from emogap.lm.generation import continued
from emogap.lm.own_numbers import close, probe_texts, references

Mode = Literal["slots", "alone", "uncached"]
"""Rows together in slots of one cache; one by one with the model's own cache; one by one without a cache."""
_STEPS = (3, 5, 3)
"""How many tokens of each text are decoded: the first leaves while the others go on."""


def decoding_mode(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> Mode:
    """The fastest mode that gives the model's own logits; a line is printed if it is not ``slots``.

    Sets the attention that decodes fastest. Raises ``ModelError`` for a model that does not read from left to right.
    """
    first, second, third = probe_texts(model, tokenizer)
    # They begin alike; the last, which is admitted while the others are being decoded, is the shortest.
    texts = [first, second, first[: len(first) // 2] + third]
    attention = model.config._attn_implementation
    modes: list[tuple[str, Mode]] = [(attention, "slots"), (attention, "alone"), (attention, "uncached")]
    if attention == "sdpa":
        register_attention()
        modes.insert(0, (GROUPED, "slots"))
    why = ""
    with torch.inference_mode():
        for own in references(model, texts, name):
            while (reason := _why_not(model, modes[0], texts, own)) is not None:
                why = f" ({reason})" if reason else why
                modes.pop(0)
            model.set_attn_implementation(attention)
    chosen, mode = modes[0]
    model.set_attn_implementation(chosen)
    if mode == "slots":
        return mode
    how = "one by one, slower" if mode == "alone" else "one by one and read anew for every token, much slower"
    print(
        f"{name}: a {type(model).__name__} takes no slots of one cache{why}; its rows are decoded {how} (a writer may "
        "be faster with --set writer.engine=vllm or writer.engine=server)"
    )
    return mode


def _why_not(
    model: PreTrainedModel, tried: tuple[str, Mode], texts: Sequence[list[int]], own: Sequence[torch.Tensor]
) -> str | None:
    """None if attention and mode give the model's own logits; else their error, empty if only the logits differ."""
    attention, mode = tried
    if mode == "uncached":
        return None
    try:
        model.set_attn_implementation(attention)
        found = _in_slots(model, texts) if mode == "slots" else [_alone(model, texts[0])]
        # ``own`` has logits after each token of a text, ``found`` those that give its last tokens.
        pairs = zip(found, own, strict=False)
        return None if all(close(few, full[-1 - len(few) : -1], model.dtype) for few, full in pairs) else ""
    except Exception as error:  # a dozen kinds, all of which mean: not with this architecture
        return one_line(error)


class _Forced(RowBatch):
    """Takes the tokens of given texts, and keeps the logits that it would have sampled from."""

    texts: Sequence[Sequence[int]]
    logits_read: list[list[torch.Tensor]]

    def _next_tokens(self) -> list[int]:
        for row, logits in zip(self.rows, self.next_logits(), strict=True):
            self.logits_read[row.index].append(logits)
        return [self.texts[row.index][len(row.prompt) + len(row.new)] for row in self.rows]


def _in_slots(model: PreTrainedModel, texts: Sequence[list[int]]) -> list[torch.Tensor]:
    """Logits of the last tokens of each text, decoded in slots: (steps, vocabulary) each."""
    probe = Conversation("probe", (), 0)
    rows = [
        Row(number, probe, text[:-steps], steps, np.empty(0))
        for number, (text, steps) in enumerate(zip(texts, _STEPS, strict=True))
    ]
    batch = _Forced(model, len(rows), Sampling(temperature=0), frozenset())
    batch.texts, batch.logits_read = texts, [[] for _ in texts]
    batch.share(common_prefix([row.prompt for row in rows]))
    batch.admit(rows[:2])
    batch.step()
    batch.admit(rows[2:])
    while batch.rows:
        batch.step()
    return [torch.stack(logits_read) for logits_read in batch.logits_read]


def _alone(model: PreTrainedModel, text: list[int]) -> torch.Tensor:
    """Logits of the last tokens of a text, decoded with the model's own cache: (steps, vocabulary)."""
    logits_read: list[torch.Tensor] = []
    steps = _STEPS[0]

    def choose(logits: torch.Tensor) -> int:
        logits_read.append(logits)
        return text[len(text) - steps + len(logits_read) - 1]

    continued(model, text[:-steps], steps, choose=choose)
    return torch.stack(logits_read)
