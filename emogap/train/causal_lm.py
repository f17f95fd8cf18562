"""Causal language modelling on the corpus: documents between BOS and EOS, concatenated, cut into blocks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.config import Config
from emogap.errors import InputError
from emogap.records import CORPUS, read_rows
from emogap.store.pieces import Piece, Summary
from emogap.train.rules import changed
from emogap.train.strategies import Parts, Run

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from emogap.train.stage import Prepared, Watch
    from emogap.train.trainer import Plan, StudyTrainer

Row = dict[str, "np.ndarray"]
"""What a model is given of a block: name → (tokens,)."""


def clm_pieces(config: Config) -> Iterator[Piece]:
    """The models of this stage. Raises ``MissingInput`` while a corpus or a parent is not there."""
    from emogap.train.stage import model_pieces

    return model_pieces(config, "clm")


def clm(config: Config, watch: "Watch | None" = None) -> Summary:
    """Train every such model that is not fresh. ``watch`` hears of the history at every evaluation.

    Raises ``MissingInput``, ``InputError``, ``ModelError``, ``TrainingError``, ``UsageError``, ``DiskError``,
    ``LockHeld``.
    """
    from emogap.train.stage import train_stage

    return train_stage(config, "clm", watch)


def recipe_parts(config: Config, run: Run) -> Parts:
    is_open = config.clm.boundaries == "open"
    return Parts({"corpus": _corpus(config, run)}, {}, changed(config, run, open_rows=is_open, shared_rows=not is_open))


def _corpus(config: Config, run: Run) -> Path:
    return config.home.require(config.home.corpus(run.strategy.data))


def prepare(config: Config, run: Run, tokenizer: "PreTrainedTokenizerBase") -> "Prepared":
    """Blocks of the corpus's own training and validation split."""
    from emogap.train.blocks import columns, cut, wrap
    from emogap.train.stage import Prepared, data_facts

    path = _corpus(config, run)
    documents = read_rows(path, CORPUS)
    blocks, datasets, counts = {}, {}, {}
    for split in ("train", "validation"):
        texts = _texts(documents, split, path)
        counts[split] = len(texts)
        blocks[split] = cut(wrap(tokenizer, texts), config.clm.block_size, f"{path.name} ({split})")
        datasets[split] = as_rows(columns(blocks[split], config.clm.boundaries == "closed"))
    facts = data_facts(
        path,
        counts["train"],
        counts["validation"],
        train_tokens=blocks["train"].ids.size,
        validation_tokens=blocks["validation"].ids.size,
        dropped_tokens=blocks["train"].dropped + blocks["validation"].dropped,
    )

    def make_trainer(plan, callbacks):
        return make_clm_trainer(plan, callbacks, datasets["train"], datasets["validation"])

    return Prepared(make_trainer, facts)


def as_rows(arrays: "dict[str, np.ndarray]") -> list[Row]:
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def make_clm_trainer(
    plan: "Plan", callbacks: "list[TrainerCallback]", train: list[Row], validation: list[Row]
) -> "StudyTrainer":
    """A trainer over rows of equal length, as ``blocks.columns`` gives them."""
    from transformers import TrainingArguments, default_data_collator

    from emogap.train.trainer import StudyTrainer, arguments_for

    return StudyTrainer(
        plan.model,
        arguments_for(plan, TrainingArguments),
        data_collator=default_data_collator,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=plan.tokenizer,
        callbacks=callbacks,
    )


def _texts(documents: "pd.DataFrame", split: str, path: Path) -> list[str]:
    texts = documents.loc[documents["split"] == split, "text"].tolist()
    if not texts:
        raise InputError(f"{path} has no {split} documents; raise the number of stories or set corpus.validation_share")
    return texts
