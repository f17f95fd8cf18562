"""Engines run a language model: conversations in, replies out, one for one and in the same order.

Whatever runs the model, the contract is the same. No row is lost and none comes twice; each row is sampled from its
own seed; an engine that cannot honour a sampling parameter says so instead of ignoring it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from emogap.config import Sampling
from emogap.errors import ModelError
from emogap.generate.prompts import Message

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Conversation:
    """What a model is asked: chat messages, or for ``plain`` text the content of the only message as it is."""

    id: str
    messages: tuple[Message, ...]
    seed: int
    plain: bool = False
    """True: no chat template; the model continues the text (the form that fine-tuned models are asked in)."""


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    id: str
    text: str
    prompt_tokens: int | None
    """Tokens of the prompt, the chat template's included; None where they are unknown: a reply failed, or a server
    does not count."""
    new_tokens: int | None
    """Tokens that the model drew, the one that ended the reply included; None where they are unknown."""
    finish: Finish | None
    """``stop``: the model ended; ``length``: cut at ``max_new_tokens``; ``error``: see ``error``; None: a server does
    not say."""
    seconds: float
    """Its share of the time: of every step that it took part in, the step's time divided by the rows in it."""
    error: str | None = None


def known_tokens(counts: Iterable[int | None], engine: str) -> list[int]:
    """Counts of tokens, all of them known. Raises ``ModelError`` if one is not: no rate in tokens can be measured."""
    known = list(counts)
    if None in known:
        raise ModelError(f"{engine} does not say how many tokens a reply has (no usage); measure with another engine")
    return known


class Engine(Protocol):
    """A model ready to write."""

    identity: str
    """Which weights: ``<name>@<commit or hash>``."""

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """Replies in the order of the conversations. ``on_reply`` hears of each one as it is finished."""
        ...

    def close(self) -> None:
        """Give the model's memory back."""
        ...
