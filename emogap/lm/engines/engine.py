"""Engines run a language model: conversations in, replies out, one for one and in the same order.

Whatever runs the model, the contract is the same. No row is lost and none comes twice; each row is sampled from its
own seed; an engine that cannot honour a sampling parameter says so instead of ignoring it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from emogap.config import Sampling
from emogap.text.templates import Message

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Conversation:
    """A prompt for a model: chat messages, or, if it is ``plain``, the content of its only message as it is."""

    id: str
    messages: tuple[Message, ...]
    seed: int
    plain: bool = False
    """True: no chat template; the model continues the text (the form that fine-tuned models are asked in)."""


@dataclass(frozen=True)
class Reply:
    """What a model wrote to a prompt."""

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


def failed(conversation: Conversation, prompt_tokens: int, reason: str) -> Reply:
    """The reply of a row that was not or could not be decoded."""
    return Reply(conversation.id, "", prompt_tokens, 0, "error", 0.0, reason)


def without_room(conversation: Conversation, prompt: Sequence[int], context: int | None) -> Reply | None:
    """The reply to a prompt (token ids) that a model with that context length cannot go on; None to any other."""
    if not prompt:
        return failed(conversation, 0, "the prompt has no tokens")
    if context and len(prompt) >= context:
        return failed(conversation, len(prompt), f"the prompt has {len(prompt)} tokens, the model reads {context}")
    return None


class Engine(Protocol):
    """A model ready to write."""

    identity: str
    """Which weights: ``<name>@<commit or hash>``."""
    context: int | None
    """Tokens of prompt and reply together at most; None where that is not known."""

    def as_sent(self, conversation: Conversation) -> str:
        """The prompt as text, with all its special tokens, as far as this side makes it."""
        ...

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
