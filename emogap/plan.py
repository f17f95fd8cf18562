"""What a study would cost in hours and disk, by rates that were measured; what was not measured has no number.

Work for which there is no rate of the same model, device, number format and settings is listed without hours: nothing
is carried over from another model or machine.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from emogap import hub
from emogap.config import Config, Task
from emogap.data.classify import classifier_identity
from emogap.evaluate.lens import lens_models, load_openings, load_sentences
from emogap.evaluate.models import StudyModel, study_models
from emogap.published import published
from emogap.rates import UNITS, Kind, Rate, Rates
from emogap.train.strategies import settings_of

BABYLM_WORDS = 100_000_000
"""Words of BabyLM's strict track: what the published study read."""
LEFT_OUT = (
    "loading of models, writing of checkpoints, statistics, EmoBench, the report, replies that are asked for "
    "again; on disk: raw data, models from a hub, the corpus, plain copies of tables, answers and scores"
)
UNKNOWN = "–"


# --- work ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    title: str
    words: int
    """Of text that is cleaned and classified."""
    stories: int
    corpus_words: int
    rewrites: int
    prompts: int
    pairs: int


def sizes(config: Config) -> list[Size]:
    """The published size, and everything that can be written from and trained on 100M words of BabyLM."""
    counted = {(stage, count): number for stage, count, _, number in published("sizes").rows}
    as_published = {
        "words": BABYLM_WORDS,
        "stories": counted["augment", "kept"],
        "corpus_words": counted["corpus", "words"],
        "rewrites": counted["rewrite", "kept"],
        "prompts": counted["evaluate", "answers"],
        "pairs": counted["evaluate", "pairs"],
    }
    everything = {
        "stories": counted["process", "emotional"] * len(config.augment.methods),
        "corpus_words": BABYLM_WORDS,
    }
    return [
        Size("Published size", **as_published),
        Size("100M words: a story of every emotional line, a corpus of 100M words", **as_published | everything),
    ]


@dataclass(frozen=True)
class Work:
    """Work of one kind with one model, and what a rate must match to price it."""

    stage: str
    kind: Kind
    items: float
    """Words, stories, rewrites, records, answers, pairs, texts (``Rate.per_item`` units each)."""
    amount: str
    """The same for people."""
    model: str
    """As in ``Rate``."""
    name: str
    """The model's name in the profile; empty where there is none."""
    device: str
    dtype: str
    settings: dict[str, Any]
    left: float = 0
    """How many things are left on the disk (see ``Rate.bytes_each``)."""
    schedule: "Schedule | None" = None
    """Of a training."""


@dataclass(frozen=True)
class Schedule:
    """How trainings go over their data."""

    models: int
    rows_a_step: int
    row_tokens: int | None
    """Tokens of a row; None where a row is a record, as long as that is."""
    max_steps: int
    """-1: the epochs decide."""
    eval_steps: int
    held_out: float
    """Words or records that every evaluation reads."""

    def steps(self, units: float, per_item: float) -> float:
        """Steps of one model, if all models together had so many tokens to learn."""
        steps = units / self.models / self.step_tokens(per_item)
        return min(steps, self.max_steps) if self.max_steps > 0 else steps

    def step_tokens(self, per_item: float) -> float:
        return self.rows_a_step * (self.row_tokens or per_item)

    def evaluations(self, steps: float) -> int:
        """Of one model: before the first step, after every ``eval_steps`` and after the last."""
        return 1 + ceil(steps / self.eval_steps)


def works(config: Config, size: Size) -> Iterator[Work]:
    """All work of a profile at a size, in the order of the stages."""
    process = config.process
    words = f"{size.words:,} words"
    yield Work("process", "clean", size.words, words, "", "", "cpu", "", {})
    yield Work(
        "process", "classify", size.words, words, classifier_identity(process.classifier), process.classifier.name,
        process.device, process.dtype, config.flat("process", "token_budget"), left=size.words,
    )  # fmt: skip
    yield _writing(config, "augment", "stories", "methods", size.stories)
    yield _writing(config, "rewrite", "rewrites", "versions", size.rewrites)
    yield from _trainings(config, "clm", size.corpus_words, "words")
    yield from _trainings(config, "sft", size.rewrites, "records")
    measurements = [work for base in config.bases for work in _measurements(config, size, base)]
    yield from sorted(measurements, key=lambda work: list(UNITS).index(work.kind))


