"""The course of trainings, from the records in the model folders: tables, figures, curves while they train, pace."""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emogap.config import Config, Task
from emogap.store.exhibits import Exhibit, Shown
from emogap.train.model_folder import TASKS, read_record
from emogap.train.strategies import nothing_to_train, trainable

_SUMMARY = (
    "model", "parent", "data", "rows", "steps", "best step", "perplexity before", "perplexity after", "seconds",
    "tokens/s",
)  # fmt: skip
_HISTORY = (
    "model", "step", "epoch", "loss", "learning_rate", "grad_norm", "validation_loss", "validation_perplexity",
)  # fmt: skip

_PANELS = "Four panels over steps: training and validation loss, validation perplexity, learning rate, gradient norm."
"""What is on the figure of curves."""


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
    table = steps.merge(evaluations, on="step", how="outer").sort_values("step", ignore_index=True)
    return table.assign(model=model, validation_perplexity=np.exp(table["validation_loss"]))[list(_HISTORY)]


def recorded_history(record: dict[str, Any]) -> pd.DataFrame:
    """The same from what ``training.json`` holds."""
    return history_table(record["model"], record["history"], record["loss_before"])


def summary_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a model: what it started from, how long it was trained, and validation perplexity before and after."""
    rows = [
        {
            "model": record["model"],
            "parent": record["parent"]["name"],
            "data": record["data"]["name"],
            "rows": record["data"]["train_rows"],
            "steps": record["steps"],
            "best step": record["best_step"],
            "perplexity before": round(record["perplexity_before"], 2),
            "perplexity after": round(record["perplexity_after"], 2),
            "seconds": round(record["seconds"]),
            "tokens/s": round(record["tokens_per_second"]),
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=_SUMMARY)


def training_exhibits(config: Config, task: Task) -> Iterator[Shown]:
    """Curves and a table of all finished models of that kind; where there is none, the reason in their place."""
    from emogap.show.style import nothing_figure, use_style
    from emogap.show.training_figures import curves

    use_style()
    records = [read_record(config.home.model(run.name)) for run in trainable(config, task)]
    order, kind = 50 if task == "clm" else 55, TASKS[task]
    if records:
        before_after = ", ".join(
            f"{r['model']} {r['perplexity_before']:.1f} → {r['perplexity_after']:.1f}" for r in records
        )
        caption = f"Validation perplexity before and after {kind}: {before_after}."
        of_history = f"Loss and validation loss at every evaluation of {kind}; step 0 is the parent."
        of_curves = f"{caption[:-1]}; curves over steps."
        alt = (
            "Four panels over steps: training and validation loss, validation perplexity, learning rate, gradient norm."
        )
        histories = pd.concat([recorded_history(record) for record in records])
        figure = curves(histories, list(config.bases))
    else:
        why = "; ".join(nothing_to_train(config, task)) or f"no strategy of the settings is of the kind {kind}"
        caption = of_history = of_curves = alt = f"No model was trained by {kind}: {why}."
        histories, figure = pd.DataFrame(columns=_HISTORY), nothing_figure(caption)
    yield Exhibit(f"training_{task}", "table", caption, order), summary_table(records)
    yield Exhibit(f"history_{task}", "table", of_history, order + 2), histories.dropna(subset=["validation_loss"])
    yield Exhibit(f"curves_{task}", "figure", of_curves, order + 1, alt=alt), figure


class LiveCurves:
    """Curves in a notebook while models train, drawn anew at every evaluation: to be given to a stage as ``watch``."""

    def __init__(self, config: Config):
        self._bases = list(config.bases)
        self._histories: dict[str, pd.DataFrame] = {}
        self._handle: Any = None

    def __call__(self, model: str, history: list[dict[str, float]]) -> None:
        from IPython.display import display
        from matplotlib import pyplot as plt

        from emogap.show.style import use_style
        from emogap.show.training_figures import curves

        use_style()
        self._histories[model] = history_table(model, history)
        figure = curves(pd.concat(self._histories.values()), self._bases)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)


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
