"""The zero-shot part of the BabyLM challenge's evaluation, read from its own folders, each task by its own rule.

A record has candidates, texts of which a part is scored; the first one is the right one. Each row of ``TASK_RULES``
defines a task, so that a new task is a new row. ``CONVENTIONS`` defines, year by year, how a text becomes tokens. The
reading times are left out: they are no comparison of texts but a regression. ``zero_shot_tables`` makes the tables.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from emogap.config import Config
from emogap.errors import InputError, MissingInput, ModelError
from emogap.grammar.tasks import OPENED, Case, Task
from emogap.lm.corrections import PASSAGE
from emogap.paths import from_root
from emogap.text.forms import Form, Number, Text, Whole, read_forms
from emogap.text.reading import read_lines

if TYPE_CHECKING:
    from emogap.lm.sentence_scores import Scored, SentenceScorer

_CASES_AT_ONCE = 500
"""Cases whose scores are cached together."""
LOGPROB = "logprob_"
"""Prefix of the metrics that are log-probabilities; the candidate's place follows, from 0."""


# --- what a task is --------------------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A text, and the part at its end that is scored: all of it, or what follows a context."""

    text: str
    scored: str


def _sentences(*texts: str) -> list[Candidate]:
    return [Candidate(text, text) for text in texts]


def _two(text: str) -> str:
    if text.count("\t") != 1 or not all(part.strip() for part in text.split("\t")):
        raise ValueError("not two sentences with a tab between them")
    return text


class _Pair(Form):
    needs = "a minimal pair has sentence_good and sentence_bad"

    good: Text = Field(alias="sentence_good")
    bad: Text = Field(alias="sentence_bad")
    field: Text | None = None
    """BLiMP's own records have one, and name their paradigm; those of its supplement do not."""
    uid: Text | None = Field(None, alias="UID")


class _World(Form):
    needs = "a record of EWoK has Context1, Target1, Target2 and Domain"

    context: Text = Field(alias="Context1")
    right: Text = Field(alias="Target1")
    wrong: Text = Field(alias="Target2")
    domain: Text = Field(alias="Domain")


class _Property(Form):
    needs = "a record of COMPS has prefix_acceptable, prefix_unacceptable and property_phrase"

    right: Text = Field(alias="prefix_acceptable")
    wrong: Text = Field(alias="prefix_unacceptable")
    phrase: Text = Field(alias="property_phrase")


class _Entities(Form):
    needs = "a record of entity tracking has input_prefix, options and numops"

    before: Text = Field(alias="input_prefix")
    options: Annotated[list[Text], Field(min_length=2)]
    operations: Whole = Field(alias="numops")


class _Wug(Form):
    needs = "a record of the wug tests has sentences, two with a tab between them, and ratio"

    sentences: Annotated[Text, AfterValidator(_two)]
    ratio: Number


@dataclass(frozen=True)
class TaskRule:
    """A task of the challenge's evaluation pipeline."""

    name: str
    """What the pipeline calls it."""
    form: type[Form]
    """The fields of a record, by which files of this task are recognised."""
    candidates: Callable[[Any], list[Candidate]]
    """The candidates of a record."""
    subtask: Callable[[Any, str], str]
    """The subtask of a record, from the record and its file's name without the suffix."""
    people: Callable[[Any], float] | None = None
    """The share of people who chose the first candidate. If it is given, the score is Spearman's correlation with it
    instead of the share of right decisions."""
    file: str = ""
    """What the names of its files contain, for tasks that the fields alone do not identify."""
    predicts: str = "scored"
    """The field of the chosen candidate that is exported as the prediction."""
    since: int = 2025
    """The first year of the challenge with this task."""


TASK_RULES = (
    TaskRule(
        "blimp", _Pair, lambda r: _sentences(r.good, r.bad), lambda r, file: (r.field and r.uid) or file, since=2024,
    ),
    TaskRule(
        "ewok", _World, lambda r: [Candidate(f"{r.context} {t}", f" {t}") for t in (r.right, r.wrong)],
        lambda r, file: r.domain, since=2024,
    ),
    TaskRule(
        "comps", _Property, lambda r: [Candidate(f"{p} {r.phrase}", r.phrase) for p in (r.right, r.wrong)],
        lambda r, file: file.removeprefix("comps_").replace("-", "_"), predicts="text",
    ),
    TaskRule(
        "entity_tracking", _Entities, lambda r: [Candidate(r.before + option, option) for option in r.options],
        lambda r, file: f"{file}_{r.operations}_ops",
    ),
    *(
        TaskRule(name, _Wug, lambda r: _sentences(*r.sentences.split("\t")), lambda r, file, name=name: name,
             people=lambda r: r.ratio, file=name.removeprefix("wug_"))
        for name in ("wug_adj", "wug_past")
    ),
)  # fmt: skip


