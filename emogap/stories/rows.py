"""All columns of a story or a rewrite: what was asked, what the model answered, and the verdict on its answer.

Rows are objects with typed fields until they are written; ``table`` turns them into columns. Answers that are stored
before their table is published have the same field names in their file.
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
    """The line's strongest emotion; it is asked for if the prompt asks for one."""
    emotions: list[str]
    """All emotions of the line except neutral, the strongest first."""
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
    """The emotion that is asked for."""
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
    """Whether the prompt asks for the emotion; if not, no reply is rejected for lacking it."""


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    ask: str
    """Id of the request. The field is named like the column of the published tables."""
    attempt: int
    """0, or the number of the retry."""
    seed: int | None
    """The seed that the reply was sampled with. None means unknown, here and below."""
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
    """What the gates found in an answer."""

    text: str
    """The text that was read out of the reply; its column is ``story`` or ``output``."""
    words: int
    notes: list[str]
    """What was removed from the reply, which unsuitable words it has, which other text it repeats."""
    cut: bool
    """Whether it ends at the token limit in the middle of a sentence."""
    emotion_score: float
    """The classifier's score of the emotion in the row's ``asked``."""
    found: list[str]
    """The strongest emotions of the text, the strongest first."""
    found_scores: list[float]
    similarity: float | None
    """Cosine similarity to what it was made from; None where it need not mean the same."""
    reasons: list[str]
    """The gates that it failed, ``engine_error`` or the kind of duplicate; if empty, the text is kept."""

    @property
    def status(self) -> str:
        return REJECTED if self.reasons else KEPT

    @property
    def reason(self) -> str | None:
        """The first of ``reasons``."""
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
    """The rows as a data frame with the columns of their table."""
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
    """An answer from the row of a file, which may have further fields; ``changed``: fields that get other values."""
    return Answer(**{name: kept[name] for name in ANSWER} | changed)
