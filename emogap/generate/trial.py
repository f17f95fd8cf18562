"""Trying out prompts: a few lines or records asked in one way or another, judged as their stage would judge them.

What the model answers is kept (``tried``): a bulk run that asks the same takes it over. The model is loaded when a
reply is first wanted that is not there yet, and stays loaded in this process.
"""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError

from emogap.config import SAMPLINGS, Augment, Config, Rewrite, Sampling
from emogap.data.alpaca import FIELDS, Record, select
from emogap.emotions import INDEX, LABELS, NEUTRAL, check_label
from emogap.errors import UsageError
from emogap.generate import augment, judging, rewrite
from emogap.generate.judging import Judging
from emogap.generate.prompts import SeedRewrite, StoryExample, Template, load_examples, parse_template
from emogap.generate.tried import Tried
from emogap.generate.writing import (
    BATCHES_A_CALL,
    Ask,
    Row,
    answered_row,
    answers_to,
    batches,
    kept_engine,
    reply_keys,
)
from emogap.paths import from_root
from emogap.records import count_rows, row_seed
from emogap.store.artefacts import sha256_text
from emogap.store.progress import Progress, progress
from emogap.text.reading import read_text

Stage = Literal["augment", "rewrite"]
STAGES: tuple[Stage, ...] = ("augment", "rewrite")
OWN = "own"
"""Source of a line that somebody typed."""


@dataclass(frozen=True)
class Source:
    """What a text is made from: an emotional line, or a record and the emotion wanted of its answer."""

    id: str
    emotion: str
    text: str
    """As people read it in a list."""
    of: Any
    """The line as a mapping, or the ``Record``."""


@dataclass(frozen=True)
class Way:
    """A way of asking: a prompt, and how its replies are sampled."""

    name: str
    template: Template
    sampling: Sampling


@dataclass(frozen=True)
class Trial:
    """The judged rows of some sources in one way, in their order."""

    way: Way
    rows: list[Row]
    fresh: frozenset[str]
    """Ids of those rows that the model wrote just now; the others were there."""


class Bench(ABC):
    """A stage's sources and prompts, ready to be tried."""

    stage: Stage
    placeholders: tuple[str, ...]
    text: str
    """Column of the text that is read out of a reply."""

    def __init__(self, config: Config, tried: Path):
        self.config = config
        self.tried = Tried(tried)

    @property
    @abstractmethod
    def settings(self) -> Augment | Rewrite:
        """The stage's section of the settings."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The methods or versions that the stage is set to make."""

    @abstractmethod
    def first(self, count: int) -> list[Source]:
        """The first so many lines or records, in the order in which the stage takes them; it may be set to fewer."""

    @abstractmethod
    def sample(self, count: int) -> list[Source]:
        """So many lines or records, the emotions as equal in number as can be."""

    @abstractmethod
    def available(self) -> int:
        """How many lines or records there are."""

    @abstractmethod
    def _find(self, ids: Sequence[str]) -> list[Source]:
        """Those of the ids that there are."""

    @abstractmethod
    def _own(self, given: Mapping[str, str]) -> Source: ...

    @abstractmethod
    def _ask(self, source: Source, way: Way) -> Ask: ...

    @abstractmethod
    def _check(self, template: Template) -> Template: ...

    @abstractmethod
    def judging(self) -> Judging:
        """How the stage judges."""

    def chosen(self, wanted: Sequence[str | Mapping[str, str]]) -> list[Source]:
        """The sources that are named by id, or given outright: a text, or a mapping of its parts.

        Raises ``UsageError`` for an id that is not there.
        """
        ids = [one for one in wanted if _is_id(one)]
        known = {source.id: source for source in self._find(ids)} if ids else {}
        chosen = []
        for one in wanted:
            if _is_id(one) and one not in known:
                raise UsageError(f"there is no line '{one}'; give the id of one, or a text of more than one word")
            chosen.append(known[one] if _is_id(one) else self._own({"text": one} if isinstance(one, str) else one))
        return chosen

    def template(self, name: str) -> Template:
        """The prompt of a method or version, or of a template file given by path.

        Raises ``MissingInput`` or ``UsageError`` (unknown or missing placeholder).
        """
        return self.parse(read_text(self.template_path(name)), name)

    def template_path(self, name: str) -> Path:
        """The file of a method's or version's prompt, or of a template given by path."""
        path = from_root(self.settings.templates.get(name, name))
        if not path.is_file():
            known = ", ".join(self.settings.templates)
            raise UsageError(f"'{name}' is neither one of {known} nor a template file")
        return path

    def parse(self, text: str, name: str) -> Template:
        """Check the text of a template. Raises ``UsageError``."""
        return self._check(parse_template(text, name, self.placeholders))

    def try_out(self, sources: Sequence[Source], way: Way, bar: Progress | None = None) -> Trial:
        """Ask about all sources in one way, what is not there yet, and judge the replies together.

        Raises ``UsageError`` (no worked examples of an emotion) and ``ModelError``.
        """
        asks = [self._ask(source, way) for source in sources]
        keys = dict(zip([ask.id for ask in asks], reply_keys(self.config, way.sampling, asks), strict=True))
        missing = [ask for ask in asks if self.tried.get(keys[ask.id]) is None]
        answers = {ask.id: {**found, "ask": ask.id} for ask in asks if (found := self.tried.get(keys[ask.id]))}
        if bar:
            bar.advance(len(answers))
            answers |= self._write(missing, way, keys, bar)
        else:
            with progress(way.name, len(missing), "replies") as own_bar:
                answers |= self._write(missing, way, keys, own_bar)
        shown = {ask.id: ask.shown for ask in asks}
        rows = judging.judge([answered_row(ask, answers[ask.id]) for ask in asks], [], shown, self.judging())
        return Trial(way, rows, frozenset(ask.id for ask in missing))

    def _write(self, asks: Sequence[Ask], way: Way, keys: Mapping[str, str], bar: Progress) -> dict[str, Row]:
        written: dict[str, Row] = {}
        for part in batches(asks, self.config.writer.batch_size * BATCHES_A_CALL):
            engine = kept_engine(self.config.writer)
            answers = answers_to(part, 0, engine, way.sampling, self.config.seed, bar.advance)
            self.tried.add({keys[a["ask"]]: a for a in answers if a["finish"] != "error"})
            written |= {answer["ask"]: answer for answer in answers}
        return written


