"""Supervised fine-tuning on the rewritten Alpaca records, in the form that the models are asked in later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from emogap.config import Config, Sft
from emogap.errors import InputError
from emogap.lm.answer_form import load_answer_form
from emogap.lm.corrections import training_rules
from emogap.records import KEPT, REWRITES, read_rows, row_seed
from emogap.store.artefacts import Recipe, fingerprint
from emogap.text.alpaca import FIELDS, load_records
from emogap.train.rows import encode, preflight
from emogap.train.stage import Prepared, model_pieces, train_stage
from emogap.train.strategies import Run, base_of, learns_originals, require_data

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

    from emogap.train.trainer import Plan, Setup, StudyTrainer

_SEED_RANGE = 2**63
_PACKING = "bfd"
"""TRL's packing strategy: best fit decreasing."""


sft_pieces = partial(model_pieces, "sft")
"""``sft_pieces(config)``: the models of this stage, then their tables and figures. See ``model_pieces``."""
sft = partial(train_stage, "sft")
"""``sft(config, watch, callbacks)``: train every model of this stage that is not fresh. See ``train_stage``."""


def own_recipe(config: Config, run: Run) -> Recipe:
    """What supervised fine-tuning adds to the recipe of its models."""
    settings, template = config.sft, load_answer_form(config.sft.template).template
    rules = training_rules(
        base_of(config, run.strategy),
        # In packed rows, the first token of an example never had a label.
        labels_first_token=settings.loss_on == "text" and not settings.packing,
        documents_share_rows=settings.packing,
    )
    inputs = {"rewrites": require_data(config, run.strategy)}
    which = {"answers": "original"} if learns_originals(run.strategy) else {}
    return Recipe("sft", inputs, {"seed": config.seed} | which, {"template": template.sha256} | rules)


def training_records(config: Config, run: Run) -> pd.DataFrame:
    """The records of a training: the kept rewrites, the original answers to exactly these, or all records of a file.
    Raises ``MissingInput``.

    Columns ``id, instruction, input, output``, and for rewrites those of ``REWRITES``.
    """
    path = require_data(config, run.strategy)
    if path.name.endswith(".rows.parquet"):
        table = read_rows(path, REWRITES)
        kept = table[table["status"] == KEPT]
        return kept.assign(output=kept["original_output"]) if learns_originals(run.strategy) else kept
    return pd.DataFrame([asdict(record) for record in load_records(str(path))], columns=["id", *FIELDS])


def held_out(ids: pd.Series, share: float, run_seed: int) -> set[str]:
    """The ids, at least one, that are not trained on: about ``share`` of them, by a random number of each id alone.

    The same ids come out for every strategy, training seed and rewriting version.
    """
    numbers = {row_id: row_seed(run_seed, row_id, "sft validation") / _SEED_RANGE for row_id in ids}
    return {row_id for row_id, number in numbers.items() if number < share} or {min(numbers, key=numbers.__getitem__)}


def prepare(config: Config, run: Run, tokenizer: "PreTrainedTokenizerBase") -> Prepared:
    """Rows of the training's records, a share of the instructions held out; both splits have passed ``preflight``."""
    path, table = require_data(config, run.strategy), training_records(config, run)
    settings, form = config.sft, load_answer_form(config.sft.template)
    if len(table) < 2 or table["id"].nunique() < 2:
        raise InputError(f"{path} has {len(table)} records to learn; training and validation need one each")
    apart = table["id"].isin(held_out(table["id"], settings.validation_share, config.seed))
    if apart.all():
        raise InputError(
            f"sft.validation_share={settings.validation_share} holds out all {len(table)} records of {path}; lower it"
        )
    train, validation = (
        list(encode(part, form, tokenizer, settings.max_length, settings.loss_on))
        for part in (table[~apart], table[apart])
    )
    seen = {"train": preflight(train, tokenizer), "validation": preflight(validation, tokenizer)}
    facts = {
        "sha256": fingerprint(path),
        "train_rows": len(train),
        "validation_rows": len(validation),
        "preflight": {name: asdict(found) for name, found in seen.items()},
        "validation_ids": sorted(row["id"] for row in validation),
    }
    rows = {"train": train, "validation": validation}
    return Prepared(make_sft_trainer, rows, facts, form.render("…", "…"), said=f"{run.name}: {seen['train']}")


def trainer_arguments(setup: "Setup") -> "TrainingArguments":
    """The arguments of SFTTrainer. Raises ``UsageError``."""
    from trl import SFTConfig

    from emogap.train.trainer import arguments_for

    settings = setup.settings
    return arguments_for(
        setup,
        SFTConfig,
        max_length=settings.max_length,
        packing=settings.packing,
        packing_strategy=_PACKING,
        eval_packing=False,
        shuffle_dataset=False,
        # Rows come cut and labelled; only packing is left to do.
        dataset_kwargs={"skip_prepare_dataset": not settings.packing},
    )


def packed_lengths(settings: Sft, rows: list[dict[str, Any]]) -> list[int]:
    """The number of tokens of each packed row."""
    from trl import pack_dataset

    with _no_bars():
        packed = pack_dataset(as_dataset(rows), settings.max_length, _PACKING)
    return [len(ids) for ids in packed["input_ids"]]


def make_sft_trainer(
    plan: "Plan", callbacks: "list[TrainerCallback]", train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> "StudyTrainer":
    """TRL's SFTTrainer with the study's own loop around it, over rows that are cut and labelled already.

    TRL pads the rows and, with ``sft.packing``, packs those to train on; validation rows are never packed.
    """
    from trl import SFTTrainer

    from emogap.train.trainer import StudyTrainer

    class SftTrainer(StudyTrainer, SFTTrainer):
        pass

    config = plan.model.config.get_text_config()
    routers = getattr(config, "output_router_logits", None)
    with _no_bars():
        trainer = SftTrainer(
            model=plan.model,
            args=trainer_arguments(plan),
            train_dataset=as_dataset(train),
            eval_dataset=as_dataset(validation),
            processing_class=plan.tokenizer,
            callbacks=callbacks,
        )
    if routers is not None:  # TRL turns it on in the model's own settings, for a loss that is not used here
        config.output_router_logits = routers
    return trainer


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars that ``datasets`` draws while it packs."""
    from datasets import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def as_dataset(rows: list[dict[str, Any]]) -> "Dataset":
    """The rows as TRL reads them."""
    from datasets import Dataset

    return Dataset.from_dict({name: [row[name] for row in rows] for name in ("input_ids", "labels")})
