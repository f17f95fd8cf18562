"""Checkpoints of a training that is under way: bound to its recipe, the best and the last one, gone when it is done;
and those that are kept for good, as models, after so many words seen."""

import json
import shutil
from pathlib import Path
from typing import Any

from emogap.errors import DiskError
from emogap.store.artefacts import write_text
from emogap.store.pieces import link_file

_RECIPE = "recipe.sha256"
_MARKED = "chck_"
FACTS = "checkpoint.json"
"""What a checkpoint that is kept says of itself: name, asked (after how many words it was to be), words (how many there
were), step, validation_loss."""


def folder(model: Path) -> Path:
    """Where the checkpoints of the model at that path lie."""
    return model.with_name(f".{model.name}.checkpoints")


def bind(model: Path, recipe_sha256: str) -> None:
    """Empty the folder of a model's checkpoints if they belong to other settings or inputs; mark it with the recipe."""
    bound = folder(model)
    mark = bound / _RECIPE
    if bound.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == recipe_sha256):
        print(f"{model.name}: the checkpoints of an unfinished training with other settings or inputs are removed")
        shutil.rmtree(bound)
    write_text(mark, recipe_sha256)


def last_complete(checkpoints: Path) -> Path | None:
    """The newest checkpoint that was written to its end; torn ones are removed."""
    for torn in [folder for folder in checkpoints.glob("checkpoint-*") if read_state(folder) is None]:
        shutil.rmtree(torn)
    return max(checkpoints.glob("checkpoint-*"), key=step_of, default=None)


def last_state(model: Path, recipe_sha256: str) -> dict[str, Any] | None:
    """The trainer's state in the newest whole checkpoint of the model at that path; None where there is none of it
    under this recipe. Nothing is removed: the training may be under way."""
    bound = folder(model)
    if not (bound / _RECIPE).exists() or (bound / _RECIPE).read_text(encoding="utf-8") != recipe_sha256:
        return None
    states = (read_state(checkpoint) for checkpoint in sorted(bound.glob("checkpoint-*"), key=step_of, reverse=True))
    return next(filter(None, states), None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint; None where it was not written to its end."""
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # written last
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def marked(words: int) -> str:
    """What the checkpoint after so many words is called, as the BabyLM challenge calls them: ``chck_10M``."""
    for size, letter in ((1_000_000, "M"), (1_000, "K")):
        if words % size == 0:
            return f"{_MARKED}{words // size}{letter}"
    return f"{_MARKED}{words}"


def kept(folder: Path) -> list[dict[str, Any]]:
    """What the checkpoints by words in a folder say of themselves, fewest words first."""
    found = [json.loads((one / FACTS).read_text(encoding="utf-8")) for one in folder.glob(f"{_MARKED}*")]
    return sorted(found, key=lambda facts: facts["asked"])


def keep_with(model: Path, checkpoints: Path) -> None:
    """Put the checkpoints by words into the folder of their model; where they were they stay, until it is published."""
    for one in checkpoints.glob(f"{_MARKED}*"):
        shutil.copytree(one, model / one.name, copy_function=link_file)


def check_disk(place: Path, name: str, parameters: int, trainable: int, marks: int = 0) -> None:
    """Raise ``DiskError`` if a training would fill the disk that ``place`` lies on.

    It fills at most two checkpoints, a third while it is written, the finished model, and ``marks`` whole models after
    so many words. A checkpoint holds what is trained and two moments of it (AdamW), all in fp32.
    """
    needed, free = 3 * 12 * trainable + 4 * parameters * (1 + marks), shutil.disk_usage(place).free
    if free < needed:
        raise DiskError(
            f"training {name} needs {needed / 1e9:.1f} GB under {place.parent} and {free / 1e9:.1f} GB are free; "
            "free some, use --home DIR on a larger disk, or train adapters (lora.rank)"
        )
