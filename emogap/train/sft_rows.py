"""Records as the tokens and labels that supervised fine-tuning learns from, and a look at them before any step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emogap.errors import InputError
from emogap.generate.answer_form import AnswerForm
from emogap.train.blocks import IGNORED

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


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
    parts, start = [], 0
    for end in range(1, len(row.ids) + 1):
        learnt = row.labels[start] != IGNORED
        if end == len(row.ids) or (row.labels[end] != IGNORED) != learnt:
            text = tokenizer.decode(row.ids[start:end])
            parts.append(f"⟦{text}⟧" if learnt else text)
            start = end
    return "".join(parts)