class StoryBench(Bench):
    """Stories about emotional lines."""

    stage, placeholders, text = "augment", augment.PLACEHOLDERS, "story"

    def __init__(self, config: Config):
        super().__init__(config, config.home.tried_stories)
        self._examples = load_examples(config.augment.examples, StoryExample)

    @property
    def settings(self) -> Augment:
        return self.config.augment

    @property
    def names(self) -> list[str]:
        return self.config.augment.methods

    def first(self, count: int) -> list[Source]:
        return _lines(self._lines(lines=count))

    def sample(self, count: int) -> list[Source]:
        return _lines(self._lines(lines=count, order="balanced"))

    def available(self) -> int:
        return count_rows(self.config.home.require(self.config.home.filtered))

    def _find(self, ids: Sequence[str]) -> list[Source]:
        lines = self._lines(lines=0)
        return _lines(lines[lines["id"].isin(ids)])

    def _lines(self, **settings: Any) -> pd.DataFrame:
        changed = self.config.augment.model_copy(update=settings)
        return augment.chosen_lines(self.config.model_copy(update={"augment": changed}))

    def _own(self, given: Mapping[str, str]) -> Source:
        text = _part(given, "text")
        emotion = check_label(given["emotion"], "lines") if given.get("emotion") else self._strongest(text)
        return _line({"id": f"{OWN}:{sha256_text(text)[:12]}", "source": OWN, "text": text, "emotions": [emotion]})

    def _strongest(self, text: str) -> str:
        """The emotion that the classifier finds in a text, the strongest one but neutral."""
        scores = judging.classifier(self.config.process.classifier).scores([text])[0]
        return max((label for label in LABELS if label != NEUTRAL), key=lambda label: scores[INDEX[label]])

    def _ask(self, source: Source, way: Way) -> Ask:
        augment.check_examples(way.template, {source.emotion}, self._examples)
        return augment.story_ask(source.of, way.name, way.template, self._examples, self.config.seed)

    def _check(self, template: Template) -> Template:
        return augment.check_story_template(template)

    def judging(self) -> Judging:
        return augment.story_judging(self.config)


