"""All columns of a story or a rewrite: what was asked, what the model answered, what was made of its answer.

A row is typed until it is written: ``table`` makes the columns of it. Of an answer that is kept before its table is
published the file has the same fields.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pandas as pd

from emogap.records import KEPT, REJECTED
from emogap.text.templates import Message


@dataclass(frozen=True)
class StoryAsked:
    """What is known of a story before the model has spoken."""

    line_id: str
    source: str
    """The file that the line comes from."""
    text: str
    """The line."""
    emotion: str
    """The line's strongest, which is asked for wherever the prompt asks for one."""
    emotions: list[str]
    """All that the line has but neutral, the strongest first."""
    method: str
    prompt_sha: str | None
    """Hash of the template; None for stories that were imported."""
    genre: str | None
    """The genre sampled for the line, where the template names one."""
    character: str | None
    """The kind of main character sampled for it, likewise."""

    written: ClassVar[str] = "story"
    """The column of the text that is read out of the reply."""

    @property
    def context(self) -> str:
        """What the text is made from."""
        return self.text


@dataclass(frozen=True)
class RewriteAsked:
    """What is known of a rewrite before the model has spoken."""

    record_id: str
    instruction: str
    input: str
    original_output: str
    """The answer that is rewritten."""
    emotion: str
    """The one that is asked for."""
    version: str
    prompt_sha: str
    """Hash of the template."""

    written: ClassVar[str] = "output"
    """The column of the text that is read out of the reply."""

    @property
    def context(self) -> str:
        """What the text is made from."""
        return self.original_output


Asked = StoryAsked | RewriteAsked


@dataclass(frozen=True)
class Request:
    """One text that is wanted."""

    id: str
    source: str
    """The line or record it is made from: what is sampled for it depends on that alone."""
    messages: tuple[Message, ...]
    asked: Asked
    prompt: str
    """The template and the worked examples in it: what a reply must not merely repeat."""
    asks_emotion: bool = True
    """Whether the prompt asks for the emotion; if not, no reply is rejected for the want of it."""


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    ask: str
    """Id of the request; the column's name."""
    attempt: int
    """0, or the number of the retry."""
    seed: int | None
    """That the reply was sampled with; None where it is not known, as the rest of what follows."""
    model: str | None
    """Which weights: ``<name>@<commit or hash>``."""
    reply: str
    """As the model wrote it."""
    finish: str | None
    """How it ended, as engines say it: ``stop``, ``length``, ``error``."""
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    seconds: float | None = None
    """Its share of the time of its batch."""
    error: str | None = None
    """What went wrong, where ``finish`` is ``error``."""

    @property
    def id(self) -> str:
        return row_id(self.ask, self.attempt)


ANSWER = tuple(field.name for field in fields(Answer))


@dataclass(frozen=True)
class Verdict:
    """What was made of an answer."""

    text: str
    """The text that was read out of the reply; its column is ``story`` or ``output``."""
    words: int
    notes: list[str]
    """What was taken from the reply, what the text repeats."""
    cut: bool
    """Whether it ends at the token limit in the middle of a sentence."""
    emotion_score: float
    """The classifier's for the emotion asked for."""
    found: list[str]
    """The strongest emotions of the text, the strongest first."""
    found_scores: list[float]
    similarity: float | None
    """Cosine to what it was made from; None where it need not mean the same."""
    reasons: list[str]
    """The gates that it failed, ``engine_error`` or the kind of duplicate; none: it is kept."""

    @property
    def status(self) -> str:
        return REJECTED if self.reasons else KEPT

    @property
    def reason(self) -> str | None:
        """The first of them."""
        return self.reasons[0] if self.reasons else None


@dataclass(frozen=True)
class Row:
    """A reply with its verdict."""

    asked: Asked
    answer: Answer
    verdict: Verdict

    @property
    def id(self) -> str:
        return self.answer.id

    @property
    def is_kept(self) -> bool:
        return not self.verdict.reasons

    def columns(self) -> dict[str, Any]:
        """Name of column → value, in the order of the table."""
        text, *rest = vars(self.verdict).items()
        return {
            "id": self.id,
            **vars(self.asked),
            **vars(self.answer),
            self.asked.written: text[1],
            **dict(rest),
            "status": self.verdict.status,
            "reason": self.verdict.reason,
        }


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as their table has them."""
    return pd.DataFrame([row.columns() for row in rows])


def tallied(rows: Iterable[Row]) -> dict[str, int]:
    """How many are kept and how many rejected, as manifests count them."""
    kept = [row.is_kept for row in rows]
    return {"kept": sum(kept), "rejected": len(kept) - sum(kept)}


SAME = "(the same)"


def raw_beside(reply: str, text: str) -> str:
    """A raw reply where it stands beside the text that was read out of it: ``SAME`` if nothing was taken away."""
    return SAME if reply.strip() == text else reply


def row_id(ask_id: str, attempt: int) -> str:
    """The id of a row: that of its request, with the number of the retry behind it."""
    return f"{ask_id}~{attempt}" if attempt else ask_id


def as_answer(kept: Mapping[str, Any], **changed: Any) -> Answer:
    """An answer from the row of a file, which may say more of it."""
    return Answer(**{name: kept[name] for name in ANSWER} | changed)
