"""What can be known before the first step: settings, device, rows."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emogap.config import Training
from emogap.device import pick_device
from emogap.errors import InputError, ModelError, UsageError
from emogap.lm.loading import context_length
from emogap.train.rows import IGNORED, bounds

if TYPE_CHECKING:
    import numpy as np

    from emogap.train.trainer import Plan, StudyTrainer

LENGTH = {"clm": "block_size", "sft": "max_length"}
"""Which setting of a task says how long its rows are."""


def is_main() -> bool:
    """Whether this process is the first, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """How many processes share this training: what a launcher says in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_settings(task: str, settings: Training, processes: int) -> None:
    """Raises ``UsageError`` for numbers with which no training could run, whatever the model and the data.

    Imports nothing, so that processes may be started afterwards.
    """
    if settings.max_steps == 0:
        raise UsageError(f"{task}.max_steps=0 is no training; give a number, or -1 to let {task}.epochs decide")
    shared_batches(task, settings, processes)


def check_tracker(task: str, tracker: str) -> None:
    """Raises ``UsageError`` for a tracker that is unknown or not installed."""
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    if tracker in ("none", "all"):
        return
    if tracker not in INTEGRATION_TO_CALLBACK:
        raise UsageError(
            f"{task}.report_to={tracker} is unknown; choose among none, {', '.join(INTEGRATION_TO_CALLBACK)}"
        )
    if tracker not in get_available_reporting_integrations():
        raise UsageError(
            f"{task}.report_to={tracker} needs its package, which is not installed; install it or use none"
        )


def shared_batches(task: str, settings: Training, processes: int) -> tuple[int, int]:
    """Rows a batch and batches a step for each process, so that a step has as many rows as with one process.

    Raises ``UsageError`` if the rows of a step cannot be shared evenly.
    """
    batch_size, accumulation = settings.batch_size, settings.accumulation
    if accumulation % processes == 0:
        return batch_size, accumulation // processes
    if batch_size % processes == 0:
        return batch_size // processes, accumulation
    raise UsageError(
        f"{processes} processes cannot share {task}.accumulation={accumulation} batches of "
        f"{task}.batch_size={batch_size}; make one of the two a multiple of {processes}"
    )


def training_device(task: str, settings: Training) -> str:
    """The device that the settings name. Raises ``UsageError`` if it is not there or not enough for all processes."""
    import torch

    device = pick_device(settings.device)
    if device == "cpu":
        return device
    if torch.device(device).index is not None and "LOCAL_RANK" in os.environ:
        raise UsageError(
            f"{task}.device={device} is one device, and a launcher gives each process its own; use --set "
            f"{task}.device={torch.device(device).type}, or start one process without a launcher"
        )
    here, count = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.accelerator.device_count()
    if here > count:
        raise UsageError(f"{here} processes need a GPU each and this machine has {count}; start {count} of them")
    return device


def check_rows(plan: "Plan", trainer: "StudyTrainer") -> list[int]:
    """Look at all rows and return the tokens of the longest text.

    Raises ``UsageError`` if the model cannot read as many tokens at once, ``ModelError`` for a token that it does not
    know, ``InputError`` for rows in which there is nothing to predict.
    """
    import numpy as np

    setting = f"{plan.task}.{LENGTH[plan.task]}"
    longest, largest = [], getattr(trainer.data_collator, "pad_token_id", 0)
    for split, rows in (("training", trainer.train_dataset), ("validation", trainer.eval_dataset)):
        empty = 0
        for row in rows:
            longest, largest = max(longest, *_texts(row), key=len), max(largest, int(np.max(row["input_ids"])))
            empty += bool(np.all(np.asarray(row["labels"])[1:] == IGNORED))
        if empty:
            raise InputError(
                f"{plan.name}: {empty} of {len(rows)} {split} rows have no token to predict; raise {setting}, or take "
                "texts of a single token out"
            )
    limit = context_length(plan.model.config)
    if limit is not None and 0 < limit < len(longest):
        raise UsageError(
            f"{plan.name}: {setting}={getattr(plan.settings, LENGTH[plan.task])} makes texts of {len(longest):,} tokens"
            f" and the model reads {limit:,} at once; use --set {setting}={limit}"
        )
    known = plan.model.get_input_embeddings().weight.shape[0]
    if largest >= known:
        raise ModelError(
            f"{plan.name}: the rows have the token {largest} and the model has {known:,} rows for tokens; save the "
            "model after resize_token_embeddings, or its own tokenizer beside it"
        )
    return list(map(int, longest))


def _texts(row: Mapping[str, Any]) -> "list[np.ndarray]":
    """The tokens of each document in a row."""
    import numpy as np

    ids = np.asarray(row["input_ids"])
    if "position_ids" in row:
        return [ids[begin:end] for begin, end in bounds(row["position_ids"])]
    return np.split(ids, np.cumsum(row.get("seq_lengths", [len(ids)]))[:-1])
