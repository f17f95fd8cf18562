"""What a study would cost in hours and disk, by rates that were measured; what was not measured has no number.

A rate holds for one kind of work with one model, on one device, in one number format, under the settings it names.
Work for which there is no such rate is listed without hours: nothing is carried over from another model or machine.
"""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from emogap import hub
from emogap.artefacts import write_json
from emogap.config import Config, Section, Task, Training
from emogap.data.classify import classifier_identity
from emogap.device import machine
from emogap.errors import InputError, MissingInput, UsageError
from emogap.evaluate.lens import lens_models, load_openings, load_sentences
from emogap.evaluate.models import StudyModel, study_models
from emogap.paths import cache_dir
from emogap.published import published
from emogap.train.strategies import settings_of

BABYLM_WORDS = 100_000_000
"""Words of BabyLM's strict track: what the published study read."""

Kind = Literal["clean", "classify", "stories", "rewrites", "clm", "sft", "answers", "pairs", "lens"]
UNITS: dict[Kind, str] = {
    "clean": "words", "classify": "words", "stories": "tokens", "rewrites": "tokens", "clm": "tokens", "sft": "tokens",
    "answers": "answers", "pairs": "pairs", "lens": "texts",
}  # fmt: skip
"""What a rate of each kind counts a second."""
LEFT_OUT = (
    "loading of models, evaluations during training, continuations in the lens, statistics, EmoBench, the report; "
    "retried replies; on disk: raw data, models fetched from a hub, tables of answers and scores"
)


# --- rates -----------------------------------------------------------------------------------------------------------


class Rate(Section):
    """How fast one kind of work goes, and what makes it that and no other."""

    work: Kind
    model: str = ""
    """As manifests name it: ``<name>@<revision>`` or ``<name>@sha256:<hash>``; cleaning has none."""
    device: str
    dtype: Literal["", "bf16", "fp16", "fp32"] = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    """``section.key`` → value. Work with another value for one of these has another rate."""
    per_second: float = Field(gt=0)
    """Units (``UNITS``) a second."""
    per_item: float = Field(1.0, gt=0)
    """Units that an item takes: tokens a story, a rewrite, a record, or a word of the corpus."""
    bytes_each: float | None = Field(None, gt=0)
    """Bytes on disk of each thing that is left: of a classified word, a story, a rewrite, a model."""
    bytes_meanwhile: float | None = Field(None, gt=0)
    """Bytes on disk beside it while it is made (a training's checkpoints)."""

    def key(self) -> tuple:
        return self.work, self.model, self.device, self.dtype, json.dumps(self.settings, sort_keys=True)


class Rates(Section):
    """Rates of one machine."""

    machine: str
    device: str
    """What ``auto`` means there."""
    dtype: Literal["bf16", "fp16", "fp32"]
    """What ``auto`` means on that device."""
    rates: list[Rate] = Field(default_factory=list)

    def with_new(self, new: Sequence[Rate]) -> "Rates":
        """These rates and new ones; a new rate replaces an older one of the same work."""
        by_key = {rate.key(): rate for rate in (*self.rates, *new)}
        return self.model_copy(update={"rates": list(by_key.values())})


def rates_file() -> Path:
    """Where the rates of this machine lie: in the user's cache, since they belong to no run."""
    return cache_dir() / "rates.json"


def this_machine() -> str:
    """Processor, cores, system and all GPUs."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.init()
    return machine()


def load_rates(path: Path) -> Rates:
    """Read a JSON or TOML file of rates. Raises ``MissingInput`` or ``InputError`` naming the file and the key."""
    if not path.is_file():
        raise MissingInput(
            f"rates {path} not found; give a JSON or TOML file, or measure with `emogap plan --calibrate`"
        )
    text = path.read_text(encoding="utf-8")
    try:
        return Rates.model_validate(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(f"{path}: {where}: {problem['msg'].lower()}; docs/plan.md shows the form") from error
    except ValueError as error:
        raise InputError(f"{path} is neither JSON nor, as .toml, TOML: {error}") from error


def own_rates() -> Rates | None:
    """What was measured on this machine, None if nothing was. Raises ``UsageError`` if it was another machine."""
    if not rates_file().exists():
        return None
    rates, here = load_rates(rates_file()), this_machine()
    if rates.machine != here:
        raise UsageError(
            f"{rates_file()} holds rates of another machine ({rates.machine}; this is {here}); name it to plan for "
            "that machine (--rates), or delete it and measure here (--calibrate)"
        )
    return rates


def keep_rates(new: Rates) -> Rates:
    """Put rates that were measured here beside those that were measured before."""
    before = own_rates()
    kept = before.with_new(new.rates) if before else new
    write_json(rates_file(), kept.model_dump(mode="json"))
    return kept


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
        Size(
            "100M words of BabyLM: stories of every emotional line, a corpus of 100M words", **as_published | everything
        ),
    ]


@dataclass(frozen=True)
class Work:
    """Work of one kind with one model, and what a rate must match to price it."""

    stage: str
    kind: Kind
    items: float
    item: str
    """What the items are, for people."""
    model: str
    name: str
    """The model's name for people."""
    device: str
    dtype: str
    settings: dict[str, Any]
    left: float = 0
    """How many things are left on the disk (see ``Rate.bytes_each``)."""
    most_units: float | None = None
    """A bound that the settings set (``max_steps``)."""


