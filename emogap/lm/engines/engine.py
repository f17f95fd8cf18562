"""Engines run a language model: conversations in, replies out, one for one and in the same order.

Whatever runs the model, the contract is the same. No row is lost and none comes twice; each row is sampled from its
own seed; an engine that cannot honour a sampling parameter says so instead of ignoring it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from jinja2 import TemplateError

from emogap.config import Sampling
from emogap.errors import ModelError, one_line
from emogap.lm.answer_form import begin_ids
from emogap.lm.hub import with_bases
from emogap.text.templates import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    """Tokens that the model wrote, including the one that ended the reply; None where they are unknown."""
    finish: Finish | None
    """``stop``: the model ended; ``length``: cut at ``max_new_tokens``; ``error``: see ``error``; None: a server does
    not say."""
    seconds: float
    """Its share of the time: for every step that it took part in, the step's time divided by the number of rows in it.
    For a reply of a server, the time from the first request to the answer."""
    error: str | None = None


def failed(conversation: Conversation, prompt_tokens: int, reason: str) -> Reply:
    """The error reply for a row that was not, or could not be, decoded."""
    return Reply(conversation.id, "", prompt_tokens, 0, "error", 0.0, reason)


def without_room(conversation: Conversation, prompt: Sequence[int], context: int | None) -> Reply | None:
    """The error reply to a prompt (token ids) that is empty or fills the model's context; None for any other prompt."""
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
        """The prompt as text, with all its special tokens, as far as the engine itself makes it and not a server."""
        ...

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """Replies in the order of the conversations. ``on_reply`` is called with each one as it is finished."""
        ...

    def close(self) -> None:
        """Give the model's memory back."""
        ...


# --- from a conversation to the token ids that a model expects: its own chat template, applied exactly once ----------


_PROBE = "zqxprobe"


class ChatFormat:
    """The prompt format of one model."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        self.folds_system = self.has_template and not _takes_system(tokenizer)
        """Whether the template has no system role, so that a system message begins the first user turn."""

    def messages(self, conversation: Conversation) -> list[Message]:
        """The messages as the template accepts them."""
        return fold_system(conversation.messages) if self.folds_system else list(conversation.messages)

    def text(self, conversation: Conversation) -> str:
        """The prompt as text: what its token ids stand for."""
        return self._tokenizer.decode(self.encode(conversation), clean_up_tokenization_spaces=False)

    def encode(self, conversation: Conversation) -> list[int]:
        """The prompt's token ids. Plain text begins with BOS, where the model has one, as in fine-tuning; a template
        brings its own special tokens."""
        if conversation.plain or not self.has_template:
            ids = self._tokenizer(plain_text(conversation.messages), add_special_tokens=False)["input_ids"]
            return begin_ids(self._tokenizer) + ids
        try:
            return self._tokenizer.apply_chat_template(
                self.messages(conversation), add_generation_prompt=True, return_dict=False
            )
        except TemplateError as error:  # also when a template uses what its sandbox forbids
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path} cannot be used ({one_line(error)}); name another "
                "model, or repair its template"
            ) from error


def end_tokens(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Every token that ends a reply: the tokenizer's own and those that the model's folder names."""
    from emogap.lm.generation import end_ids

    return frozenset((end_ids(with_bases(folder)[0]) | {tokenizer.eos_token_id}) - {None})


def plain_text(messages: Sequence[Message]) -> str:
    """The messages for a model without a chat template: their contents, an empty line between."""
    return "\n\n".join(message["content"] for message in messages)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """System messages at the beginning moved into the first user turn."""
    system = [*takewhile(lambda message: message["role"] == "system", messages)]
    rest = list(messages[len(system) :])
    if not system:
        return rest
    first = [rest.pop(0)] if rest and rest[0]["role"] == "user" else []
    return [{"role": "user", "content": plain_text([*system, *first])}, *rest]


def _takes_system(tokenizer: "PreTrainedTokenizerBase") -> bool:
    probe = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "-"}]
    try:
        return _PROBE in tokenizer.apply_chat_template(probe, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False
