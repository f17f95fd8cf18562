"""The folder of a finished model: its weights, its tokenizer, and the record of its training."""

import json
import os
import shutil
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap.config import Lora
from emogap.errors import DiskError, ModelError, one_line
from emogap.lm.adapters import LowRank, low_rank
from emogap.lm.hub import settings_in, with_bases
from emogap.lm.loading import load_tokenizer
from emogap.store.artefacts import package_versions, write_json, write_text
from emogap.train.checkpoints import FACTS
from emogap.train.strategies import UNTRAINED

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECORD = "training.json"
HISTORY = (
    "model", "step", "epoch", "loss", "learning_rate", "grad_norm", "validation_loss", "validation_perplexity",
)  # fmt: skip
"""Columns of the history of a training."""
TASKS = {"clm": "causal language modelling", "sft": "supervised fine-tuning"}


_END = "<|endoftext|>"


def write_untrained(folder: Path, size: dict[str, Any], texts: Iterable[str], vocabulary: int, seed: int) -> int:
    """Write a model of random weights (GPT-2's own initialisation, by the seed) with a byte-level BPE tokenizer that is
    trained on these texts alone. Returns the number of parameters.

    ``size``: a row of ``config.SIZES``; ``vocabulary``: the largest number of tokens; BPE may find fewer in the texts.
    """
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoConfig, AutoModelForCausalLM, GPT2TokenizerFast, set_seed

    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator(texts, vocab_size=vocabulary, min_frequency=2, special_tokens=[_END], show_progress=False)
    ends = {"bos_token": _END, "eos_token": _END, "unk_token": None}
    tokenizer = GPT2TokenizerFast(tokenizer_object=pairs._tokenizer, model_max_length=size["n_positions"], **ends)
    ids = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**size, vocab_size=len(tokenizer), **ids))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.num_parameters()


def write_checkpoint(
    folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", lora: Lora, facts: dict[str, Any]
) -> None:
    """Write the whole model while it is being trained, adapters merged, in place of an older one; the folder gets its
    name when it is complete."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    whole = deepcopy(model).merge_and_unload() if lora.rank else model
    whole.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    write_json(temporary / FACTS, facts)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def with_adapters(model: "PreTrainedModel", lora: Lora) -> "PreTrainedModel":
    """The model with trainable adapters on all linear layers but the output, all else frozen; unchanged for rank 0.

    The adapters' weights are initialised from torch's global random state.
    """
    if lora.rank == 0:
        return model
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
            # GPT-2 keeps the weights of its linear layers transposed.
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        ),
    )


def write_model(
    folder: Path, model: "PreTrainedModel", parent: Path, lora: Lora, below: LowRank | None, record: dict[str, Any]
) -> None:
    """Write weights (safetensors), the parent's tokenizer, the record and history of the training, a model card.

    ``below``: the change that the parent's adapters make, if the parent is an adapter and this model is kept as one.
    """
    if lora.keeps_adapter:
        _write_adapter(folder, model, parent, below)
    else:
        whole = model.merge_and_unload() if lora.rank else model
        whole.save_pretrained(folder)
    load_tokenizer(parent).save_pretrained(folder)
    write_json(folder / RECORD, record | {"packages": package_versions()})
    recorded_history(record).to_csv(folder / "history.csv", index=False)
    write_text(folder / "README.md", model_card(record, lora.keeps_adapter))


def _write_adapter(folder: Path, model: "PreTrainedModel", parent: Path, below: LowRank | None) -> None:
    """Write the adapter alone; if the parent has adapters of its own, one that holds them all, on their base model."""
    if below is None:
        model.save_pretrained(folder)
        return
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"]
    trained = low_rank(get_peft_model_state_dict(model, save_embedding_layers=False), config, str(folder))
    below.under(trained, str(parent)).write(folder, with_bases(parent)[0], config.lora_dropout, config.fan_in_fan_out)


def rehearse_writing(folder: Path, model: "PreTrainedModel", parent: Path, lora: Lora, below: LowRank | None) -> None:
    """Write everything but a whole model's weights into a temporary folder, so that what cannot be saved is found
    before the first step.

    Raises ``ModelError``, or ``DiskError`` if the disk is at fault.
    """
    try:
        with TemporaryDirectory(dir=folder, prefix=".rehearsal-") as place:
            if lora.keeps_adapter:
                _write_adapter(Path(place), model, parent, below)
            inner = model.get_base_model() if lora.rank else model
            for module, _ in below.pairs if below else ():
                inner.get_submodule(module)
            inner.config.save_pretrained(place)
            if inner.generation_config is not None:
                inner.generation_config.save_pretrained(place)
            load_tokenizer(parent).save_pretrained(place)
    except (ModelError, DiskError):
        raise
    except OSError as error:
        raise DiskError(f"{folder} cannot be written ({error.strerror or one_line(error)}); use --home DIR") from error
    except Exception as error:  # whatever a library cannot write
        raise ModelError(
            f"a model trained from {parent} could not be saved ({one_line(error)}); mend its configuration or tokenizer"
        ) from error


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the training that made the model in ``folder``; None for a model that was not trained here.

    A file of that name that other software wrote is no such record.
    """
    record = settings_in(folder / RECORD)
    return record if record.get("task") in TASKS and "perplexity_after" in record else None


