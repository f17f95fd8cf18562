"""From requests to checked rows: the one way in which stages, previews, grids and the studio have a model write.

The prompt of a row and its sampling seed depend on the row alone; the seed depends on the line or record that the row
is made from, not on the prompt, so that two prompts given the same line differ in nothing else. The calls to the engine
are slices of the list of requests, so that a resumed run makes the same calls as an undisturbed one. Replies that were
already generated while a prompt was tried out are taken over and left out of the calls.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from emogap.config import Config, Sampling, Writer
from emogap.errors import InputError, reading_parquet
from emogap.lm.engines.engine import Conversation, Engine, Reply
from emogap.lm.engines.open_engine import open_engine
from emogap.lm.hub import identify
from emogap.records import row_seed
from emogap.store.artefacts import sha256_text
from emogap.store.cluster import Advance, unheard, workers
from emogap.store.parts import Rows
from emogap.store.pieces import Piece
from emogap.stories.gating import through_gates
from emogap.stories.rows import ANSWER, Answer, Request, Row, as_answer, row_id
from emogap.stories.texts import Texts
from emogap.text.templates import Message

BATCHES_A_CALL = 4
"""How many of its batches an engine gets in one call: it can refill slots that become free, and a kill loses no more
than one call."""
TAKEN_OVER = "taken_over"
"""Marks a reply in a journal that was made while a prompt was tried out; no call to the engine is planned for it."""
_TRIED = "tried replies"


@dataclass(frozen=True)
class Call:
    """Requests that an engine is given at once."""

    requests: tuple[Request, ...]
    attempt: int
    sampling: Sampling
    run_seed: int


@dataclass(frozen=True)
class Asking:
    """How requests are answered."""

    answer_all: Callable[[Sequence[Call], Callable[[list[Answer]], None]], None]
    """(calls, keep): has every call answered, here or elsewhere, and passes the answers of each call to ``keep``."""
    advance: Advance
    """Called with the number of first attempts that are answered already; whoever answers the others reports those."""


class Kept:
    """The answers that exist already, and where further ones are stored.

    ``taken_over``: ids of requests whose first answer comes from a trial, so that no call is planned for it. ``put``
    writes answers to the disk.
    """

    def __init__(self, answers: Iterable[Answer], taken_over: Iterable[str], put: Callable[[list[Answer]], None]):
        self.answers = {answer.id: answer for answer in answers}
        self.taken_over = frozenset(taken_over)
        self._put = put

    def add(self, fresh: list[Answer]) -> None:
        self._put(fresh)
        self.answers |= {answer.id: answer for answer in fresh}


def write(
    texts: Texts, requests: Sequence[Request], sampling: Sampling, kept: Kept, asking: Asking, retries: int = 0
) -> list[Row]:
    """A checked row for every attempt at every request; a request whose row is rejected is tried again with a new seed.

    A call whose answers are all kept already is skipped; one of which only some are kept is made again as a whole. Rows
    come in the order of the requests, the attempts at each in order. Raises ``ModelError``.
    """
    pending, rows, size = list(requests), [], texts.config.writer.batch_size * BATCHES_A_CALL
    for attempt in range(retries + 1):
        calls = []
        for start in range(0, len(pending), size):
            part = pending[start : start + size]
            call = tuple(request for request in part if attempt or request.id not in kept.taken_over)
            answered = all(row_id(request.id, attempt) in kept.answers for request in call)
            if not answered:
                calls.append(Call(call, attempt, sampling, texts.config.seed))
            asking.advance(0 if attempt else len(part) - (0 if answered else len(call)))
        asking.answer_all(calls, kept.add)
        tried = through_gates(
            [(request, kept.answers[row_id(request.id, attempt)]) for request in pending], rows, texts.gating
        )
        rows += tried
        failed = {row.answer.ask for row in tried if not row.is_kept}
        pending = [request for request in pending if request.id in failed]
    place = {request.id: i for i, request in enumerate(requests)}
    return sorted(rows, key=lambda row: (place[row.answer.ask], row.answer.attempt))


# ------------------------------------------------------------------------------------------- what is kept already


def tried_replies(texts: Texts) -> Rows:
    """The replies that were generated while prompts for this kind of text were tried out: answers with their ``key``
    (``hashed``)."""
    return Rows(texts.tried, _TRIED, shared=True)


def kept_by_trials(texts: Texts, requests: Sequence[Request], sampling: Sampling) -> Kept:
    """The first replies that trials have generated for these requests, found by the hash of all that shapes a reply,
    whatever the prompt was called; further answers are stored there too, except those with which the engine failed."""
    keys = dict(zip([request.id for request in requests], reply_keys(texts.config, sampling, requests), strict=True))
    file = tried_replies(texts)
    found = {row["key"]: row for row in file.rows}
    answers = [as_answer(found[key], ask=request) for request, key in keys.items() if key in found]

    def put(fresh: list[Answer]) -> None:
        file.append({"key": keys[answer.ask], **vars(answer)} for answer in fresh if answer.finish != "error")

    return Kept(answers, [answer.ask for answer in answers], put)


def kept_by_piece(texts: Texts, requests: Sequence[Request], piece: Piece) -> Kept:
    """The answers in the piece's journal, where further ones are stored too. Call it while the piece's lock is held.

    If only the gates changed since the piece was made, its replies are taken from its table. Replies of trials are
    copied into the journal and marked, so that a resumed run plans the same calls. Neither is generated again.
    """
    sha256 = piece.parts_recipe.sha256()
    journal = Rows(piece.parts, sha256)
    if not journal.rows and has_replies(piece):
        with reading_parquet(piece.path):
            journal.append(pq.read_table(piece.path, columns=list(ANSWER)).to_pylist())
    if texts.tried.exists():
        answered = {row["ask"] for row in journal.rows}
        waiting = [request for request in requests if request.id not in answered]
        found = kept_by_trials(texts, waiting, texts.settings.sampling).answers.values()
        journal.append({**vars(answer), TAKEN_OVER: True} for answer in found)
    taken_over = [row["ask"] for row in journal.rows if row.get(TAKEN_OVER)]
    return Kept(map(as_answer, journal.rows), taken_over, lambda fresh: journal.append(map(vars, fresh)))


def has_replies(piece: Piece) -> bool:
    """Whether the table that is there has the replies that would be asked for: at most its gates have changed."""
    made = piece.path.exists() and piece.manifest_path.exists()
    return made and piece.manifest()["notes"].get("replies") == piece.parts_recipe.sha256()


def reply_keys(config: Config, sampling: Sampling, requests: Sequence[Request]) -> list[str]:
    """The ``hashed`` keys of the first replies to these requests."""
    return hashed(config, sampling, [(request.messages, reply_seed(config.seed, request, 0)) for request in requests])


def hashed(config: Config, sampling: Sampling, asked: Iterable[tuple[Sequence[Message], int]]) -> list[str]:
    """For each pair of messages and a seed, the hash of all that shapes the reply: both, sampling, model and engine.

    The batch size is left out: it changes how bf16 is rounded, not what was asked.
    """
    shared = {
        "model": identify(config.writer.model),
        **config.flat_writer("engine", "dtype", "quantization"),
        "sampling": sampling.model_dump(),
    }
    return [sha256_text(json.dumps([shared, messages, seed], sort_keys=True)) for messages, seed in asked]


def begun(root: Path, name: str) -> Iterator[tuple[Path, str, list[Answer]]]:
    """Every journal under ``root`` with answers of this method or version: its path, the hash of the recipe that it
    belongs to, and those answers that do not come from trials. The files are only read: a process may be writing them.

    Raises ``InputError`` for a line that cannot be read.
    """
    for path in sorted(root.rglob("*.partial.jsonl")):
        try:
            first, *rows = map(json.loads, path.read_bytes().split(b"\n")[:-1] or [b"{}"])
            own = [row for row in rows if row.get("ask", "").startswith(f"{name}/") and not row.get(TAKEN_OVER)]
            recipe, answers = first.get("recipe", ""), list(map(as_answer, own))
        except (ValueError, AttributeError, KeyError) as error:
            raise InputError(f"{path} is damaged ({error}); its stage, run again, says which line") from error
        if answers:
            yield path, recipe, answers


# ------------------------------------------------------------------------------------------------- who answers


def answers_to(call: Call, engine: Engine, advance: Advance) -> list[Answer]:
    """The engine's answers to one call. ``advance`` is called for each first attempt that is finished."""
    seeds = [reply_seed(call.run_seed, request, call.attempt) for request in call.requests]
    conversations = [
        Conversation(row_id(request.id, call.attempt), request.messages, seed)
        for request, seed in zip(call.requests, seeds, strict=True)
    ]
    replies = engine.generate(conversations, call.sampling, on_reply=lambda _: advance(0 if call.attempt else 1))
    return [
        answer(request.id, call.attempt, seed, engine, reply)
        for request, seed, reply in zip(call.requests, seeds, replies, strict=True)
    ]


