"""Engines run a language model: conversations in, replies out, one for one and in the same order.

Whatever runs the model, the contract is the same. No row is lost and none comes twice; each row is sampled from its
own seed; an engine that cannot honour a sampling parameter says so instead of ignoring it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from emogap.config import Sampling, Writer
from emogap.device import check_device
from emogap.errors import ModelError
from emogap.generate.prompts import Message
from emogap.hub import describe, is_adapter, resolve
from emogap.lm.loading import check_causal
from emogap.paths import from_root

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


def open_engine(writer: Writer) -> Engine:
    """The engine that the settings name, its model loaded. Raises ``ModelError`` if it cannot be had."""
    if writer.engine == "server":
        from emogap.generate.server_engine import ServerEngine

        return ServerEngine(
            writer.model.name, concurrency=writer.batch_size, timeout=writer.timeout, attempts=writer.attempts
        )
    from emogap.generate.transformers_engine import TransformersEngine

    if writer.engine == "vllm":
        from emogap.generate.vllm_engine import VllmEngine, check_installed

        _refuse_adapter(writer, from_root(writer.model.name))
        check_installed(writer)
        _refuse_adapter(writer, describe(writer.model))
        check_causal(describe(writer.model))
        return VllmEngine(resolve(writer.model), writer)
    check_device(writer.device, "writer.device")
    check_causal(describe(writer.model))
    return TransformersEngine(
        resolve(writer.model),
        device=writer.device,
        batch_size=writer.batch_size,
        dtype=writer.dtype,
        quantization=writer.quantization,
    )


def _refuse_adapter(writer: Writer, folder: Path) -> None:
    if is_adapter(folder):
        raise ModelError(
            f"writer.model {writer.model.name} is an adapter, which writer.engine=vllm does not load; merge it into "
            "the whole model, or use writer.engine=transformers"
        )