class RewriteBench(Bench):
    """Rewrites of Alpaca answers."""

    stage, placeholders, text = "rewrite", rewrite.PLACEHOLDERS, "output"

    def __init__(self, config: Config):
        super().__init__(config, config.home.tried_rewrites)
        self._seeds = load_examples(config.rewrite.seeds, SeedRewrite)
        self._records: list[Source] | None = None

    @property
    def settings(self) -> Rewrite:
        return self.config.rewrite

    @property
    def names(self) -> list[str]:
        return self.config.rewrite.versions

    def first(self, count: int) -> list[Source]:
        return self._all()[:count]

    def sample(self, count: int) -> list[Source]:
        return self.first(count)  # every block of them has each emotion once

    def available(self) -> int:
        return len(self._all())

    def _find(self, ids: Sequence[str]) -> list[Source]:
        return [record for record in self._all() if record.id in ids]

    def _all(self) -> list[Source]:
        if self._records is None:
            records = select(rewrite.cleaned_records(self.config).kept, 0, self.config.seed)
            emotions = rewrite.wanted_emotions(len(records), self.settings.emotions, self.config.seed)
            self._records = [_record(record, emotion) for record, emotion in zip(records, emotions, strict=True)]
        return self._records

    def _own(self, given: Mapping[str, str]) -> Source:
        values = {field: _part(given, field, needed=field != "input") for field in FIELDS}
        record = Record(f"{OWN}:{sha256_text(chr(31).join(values.values()))[:12]}", **values)
        drawn = random.Random(row_seed(self.config.seed, record.id, "emotion")).choice(self.settings.emotions)
        return _record(record, check_label(given["emotion"], "lines") if given.get("emotion") else drawn)

    def _ask(self, source: Source, way: Way) -> Ask:
        return rewrite.rewrite_ask(source.of, source.emotion, way.name, way.template, self._seeds, self.config.seed)

    def _check(self, template: Template) -> Template:
        return rewrite.check_rewrite_template(template)

    def judging(self) -> Judging:
        return rewrite.rewrite_judging(self.config)


def open_bench(config: Config, stage: str) -> Bench:
    """The bench of ``augment`` or ``rewrite``. Raises ``UsageError`` for another stage."""
    makers: dict[str, Callable[[Config], Bench]] = {"augment": StoryBench, "rewrite": RewriteBench}
    if stage not in makers:
        raise UsageError(f"stage '{stage}' asks no writer; choose among {', '.join(makers)}")
    return makers[stage](config)


def with_emotion(source: Source, emotion: str) -> Source:
    """The same line or record, asked for another emotion."""
    of = {**source.of, "emotion": emotion, "emotions": [emotion]} if isinstance(source.of, Mapping) else source.of
    return Source(source.id, emotion, source.text, of)


def sampling_of(given: Sampling | Mapping[str, Any] | str | None, default: Sampling) -> Sampling:
    """A sampling as people give it: by name, as values that replace those of ``default``, or none: ``default``.

    Raises ``UsageError`` for an unknown name or an impossible value.
    """
    if given is None or isinstance(given, Sampling):
        return given or default
    if isinstance(given, str) and given not in SAMPLINGS:
        raise UsageError(f"no sampling '{given}'; choose among {', '.join(SAMPLINGS)} or give values")
    values = SAMPLINGS[given] if isinstance(given, str) else {**default.model_dump(), **given}
    try:
        return Sampling(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UsageError(f"sampling {problem['loc'][0]} = {problem['input']}: {problem['msg'].lower()}") from None


def _is_id(wanted: str | Mapping[str, str]) -> bool:
    """A text without white space is taken for an id."""
    return isinstance(wanted, str) and not re.search(r"\s", wanted.strip())


def _part(given: Mapping[str, str], name: str, needed: bool = True) -> str:
    text = (given.get(name) or "").strip()
    if needed and not text:
        raise UsageError(f"a line of your own needs '{name}'; it has {', '.join(given) or 'nothing'}")
    return text


def _line(line: Mapping[str, Any]) -> Source:
    return Source(line["id"], line["emotions"][0], line["text"], line)


def _lines(lines: pd.DataFrame) -> list[Source]:
    return [_line(line) for line in lines[["id", "source", "text", "emotions"]].to_dict("records")]


def _record(record: Record, emotion: str) -> Source:
    text = f"{record.instruction} | {record.input}" if record.input else record.instruction
    return Source(record.id, emotion, text, record)