def _writing(config: Config, stage: str, kind: Kind, ways: str, count: int) -> Work:
    writer = config.writer
    server = writer.engine == "server"
    return Work(
        stage, kind, count, f"{count:,} {kind}", hub.identify(writer.model), writer.model.name,
        "server" if server else writer.device, "" if server else writer.dtype,
        config.flat("writer", "engine", "quantization", "batch_size") | config.flat(stage, ways, "sampling"),
        left=count,
    )  # fmt: skip


def _trainings(config: Config, task: Task, count: int, item: str) -> Iterator[Work]:
    settings = settings_of(config, task)
    share = config.corpus.validation_share if task == "clm" else config.sft.validation_share
    learnt = count * (1 - share)
    if task == "clm":
        keys, row_tokens = ("block_size", "boundaries"), config.clm.block_size
    else:
        keys, row_tokens = ("max_length", "packing"), config.sft.max_length if config.sft.packing else None
    for base, model in config.bases.items():
        trained = _strategies(config, task, base) * len(settings.seeds)
        amount = f"{trained} × {settings.epochs:g} × {learnt:,.0f} {item}"
        if settings.max_steps > 0:
            amount = f"{trained} × {settings.max_steps:,} steps at most"
        if trained:
            schedule = Schedule(
                trained, settings.batch_size * settings.accumulation, row_tokens, settings.max_steps,
                settings.eval_steps, count * share,
            )  # fmt: skip
            yield Work(
                task, task, learnt * settings.epochs * trained, amount, hub.identify(model), base, settings.device,
                settings.precision, config.flat(task, *keys, "batch_size", "accumulation", "processes", "lora"),
                left=trained, schedule=schedule,
            )  # fmt: skip


def _strategies(config: Config, task: Task, base: str) -> int:
    """How many strategies of a kind come from this base in the end."""
    origin = {name: name for name in config.bases}
    for strategy in config.strategies:
        origin[strategy.name] = origin[strategy.parent]
    return sum(strategy.task == task and origin[strategy.name] == base for strategy in config.strategies)


def _measurements(config: Config, size: Size, base: str) -> Iterator[Work]:
    respond, blimp, lens = config.respond, config.blimp, config.lens
    identity, models = hub.identify(config.bases[base]), _of_base(study_models(config), base)
    answers = size.prompts * (respond.samples + respond.greedy) + respond.empty_prompts
    yield Work(
        "evaluate", "answers", answers * models, f"{models} × {answers:,} answers", identity, base, respond.device,
        respond.dtype, config.flat("respond", "batch_size", "sampling"),
    )  # fmt: skip
    yield Work(
        "evaluate", "pairs", size.pairs * models, f"{models} × {size.pairs:,} pairs", identity, base, blimp.device,
        blimp.dtype, config.flat("blimp", "token_budget"),
    )  # fmt: skip
    seen = _of_base(lens_models(config), base)
    texts = len(load_sentences(lens.sentences)) + len(load_openings(lens.prompts))
    if seen:
        yield Work(
            "lens", "lens", texts * seen, f"{seen} × {texts:,} texts", identity, base, "auto", "fp32",
            config.flat("lens", "sentences", "prompts", "new_tokens", "top_k"),
        )  # fmt: skip


def _of_base(models: Sequence[StudyModel], base: str) -> int:
    return sum(model.base == base for model in models)


# --- prices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Priced:
    """Work with its rate, or with the reason why it has none."""

    work: Work
    rate: Rate | None
    reason: str = ""

    @property
    def hours(self) -> float | None:
        """With the evaluations of trainings."""
        if self.rate is None:
            return None
        units, schedule = self.work.items * self.rate.per_item, self.work.schedule
        if schedule:
            units = (
                schedule.models * schedule.steps(units, self.rate.per_item) * schedule.step_tokens(self.rate.per_item)
            )
        return units / self.rate.per_second / 3600 + (self.evaluating_hours or 0)

    @property
    def evaluating_hours(self) -> float | None:
        """The part of a training's hours that its evaluations take."""
        schedule = self.work.schedule
        if self.rate is None or schedule is None:
            return None
        steps = schedule.steps(self.work.items * self.rate.per_item, self.rate.per_item)
        read = schedule.models * schedule.evaluations(steps) * schedule.held_out * self.rate.per_item
        return read / self.rate.validation_per_second / 3600

    @property
    def gigabytes(self) -> float | None:
        """What stays on the disk; None where nothing is counted or nothing was measured."""
        if self.rate is None or self.rate.bytes_each is None or not self.work.left:
            return None
        return self.work.left * self.rate.bytes_each / 1e9


