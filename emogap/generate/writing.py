"""From prompts to judged rows: batches, a journal of finished replies, retries with fresh seeds.

What a row is asked and which seed it is sampled with depend on the row alone. The batches are slices of the list of
rows, so that a resumed run asks for the same batches as an undisturbed one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from emogap.artefacts import Artefact
from emogap.config import Augment, Config, Rewrite, Sampling, Writer
from emogap.generate.engines import Conversation, Engine
from emogap.generate.open_engine import open_engine
from emogap.generate.prompts import Message
from emogap.journal import Journal
from emogap.progress import Progress
from emogap.records import REJECTED, row_seed

BATCHES_A_CALL = 4
"""An engine is asked for so many of its batches at once: slots that fall free are filled, and a kill loses no more."""

Row = dict[str, Any]
OpenEngine = Callable[[], Engine]

ANSWER = (
    "ask", "attempt", "seed", "model", "reply", "finish", "prompt_tokens", "new_tokens", "seconds", "error",
)  # fmt: skip
"""What a journal keeps of a reply; the table has the same columns."""


@dataclass(frozen=True)
class Ask:
    """One text that is wanted."""

    id: str
    messages: tuple[Message, ...]
    row: Row
    """The columns of its row that are known before the model has spoken."""
    shown: str
    """The template and the worked examples in it: what a reply must not merely repeat."""


Judge = Callable[[list[Row], list[Row]], list[Row]]
"""(new rows, rows judged earlier) → the new rows with their verdicts (``status``, ``reason`` …)."""


@contextmanager
def engine_on_demand(writer: Writer) -> Iterator[OpenEngine]:
    """A function that gives the engine, loaded when it is first asked for and closed at the end of the block."""
    opened: list[Engine] = []

    def engine() -> Engine:
        if not opened:
            opened.append(open_engine(writer))
        return opened[0]

    try:
        yield engine
    finally:
        for loaded in opened:
            loaded.close()


def journal_of(artefact: Artefact, replies_sha: str) -> Journal:
    """The journal beside an artefact, bound to what shapes its replies.

    When only the judging changed since the artefact was made, its replies are taken over: nothing is generated twice.
    To be called while the artefact's lock is held.
    """
    journal = Journal(artefact.path.with_name(artefact.path.name.split(".")[0] + ".partial.jsonl"), replies_sha)
    if not journal.rows and artefact.path.exists() and artefact.manifest_path.exists():
        made = artefact.manifest()
        if made["notes"].get("replies") == replies_sha:
            journal.append(pq.read_table(artefact.path, columns=list(ANSWER)).to_pylist())
    return journal


def write(
    asks: Sequence[Ask],
    journal: Journal,
    engine: OpenEngine,
    config: Config,
    settings: Augment | Rewrite,
    judge: Judge,
    bar: Progress,
) -> list[Row]:
    """A judged row for every attempt at every ask; an ask whose row is rejected is tried again with a fresh seed.

    ``bar`` advances by one for each ask's first reply. Rows come in the order of the asks, attempts in turn.
    """
    answers = {(answer["ask"], answer["attempt"]): answer for answer in journal.rows}
    pending, rows = list(asks), []
    for attempt in range(settings.gates.retries + 1):
        for batch in _batches(pending, config.writer.batch_size * BATCHES_A_CALL):
            if all((ask.id, attempt) in answers for ask in batch):
                bar.advance(0 if attempt else len(batch))
                continue
            fresh = _answers(batch, attempt, engine(), settings.sampling, config.seed, bar)
            journal.append(fresh)
            answers |= {(answer["ask"], attempt): answer for answer in fresh}
        judged = judge([_row(ask, answers[ask.id, attempt]) for ask in pending], rows)
        rows += judged
        failed = {row["ask"] for row in judged if row["status"] == REJECTED}
        pending = [ask for ask in pending if ask.id in failed]
    place = {ask.id: i for i, ask in enumerate(asks)}
    return sorted(rows, key=lambda row: (place[row["ask"]], row["attempt"]))


def _batches(asks: Sequence[Ask], size: int) -> Iterator[Sequence[Ask]]:
    for start in range(0, len(asks), size):
        yield asks[start : start + size]


def _answers(
    batch: Sequence[Ask], attempt: int, engine: Engine, sampling: Sampling, run_seed: int, bar: Progress
) -> list[Row]:
    conversations = [
        Conversation(row_id(ask.id, attempt), ask.messages, row_seed(run_seed, ask.id, f"attempt {attempt}"))
        for ask in batch
    ]
    replies = engine.generate(conversations, sampling, on_reply=lambda _: bar.advance(0 if attempt else 1))
    return [
        {
            "ask": ask.id,
            "attempt": attempt,
            "seed": conversation.seed,
            "model": engine.identity,
            "reply": reply.text,
            "finish": reply.finish,
            "prompt_tokens": reply.prompt_tokens,
            "new_tokens": reply.new_tokens,
            "seconds": reply.seconds,
            "error": reply.error,
        }
        for ask, conversation, reply in zip(batch, conversations, replies, strict=True)
    ]


def _row(ask: Ask, answer: Row) -> Row:
    return {"id": row_id(ask.id, answer["attempt"]), **ask.row, **answer}


def row_id(ask_id: str, attempt: int) -> str:
    """The id of a row: that of its ask, with the number of the retry behind it."""
    return f"{ask_id}~{attempt}" if attempt else ask_id
