"""Causal language modelling on the corpus: documents between BOS and EOS, concatenated, cut into blocks."""

from functools import partial
from typing import TYPE_CHECKING, Any

from emogap.config import Config
from emogap.errors import InputError
from emogap.lm.corrections import training_rules
from emogap.records import CORPUS, read_rows
from emogap.store.artefacts import Recipe, fingerprint
from emogap.train.rows import block_rows, cut, words_by_token, wrap
from emogap.train.stage import Prepared, model_pieces, train_stage
from emogap.train.strategies import Run, base_of, require_data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

    from emogap.train.trainer import Plan, Setup, StudyTrainer


clm_pieces = partial(model_pieces, "clm")
"""``clm_pieces(config)``: the models of this stage, then their tables and figures. See ``model_pieces``."""
clm = partial(train_stage, "clm")
"""``clm(config, watch, callbacks)``: train every model of this stage that is not fresh. See ``train_stage``."""


def own_recipe(config: Config, run: Run) -> Recipe:
    """What causal language modelling adds to the recipe of its models."""
    is_open = config.clm.boundaries == "open"
    base = base_of(config, run.strategy)
    rules = training_rules(base, labels_first_token=is_open, documents_share_rows=not is_open)
    return Recipe("clm", {"corpus": require_data(config, run.strategy)}, identities=rules)


def prepare(config: Config, run: Run, tokenizer: "PreTrainedTokenizerBase") -> Prepared:
    """Blocks of the corpus's own training and validation split."""
    path = require_data(config, run.strategy)
    documents = read_rows(path, CORPUS)
    blocks, datasets, counts = {}, {}, {}
    for split in ("train", "validation"):
        texts = documents.loc[documents["split"] == split, "text"].tolist()
        if not texts:
            raise InputError(
                f"{path} has no {split} documents; raise the number of stories or set corpus.validation_share"
            )
        counts[split] = len(texts)
        words = words_by_token(tokenizer, texts) if config.clm.marks and split == "train" else None
        blocks[split] = cut(wrap(tokenizer, texts), config.clm.block_size, f"{path.name} ({split})", words)
        datasets[split] = block_rows(blocks[split], config.clm.boundaries == "closed")
    facts = {
        "sha256": fingerprint(path),
        "train_rows": counts["train"],
        "validation_rows": counts["validation"],
        "train_tokens": blocks["train"].ids.size,
        "validation_tokens": blocks["validation"].ids.size,
        "dropped_tokens": blocks["train"].dropped + blocks["validation"].dropped,
    }
    if blocks["train"].words is not None:
        facts["words_an_epoch"] = int(blocks["train"].words.sum())
    positions = {split: blocks[split].positions for split in blocks}
    return Prepared(make_clm_trainer, datasets, facts, positions=positions)


def trainer_arguments(setup: "Setup") -> "TrainingArguments":
    """The arguments of Trainer. Raises ``UsageError``."""
    from transformers import TrainingArguments

    from emogap.train.trainer import arguments_for

    return arguments_for(setup, TrainingArguments)


def make_clm_trainer(
    plan: "Plan", callbacks: "list[TrainerCallback]", train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> "StudyTrainer":
    """A trainer over rows of equal length, as ``block_rows`` gives them."""
    from transformers import default_data_collator

    from emogap.train.trainer import StudyTrainer

    return StudyTrainer(
        plan.model,
        trainer_arguments(plan),
        data_collator=default_data_collator,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=plan.tokenizer,
        callbacks=callbacks,
    )