def placed(work: Work, rates: Rates) -> tuple[str, str]:
    """Device and number format of the work on the machine of these rates: what ``auto`` means there."""
    device = rates.device if work.device == "auto" else work.device
    return device, rates.dtype if work.dtype == "auto" and device == rates.device else work.dtype


def price(work: Work, rates: Rates) -> Priced:
    """Work with the one rate that was measured for it. A trained model goes at its base's rate: it has its shape."""
    of_model = [rate for rate in rates.rates if (rate.work, rate.model) == (work.kind, work.model)]
    device, dtype = placed(work, rates)
    wanted = {"device": device, "dtype": dtype, **work.settings}
    differences: list[list[str]] = []
    for rate in of_model:
        measured = {"device": rate.device, "dtype": rate.dtype, **rate.settings}
        differences.append([f"{k} {v}, not {wanted.get(k)}" for k, v in measured.items() if wanted.get(k) != v])
        if not differences[-1]:
            return Priced(work, rate)
    if not differences:
        return Priced(work, None, f"no rate of {work.model}" if work.model else "no rate")
    return Priced(work, None, f"measured with {'; '.join(min(differences, key=len))}")


# --- lines for people ------------------------------------------------------------------------------------------------


def plan(config: Config, rates: Rates) -> Iterator[str]:
    """A table for each size with what is known in sum, then what is not known and why."""
    yield f"Profile {config.profile}, at the rates of: {rates.machine}"
    priced: list[Priced] = []
    for size in sizes(config):
        priced = [price(work, rates) for work in works(config, size)]
        yield from ("", size.title, *_table(priced), _known(priced), *_evaluating(priced))
    yield ""
    yield "Trainings: models × epochs × words or records; early stopping may end them sooner."
    yield from (f"{one.work.kind} {one.work.name}: {one.rate.note}." for one in priced if one.rate and one.rate.note)
    meanwhile = [one.rate.bytes_meanwhile for one in priced if one.rate and one.rate.bytes_meanwhile]
    if meanwhile:
        yield f"While a model trains, {_number(max(meanwhile) / 1e9)} GB more must be free for its checkpoints."
    yield f"Not counted: {LEFT_OUT}."
    yield from _unknown(priced)


def _table(priced: Iterable[Priced]) -> Iterator[str]:
    """Lines of aligned columns: the first four to the left, numbers to the right."""
    rows = [("stage", "work", "model", "how much", "rate", "hours", "GB"), *map(_cells, priced)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if i > 3 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _cells(priced: Priced) -> tuple[str, ...]:
    work, rate = priced.work, priced.rate
    return (
        work.stage,
        work.kind,
        re.split("[/:]", work.name)[-1],
        work.amount,
        "not measured" if rate is None else f"{_number(rate.per_second)} {UNITS[work.kind]}/s",
        _number(priced.hours),
        _number(priced.gigabytes) if work.left else "",
    )


def _known(priced: Sequence[Priced]) -> str:
    hours = [one.hours for one in priced if one.hours is not None]
    gigabytes = [one.gigabytes for one in priced if one.gigabytes is not None]
    filling = sum(one.work.left > 0 for one in priced)
    return (
        f"Known: {_number(sum(hours))} hours ({len(hours)} of {len(priced)} rows), "
        f"{_number(sum(gigabytes))} GB ({len(gigabytes)} of {filling} rows)"
    )


def _evaluating(priced: Sequence[Priced]) -> Iterator[str]:
    parts = [
        f"{one.work.kind} {one.work.name} {_number(one.evaluating_hours)} (every {schedule.eval_steps:,} steps)"
        for one in priced
        if (schedule := one.work.schedule) and one.rate
    ]
    if parts:
        yield f"Hours of evaluations among these: {', '.join(parts)}"


def _unknown(priced: Sequence[Priced]) -> Iterator[str]:
    unknown = [one for one in priced if one.rate is None]
    if not unknown:
        return
    yield ""
    yield "Not measured:"
    for one in unknown:
        yield f"  {' '.join(filter(None, (one.work.kind, one.work.name)))}: {one.reason}"
    yield "Measure with --calibrate under the same profile and settings on the machine that is to work, or give --rates"


def _number(value: float | None) -> str:
    """Three figures."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.01:
        return "<0.01"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"
