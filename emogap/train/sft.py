"""Supervised fine-tuning on the rewritten Alpaca records, in the form that the models are asked in later."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emogap.config import Config
from emogap.data.alpaca import FIELDS, load_records
from emogap.errors import InputError, MissingInput
from emogap.generate.answer_form import load_answer_form
from emogap.paths import from_root
from emogap.records import KEPT, REWRITES, read_rows, row_seed
from emogap.store.pieces import Piece, Summary
from emogap.text.reading import RECORD_ENDINGS
from emogap.train.rules import changed
from emogap.train.sft_rows import encode, preflight
from emogap.train.strategies import Parts, Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from emogap.train.stage import Prepared, Watch

_SEED_RANGE = 2**63


def sft_pieces(config: Config) -> Iterator[Piece]:
    """The models of this stage. Raises ``MissingInput`` while rewrites or a parent are not there."""
    from emogap.train.stage import model_pieces

    return model_pieces(config, "sft")


def sft(config: Config, watch: "Watch | None" = None) -> Summary:
    """Train every such model that is not fresh. ``watch`` hears of the history at every evaluation.

    Raises ``MissingInput``, ``InputError``, ``ModelError``, ``TrainingError``, ``UsageError``, ``DiskError``,
    ``LockHeld``.
    """
    from emogap.train.stage import train_stage

    return train_stage(config, "sft", watch)


def recipe_parts(config: Config, run: Run) -> Parts:
    settings, template = config.sft, load_answer_form(config.sft.template).template
    # Packed, no example's first token had a label.
    is_open = settings.loss_on == "text" and not settings.packing
    rules = changed(config, run, open_rows=is_open, shared_rows=settings.packing)
    return Parts({"rewrites": _rewrites(config, run)}, {"seed": config.seed}, {"template": template.sha256} | rules)


def _rewrites(config: Config, run: Run) -> Path:
    """Where the records lie: the strategy names a version of the rewrites, or a file of Alpaca records."""
    data = run.strategy.data
    if not data.endswith(RECORD_ENDINGS):
        return config.home.require(config.home.rewrite_rows(data))
    if not from_root(data).is_file():
        raise MissingInput(f"{from_root(data)} not found; strategy {run.strategy.name} names it as its records")
    return from_root(data)


def training_records(config: Config, run: Run) -> "pd.DataFrame":
    """What a training learns from: columns ``id, instruction, input, output``. Raises ``MissingInput``."""
    return _records(_rewrites(config, run))


def _records(path: Path) -> "pd.DataFrame":
    """Columns ``id, instruction, input, output`` of the kept rewrites, or of all records of a file."""
    if path.name.endswith(".rows.parquet"):
        table = read_rows(path, REWRITES)
        return table[table["status"] == KEPT]
    return pd.DataFrame([asdict(record) for record in load_records(str(path))], columns=["id", *FIELDS])


def held_out(ids: "pd.Series", share: float, run_seed: int) -> set[str]:
    """The instructions that no strategy trains on: by a draw for each id alone, at least one.

    The same ids come out for every strategy, training seed and rewriting version.
    """
    draws = {row_id: row_seed(run_seed, row_id, "sft validation") / _SEED_RANGE for row_id in ids}
    return {row_id for row_id, draw in draws.items() if draw < share} or {min(draws, key=draws.__getitem__)}


def prepare(config: Config, run: Run, tokenizer: "PreTrainedTokenizerBase") -> "Prepared":
    """Records of the kept rewrites, a share of the instructions held out, after a preflight that is printed."""
    from emogap.train.stage import Prepared, data_facts, is_main

    path = _rewrites(config, run)
    settings, form = config.sft, load_answer_form(config.sft.template)
    table = _records(path)
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
    if is_main():
        print(f"{run.name}: {seen['train']}")
    facts = data_facts(
        path,
        len(train),
        len(validation),
        preflight={name: asdict(found) for name, found in seen.items()},
        validation_ids=sorted(row.id for row in validation),
    )

    def make_trainer(plan, callbacks):
        from emogap.train.sft_trainer import make_sft_trainer

        return make_sft_trainer(plan, callbacks, train, validation)

    return Prepared(make_trainer, facts, form.render("…", "…"))
