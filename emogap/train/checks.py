"""What can be checked before the first step: settings, device, rows."""

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from emogap.config import Training
from emogap.device import pick_device
from emogap.errors import InputError, ModelError, UsageError, one_line
from emogap.home_settings import toml
from emogap.lm.attention_reach import context_length
from emogap.train.rows import IGNORED, bounds

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

LENGTH = {"clm": "block_size", "sft": "max_length"}
"""Which setting of a task says how long its rows are."""


SETTING_OF = {
    "learning_rate": "learning_rate", "lr_scheduler_type": "scheduler", "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay", "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "batch_size", "gradient_accumulation_steps": "accumulation",
    "num_train_epochs": "epochs", "max_steps": "max_steps", "eval_steps": "eval_steps", "save_steps": "eval_steps",
    "seed": "seeds", "data_seed": "seeds", "report_to": "report_to", "use_cpu": "device", "bf16": "precision",
    "fp16": "precision", "max_length": "max_length", "packing": "packing",
}  # fmt: skip
"""Argument of the library → the setting that it comes from."""
_INSTEAD = SETTING_OF | {
    "auto_find_batch_size": "batch_size", "bf16_full_eval": "precision", "fp16_full_eval": "precision",
    "packing_strategy": "packing", "padding_free": "packing", "truncation_mode": "max_length",
    "completion_only_loss": "loss_on", "assistant_only_loss": "loss_on", "chat_template_path": "template",
    "dataset_text_field": "template", "eos_token": "template", "average_tokens_across_devices": "processes",
    "eval_strategy": "eval_steps", "save_strategy": "eval_steps", "parallelism_config": "processes",
    "fsdp": "processes", "fsdp_config": "processes", "deepspeed": "processes", "local_rank": "processes",
}  # fmt: skip
"""Arguments that the study sets, or that would change what a setting means → that setting."""
_OWN = {
    "output_dir", "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "run_name", "disable_tqdm",
    "restore_callback_states_from_checkpoint", "resume_from_checkpoint", "ignore_data_skip", "enable_jit_checkpoint",
    "remove_unused_columns", "label_names", "label_smoothing_factor", "loss_type", "use_liger_kernel",
    "liger_kernel_config", "router_aux_loss_coef", "use_cache", "prediction_loss_only", "batch_eval_metrics",
    "include_for_metrics", "do_train", "do_eval", "do_predict", "push_to_hub", "dataset_kwargs", "shuffle_dataset",
    "model_init_kwargs", "trust_remote_code", "pad_token",
}  # fmt: skip
_OWN_KINDS = ("eval_", "save_", "hub_", "logging_")
"""Arguments, by name or prefix, that nobody may set: the study's loss, rows, evaluations and checkpoints are fixed."""


def is_main() -> bool:
    """Whether this process is the first, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """How many processes share this training, as a launcher says in the environment; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_settings(task: str, settings: Training, processes: int) -> None:
    """Raises ``UsageError`` for numbers with which no training could run, whatever the model and the data.

    Imports nothing, so that processes may be started afterwards.
    """
    if settings.max_steps == 0:
        raise UsageError(f"{task}.max_steps=0 is no training; give a number, or -1 to let {task}.epochs decide")
    shared_batches(task, settings, processes)


def check_callbacks(task: str, callbacks: Sequence[Any], processes: int) -> None:
    """Raises ``UsageError`` for what is no callback of Trainer's, and for callbacks with several processes."""
    if not callbacks:
        return
    from transformers import TrainerCallback

    named = ", ".join(map(callback_name, callbacks))
    if processes > 1:
        raise UsageError(f"callbacks ({named}) are for one process and {task} has {processes}; set {task}.processes=1")
    for one in callbacks:
        if not issubclass(one if isinstance(one, type) else type(one), TrainerCallback):
            raise UsageError(f"{task}: the callback {one!r} is no TrainerCallback of transformers; derive it from that")


def callback_name(callback: Any) -> str:
    return (callback if isinstance(callback, type) else type(callback)).__name__


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


