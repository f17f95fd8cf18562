"""The writer used by hand: single requests like those of a stage, and what is known of the model."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emogap.config import Config, HubModel, Writer
from emogap.errors import ModelError
from emogap.lm.attention_reach import context_length
from emogap.lm.engines.engine import ChatFormat, Conversation, Reply
from emogap.lm.engines.vllm_engine import reserved_context
from emogap.lm.hub import describe, packaged_file, resolve
from emogap.lm.loading import check_causal, load_tokenizer, read_config
from emogap.stories.rows import as_answer
from emogap.stories.texts import Texts
from emogap.stories.writing import answer, hashed, kept_engine, tried_replies
from emogap.text.templates import Message
from emogap.trial.preview import sampling_of, texts_of

UNKNOWN = "not said"
_ID = "open"


@dataclass(frozen=True)
class OpenWriter:
    """The writer of the settings, run by the engine that previews and stages of this process use. Its model is loaded
    for the first reply that is not stored already."""

    texts: Texts

    def sent(self, messages: str | Sequence[Message]) -> str:
        """What the model reads: the messages in its own chat template, with special tokens. For a model on a server,
        which applies the template itself, the messages that are sent. ``messages`` as a text are one turn of the user.
        """
        writer, conversation = self.texts.config.writer, _conversation(messages, seed=0)
        if not messages:
            return ""
        if writer.engine == "server":
            return kept_engine(writer).as_sent(conversation)
        return ChatFormat(load_tokenizer(resolve(writer.model).path)).text(conversation)

    def reply(self, messages: str | Sequence[Message], seed: int = 0, **sampling: float) -> Reply:
        """The answer; ``print(reply.text)`` shows it. ``sampling``: ``temperature, top_p, top_k, repetition_penalty,
        max_new_tokens``; what is not given is as the stage has it. Replies are stored with those of previews: the same
        request is not generated again.

        Raises ``UsageError`` for another or an impossible parameter, ``ModelError`` if there is no reply.
        """
        sampling = sampling_of(sampling, self.texts.settings.sampling)
        conversation, tried = _conversation(messages, seed), tried_replies(self.texts)
        (key,) = hashed(self.texts.config, sampling, [(conversation.messages, seed)])
        for row in tried.rows:
            if row["key"] == key:
                kept = as_answer(row)
                return Reply(_ID, kept.reply, kept.prompt_tokens, kept.new_tokens, kept.finish, kept.seconds)
        engine = kept_engine(self.texts.config.writer)
        (reply,) = engine.generate([conversation], sampling)
        if reply.finish == "error":
            raise ModelError(f"{engine.identity} gave no reply: {reply.error}")
        tried.append([{"key": key, **vars(answer(_ID, 0, seed, engine, reply))}])
        return reply


def open_writer(config: Config, stage: str = "augment") -> OpenWriter:
    """The writer of the settings; what is known of its model is printed: licence, context, thinking.

    ``stage``: the stage whose sampling is used where none is given. Raises ``ModelError`` for an unavailable model.
    """
    for line in said_of(config.writer):
        print(line)
    return OpenWriter(texts_of(config, stage))


def first_messages(config: Config, name: str, stage: str = "augment") -> list[Message]:
    """The messages that the stage sends to the writer for its first line or record in a method or version; none if no
    line is emotional.

    Raises ``MissingInput`` while the lines are not made, ``UsageError`` for an unknown ``name``.
    """
    texts = texts_of(config, stage)
    return [message for first in texts.first(1) for message in texts.request(first, texts.prompting(name)).messages]


def said_of(writer: Writer) -> Iterator[str]:
    """A line each for the model's identity, its licence, its context length, and whether it reasons before it answers.
    For a model on a server, the server is asked; for any other no weights are loaded."""
    served = writer.engine == "server"
    if served:
        identity, context = kept_engine(writer).identity, kept_engine(writer).context
    else:
        folder = describe(writer.model)
        check_causal(folder)
        identity = resolve(writer.model).identity
        context = reserved_context(folder) if writer.engine == "vllm" else context_length(read_config(folder))
    yield f"{identity}, run by {writer.engine}"
    yield f"licence: {UNKNOWN if served else licence(writer.model)}"
    yield f"context: {f'{context:,} tokens, prompt and reply' if context else UNKNOWN}"
    yield f"thinking: {f'{UNKNOWN}; the chat template is that of the server' if served else thinking(writer.model)}"


def licence(model: HubModel) -> str:
    """The licence that a model's card names, or the package that an embedded model comes in."""
    if model.name.startswith("embedded:"):
        return _packaged_licence(model.name.removeprefix("embedded:"))
    from huggingface_hub import metadata_load

    try:
        card = resolve(model, ("README.md",)).path / "README.md"
        found = (metadata_load(card) if card.is_file() else None) or {}
    except (ModelError, ValueError) as error:  # only the card is missing or damaged, not the model
        return f"{UNKNOWN} ({error})"
    named = found.get("license_name") if found.get("license") == "other" else found.get("license")
    return ", ".join(named) if isinstance(named, list) else str(named or UNKNOWN)


def _packaged_licence(name: str) -> str:
    package = packaged_file(name).parent.name
    (distribution, *_) = importlib.metadata.packages_distributions()[package]
    metadata = importlib.metadata.metadata(distribution)
    return f"{metadata.get('License-Expression') or metadata.get('License') or UNKNOWN} (of the package {distribution})"


def thinking(model: HubModel) -> str:
    """What a model's chat template says of reasoning before the answer."""
    template = load_tokenizer(resolve(model).path).chat_template
    if not template:
        return "none, for it has no chat template: it goes on with the text of the messages"
    taken_out = "what it thinks is taken out of the text that is kept"
    if "enable_thinking" in str(template):
        return f"its chat template can switch it (enable_thinking), and is used as it stands; {taken_out}"
    if "<think" in str(template):
        return f"its chat template has a place for it; {taken_out}"
    return "its chat template knows none"


def _conversation(messages: str | Sequence[Message], seed: int) -> Conversation:
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return Conversation(_ID, tuple(turns), seed)
