"""Checkpoints of a training under way: the best and the last one, bound to its recipe and removed when it is done; and
those that are kept for good, as models, after given numbers of words seen ("checkpoints by words")."""

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
"""The facts about a checkpoint by words, a file in its folder: name, asked (the number of words after which it was
wanted), words (how many had been seen), step, validation_loss."""


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
    """The newest checkpoint that was written completely, None if there is none; incomplete ones are removed."""
    for torn in [folder for folder in checkpoints.glob("checkpoint-*") if read_state(folder) is None]:
        shutil.rmtree(torn)
    return max(checkpoints.glob("checkpoint-*"), key=step_of, default=None)


def last_state(model: Path, recipe_sha256: str) -> dict[str, Any] | None:
    """The trainer's state in the newest complete checkpoint of the model at that path; None if it has none under this
    recipe. Nothing is removed: the training may be under way."""
    bound = folder(model)
    if not (bound / _RECIPE).exists() or (bound / _RECIPE).read_text(encoding="utf-8") != recipe_sha256:
        return None
    states = (read_state(checkpoint) for checkpoint in sorted(bound.glob("checkpoint-*"), key=step_of, reverse=True))
    return next(filter(None, states), None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint; None if the checkpoint is incomplete."""
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # written last
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def marked(words: int) -> str:
    """The name of the checkpoint after so many words, in the form of the BabyLM challenge: ``chck_10M``."""
    for size, letter in ((1_000_000, "M"), (1_000, "K")):
        if words % size == 0:
            return f"{_MARKED}{words // size}{letter}"
    return f"{_MARKED}{words}"


def kept(folder: Path) -> list[dict[str, Any]]:
    """The facts (``FACTS``) about each checkpoint by words in a folder, fewest words first."""
    found = [json.loads((one / FACTS).read_text(encoding="utf-8")) for one in folder.glob(f"{_MARKED}*")]
    return sorted(found, key=lambda facts: facts["asked"])


def keep_with(model: Path, checkpoints: Path) -> None:
    """Link the checkpoints by words into their model's folder; the originals stay until the model is published."""
    for one in checkpoints.glob(f"{_MARKED}*"):
        shutil.copytree(one, model / one.name, copy_function=link_file)


def check_disk(place: Path, name: str, parameters: int, trainable: int, marks: int = 0) -> None:
    """Raise ``DiskError`` if a training would fill the disk that ``place`` lies on.

    It needs room for two checkpoints, a third while that is written, the finished model, and ``marks`` checkpoints by
    words, each a whole model. A checkpoint holds the trained weights and two moments of them (AdamW), all in fp32.
    """
    needed, free = 3 * 12 * trainable + 4 * parameters * (1 + marks), shutil.disk_usage(place).free
    if free < needed:
        raise DiskError(
            f"training {name} needs {needed / 1e9:.1f} GB under {place.parent} and {free / 1e9:.1f} GB are free; "
            "free some, use --home DIR on a larger disk, or train adapters (lora.rank)"
        )
