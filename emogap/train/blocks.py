"""Documents made into blocks of equal length, in time linear in their tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emogap.errors import InputError
from emogap.generate.answer_form import begin_ids, end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that is not learnt."""
_BATCH = 1000


@dataclass(frozen=True)
class Blocks:
    """Tokens cut into blocks."""

    ids: np.ndarray
    """(blocks, block length), int64."""
    positions: np.ndarray
    """(blocks, block length), int64: place within the document, or within its part in this block; 0 begins one."""
    dropped: int
    """Tokens of the last remainder, which fill no block."""


def wrap(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> Iterable[list[int]]:
    """The tokens of each document between BOS and EOS."""
    begin, end = begin_ids(tokenizer), end_ids(tokenizer)
    for start in range(0, len(texts), _BATCH):
        batch = tokenizer(list(texts[start : start + _BATCH]), add_special_tokens=False, verbose=False)["input_ids"]
        for ids in batch:
            yield begin + ids + end


def cut(documents: Iterable[Sequence[int]], length: int, what: str) -> Blocks:
    """Concatenate and cut. Fewer tokens than a block make one shorter block.

    Raises ``InputError`` naming ``what`` if there are fewer than two tokens, which leave nothing to predict.
    """
    arrays = [np.asarray(document, dtype=np.int64) for document in documents]
    ids = np.concatenate([np.empty(0, np.int64), *arrays])
    if len(ids) < 2:
        raise InputError(f"{what} has no text to learn from; it needs at least one document")
    length = min(length, len(ids))
    count = len(ids) // length
    used = count * length
    sizes = np.array([len(array) for array in arrays])
    starts = np.concatenate([np.cumsum(sizes) - sizes, np.arange(0, used, length)])
    return Blocks(ids[:used].reshape(count, length), _positions(starts, used).reshape(count, length), len(ids) - used)


def _positions(starts: np.ndarray, total: int) -> np.ndarray:
    """Distance of every place from the last start at or before it."""
    last = np.zeros(total, dtype=np.int64)
    inside = starts[starts < total]
    last[inside] = inside
    return np.arange(total) - np.maximum.accumulate(last)


def bounds(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Begin and end of every document of a row, by its tokens' places in theirs: 0 begins one."""
    begins = np.flatnonzero(np.asarray(positions) == 0).tolist()
    return list(zip(begins, [*begins[1:], len(positions)], strict=True))


def columns(blocks: Blocks, closed: bool) -> dict[str, np.ndarray]:
    """What the model is given of each block. Its first token has no label, for there is nothing to predict it from.

    ``closed``: places start anew at each document, by which attention knows that documents do not see each other, and
    no document's first token has a label.
    """
    places = blocks.positions if closed else np.arange(blocks.ids.shape[1])
    given = {"input_ids": blocks.ids, "labels": np.where(places == 0, IGNORED, blocks.ids)}
    return given | {"position_ids": blocks.positions} if closed else given
