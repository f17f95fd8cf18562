"""The course of a training as a table."""

from typing import Any

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
