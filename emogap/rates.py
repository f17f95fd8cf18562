"""Measured rates: how fast one kind of work goes on one machine, and the file that keeps what was measured here.

A rate holds for one kind of work with one model, on one device, in one number format, under the settings it names.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from emogap.artefacts import write_json
from emogap.config import Section
from emogap.device import machine
from emogap.errors import InputError, UsageError
from emogap.paths import cache_dir
from emogap.text.reading import given_file, kind_of, read_json, read_text

Kind = Literal["clean", "classify", "stories", "rewrites", "clm", "sft", "answers", "pairs", "lens"]
UNITS: dict[Kind, str] = {
    "clean": "words", "classify": "words", "stories": "tokens", "rewrites": "tokens", "clm": "tokens", "sft": "tokens",
    "answers": "answers", "pairs": "pairs", "lens": "texts",
}  # fmt: skip
"""What a rate of each kind counts a second; a training's tokens are those that are computed, padding included."""


class Rate(Section):
    """How fast one kind of work goes, and what makes it that and no other."""

    model_config = ConfigDict(allow_inf_nan=False)

    work: Kind
    model: str = ""
    """As manifests name it: ``<name>@<revision>`` or ``<name>@sha256:<hash>``; cleaning has none."""
    device: str
    dtype: Literal["", "bf16", "fp16", "fp32"] = ""
    """Empty where the work has none: cleaning, or a server that computes as it likes."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """``section.key`` → value. Work with another value for one of these has another rate."""
    per_second: float = Field(gt=0)
    """Units (``UNITS``) a second."""
    per_item: float = Field(1.0, gt=0)
    """Units that an item takes: tokens a story, a rewrite, a record, or a word of the corpus."""
    validation_per_second: float | None = Field(None, gt=0)
    """Of a training: tokens of held-out text that an evaluation reads a second."""
    note: str = ""
    """In which way it was measured on something else than the work will be done on."""
    bytes_each: float | None = Field(None, gt=0)
    """Bytes on disk of each thing that is left: of a classified word, a story, a rewrite, a model."""
    bytes_meanwhile: float | None = Field(None, gt=0)
    """Bytes that must be free beside it while it is made: a training's checkpoints."""

    @model_validator(mode="after")
    def _trainings_evaluate(self) -> "Rate":
        if self.work in ("clm", "sft") and self.validation_per_second is None:
            raise ValueError(f"a rate of {self.work} needs validation_per_second, the tokens that an evaluation reads")
        return self

    def key(self) -> tuple[str, ...]:
        return self.work, self.model, self.device, self.dtype, json.dumps(self.settings, sort_keys=True)


class Rates(Section):
    """Rates of one machine."""

    machine: str
    device: str
    """What ``auto`` means there."""
    dtype: Literal["bf16", "fp16", "fp32"]
    """What ``auto`` means on that device."""
    rates: list[Rate] = Field(default_factory=list)

    def with_new(self, rate: Rate) -> "Rates":
        """These rates and a new one, which replaces an older one of the same work."""
        by_key = {known.key(): known for known in (*self.rates, rate)}
        return self.model_copy(update={"rates": list(by_key.values())})


def rates_file() -> Path:
    """Where the rates of this machine lie: in the user's cache, since they belong to no run."""
    return cache_dir() / "rates.json"


def load_rates(path: Path) -> Rates:
    """Read a JSON or TOML file of rates. Raises ``MissingInput`` or ``InputError`` naming the file and the key."""
    given_file(path, "rates", "give a JSON or TOML file, or measure with `emogap plan --calibrate`")
    try:
        is_toml = path.suffix == ".toml" and kind_of(path) != "JSON"
        return Rates.model_validate(tomllib.loads(read_text(path)) if is_toml else read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        message = problem["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        raise InputError(f"{path}: {where}: {message}; docs/plan.md shows the form") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML ({error}); docs/plan.md shows the form") from error


def this_machine() -> Rates:
    """This machine with no rate yet: processor, cores, system, all GPUs, and what ``auto`` means."""
    import torch

    from emogap.device import pick_device, pick_dtype

    if torch.cuda.is_available():
        torch.cuda.init()
    device = pick_device()
    return Rates(machine=machine(), device=device, dtype=dtype_name(pick_dtype(device)))


def dtype_name(dtype: Any) -> str:
    """A torch dtype as settings call it."""
    return {"torch.bfloat16": "bf16", "torch.float16": "fp16", "torch.float32": "fp32"}[str(dtype)]


def own_rates() -> Rates:
    """What was measured on this machine so far. Raises ``UsageError`` if the file holds another machine's rates."""
    here = this_machine()
    if not rates_file().exists():
        return here
    rates = load_rates(rates_file())
    if rates.machine != here.machine:
        raise UsageError(
            f"{rates_file()} holds rates of another machine ({rates.machine}; this is {here.machine}); plan for that "
            f"one with --rates {rates_file()}, or remove the file and measure here with --calibrate"
        )
    return rates


def keep(rate: Rate) -> None:
    """Put a rate that was measured here beside those that were measured before."""
    write_json(rates_file(), own_rates().with_new(rate).model_dump(mode="json"))
