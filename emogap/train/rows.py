"""What the trainings learn from, as tokens and labels: blocks cut from a corpus, and records cut to examples."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from emogap.errors import InputError
from emogap.lm.answer_form import AnswerForm, begin_ids, end_ids

if TYPE_CHECKING:
    import pandas as pd
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
        batch = list(texts[start : start + _BATCH])
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
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


def block_rows(blocks: Blocks, closed: bool) -> list[dict[str, np.ndarray]]:
    """What a model is given of each block: name → (tokens,). A block's first token has nothing to be predicted from.

    ``closed``: positions start anew at each document, by which attention knows that documents do not see each other,
    and no document's first token has a label.
    """
    places = blocks.positions if closed else np.arange(blocks.ids.shape[1])
    arrays = {"input_ids": blocks.ids, "labels": np.where(places == 0, IGNORED, blocks.ids)}
    arrays |= {"position_ids": blocks.positions} if closed else {}
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


@dataclass(frozen=True)
class TrainingRow:
    """A record as the model is given it."""

    id: str
    ids: list[int]
    labels: list[int]
    """Equal to ``ids`` where the token is learnt, else -100; the first has nothing that it could be learnt from."""
    truncated: bool


@dataclass(frozen=True)
class Preflight:
    """What is known of the rows before any step."""

    rows: int
    truncated_share: float
    without_end_share: float
    """Share of rows whose EOS was cut off: the model does not learn to stop from them."""
    tokens: int
    learnt_share: float
    """Share of tokens that the loss counts."""
    example: str
    """The first row, decoded; what is learnt stands between ⟦ and ⟧."""

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows of {self.tokens / self.rows:.0f} tokens on average; {self.truncated_share:.1%} "
            f"truncated, {self.without_end_share:.1%} without EOS; {self.learnt_share:.1%} of the tokens are learnt. "
            f"The first, with what is learnt in ⟦⟧:\n{self.example}"
        )


def encode(
    rows: "pd.DataFrame", form: AnswerForm, tokenizer: "PreTrainedTokenizerBase", max_length: int, loss_on: str
) -> Iterator[TrainingRow]:
    """Tokens and labels of every record (columns ``id, instruction, input, output``), cut at ``max_length``."""
    for row in rows.itertuples():
        example = form.example(tokenizer, row.instruction, row.input or "", row.output)
        start = max(example.answer_start, 1) if loss_on == "response" else 1
        labels = [IGNORED] * start + example.ids[start:]
        yield TrainingRow(row.id, example.ids[:max_length], labels[:max_length], len(example.ids) > max_length)


def preflight(rows: list[TrainingRow], tokenizer: "PreTrainedTokenizerBase") -> Preflight:
    """Look at the rows before training. Raises ``InputError`` naming the rows that have no token to learn."""
    empty = [row.id for row in rows if all(label == IGNORED for label in row.labels)]
    if empty:
        shown = ", ".join(empty[:5]) + ("…" if len(empty) > 5 else "")
        raise InputError(
            f"{len(empty)} of {len(rows)} rows have no token to learn, their question fills sft.max_length ({shown}); "
            "raise sft.max_length or take these records out"
        )
    tokens = sum(len(row.ids) for row in rows)
    return Preflight(
        rows=len(rows),
        truncated_share=sum(row.truncated for row in rows) / len(rows),
        without_end_share=sum(row.ids[-1] != tokenizer.eos_token_id for row in rows) / len(rows),
        tokens=tokens,
        learnt_share=sum(label != IGNORED for row in rows for label in row.labels) / tokens,
        example=show_mask(rows[0], tokenizer),
    )


def show_mask(row: TrainingRow, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The row decoded, with what is learnt between ⟦ and ⟧."""
    parts = []
    for learnt, places in groupby(range(len(row.ids)), lambda place: row.labels[place] != IGNORED):
        text = tokenizer.decode([row.ids[place] for place in places])
        parts.append(f"⟦{text}⟧" if learnt else text)
    return "".join(parts)
