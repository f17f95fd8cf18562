"""The course of a training as a table."""

from itertools import pairwise
from math import ceil
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


def history_table(model: str, history: list[dict[str, float]], loss_before: float | None = None) -> pd.DataFrame:
    """One row a step: ``model, step, epoch, loss, learning_rate, grad_norm, validation_loss, validation_perplexity``.

    ``history``: Trainer's entries. ``loss_before``: the parent's validation loss, which becomes step 0. What was not
    measured at a step is missing.
    """
    steps = pd.DataFrame([entry for entry in history if "loss" in entry])
    measured = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    if loss_before is not None:
        measured.insert(0, (0, loss_before))
    evaluations = pd.DataFrame(measured, columns=["step", "validation_loss"])
    table = steps[["step", "epoch", "loss", "learning_rate", "grad_norm"]]
    table = table.merge(evaluations, on="step", how="outer").sort_values("step", ignore_index=True)
    table["validation_perplexity"] = np.exp(table["validation_loss"])
    table.insert(0, "model", model)
    return table


def recorded_history(record: dict[str, Any]) -> pd.DataFrame:
    """The same from what ``training.json`` holds."""
    return history_table(record["model"], record["history"], record["loss_before"])


class Pace(NamedTuple):
    """How fast a training went: seconds a step, an evaluation, and what is saved after it; how many steps say so."""

    step: float
    evaluation: float
    saving: float
    timed: int

    def seconds(self, steps: int, eval_steps: int, held_out: float) -> float:
        """What so many steps take, an evaluation before them, after every ``eval_steps`` and at the end, each of which
        reads ``held_out`` times as much as here."""
        evaluations = ceil(steps / eval_steps)
        return steps * self.step + (1 + evaluations) * held_out * self.evaluation + evaluations * self.saving


def pace(history: list[dict[str, float]]) -> Pace:
    """The pace of a history, its first step, which warms up, left out; ``timed`` is 0 without an evaluation.

    ``history``: Trainer's entries, in which an evaluation follows its step and is followed by a checkpoint.
    """
    entries = [entry for entry in history if "loss" in entry or "eval_loss" in entry]
    took: dict[tuple[bool, bool], list[float]] = {}
    for before, entry in pairwise(entries):
        took.setdefault(("eval_loss" in before, "eval_loss" in entry), []).append(entry["seconds"] - before["seconds"])
    steps, evaluations, saved = (took.get(kind, []) for kind in ((False, False), (False, True), (True, False)))
    if not steps or not evaluations:
        return Pace(0.0, 0.0, 0.0, 0)
    step = fmean(steps)
    return Pace(step, fmean(evaluations), max(0.0, fmean(saved) - step) if saved else 0.0, len(steps))
