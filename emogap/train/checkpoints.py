"""Checkpoints of a training that is under way: bound to its recipe, the best and the last one, gone when it is done."""

import json
import shutil
from pathlib import Path
from typing import Any

from emogap.errors import DiskError
from emogap.store.artefacts import write_text

_RECIPE = "recipe.sha256"


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


def check_disk(place: Path, name: str, parameters: int, trainable: int) -> None:
    """Raise ``DiskError`` if a training would fill the disk that ``place`` lies on.

    It fills at most two checkpoints, a third while it is written, and the finished model. A checkpoint holds what is
    trained and two moments of it (AdamW), all in fp32.
    """
    needed, free = 3 * 12 * trainable + 4 * parameters, shutil.disk_usage(place).free
    if free < needed:
        raise DiskError(
            f"training {name} needs {needed / 1e9:.1f} GB under {place.parent} and {free / 1e9:.1f} GB are free; "
            "free some, use --home DIR on a larger disk, or train adapters (lora.rank)"
        )
