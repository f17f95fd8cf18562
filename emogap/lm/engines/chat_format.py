"""From a conversation to the token ids that a model expects: its own chat template, applied exactly once."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from emogap.errors import ModelError, one_line
from emogap.lm.answer_form import begin_ids
from emogap.lm.engines.engine import Conversation
from emogap.lm.hub import with_bases
from emogap.text.templates import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = "zqxprobe"


class ChatFormat:
    """The prompt format of one model."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        self.folds_system = self.has_template and not _takes_system(tokenizer)
        """The template has no system role: what the system would say opens the first user turn."""

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
        except TemplateError as error:  # also when it reaches for what the sandbox that it runs in forbids
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
