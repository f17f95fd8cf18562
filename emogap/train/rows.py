"""Training rows as tokens and labels: blocks cut from a corpus, and examples made of records."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap.errors import InputError
from emogap.lm.answer_form import AnswerForm, begin_ids, end_ids

if TYPE_CHECKING:
    from IPython.display import HTML
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that is not learnt: the loss leaves it out."""
WORDS = "words"
"""A row's entry beside its tokens, where words seen are counted: how many words begin in the row."""
_BATCH = 1000


@dataclass(frozen=True)
class Blocks:
    """Tokens cut into blocks."""

    ids: np.ndarray
    """(blocks, block length), int64."""
    positions: np.ndarray
    """(blocks, block length), int64: place within the document, or within its part in this block; 0 where it begins."""
    dropped: int
    """Tokens left over at the end, too few for a further block."""
    words: np.ndarray | None = None
    """(blocks,), int64: words that begin in each block, where they were counted."""


def wrap(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> Iterable[list[int]]:
    """The tokens of each document between BOS and EOS."""
    begin, end = begin_ids(tokenizer), end_ids(tokenizer)
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            yield begin + ids + end


def words_by_token(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> Iterator[np.ndarray]:
    """How many words begin in each token of each document, as ``wrap`` gives them: every word counts once, in the token
    that holds its first character. A word is what white space separates."""
    begin, end = len(begin_ids(tokenizer)), len(end_ids(tokenizer))
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        encoded = tokenizer(batch, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        for text, offsets in zip(batch, encoded["offset_mapping"], strict=True):
            words = np.zeros(begin + len(offsets) + end, dtype=np.int64)
            ends = np.maximum.accumulate(np.array([last for _, last in offsets], dtype=np.int64))
            first = [match.start() for match in re.finditer(r"\S+", text)]
            places = begin + np.searchsorted(ends, first, side="right")
            np.add.at(words, np.minimum(places, len(words) - 1), 1)
            yield words


def cut(
    documents: Iterable[Sequence[int]], length: int, what: str, words: Iterable[np.ndarray] | None = None
) -> Blocks:
    """Concatenate documents and cut blocks of ``length`` tokens; fewer tokens than that make one shorter block.

    ``words``: for each document, how many words begin in each token. Raises ``InputError`` naming ``what`` if there
    are fewer than two tokens, which leave nothing to predict.
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
    counted = None if words is None else np.concatenate([*words])[:used].reshape(count, length).sum(axis=1)
    positions = _positions(starts, used).reshape(count, length)
    return Blocks(ids[:used].reshape(count, length), positions, len(ids) - used, counted)


def _positions(starts: np.ndarray, total: int) -> np.ndarray:
    """Distance of every place from the last start at or before it."""
    last = np.zeros(total, dtype=np.int64)
    inside = starts[starts < total]
    last[inside] = inside
    return np.arange(total) - np.maximum.accumulate(last)


def bounds(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Begin and end of every document in a row. ``positions``: each token's place in its document, 0 for the first."""
    begins = np.flatnonzero(np.asarray(positions) == 0).tolist()
    return list(zip(begins, [*begins[1:], len(positions)], strict=True))


def block_rows(blocks: Blocks, closed: bool) -> list[dict[str, np.ndarray]]:
    """A model's inputs for each block: name → (tokens,). A block's first token has no label, as nothing precedes it.

    ``closed``: positions restart at 0 at each document, which tells attention to keep documents apart, and no
    document's first token has a label.
    """
    places = blocks.positions if closed else np.arange(blocks.ids.shape[1])
    arrays = {"input_ids": blocks.ids, "labels": np.where(places == 0, IGNORED, blocks.ids)}
    arrays |= {"position_ids": blocks.positions} if closed else {}
    arrays |= {WORDS: blocks.words} if blocks.words is not None else {}
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


@dataclass(frozen=True)
class Preflight:
    """What is known about the rows before the first step."""

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
    rows: pd.DataFrame, form: AnswerForm, tokenizer: "PreTrainedTokenizerBase", max_length: int, loss_on: str
) -> Iterator[dict[str, Any]]:
    """A row for every record (columns ``id, instruction, input, output``), cut at ``max_length``: ``input_ids``,
    ``labels``, the record's ``id``, and whether it was ``truncated``.

    A label equals the id where the token is learnt and is -100 elsewhere, always at the first: nothing precedes it.
    """
    for row in rows.itertuples():
        example = form.example(tokenizer, row.instruction, row.input or "", row.output)
        start = max(example.answer_start, 1) if loss_on == "response" else 1
        labels = [IGNORED] * start + example.ids[start:]
        given = {"input_ids": example.ids[:max_length], "labels": labels[:max_length]}
        yield {"id": row.id, **given, "truncated": len(example.ids) > max_length}


def preflight(rows: list[dict[str, Any]], tokenizer: "PreTrainedTokenizerBase") -> Preflight:
    """Look at the rows before training. Raises ``InputError`` naming the rows that have no token to learn."""
    empty = [row["id"] for row in rows if all(label == IGNORED for label in row["labels"])]
    if empty:
        shown = ", ".join(empty[:5]) + ("…" if len(empty) > 5 else "")
        raise InputError(
            f"{len(empty)} of {len(rows)} rows have no token to learn, their question fills sft.max_length ({shown}); "
            "raise sft.max_length or take these records out"
        )
    tokens = sum(len(row["input_ids"]) for row in rows)
    return Preflight(
        rows=len(rows),
        truncated_share=sum(row["truncated"] for row in rows) / len(rows),
        without_end_share=sum(row["input_ids"][-1] != tokenizer.eos_token_id for row in rows) / len(rows),
        tokens=tokens,
        learnt_share=sum(label != IGNORED for row in rows for label in row["labels"]) / tokens,
        example=show_mask(rows[0], tokenizer),
    )


def padding_share(lengths: Sequence[int], batch_size: int) -> float:
    """Average share of padding in batches whose rows are sampled at random and padded to the longest of the batch.

    ``lengths``: tokens of each row; the last batch has what is left.
    """
    full, left = divmod(len(lengths), batch_size)
    slots = full * batch_size * _longest(lengths, batch_size) + left * _longest(lengths, left)
    return 1 - sum(lengths) / slots


def _longest(lengths: Sequence[int], sampled: int) -> float:
    """The expected maximum of ``sampled`` of the lengths, taken at random without replacement."""
    expected, share, count = 0.0, 0.0, len(lengths)
    for rank, length in zip(range(count, 0, -1), sorted(lengths, reverse=True), strict=True):
        # How probable it is that the largest sampled is the one of this rank: the others are all of lower rank.
        share = sampled / count if rank == count else share * (rank + 1 - sampled) / rank
        expected += share * length
    return expected


def token_table(
    ids: Sequence[int],
    labels: Sequence[int],
    tokenizer: "PreTrainedTokenizerBase",
    positions: Sequence[int] | None = None,
) -> pd.DataFrame:
    """One row per token: ``place, document, id, text, special, learnt``.

    ``text``: what the token adds to the text; a character of several tokens stands at the last of them. ``document``:
    counted from 1; a new one begins where ``positions`` is 0. ``learnt``: whether the loss counts the token.
    """
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=False)
    special = set(tokenizer.all_special_ids)
    return pd.DataFrame(
        {
            "place": range(len(ids)),
            "document": 1 if positions is None else np.cumsum(np.asarray(positions) == 0),
            "id": ids,
            "text": [stream.step(tokenizer.backend_tokenizer, id_) or "" for id_ in ids],
            "special": [id_ in special for id_ in ids],
            "learnt": [label != IGNORED for label in labels],
        }
    )


def as_seen(tokens: pd.DataFrame) -> "HTML":
    """A row's tokens (``token_table``) as text for a notebook: tokens that the loss does not count are grey, special
    ones have a frame, and a line separates documents."""
    from IPython.display import HTML

    said = "grey: not counted by the loss; framed: a special token; a line: another document begins"
    page = [f'<div style="font-size: 85%; font-style: italic">{said}</div>']
    for _, document in tokens.groupby("document"):
        spans = [_span(*key, text) for key, text in _runs(document)]
        style = "white-space: pre-wrap; max-width: 60em; text-align: left; border-top: 1px solid gray; padding: 4px 0"
        page.append(f'<div style="{style}">{"".join(spans)}</div>')
    return HTML("".join(page))


def _runs(tokens: pd.DataFrame) -> Iterator[tuple[tuple[bool, bool], str]]:
    """(special, learnt) and the text of each run of consecutive tokens that agree in both; special ones stand alone."""
    alike = zip(tokens["special"], tokens["learnt"], tokens["place"].where(tokens["special"], -1), strict=True)
    for (special, learnt, _), part in groupby(zip(alike, tokens["text"], strict=True), lambda pair: pair[0]):
        yield (special, learnt), "".join(text for _, text in part)


def _span(special: bool, learnt: bool, text: str) -> str:
    style = ("border: 1px solid; border-radius: 3px; padding: 0 2px; " if special else "") + (
        "" if learnt else "opacity: 0.6"
    )
    return f'<span style="{style}">{escape(text)}</span>'


def show_mask(row: Mapping[str, Sequence[int]], tokenizer: "PreTrainedTokenizerBase") -> str:
    """The row decoded, with what is learnt between ⟦ and ⟧."""
    parts, ids = [], row["input_ids"]
    for learnt, places in groupby(range(len(ids)), lambda place: row["labels"][place] != IGNORED):
        text = tokenizer.decode([ids[place] for place in places])
        parts.append(f"⟦{text}⟧" if learnt else text)
    return "".join(parts)