def inherited(record: dict[str, Any]) -> str:
    """One line on what a parent was trained on."""
    data = record["data"]
    return (
        f"{record['model']}: {TASKS[record['task']]} on {data['name']} ({data['train_rows']:,} rows, sha256 "
        f"{data['sha256'][:12]}) from {record['parent']['name']}, {record['steps']:,} steps, seed {record['seed']}, "
        f"validation perplexity {record['perplexity_before']:.2f} → {record['perplexity_after']:.2f}"
    )


def model_card(record: dict[str, Any], is_adapter: bool = False) -> str:
    """A model card: front matter that a hub understands, how the model was made, how good it got, how to ask it."""
    data, parent = record["data"], record["parent"]
    settings = "\n".join(f"| {key} | {json.dumps(value)} |" for key, value in record["settings"].items())
    asked = "" if record["task"] == "clm" else f"\nIt is asked in this form:\n\n```\n{record['form']}\n```\n"
    base = f"base_model: {parent['identity'].split('@')[0]}\n" if not parent["name"].endswith(UNTRAINED) else ""
    before = f"\n`{parent['name']}` had been trained before: {parent['inherited']}.\n" if parent["inherited"] else ""
    return f"""---
{base}language: en
library_name: {"peft" if is_adapter else "transformers"}
pipeline_tag: text-generation
tags: [emotion, emogap]
---
# {record["model"]}

{TASKS[record["task"]].capitalize()} of `{parent["name"]}` on `{data["name"]}`: {data["train_rows"]:,} rows to train on,
{data["validation_rows"]:,} held out, sha256 of the data `{data["sha256"]}`.
{before}
| | before | after |
|---|---|---|
| validation perplexity | {record["perplexity_before"]:.2f} | {record["perplexity_after"]:.2f} |

{record["steps"]:,} steps with seed {record["seed"]} took {record["seconds"]:.0f} s ({record["tokens_per_second"]:.0f}
tokens/s, {record["dtype"]} on {record["device"]}, processes: {record["processes"]}). The weights are those of step
{record["best_step"]:,}, where the validation loss was lowest.
{asked}
| setting | value |
|---|---|
{settings}
"""


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
    return table.assign(model=model, validation_perplexity=np.exp(table["validation_loss"]))[list(HISTORY)]


def recorded_history(record: dict[str, Any]) -> pd.DataFrame:
    """The ``history_table`` of a training's record, as ``training.json`` holds it."""
    return history_table(record["model"], record["history"], record["loss_before"])
