"""TRL's SFTTrainer as the study runs it: rows come with their labels; TRL packs and pads them."""

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from emogap.train.sft_rows import TrainingRow
from emogap.train.trainer import Plan, StudyTrainer, arguments_for


class SftTrainer(StudyTrainer, SFTTrainer):
    """SFTTrainer with the study's own loop around it."""


def make_sft_trainer(
    plan: Plan, callbacks: list[TrainerCallback], train: list[TrainingRow], validation: list[TrainingRow]
) -> SftTrainer:
    """A trainer over rows that are cut and labelled already; validation rows are never packed."""
    settings = plan.settings
    arguments = arguments_for(
        plan,
        SFTConfig,
        max_length=settings.max_length,
        packing=settings.packing,
        packing_strategy="bfd",
        eval_packing=False,
        shuffle_dataset=False,
        # Rows come cut and labelled; only packing is left to do.
        dataset_kwargs={"skip_prepare_dataset": not settings.packing},
    )
    config = plan.model.config.get_text_config()
    routers = getattr(config, "output_router_logits", None)
    trainer = SftTrainer(
        model=plan.model,
        args=arguments,
        train_dataset=as_dataset(train),
        eval_dataset=as_dataset(validation),
        processing_class=plan.tokenizer,
        callbacks=callbacks,
    )
    if routers is not None:  # which TRL turns on in the model's own settings, for a loss that is not taken here
        config.output_router_logits = routers
    return trainer


def as_dataset(rows: list[TrainingRow]) -> Dataset:
    """The rows as TRL reads them."""
    return Dataset.from_dict({"input_ids": [row.ids for row in rows], "labels": [row.labels for row in rows]})