# --- how a text becomes tokens ---------------------------------------------------------------------------------------


def _by_letters(scorer: "SentenceScorer", text: str, scored: str) -> "Scored":
    """The text as the tokenizer encodes it by default, with BOS only if it adds that. Every token that reaches into the
    scored part counts, except the text's very first, which nothing precedes."""
    from emogap.lm.sentence_scores import Scored

    if not scorer.tokenizer.is_fast:
        raise ModelError("its tokenizer does not say which letters a token is of; give babylm.convention=2024")
    found = scorer.tokenizer(text, return_offsets_mapping=True)
    letters = found["offset_mapping"]
    begin = len(text) - len(scored) + letters[0][0]
    counted = [place for place, (_, end) in enumerate(letters) if end > begin] or [0]
    return scorer.checked(Scored(tuple(found["input_ids"][: counted[-1] + 1]), max(1, counted[0])), text)


def _by_harness(scorer: "SentenceScorer", text: str, scored: str, begins: bool = False) -> "Scored":
    """A sentence follows the empty context and a space. Of a text with a context, the tokens count that come after as
    many as the context alone has; the empty context precedes it only if ``begins``."""
    from emogap.lm.sentence_scores import Scored

    if text == scored:
        return scorer.encode(text)
    context = text[: len(text) - len(scored)].rstrip()
    before, ids = (scorer.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (context, text))
    prefix = scorer.prefix if begins else ()
    return scorer.checked(Scored((*prefix, *ids), max(1, len(prefix) + len(before))), text)


@dataclass(frozen=True)
class Convention:
    """The rules of one year of the challenge, or this project's own."""

    tokens: Callable[["SentenceScorer", str, str], "Scored"]
    year: int = 2026
    ties: Literal["right", "shared"] = "right"
    """What the right candidate gets if it ties with others for the likeliest: the whole point, or its share."""


CONVENTIONS = {
    "2024": Convention(_by_harness, 2024), "2025": Convention(_by_letters), "2026": Convention(_by_letters),
    "study": Convention(partial(_by_harness, begins=True), ties="shared"),
}  # fmt: skip
"""2024 was EleutherAI's harness, 2025 and 2026 are the pipeline's own code; ``study`` is how ``blimp`` scores."""


# --- sets of records -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluationSet:
    """A folder of one task's files."""

    rule: TaskRule
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def records(self, items: int = 0) -> "Iterator[Record]":
        """Its records, the first ``items`` of each subtask (0: all). Raises ``InputError`` for an invalid one."""
        count: Counter[str] = Counter()
        for file in self.files:
            for _, given in read_forms(file, self.rule.form):
                subtask = self.rule.subtask(given, file.stem)
                count[subtask] += 1
                if not items or count[subtask] <= items:
                    people = None if self.rule.people is None else self.rule.people(given)
                    yield Record(subtask, count[subtask] - 1, self.rule.candidates(given), people)


class Record(NamedTuple):
    subtask: str
    place: int
    """The number of the record among those of its subtask, from 0."""
    candidates: list[Candidate]
    people: float | None


def sets_in(*folders: Path) -> tuple[list[EvaluationSet], list[Path]]:
    """The sets in some folders and all folders below them, and the folders with JSON lines that are no such set.

    A set that occurs twice under one name (as the wug tests do, in the full and the fast sets) is taken once. Raises
    ``InputError`` if two sets of the same name differ.
    """
    sets: dict[str, EvaluationSet] = {}
    others = []
    for folder in dict.fromkeys(file.parent for root in folders for file in sorted(root.rglob("*.jsonl"))):
        rule = _rule_of(folder)
        if rule is None:
            others.append(folder)
            continue
        first = sets.setdefault(folder.name, EvaluationSet(rule, folder))
        if first.folder != folder and _content(first.folder) != _content(folder):
            raise InputError(f"{first.folder} and {folder} differ and have one name; give one of them, or rename one")
    return list(sets.values()), others


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.jsonl")}


