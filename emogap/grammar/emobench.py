"""Understanding of emotions: EmoBench's questions answered by the likelihood of their choices.

Every question is asked with its choices listed, in several orders, and once without a list. The answer is the choice
with the highest log-probability after the question, or with the highest per character. See ``emobench_questions`` for
the data, ``sentence_scores`` for what a log-probability is, ``tasks`` for how it is measured.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from emogap.config import Config
from emogap.grammar.emobench_questions import (
    Question,
    Wording,
    listing,
    load_questions,
    load_wording,
    question_files,
    wording_file,
)
from emogap.grammar.tasks import Case, Task
from emogap.lm.corrections import PASSAGE
from emogap.paths import from_root

_RECORDS_AT_ONCE = 20
"""Records whose scores are kept together."""


def question_cases(questions: Sequence[Question], wording: Wording, orders: int) -> list[list[Case]]:
    """The cases of the questions. ``orders``: in how many orders the choices are listed; 0: as many as there are
    choices.

    ``sample`` is the order's number; what was asked without a list has sample 0.
    """
    return [
        [_case(question, wording, order) for question in part for order in _orders(question, orders)]
        for part in _parts(questions)
    ]


def _parts(questions: Sequence[Question]) -> list[list[Question]]:
    """The questions of so many records of a file at a time; both of a record, which share its scenario, together."""
    by_record = sorted(questions, key=lambda question: question.task.split("-")[0])
    records = [list(group) for _, group in groupby(by_record, key=lambda q: (q.task.split("-")[0], q.qid))]
    starts = range(0, len(records), _RECORDS_AT_ONCE)
    return [[question for record in records[at : at + _RECORDS_AT_ONCE] for question in record] for at in starts]


def _orders(question: Question, orders: int) -> list[int | None]:
    count = len(question.choices)
    return [None, *range(min(orders or count, count))]


def _case(question: Question, wording: Wording, order: int | None) -> Case:
    measure, context = partial(_answered, question, order), wording.ask(question, order)
    return Case(question.item, question.category, wording.answers(question), measure, context, order or 0)


def _answered(question: Question, order: int | None, sums: np.ndarray) -> dict[str, float]:
    """``correct`` and ``correct_normalised`` (by the log-probability, and by that per character), the place in the
    list of the choice that was taken (from 1), and ``choices``, how many there are; without a list
    ``correct_unlisted``, ``correct_unlisted_normalised``."""
    per_character = sums / [len(choice) for choice in question.choices]
    values = {}
    for ending, scores in (("", sums), ("_normalised", per_character)):
        if order is None:
            values[f"correct_unlisted{ending}"] = _credit(scores, question.right)
        else:
            values[f"correct{ending}"] = _credit(scores, question.right)
            values[f"position{ending}"] = 1 + listing(question, order).index(int(scores.argmax()))
    return values if order is None else values | {"choices": len(question.choices)}


def _credit(scores: np.ndarray, right: int) -> float:
    """1 if the right choice is the likeliest; choices that tie for it share the point."""
    best = scores == scores.max()
    return float(best[right] / best.sum())


def _files(config: Config) -> dict[str, Path]:
    questions = {file.stem: file for file in question_files(from_root(config.emobench.data))}
    return {**questions, "wording": wording_file(config.emobench.language)}


def _cases(config: Config) -> list[list[Case]]:
    settings = config.emobench
    questions = load_questions(from_root(settings.data), settings.language, settings.items)
    return question_cases(questions, load_wording(settings.language), settings.orders)


EMOBENCH = Task(
    name="emobench",
    title="EmoBench",
    unit="answers",
    shaping=("language", "items", "orders", "empty_context", "dtype"),
    longest=PASSAGE,
    files=_files,
    cases=_cases,
    counts=lambda table: {"questions": table["item"].nunique()},
    is_there=lambda config: bool(question_files(from_root(config.emobench.data))),
)
