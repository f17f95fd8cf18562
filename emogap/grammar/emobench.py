"""Understanding of emotions: EmoBench's questions answered by the likelihood of their choices.

EmoBench: Sabour et al. 2024, "EmoBench: Evaluating the Emotional Intelligence of Large Language Models". ``EA.jsonl``
(emotional application) asks what to do or say; ``EU.jsonl`` (emotional understanding) what somebody feels, and why.
Every question is asked with its choices listed, in several orders, and once without a list. The answer is the choice
with the highest log-probability after the question, or with the highest per character. See ``sentence_scores`` for what
a log-probability is, ``tasks`` for how it is measured, ``emobench_tables`` for the tables made of it.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from emogap.config import Config
from emogap.errors import InputError, MissingInput
from emogap.grammar.tasks import Case, Task
from emogap.lm.corrections import PASSAGE
from emogap.paths import ROOT, from_root
from emogap.text.forms import Form, Text, read_forms
from emogap.text.reading import quoted, read_text

FILES = ("EA.jsonl", "EU.jsonl")
Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Question:
    """One question: what it is about, its choices, and which of them is right."""

    task: str
    """``EA``, ``EU-emotion`` or ``EU-cause``."""
    qid: str
    kind: str
    """Which wording asks it: action, response, emotion, cause."""
    category: str
    scenario: str
    subject: str
    choices: tuple[str, ...]
    right: int

    @property
    def item(self) -> str:
        return f"{self.task}/{self.qid}"


def question_files(folder: Path) -> list[Path]:
    """The files EA.jsonl and EU.jsonl, those that are there."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def load_questions(folder: Path, language: Language = "en", items: int = 0) -> list[Question]:
    """The questions of a folder in one language; the first ``items`` records of each file (0: all). A record of
    EU.jsonl is two questions.

    Raises ``MissingInput`` if neither file is there, ``InputError`` if a record is not of EmoBench's form or if none
    is in that language.
    """
    files = question_files(folder)
    if not files:
        raise MissingInput(
            f"neither {' nor '.join(FILES)} found in {folder}; name their folder by --data or emobench.data, or bring "
            "them with `emogap fetch emobench`"
        )
    questions: list[Question] = []
    for file in files:
        form, questions_of = (_GivenEA, _of_ea) if file.name == "EA.jsonl" else (_GivenEU, _of_eu)
        of_file = [(given.language, questions_of(given, where)) for where, given in _records(file, form)]
        chosen = [found for spoken, found in of_file if spoken == language]
        questions += [question for found in (chosen[:items] if items else chosen) for question in found]
    if not questions:
        raise InputError(f"no question of {', '.join(map(str, files))} is in the language '{language}'")
    return questions


class _Given(Form):
    """What records of both files have."""

    qid: Text | int
    language: Text
    scenario: Text
    subject: Text


class _GivenEA(_Given):
    needs = "it is no record of EmoBench's EA.jsonl"

    category: Text
    kind: Text = Field(alias="question type")
    choices: list[Text]
    label: Text


class _GivenEU(_Given):
    needs = "it is no record of EmoBench's EU.jsonl"

    category: Text = Field(alias="coarse_category")
    emotion_choices: list[Text]
    emotion_label: Text
    cause_choices: list[Text]
    cause_label: Text


def _records(file: Path, form: type[_Given]) -> list[tuple[str, Any]]:
    """The records of a file. Raises ``InputError`` where two of one language have the same id."""
    records, seen = read_forms(file, form), {}
    for where, given in records:
        first = seen.setdefault((given.language, str(given.qid)), where)
        if first != where:
            raise InputError(
                f"{where}: the qid {quoted(given.qid)} stands in {first} already; give each question its own"
            )
    return records


def _of_ea(given: _GivenEA, where: str) -> list[Question]:
    kind = given.kind.strip().lower()
    if kind not in ("action", "response"):
        raise InputError(f"{where}: question type {quoted(kind)} is unknown; it is Action or Response")
    return [_question(given, where, "EA", kind, "", given.choices, given.label)]


