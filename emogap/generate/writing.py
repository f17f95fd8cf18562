"""From prompts to judged rows: batches, a journal of finished replies, retries with fresh seeds.

What a row is asked and which seed it is sampled with depend on the row alone; the seed on the line or record it is
made from, so that two prompts given the same line differ in nothing else. The batches are slices of the list of rows,
so that a resumed run asks for the same batches as an undisturbed one; replies that trying out a prompt has already
brought are taken over and left out of them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from emogap.cluster import Advance, Workers, workers
from emogap.config import Augment, Config, Rewrite, Sampling, Writer
from emogap.errors import InputError, LockHeld, reading_parquet
from emogap.generate.engines import Conversation, Engine, open_engine
from emogap.generate.prompts import Message
from emogap.generate.tried import Tried
from emogap.hub import identify
from emogap.records import REJECTED, row_seed
from emogap.store.artefacts import Artefact, sha256_text
from emogap.store.locks import lock
from emogap.store.parts import Rows

BATCHES_A_CALL = 4
"""An engine is asked for so many of its batches at once: slots that fall free are filled, and a kill loses no more."""

Row = dict[str, Any]
OpenEngine = Callable[[], Engine]

ANSWER = (
    "ask", "attempt", "seed", "model", "reply", "finish", "prompt_tokens", "new_tokens", "seconds", "error",
)  # fmt: skip
"""What a journal keeps of a reply; the table has the same columns."""
TAKEN_OVER = "taken_over"
"""Marks a reply in a journal that was made while trying out; it stands outside the plan of batches."""


@dataclass(frozen=True)
class Ask:
    """One text that is wanted."""

    id: str
    source: str
    """The line or record it is made from: what is drawn for it depends on that alone."""
    messages: tuple[Message, ...]
    row: Row
    """The columns of its row that are known before the model has spoken."""
    shown: str
    """The template and the worked examples in it: what a reply must not merely repeat."""


@dataclass(frozen=True)
class Call:
    """Asks that an engine is given at once."""

    asks: tuple[Ask, ...]
    attempt: int
    sampling: Sampling
    run_seed: int


Answering = Callable[[Sequence[Call], Callable[[list[Row]], None]], None]
"""(calls, keep): has each call answered, here or elsewhere; ``keep`` hears of the answers of each as it is finished."""

Judge = Callable[[list[Row], list[Row]], list[Row]]
"""(new rows, rows judged earlier) → the new rows with their verdicts (``status``, ``reason`` …)."""


_KEPT_OPEN: dict[Writer, Engine] = {}


def kept_engine(writer: Writer) -> Engine:
    """The engine of these settings, loaded once in this process and left open; one of other settings is closed."""
    if writer not in _KEPT_OPEN:
        close_kept_engine()
        _KEPT_OPEN[writer] = open_engine(writer)
    return _KEPT_OPEN[writer]


def close_kept_engine() -> None:
    """Give its memory back: whoever trains in this process needs it."""
    while _KEPT_OPEN:
        _KEPT_OPEN.popitem()[1].close()


class EngineOnDemand:
    """Gives the engine, loaded when it is first asked for; a copy that is sent to another process loads its own there.

    One that is kept open already is used and stays open.
    """

    def __init__(self, writer: Writer):
        self._writer = writer
        self._opened: list[Engine] = []

    def __call__(self) -> Engine:
        if self._writer in _KEPT_OPEN:
            return _KEPT_OPEN[self._writer]
        if not self._opened:
            self._opened.append(open_engine(self._writer))
        return self._opened[0]

    def __reduce__(self):
        return EngineOnDemand, (self._writer,)

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


def engine_on_demand(writer: Writer) -> closing[EngineOnDemand]:
    """The engine of these settings, loaded at need and closed at the end of the block."""
    return closing(EngineOnDemand(writer))


@contextmanager
def answering(config: Config, advance: Advance) -> Iterator[Answering]:
    """How the settings have asks answered. ``advance`` hears of first attempts."""
    with (
        engine_on_demand(config.writer) as engine,
        workers(config.scale, partial(open_answerer, engine), advance, _first_attempts) as answerers,
    ):
        yield answering_by(answerers)


def answering_by(answerers: Workers) -> Answering:
    """Calls answered by these; they are not called on for none."""

    def answer_all(calls: Sequence[Call], keep: Callable[[list[Row]], None]) -> None:
        if calls:
            answerers.run(calls, lambda _, answers: keep(answers))

    return answer_all


def open_answerer(engine: OpenEngine, advance: Advance) -> tuple[Callable[[Call], list[Row]], Callable[[], str]]:
    """A worker that answers calls, and what its engine is."""

    def answer(call: Call) -> list[Row]:
        return answers_to(call.asks, call.attempt, engine(), call.sampling, call.run_seed, advance)

    return answer, lambda: engine().identity


def _first_attempts(call: Call, answers: list[Row]) -> int:
    return 0 if call.attempt else len(answers)


def journal_of(artefact: Artefact, replies_sha: str) -> Rows:
    """The journal beside an artefact, bound to what shapes its replies.

    When only the judging changed since the artefact was made, its replies are taken over: nothing is generated twice.
    To be called while the artefact's lock is held.
    """
    journal = Rows(_journal_path(artefact), replies_sha)
    if not journal.rows and artefact.path.exists() and artefact.manifest_path.exists():
        made = artefact.manifest()
        if made["notes"].get("replies") == replies_sha:
            with reading_parquet(artefact.path):
                answers = pq.read_table(artefact.path, columns=list(ANSWER)).to_pylist()
            journal.append(answers)
    return journal


def _journal_path(artefact: Artefact) -> Path:
    return artefact.path.with_name(artefact.path.name.split(".")[0] + ".partial.jsonl")


def clear_journal(artefact: Artefact, replies_sha: str) -> None:
    """Remove the journal of a finished artefact, left by a kill between publishing and clearing up."""
    path = _journal_path(artefact)
    if not path.exists():
        return
    # Whoever holds the lock is at work on it, under other settings; so is the journal of other replies.
    with suppress(LockHeld), lock(artefact.path), path.open(encoding="utf-8") as file:
        if json.loads(file.readline()).get("recipe") == replies_sha:
            path.unlink()


def begun(root: Path, way: str) -> Iterator[tuple[Path, str, list[Row]]]:
    """Under ``root`` the journals that hold answers of a method or version: their path, what they are bound to, and
    those answers but the ones that were taken over. Nothing is changed: somebody may be writing them.

    Raises ``InputError`` for a line that cannot be read.
    """
    for path in sorted(root.rglob("*.partial.jsonl")):
        try:
            first, *rows = map(json.loads, path.read_bytes().split(b"\n")[:-1] or [b"{}"])
            own = [row for row in rows if row.get("ask", "").startswith(f"{way}/") and not row.get(TAKEN_OVER)]
            recipe = first.get("recipe", "")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error}); its stage, run again, says which line") from error
        if own:
            yield path, recipe, own


def write(
    asks: Sequence[Ask],
    journal: Rows,
    answer_all: Answering,
    config: Config,
    settings: Augment | Rewrite,
    judge: Judge,
    advance: Advance,
    tried: Tried,
) -> list[Row]:
    """A judged row for every attempt at every ask; an ask whose row is rejected is tried again with a fresh seed.

    First replies that ``tried`` holds are not asked for again. ``advance`` hears of the asks whose first reply is there
    already.
    Rows come in the order of the asks, attempts in turn.
    """
    _take_over(asks, journal, tried, config, settings.sampling)
    answers = {(answer["ask"], answer["attempt"]): answer for answer in journal.rows}
    taken_over = {(answer["ask"], answer["attempt"]) for answer in journal.rows if answer.get(TAKEN_OVER)}
    pending, rows = list(asks), []

    def keep(fresh: list[Row]) -> None:
        journal.append(fresh)
        answers.update({(answer["ask"], answer["attempt"]): answer for answer in fresh})

    for attempt in range(settings.gates.retries + 1):
        calls = []
        for part in batches(pending, config.writer.batch_size * BATCHES_A_CALL):
            batch = tuple(ask for ask in part if (ask.id, attempt) not in taken_over)
            answered = all((ask.id, attempt) in answers for ask in batch)
            if not answered:
                calls.append(Call(batch, attempt, settings.sampling, config.seed))
            advance(0 if attempt else len(part) - (0 if answered else len(batch)))
        answer_all(calls, keep)
        judged = judge([answered_row(ask, answers[ask.id, attempt]) for ask in pending], rows)
        rows += judged
        failed = {row["ask"] for row in judged if row["status"] == REJECTED}
        pending = [ask for ask in pending if ask.id in failed]
    place = {ask.id: i for i, ask in enumerate(asks)}
    return sorted(rows, key=lambda row: (place[row["ask"]], row["attempt"]))


def _take_over(asks: Sequence[Ask], journal: Rows, tried: Tried, config: Config, sampling: Sampling) -> None:
    """Put the replies that were made while trying out into the journal, marked, so that every resume sees them."""
    answered = {answer["ask"] for answer in journal.rows}
    waiting = [ask for ask in asks if ask.id not in answered] if tried.any() else []
    found = zip(waiting, map(tried.get, reply_keys(config, sampling, waiting)), strict=True)
    journal.append({**answer, "ask": ask.id, TAKEN_OVER: True} for ask, answer in found if answer)


def batches(asks: Sequence[Ask], size: int) -> Iterator[Sequence[Ask]]:
    """Slices of at most ``size`` asks."""
    for start in range(0, len(asks), size):
        yield asks[start : start + size]


def answers_to(
    batch: Sequence[Ask], attempt: int, engine: Engine, sampling: Sampling, run_seed: int, advance: Advance
) -> list[Row]:
    """One call of the engine: an answer as journals keep it for each ask. ``advance`` hears of first attempts."""
    conversations = [
        Conversation(row_id(ask.id, attempt), ask.messages, reply_seed(run_seed, ask, attempt)) for ask in batch
    ]
    replies = engine.generate(conversations, sampling, on_reply=lambda _: advance(0 if attempt else 1))
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


def reply_seed(run_seed: int, ask: Ask, attempt: int) -> int:
    """The seed of a reply: it depends on the line or record and the attempt, not on the prompt."""
    return row_seed(run_seed, ask.source, f"attempt {attempt}")


def reply_keys(config: Config, sampling: Sampling, asks: Sequence[Ask]) -> list[str]:
    """For each ask the hash of all that shapes its first reply: messages, seed, sampling, and the model and its engine.

    The batch size is left out: it changes how bf16 is rounded, not what was asked.
    """
    shared = {
        "model": identify(config.writer.model),
        **config.flat_writer("engine", "dtype", "quantization"),
        "sampling": sampling.model_dump(),
    }
    return [
        sha256_text(json.dumps([shared, ask.messages, reply_seed(config.seed, ask, 0)], sort_keys=True)) for ask in asks
    ]


def answered_row(ask: Ask, answer: Row) -> Row:
    """What is known of an ask and of its answer, as a row that is still to be judged."""
    return {"id": row_id(ask.id, answer["attempt"]), **ask.row, **{name: answer[name] for name in ANSWER}}


def row_id(ask_id: str, attempt: int) -> str:
    """The id of a row: that of its ask, with the number of the retry behind it."""
    return f"{ask_id}~{attempt}" if attempt else ask_id
