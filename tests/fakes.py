"""A fake engine: replies made by a function, every call noted. For tests only."""

from collections.abc import Callable, Sequence

from emogap.lm.engines.engine import Conversation, Reply


class FakeEngine:
    """Answers with ``reply(conversation)``: a text, or a ``Reply`` for anything but a plain end.

    ``calls`` holds the ids of each call's conversations; with ``dies_at`` the engine raises on the call of that number.
    """

    identity, context = "fake@1", 2048

    def __init__(self, reply: Callable[[Conversation], str | Reply], dies_at: int | None = None):
        self.reply, self.dies_at = reply, dies_at
        self.calls: list[list[str]] = []
        self.closed = False
        self.opened = 0

    def generate(self, conversations: Sequence[Conversation], sampling, on_reply=None) -> list[Reply]:
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append([conversation.id for conversation in conversations])
        replies = [self._as_reply(conversation) for conversation in conversations]
        for reply in replies if on_reply else ():
            on_reply(reply)
        return replies

    def as_sent(self, conversation: Conversation) -> str:
        return "".join(f"<{message['role']}>{message['content']}" for message in conversation.messages)

    def _as_reply(self, conversation: Conversation) -> Reply:
        made = self.reply(conversation)
        if isinstance(made, Reply):
            return made
        return Reply(conversation.id, made, prompt_tokens=1, new_tokens=len(made.split()), finish="stop", seconds=0.0)

    def close(self) -> None:
        self.closed = True


class FakeClassifier:
    """Gives every text the same scores."""

    def __init__(self, score: float = 0.5):
        self.score = score

    def scores(self, texts, **_):
        import numpy as np

        return np.full((len(texts), 28), self.score, dtype=np.float32)


class HashClassifier:
    """Scores that depend on a text alone, spread over all labels; every call's size noted.

    ``zero``: labels that never get a score. ``dies_at``: the call of that number is interrupted.
    """

    name, revision = "hash", None

    def __init__(self, dies_at: int | None = None):
        import numpy as np

        self.thresholds = np.full(28, 0.4, dtype=np.float32)
        self.sha256, self.salt, self.zero = "0" * 64, "", ()
        self.dies_at = dies_at
        self.calls: list[int] = []

    def scores(self, texts, *, token_budget=None, progress=None):
        import hashlib

        import numpy as np

        from emogap.emotions import INDEX

        if len(self.calls) == self.dies_at:
            self.calls.append(len(texts))
            raise KeyboardInterrupt
        self.calls.append(len(texts))
        result = np.empty((len(texts), 28), dtype=np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.blake2b((self.salt + text).encode(), digest_size=8).digest(), "big")
            result[row] = np.random.default_rng(seed).random(28, dtype=np.float32) ** 3
        result[:, [INDEX[label] for label in self.zero]] = 0
        if progress:
            progress(len(texts))
        return result


def use_fakes(monkeypatch, reply: Callable[[Conversation], str | Reply]) -> FakeEngine:
    """Let the stages that write open this engine (``opened`` counts how often) and a fake classifier."""
    from emogap.stories import gating, writing

    fake = FakeEngine(reply)

    def open_engine(writer) -> FakeEngine:
        fake.opened += 1
        return fake

    monkeypatch.setattr(writing, "open_engine", open_engine)
    monkeypatch.setattr(writing, "_KEPT_OPEN", {})
    monkeypatch.setattr(gating, "classifier", lambda model: FakeClassifier())
    monkeypatch.setattr(gating, "similarities", lambda texts, others: [0.9] * len(texts))
    return fake


def reworded(conversation: Conversation) -> str:
    """A rewrite that passes the gates: the answer that the prompt holds, said with more warmth."""
    answer = conversation.messages[-1]["content"].rsplit("Answer: ", 1)[1].rsplit("\nRewritten answer:", 1)[0]
    return f"Rewritten answer: Oh, how lovely! {answer} Isn't that something?"