def _of_eu(given: _GivenEU, where: str) -> list[Question]:
    return [
        _question(given, where, "EU-emotion", "emotion", "emotion_", given.emotion_choices, given.emotion_label),
        _question(given, where, "EU-cause", "cause", "cause_", given.cause_choices, given.cause_label),
    ]


def _question(
    given: _GivenEA | _GivenEU, where: str, task: str, kind: str, prefix: str, choices: list[str], label: str
) -> Question:
    if len(choices) < 2 or len({choice.strip() for choice in choices}) < len(choices):
        raise InputError(f"{where}: {prefix}choices must be two or more different texts, not {quoted(choices)}")
    if label not in choices:
        raise InputError(f"{where}: {prefix}label {quoted(label)} is none of the choices; correct the file")
    right = choices.index(label)
    return Question(task, str(given.qid), kind, given.category, given.scenario, given.subject, tuple(choices), right)


@dataclass(frozen=True)
class Wording:
    """How questions are asked in one language (``prompts/emobench/<language>.toml``)."""

    listed: str
    unlisted: str
    choice: str
    answer: str
    questions: dict[str, str]

    def render(self, question: Question, order: int | None) -> str:
        """The prompt that an answer follows. ``order``: by how many places the list of choices is rotated; None lists
        no choices."""
        asked = self.questions[question.kind].format(subject=question.subject)
        if order is None:
            return self.unlisted.strip().format(scenario=question.scenario, question=asked)
        choices = "\n".join(self.choice.format(choice=question.choices[i]) for i in listing(question, order))
        return self.listed.strip().format(scenario=question.scenario, question=asked, choices=choices)

    def answers(self, question: Question) -> list[str]:
        """The continuations of the prompt that are scored, one per choice, in the data's order."""
        return [self.answer.format(choice=choice) for choice in question.choices]


def listing(question: Question, order: int) -> list[int]:
    """Indices of the choices as they are listed: rotated by ``order`` places, so that over as many orders as there are
    choices each choice is in each place once."""
    count = len(question.choices)
    return [(place + order) % count for place in range(count)]


def wording_file(language: Language) -> Path:
    return ROOT / "prompts" / "emobench" / f"{language}.toml"


def load_wording(language: Language) -> Wording:
    return Wording(**tomllib.loads(read_text(wording_file(language))))


# --- the task --------------------------------------------------------------------------------------------------------


_RECORDS_AT_ONCE = 20
"""Records whose scores are cached together."""


def question_cases(questions: Sequence[Question], wording: Wording, orders: int) -> list[list[Case]]:
    """The cases of the questions. ``orders``: in how many orders the choices are listed; 0: as many as there are
    choices.

    A case's ``sample`` is the number of the order; a question asked without a list has sample 0.
    """
    return [
        [_case(question, wording, order) for question in part for order in _orders(question, orders)]
        for part in _parts(questions)
    ]


def _parts(questions: Sequence[Question]) -> list[list[Question]]:
    """The questions in groups of ``_RECORDS_AT_ONCE`` records; the two of an EU record share a scenario and a group."""
    by_record = sorted(questions, key=lambda question: question.task.split("-")[0])
    records = [list(group) for _, group in groupby(by_record, key=lambda q: (q.task.split("-")[0], q.qid))]
    starts = range(0, len(records), _RECORDS_AT_ONCE)
    return [[question for record in records[at : at + _RECORDS_AT_ONCE] for question in record] for at in starts]


def _orders(question: Question, orders: int) -> list[int | None]:
    count = len(question.choices)
    return [None, *range(min(orders or count, count))]


def _case(question: Question, wording: Wording, order: int | None) -> Case:
    measure, context = partial(_answered, question, order), wording.render(question, order)
    return Case(question.item, question.category, wording.answers(question), measure, context, order or 0)


def _answered(question: Question, order: int | None, sums: np.ndarray) -> dict[str, float]:
    """``correct`` and ``correct_normalised`` (by the log-probability, and by that per character), ``position`` and
    ``position_normalised`` (place in the list of the chosen answer, from 1), and ``choices``, their number; without a
    list only ``correct_unlisted`` and ``correct_unlisted_normalised``."""
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