def works(config: Config, size: Size) -> Iterator[Work]:
    """All work of a profile at a size, in the order of the stages."""
    process, writer = config.process, config.writer
    yield Work("process", "clean", size.words, "words", "", "", "cpu", "", {})
    yield Work(
        "process", "classify", size.words, "words", classifier_identity(process.classifier), process.classifier.name,
        process.device, process.dtype, config.flat("process", "token_budget"), left=size.words,
    )  # fmt: skip
    engine = config.flat("writer", "engine", "quantization", "batch_size")
    written = {"stories": ("augment", "methods", size.stories), "rewrites": ("rewrite", "versions", size.rewrites)}
    for kind, (stage, ways, count) in written.items():
        yield Work(
            stage, kind, count, kind, hub.identify(writer.model), writer.model.name,
            "server" if writer.engine == "server" else writer.device, writer.dtype,
            engine | config.flat(stage, ways, "sampling"), left=count,
        )  # fmt: skip
    for base, model in config.bases.items():
        identity = hub.identify(model)
        yield from _trainings(config, size, base, identity)
    for base, model in config.bases.items():
        identity = hub.identify(model)
        yield from _measurements(config, size, base, identity)


def trained_settings(config: Config, task: Task) -> dict[str, Any]:
    """The settings of a training that its speed depends on."""
    length = ("block_size",) if task == "clm" else ("max_length", "packing")
    return config.flat(task, *length, "batch_size", "lora")


def _trainings(config: Config, size: Size, base: str, identity: str) -> Iterator[Work]:
    models = study_models(config)
    for task, items, item in (("clm", size.corpus_words, "words"), ("sft", size.rewrites, "records")):
        named = {strategy.name for strategy in config.strategies if strategy.task == task}
        count = sum(model.base == base and model.name in named for model in models)
        if not count:
            continue
        settings = settings_of(config, task)
        most = f" of at most {settings.max_steps:,} steps" if settings.max_steps > 0 else ""
        share = 1 - (config.corpus.validation_share if task == "clm" else config.sft.validation_share)
        yield Work(
            task, task, items * share * settings.epochs * count, f"{item} in {count} trainings{most}",
            identity, base, settings.device, settings.precision, trained_settings(config, task), left=count,
            most_units=_most_tokens(config, settings, task, count),
        )  # fmt: skip


def _most_tokens(config: Config, settings: Training, task: Task, count: int) -> float | None:
    if settings.max_steps < 0:
        return None
    length = config.clm.block_size if task == "clm" else config.sft.max_length
    return float(settings.max_steps * settings.batch_size * settings.accumulation * length * count)


def _measurements(config: Config, size: Size, base: str, identity: str) -> Iterator[Work]:
    respond, blimp, lens = config.respond, config.blimp, config.lens
    models = _of_base(study_models(config), base)
    answers = size.prompts * (respond.samples + respond.greedy) + respond.empty_prompts
    yield Work(
        "evaluate", "answers", answers * models, f"answers of {models} models", identity, base, respond.device,
        respond.dtype, config.flat("respond", "batch_size", "sampling"),
    )  # fmt: skip
    yield Work(
        "evaluate", "pairs", size.pairs * models, f"pairs with {models} models", identity, base, blimp.device,
        blimp.dtype, {"blimp.token_budget": blimp.token_budget},
    )  # fmt: skip
    texts = len(load_sentences(lens.sentences)) + len(load_openings(lens.prompts))
    models = _of_base(lens_models(config), base)
    if models:
        yield Work(
            "lens", "lens", texts * models, f"texts through {models} models", identity, base, "auto", "fp32",
            {"lens.top_k": lens.top_k},
        )  # fmt: skip