def library_arguments(
    kind: "type[TrainingArguments]", chosen: dict[str, Any], task: str, further: dict[str, Any]
) -> "TrainingArguments":
    """An object of the library's class ``kind`` from the arguments that the study chose and ``further`` ones.

    Raises ``UsageError`` for a further one that the library does not know or rejects, or that only the study sets.
    """
    if not further:
        return kind(**chosen)
    types = get_type_hints(kind)
    for name, value in further.items():
        _check_argument(kind, types, task, name, value)
    try:
        arguments = kind(**chosen | further)
        _try_optimizer(arguments)
    except Exception as error:  # of any type: whatever the library raises for a value that it rejects
        given = ", ".join(f"{task}.trainer.{name}={toml(value)}" for name, value in further.items())
        raise UsageError(f"{given}: {kind.__name__} does not take it ({one_line(error)})") from error
    return arguments


def _check_argument(kind: type, types: dict[str, Any], task: str, name: str, value: Any) -> None:
    from pydantic import TypeAdapter, ValidationError

    said = f"{task}.trainer.{name}={toml(value)}"
    known = [field.name for field in dataclasses.fields(kind) if field.init]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean '{close[0]}'?" if close else f"; its documentation lists those of {kind.__name__}"
        raise UsageError(f"{said}: {kind.__name__} has no argument '{name}'{meant}")
    # The setting does not name all schedules of the library: here any may be chosen, with its own arguments.
    if name in _INSTEAD and name != "lr_scheduler_type":
        raise UsageError(f"{said}: this is the study's to set; use {task}.{_INSTEAD[name]}")
    if name in _OWN or name.startswith(_OWN_KINDS):
        which = "use --home DIR" if name == "output_dir" else f"take it out of {task}.trainer"
        raise UsageError(f"{said}: this is the study's to set, the same for every training; {which}")
    try:
        TypeAdapter(types[name]).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise UsageError(f"{said}: {message[0].lower()}{message[1:]}; see {kind.__name__}") from error


def _try_optimizer(arguments: "TrainingArguments") -> None:
    """Make an optimizer and a schedule for a single number, so that arguments which they reject are found now."""
    import torch
    from transformers import Trainer, get_scheduler

    make, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
    optimizer = make([torch.nn.Parameter(torch.zeros(1))], **options)
    further = arguments.lr_scheduler_kwargs
    get_scheduler(arguments.lr_scheduler_type, optimizer, arguments.get_warmup_steps(10), 10, further)


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


def check_rows(
    name: str, task: str, settings: Training, model: "PreTrainedModel", splits: Mapping[str, Any], pad_id: int
) -> list[int]:
    """Look at all rows (of each split) that a model is to be trained on and return the tokens of the longest text.

    Raises ``UsageError`` if the model cannot read as many tokens at once, ``ModelError`` for a token that it does not
    know, ``InputError`` for rows in which there is nothing to predict.
    """
    setting = f"{task}.{LENGTH[task]}"
    longest, largest = [], pad_id
    for split, rows in splits.items():
        empty = 0
        for row in rows:
            longest, largest = max(longest, *_texts(row), key=len), max(largest, int(np.max(row["input_ids"])))
            empty += bool(np.all(np.asarray(row["labels"])[1:] == IGNORED))
        if empty:
            raise InputError(
                f"{name}: {empty} of {len(rows)} {split} rows have no token to predict; raise {setting}, or take "
                "texts of a single token out"
            )
    limit = context_length(model.config)
    if limit is not None and 0 < limit < len(longest):
        raise UsageError(
            f"{name}: {setting}={getattr(settings, LENGTH[task])} makes texts of {len(longest):,} tokens"
            f" and the model reads {limit:,} at once; use --set {setting}={limit}"
        )
    known = model.get_input_embeddings().weight.shape[0]
    if largest >= known:
        raise ModelError(
            f"{name}: the rows have the token {largest} and the model has {known:,} rows for tokens; save the "
            "model after resize_token_embeddings, or its own tokenizer beside it"
        )
    return list(map(int, longest))


def _texts(row: Mapping[str, Any]) -> list[np.ndarray]:
    """The tokens of each document in a row."""
    ids = np.asarray(row["input_ids"])
    if "position_ids" in row:
        return [ids[begin:end] for begin, end in bounds(row["position_ids"])]
    return np.split(ids, np.cumsum(row.get("seq_lengths", [len(ids)]))[:-1])
