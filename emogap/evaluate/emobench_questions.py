"""Multiple-choice questions on emotions in EmoBench's form, and how a model is asked them.

EmoBench: Sabour et al. 2024, "EmoBench: Evaluating the Emotional Intelligence of Large Language Models". ``EA.jsonl``
(emotional application) asks what to do or say; ``EU.jsonl`` (emotional understanding) what somebody feels, and why.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emogap.errors import InputError, MissingInput
from emogap.evaluate.json_lines import read_json_lines
from emogap.paths import ROOT

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
    """Those of EA.jsonl and EU.jsonl that are there."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def load_questions(folder: Path, language: Language = "en", items: int = 0) -> list[Question]:
    """The questions of a folder in one language; the first ``items`` records of each file (0: all). A record of
    EU.jsonl is two questions.

    Raises ``MissingInput`` if neither file is there, ``InputError`` if a record is none of EmoBench's or if there is
    none in that language.
    """
    files = question_files(folder)
    if not files:
        raise MissingInput(
            f"neither {' nor '.join(FILES)} found in {folder}; name their folder by --data or emobench.data, or bring "
            "them with `emogap fetch emobench`"
        )
    questions: list[Question] = []
    for file in files:
        records = [(where, record) for where, record in _records(file) if record.get("language") == language]
        for where, record in records[:items] if items else records:
            questions += _of_ea(record, where) if file.name == "EA.jsonl" else _of_eu(record, where)
    if not questions:
        raise InputError(f"no question of {', '.join(map(str, files))} is in the language '{language}'")
    return questions


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, record in read_json_lines(file):
        if not isinstance(record, dict):
            raise InputError(f"{file}, line {number}: no object; a question is an object")
        yield f"{file}, line {number}", record


def _of_ea(record: dict[str, Any], where: str) -> list[Question]:
    category = _field(record, "category", where)
    return [_question(record, where, "EA", _field(record, "question type", where).lower(), category, "")]


def _of_eu(record: dict[str, Any], where: str) -> list[Question]:
    category = _field(record, "coarse_category", where)
    return [_question(record, where, f"EU-{kind}", kind, category, f"{kind}_") for kind in ("emotion", "cause")]


def _question(record: dict[str, Any], where: str, task: str, kind: str, category: str, prefix: str) -> Question:
    choices, label = _field(record, f"{prefix}choices", where), _field(record, f"{prefix}label", where)
    if kind not in ("action", "response", "emotion", "cause"):
        raise InputError(f"{where}: question type '{kind}' is unknown; it is Action or Response")
    if len(choices) < 2 or len(set(choices)) < len(choices) or not all(choice.strip() for choice in choices):
        raise InputError(f"{where}: {prefix}choices must be two or more different texts, not {choices}")
    if label not in choices:
        raise InputError(f"{where}: {prefix}label '{label}' is none of the choices; correct the file")
    scenario, subject = _field(record, "scenario", where), _field(record, "subject", where)
    qid = str(_field(record, "qid", where))
    return Question(task, qid, kind, category, scenario, subject, tuple(choices), choices.index(label))


def _field(record: dict[str, Any], key: str, where: str) -> Any:
    if not record.get(key):
        raise InputError(f"{where}: no '{key}'; it is no record of EmoBench's")
    return record[key]


@dataclass(frozen=True)
class Wording:
    """How questions are asked in one language (``prompts/emobench/<language>.toml``)."""

    listed: str
    unlisted: str
    choice: str
    answer: str
    questions: dict[str, str]

    def ask(self, question: Question, order: int | None) -> str:
        """The text that an answer follows. ``order``: by how many places the list of choices is moved on; None lists
        no choices."""
        asked = self.questions[question.kind].format(subject=question.subject)
        if order is None:
            return self.unlisted.strip().format(scenario=question.scenario, question=asked)
        choices = "\n".join(self.choice.format(choice=question.choices[i]) for i in listing(question, order))
        return self.listed.strip().format(scenario=question.scenario, question=asked, choices=choices)

    def answers(self, question: Question) -> list[str]:
        """What is scored after that text, a choice each, in the data's order."""
        return [self.answer.format(choice=choice) for choice in question.choices]


def listing(question: Question, order: int) -> list[int]:
    """Numbers of the choices as they are listed: moved on by ``order`` places, so that over as many orders as there
    are choices each of them stands in each place once."""
    count = len(question.choices)
    return [(place + order) % count for place in range(count)]


def wording_file(language: Language) -> Path:
    return ROOT / "prompts" / "emobench" / f"{language}.toml"


def load_wording(language: Language) -> Wording:
    return Wording(**tomllib.loads(wording_file(language).read_text(encoding="utf-8")))