def _rule_of(folder: Path) -> TaskRule | None:
    """The rule of the first file whose first record and name fit one; all other records must then fit it too."""
    for file in sorted(folder.glob("*.jsonl")):
        first, fields = next((line for line in read_lines(file) if line.strip()), ""), set()
        with suppress(ValueError, TypeError, AttributeError):
            fields = set(json.loads(first).keys())
        for rule in TASK_RULES:
            if fields.issuperset(rule.form.required()) and rule.file in file.stem:
                return rule
    return None


def is_evaluation(folder: Path) -> bool:
    """Whether a folder holds sets of the evaluation, and not only minimal pairs directly in it, as any BLiMP does."""
    rule = _rule_of(folder)
    return rule.name != "blimp" if rule else bool(sets_in(folder)[0])


def chosen_sets(config: Config) -> tuple[list[EvaluationSet], list[str]]:
    """The sets that the settings ask for, and what was left out, in words. Raises ``MissingInput`` if there is none."""
    folders = [from_root(folder) for folder in config.babylm.data]
    sets, others = sets_in(*folders)
    asked = [one for one in sets if not _before(config, one)]
    if not asked:
        raise MissingInput(
            f"no set of the challenge's evaluation found in {', '.join(map(str, folders))}; give its evaluation_data, "
            "or one of the folders there"
        )
    left = [f"{folder.name} (no comparison of texts)" for folder in others]
    left += [f"{one.name} (not asked in {config.babylm.convention})" for one in sets if _before(config, one)]
    reading = [file for folder in folders for file in folder.rglob("reading_data.csv")]
    return asked, left + ["reading (reading times are a regression)"] * bool(reading)


def _before(config: Config, one: EvaluationSet) -> bool:
    return CONVENTIONS[config.babylm.convention].year < one.rule.since


# --- the task --------------------------------------------------------------------------------------------------------


def _cases(config: Config) -> list[list[Case]]:
    """One case per record, in groups of ``_CASES_AT_ONCE`` of a set."""
    convention, parts = CONVENTIONS[config.babylm.convention], []
    for one in chosen_sets(config)[0]:
        cases = [_case(one, record, convention) for record in one.records(config.babylm.items)]
        parts += [cases[at : at + _CASES_AT_ONCE] for at in range(0, len(cases), _CASES_AT_ONCE)]
    return parts


def _case(one: EvaluationSet, record: Record, convention: Convention) -> Case:
    texts = [candidate.text for candidate in record.candidates]
    known = partial(_decided, convention.ties == "shared") if record.people is None else partial(_taken, record.people)
    encode = partial(_encoded, convention, record.candidates)
    return Case(f"{one.name}/{record.subtask}/{record.place}", one.name, texts, known, encode=encode)


def _encoded(convention: Convention, candidates: Sequence[Candidate], scorer: "SentenceScorer") -> "list[Scored]":
    return [convention.tokens(scorer, *candidate) for candidate in candidates]


def _decided(shared: bool, sums: np.ndarray) -> dict[str, float]:
    """``correct``, ``logprob_<place>`` of each candidate, and ``tied`` if several candidates are the likeliest."""
    best = sums == sums.max()
    values = {"correct": best[0] / best.sum() if shared else float(best[0])} | _each(sums)
    return values | {"tied": 1.0} if best.sum() > 1 else values


def _each(sums: np.ndarray) -> dict[str, float]:
    return {f"{LOGPROB}{place}": value for place, value in enumerate(sums)}


def _taken(people: float, sums: np.ndarray) -> dict[str, float]:
    """``probability`` of the first candidate among all, in float32 as in the pipeline; ``people``; ``logprob_…``."""
    likely = np.exp((sums - sums.max()).astype(np.float32))
    return {"probability": likely[0] / likely.sum(), "people": people} | _each(sums)


def _opened(settings: Any) -> dict[str, Any]:
    """The scorer's options; by the rules since 2025, only what the tokenizer itself adds precedes a text."""
    opened = {name: getattr(settings, name) for name in (*OPENED, "temperature")}
    own = CONVENTIONS[settings.convention].tokens is _by_letters
    return opened | {"empty_context": "none"} if own else opened


BABYLM = Task(
    name="babylm",
    title="BabyLM evaluation",
    unit="texts",
    shaping=("items", "convention", "temperature", "empty_context", "dtype"),
    longest=PASSAGE,
    files=lambda config: {one.name: one.folder for one in chosen_sets(config)[0]},
    cases=_cases,
    counts=lambda table: {
        "records": int((table["metric"] == f"{LOGPROB}0").sum()),
        "ties": int((table["metric"] == "tied").sum()),
    },
    is_there=lambda config: bool(config.babylm.data),
    opened=_opened,
)