def _of_base(models: Sequence[StudyModel], base: str) -> int:
    return sum(model.base == base for model in models)


# --- the plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Priced:
    """Work with its rate, or with the reason why it has none."""

    work: Work
    rate: Rate | None
    reason: str = ""

    @property
    def hours(self) -> float | None:
        if self.rate is None:
            return None
        units = self.work.items * self.rate.per_item
        return min(units, self.work.most_units or units) / self.rate.per_second / 3600

    @property
    def gigabytes(self) -> float | None:
        """What stays on the disk; None where nothing is counted or nothing was measured."""
        if self.rate is None or self.rate.bytes_each is None or not self.work.left:
            return None
        return self.work.left * self.rate.bytes_each / 1e9


def price(work: Work, rates: Rates | None) -> Priced:
    """Work with the one rate that was measured for it. A trained model goes at its base's rate: it has its shape."""
    if rates is None:
        return Priced(work, None, "no rates")
    device = rates.device if work.device == "auto" else work.device
    dtype = rates.dtype if work.dtype == "auto" and device == rates.device else work.dtype
    wanted = {"model": work.model, "device": device, "dtype": dtype}
    of_kind = [rate for rate in rates.rates if rate.work == work.kind]
    for rate in of_kind:
        if not _differences(rate, wanted, work.settings):
            return Priced(work, rate)
    nearest = min((_differences(rate, wanted, work.settings) for rate in of_kind), key=len, default=[])
    return Priced(work, None, "; ".join(nearest) or "no such rate")


def _differences(rate: Rate, wanted: dict[str, str], settings: dict[str, Any]) -> list[str]:
    """In what a rate differs from what is wanted, each as ``measured with …, wanted …``."""
    measured = {name: getattr(rate, name) for name in wanted} | rate.settings
    return [
        f"{name} {value} was measured, {(wanted | settings).get(name)} is wanted"
        for name, value in measured.items()
        if (wanted | settings).get(name) != value
    ]


def plan(config: Config, rates: Rates | None) -> Iterator[str]:
    """The plan in lines for people: a table for each size, what is known in sum, and what is not known."""
    yield f"Rates of: {rates.machine}" if rates else "No rates were measured on this machine."
    for size in sizes(config):
        yield from _size_lines(size, [price(work, rates) for work in works(config, size)])
    yield ""
    yield f"Not in this plan: {LEFT_OUT}."


def _size_lines(size: Size, priced: list[Priced]) -> Iterator[str]:
    yield ""
    yield size.title
    table = [("stage", "what", "model", "how many", "rate", "hours", "GB"), *map(_cells, priced)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        texts = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        yield "  ".join([*texts, *numbers]).rstrip()
    hours = [p.hours for p in priced if p.hours is not None]
    gigabytes = [p.gigabytes for p in priced if p.gigabytes is not None]
    unknown = [p for p in priced if p.rate is None]
    yield (
        f"Known: {_number(sum(hours))} hours for {len(hours)} of {len(priced)} kinds of work, "
        f"{_number(sum(gigabytes))} GB for {len(gigabytes)} of {sum(p.work.left > 0 for p in priced)}"
    )
    meanwhile = [p.rate.bytes_meanwhile for p in priced if p.rate and p.rate.bytes_meanwhile]
    if meanwhile:
        yield f"While a model trains: up to {_number(max(meanwhile) / 1e9)} GB more for its checkpoints"
    for p in unknown:
        yield f"not measured: {p.work.stage}, {p.work.kind}{f', {p.work.name}' if p.work.name else ''}: {p.reason}"
    if unknown:
        yield "To measure: `emogap plan --calibrate` with this profile, on the machine that is to work; or --rates FILE"


def _cells(priced: Priced) -> tuple[str, ...]:
    work, rate = priced.work, priced.rate
    shown = "not measured" if rate is None else f"{_number(rate.per_second)} {UNITS[work.kind]}/s"
    gigabytes = "" if not work.left else "not measured" if priced.gigabytes is None else _number(priced.gigabytes)
    return (
        work.stage, work.kind, work.name, f"{work.items:,.0f} {work.item}", shown,
        "not measured" if priced.hours is None else _number(priced.hours), gigabytes,
    )  # fmt: skip


def _number(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