def answer(request: str, attempt: int, seed: int, engine: Engine, reply: Reply) -> Answer:
    """An engine's reply in the form in which it is stored."""
    counted = (reply.prompt_tokens, reply.new_tokens, reply.seconds, reply.error)
    return Answer(request, attempt, seed, engine.identity, reply.text, reply.finish, *counted)


def reply_seed(run_seed: int, request: Request, attempt: int) -> int:
    """The seed of a reply: it depends on the line or record and the attempt, not on the prompt."""
    return row_seed(run_seed, request.source, f"attempt {attempt}")


def asking_here(writer: Writer, advance: Advance = unheard) -> Asking:
    """This process answers, with the engine that it keeps open."""

    def answer_all(calls: Sequence[Call], keep: Callable[[list[Answer]], None]) -> None:
        for call in calls:
            keep(answers_to(call, kept_engine(writer), advance))

    return Asking(answer_all, advance)


@contextmanager
def asking(config: Config, advance: Advance) -> Iterator[Asking]:
    """The workers that the settings name answer: this process, or those of a cluster. An engine that this process opens
    for it is closed at the end of the block."""
    writer, scale = config.writer, config.scale
    was_open = writer in _KEPT_OPEN
    try:
        if scale.executor == "plain":
            yield asking_here(writer, advance)
            return
        with workers(scale, partial(_open_answerer, writer), advance, _first_attempts) as crew:

            def answer_all(calls: Sequence[Call], keep: Callable[[list[Answer]], None]) -> None:
                if calls:  # without calls no worker is started
                    crew.run(calls, lambda _, answers: keep(answers))

            yield Asking(answer_all, advance)
    finally:
        if writer in _KEPT_OPEN and not was_open:
            close_kept_engine()


def _open_answerer(writer: Writer, advance: Advance):
    """The function by which a worker answers calls, and one that returns its engine's identity."""
    return lambda call: answers_to(call, kept_engine(writer), advance), lambda: kept_engine(writer).identity


def _first_attempts(call: Call, answers: list[Answer]) -> int:
    return 0 if call.attempt else len(answers)


_KEPT_OPEN: dict[Writer, Engine] = {}


def kept_engine(writer: Writer) -> Engine:
    """The engine of these settings, loaded once in this process and left open; one of other settings is closed."""
    if writer not in _KEPT_OPEN:
        close_kept_engine()
        _KEPT_OPEN[writer] = open_engine(writer)
    return _KEPT_OPEN[writer]


def close_kept_engine() -> None:
    """Close the engine: training in the same process needs its memory."""
    while _KEPT_OPEN:
        _KEPT_OPEN.popitem()[1].close()
