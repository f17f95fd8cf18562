"""The loop of both kinds of fine-tuning: Hugging Face's Trainer with what the study asks of every training.

On top of Trainer: training loss and validation loss are means over predicted tokens, whatever the model and the
batches; a loss that is not finite stops the run; a resumed run goes on counting wall time; and the last step is always
evaluated.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.loss.loss_utils import ForCausalLMLoss

from emogap.config import Training
from emogap.device import is_out_of_memory, pick_dtype
from emogap.errors import TrainingError
from emogap.store.artefacts import write_json
from emogap.store.progress import Progress
from emogap.train import checks
from emogap.train.checkpoints import last_complete, marked, read_state
from emogap.train.model_folder import write_checkpoint
from emogap.train.packing import keep_apart, see_only_what_precedes
from emogap.train.rows import IGNORED, WORDS

History = list[dict[str, float]]
"""One entry a step or evaluation: ``step``, ``epoch``, what was spent so far (``seconds``, ``training_seconds``,
``tokens``, ``slots``, where they are counted ``words``) and either ``loss``, ``learning_rate``, ``grad_norm`` or
``eval_loss``."""


@dataclass
class Setup:
    """How something is to be trained, and where its checkpoints lie: all that Trainer's arguments are made from."""

    name: str
    task: str
    settings: Training
    seed: int
    checkpoints: Path
    processes: int = field(default_factory=checks.process_count, kw_only=True)
    """How many processes share a step."""


@dataclass
class Plan(Setup):
    """A setup together with what is to be trained."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    make_trainer: Callable[["Plan", list[TrainerCallback]], "StudyTrainer"]
    """Makes the trainer from the plan and callbacks; the data are bound to it already."""
    watch: Callable[[History], None] | None = None
    """Called with the history after every evaluation, to draw curves while the model trains."""
    callbacks: Sequence[TrainerCallback | type[TrainerCallback]] = ()
    """The caller's, beside the study's own."""
    marks: Sequence[int] = ()
    """Numbers of words seen after which the model is kept as it is then, beside the checkpoints."""
    uses_cache: bool = False
    """Whether the model's configuration turns on the key-value cache, which is off while the model is trained."""


@dataclass
class Outcome:
    """A finished training; the plan's model holds the best weights."""

    history: History = field(default_factory=list)
    steps: int = 0
    best_step: int = 0
    loss_before: float = 0.0
    """The parent's mean negative log-likelihood per validation token, in nats."""
    loss_after: float = 0.0
    seconds: float = 0.0
    """Wall time of training and evaluation, over all parts of an interrupted run."""
    tokens: int = 0
    """Real tokens that were trained on, over all parts of an interrupted run."""
    tokens_per_second: float = 0.0
    padding_share: float = 0.0
    device: str = ""
    dtype: str = ""
    processes: int = 1


def next_token_loss(
    outputs: Mapping[str, torch.Tensor], labels: torch.Tensor, num_items_in_batch: torch.Tensor | float | None = None
) -> torch.Tensor:
    """Negative log-likelihood of the labels, in nats: the sum divided by ``num_items_in_batch``, without it the mean.

    ``outputs``: what a model returned, ``logits`` of (rows, tokens, vocabulary); ``labels``: (rows, tokens). Computed
    from the logits, because the models' own losses differ: some leave tokens uncounted or count too many when a step
    has several batches, some do not shift the labels, some add terms of another kind.
    """
    logits = outputs["logits"]
    return ForCausalLMLoss(logits, labels, logits.shape[-1], num_items_in_batch)


class StudyTrainer(Trainer):
    """Trainer with the study's loss, evaluation and record of time; for SFT it is the first base class, before TRL's
    ``SFTTrainer``."""

    plan: Plan
    seconds_before = 0.0
    """Wall time of the earlier parts of this run, up to the checkpoint from which it was resumed."""
    started = 0.0
    training_seconds = 0.0
    """The part of the wall time that was spent on steps, in all parts of this run."""
    tokens = 0
    slots = 0
    """Tokens without (``tokens``) and with padding (``slots``) that this process has trained on."""
    words: int | None = None
    """Words seen by all processes up to the last step, all parts of an interrupted run together; None where the rows do
    not say how many they have."""
    words_of_step = 0
    """Words of the step under way, in this process."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # With it Trainer divides a step's sum by the step's labels. If it were passed, TRL's constructor would warn.
        self.compute_loss_func = next_token_loss

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        # Trainer's own, also under TRL, whose SFTTrainer computes entropy and accuracy of every token beside the loss,
        # which nearly doubles the time of a step on a CPU.
        return Trainer.compute_loss(self, *args, **kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        step_started = time.monotonic()
        if WORDS in inputs:
            self.words_of_step += int(inputs.pop(WORDS).sum())
        slots = inputs["input_ids"].numel()
        tokens = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else slots
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise self._not_finite("loss", loss.item(), self.state.global_step + 1)
        self.tokens += tokens
        self.slots += slots
        self.training_seconds += time.monotonic() - step_started
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss per validation token. Every process takes its share of the rows, each row once."""
        metrics = {"eval_loss": self.validation_loss()}
        if not math.isfinite(metrics["eval_loss"]):
            raise self._not_finite("validation loss", metrics["eval_loss"], self.state.global_step)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def validation_loss(self) -> float:
        rows = range(self.args.process_index, len(self.eval_dataset), self.args.world_size)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(self.eval_dataset, rows),
            batch_size=self.args.per_device_eval_batch_size,
            collate_fn=self.data_collator,
        )
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in loader:
            batch = self._prepare_inputs(batch)
            labels = batch.pop("labels")
            count = (labels[..., 1:] != IGNORED).sum()
            with torch.no_grad(), self.compute_loss_context_manager():
                summed = next_token_loss(self.model(**batch), labels, 1)
            total += torch.stack([summed.double(), count.double()])
        summed, count = self.accelerator.reduce(total).tolist()
        return summed / count

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.words is not None:  # every step is logged
            self._count_words()
        logs |= {"seconds": round(self.seconds, 3), "tokens": self.tokens, "slots": self.slots}
        logs |= {} if self.words is None else {WORDS: self.words}
        logs["training_seconds"] = round(self.training_seconds, 3)
        super().log(logs, start_time)

    def _count_words(self) -> None:
        """Add a step's words to ``words``; keep the model for each mark that the new total reaches."""
        counted = torch.tensor([self.words_of_step], dtype=torch.int64, device=self.args.device)
        before, self.words_of_step = self.words, 0
        self.words += int(self.accelerator.reduce(counted))
        if reached := [mark for mark in self.plan.marks if before < mark <= self.words]:
            with torch.random.fork_rng(devices=[]):  # so that later random numbers are as if this were not done
                loss = self.validation_loss()
            if self.args.should_save:
                self._keep(reached, {"words": self.words, "step": self.state.global_step, "validation_loss": loss})

    def _keep(self, reached: Sequence[int], facts: dict[str, Any]) -> None:
        config, uses_cache = self.plan.model.config, self.plan.uses_cache
        if uses_cache:
            config.use_cache = True
        for mark in reached:
            folder = self.plan.checkpoints / marked(mark)
            named = {"name": folder.name, "asked": mark, **facts}
            write_checkpoint(folder, self.plan.model, self.plan.tokenizer, self.plan.settings.lora, named)
        if uses_cache:
            config.use_cache = False

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def go_on_from(self, checkpoint: Path | None) -> None:
        """Go on counting time, tokens and words from what they were at a checkpoint, without one from 0."""
        if checkpoint:
            spent = read_state(checkpoint)["log_history"][-1]
            self.seconds_before, self.training_seconds = spent["seconds"], spent["training_seconds"]
            self.tokens, self.slots = spent["tokens"], spent["slots"]
            self.words = spent.get(WORDS)
        elif WORDS in self.train_dataset[0]:
            self.words = 0
        self.started = time.monotonic()

    def end_with(self, checkpoint: Path) -> None:
        """Finish a training that was killed after its last step; Trainer itself would do one step more."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        best = checkpoint.with_name(Path(self.state.best_model_checkpoint).name)
        self.state.best_model_checkpoint = str(best)
        self._load_best_model()

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint)
        if not best.is_dir():  # Trainer would keep the last weights and only warn
            raise TrainingError(
                f"{self.plan.name}: its best checkpoint {best} is gone; delete {best.parent}, train again"
            )
        super()._load_best_model()

    def _not_finite(self, what: str, value: float, step: int) -> TrainingError:
        kept = last_complete(Path(self.args.output_dir))
        where = f"the last good checkpoint is {kept}" if kept else "no checkpoint was written yet"
        return TrainingError(
            f"{self.plan.name}: {what} is {value} at step {step}; {where}; lower {self.plan.task}.learning_rate "
            f"or set {self.plan.task}.precision=fp32"
        )


class _StudyCallback(TrainerCallback):
    """Draws the bar of progress, has the last step evaluated, and tells the plan's ``watch`` of each evaluation."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._bar: Progress | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._bar = Progress(self._plan.name, state.max_steps, "steps")
            self._bar.advance(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        if self._bar:
            self._bar.advance()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._plan.watch and state.is_world_process_zero:
            self._plan.watch(state.log_history)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A pickle of the arguments, which nothing reads.
        if args.should_save:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "training_args.bin").unlink(missing_ok=True)

    def close(self) -> None:
        if self._bar:
            self._bar.close()


def arguments_for(plan: Setup, arguments_type: type[TrainingArguments], **more: Any) -> TrainingArguments:
    """Trainer's arguments. Every setting of the study is spelt out; what is named neither here nor in the setting
    ``trainer`` is Trainer's own default.

    Raises ``UsageError`` for settings, those of ``trainer`` among them, with which no training could run.
    """
    settings, processes = plan.settings, plan.processes
    device = checks.training_device(plan.task, settings)
    batch_size, accumulation = checks.shared_batches(plan.task, settings, processes)
    chosen = dict(
        output_dir=str(plan.checkpoints),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=float(settings.epochs),
        max_steps=settings.max_steps,
        eval_strategy="steps",
        eval_steps=settings.eval_steps,
        save_strategy="steps",
        save_steps=settings.eval_steps,
        # The best checkpoint is kept beside the last one.
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=plan.seed,
        data_seed=plan.seed,
        report_to=settings.report_to,
        run_name=plan.name,
        disable_tqdm=True,
        use_cpu=device == "cpu",
        ddp_backend="gloo" if device == "cpu" and checks.process_count() > 1 else None,
        ddp_find_unused_parameters=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        label_names=["labels"],
        **_precision(plan, device),
        **more,
    )
    arguments = checks.library_arguments(arguments_type, chosen, plan.task, settings.trainer)
    if arguments.n_gpu > 1:
        # One process takes one GPU; several GPUs are shared by several processes, not by DataParallel.
        arguments._n_gpu = 1
    if torch.device(device).index:
        _place(arguments, torch.device(device))
    return arguments


def _place(arguments: TrainingArguments, device: torch.device) -> None:
    """Train on a device other than the first: without a launcher, Trainer by itself takes only the first."""
    arguments.distributed_state.device = arguments.__dict__["_setup_devices"] = device
    torch.accelerator.set_device_index(device.index)


def _current(device: str) -> AbstractContextManager:
    """Inside the block, a device that is named with its number (``cuda:1``) is torch's current one."""
    index = torch.device(device).index
    return torch.accelerator.device_index(index) if index else nullcontext()


_say_once = cache(print)
"""Prints equal lines only once: what holds for all models of a stage is said at the first of them."""


def _precision(plan: Setup, device: str) -> dict[str, bool]:
    wanted = plan.settings.precision
    # Trainer scales the loss, which fp16 needs, on GPUs only.
    dtype = pick_dtype(device, "auto" if wanted == "fp16" and device == "cpu" else wanted)
    if wanted == "fp16" and dtype != torch.float16 and checks.is_main():
        _say_once(f"{plan.task}.precision=fp16 is for GPUs; computed in {str(dtype).removeprefix('torch.')} here")
    return {"bf16": dtype == torch.bfloat16, "fp16": dtype == torch.float16}


def fit(plan: Plan) -> Outcome:
    """Train, or go on with a training that was killed, and leave the best weights in the plan's model.

    Raises ``TrainingError`` if a loss is not finite or memory runs out, and before the first step ``UsageError`` for
    impossible settings, ``InputError`` and ``ModelError`` for rows or a model with which it would fail later.
    """
    watcher = _StudyCallback(plan)
    patience = EarlyStoppingCallback(early_stopping_patience=plan.settings.patience)
    # With a cache, documents that share a row would see each other.
    config = plan.model.config
    uses_cache = plan.uses_cache = bool(getattr(config, "use_cache", None))  # some configurations lack it
    if uses_cache:
        config.use_cache = False
    try:
        with _current(checks.training_device(plan.task, plan.settings)):
            trainer = plan.make_trainer(plan, [watcher, patience, *plan.callbacks])
            loss_before = _train(plan, trainer)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _out_of_memory(plan) from error
    finally:
        watcher.close()
    if uses_cache:
        config.use_cache = True
    return _outcome(trainer, loss_before)


def _train(plan: Plan, trainer: StudyTrainer) -> float:
    """Check everything, measure the parent, train or resume. Returns the parent's validation loss."""
    trainer.plan = plan
    trainer.remove_callback(PrinterCallback)
    _check(plan, trainer)
    with trainer.args.main_process_first(local=False):
        resume = last_complete(plan.checkpoints)
    loss_before = _loss_before(plan, trainer)
    set_seed(plan.seed)
    trainer.go_on_from(resume)
    # Training was already over when this checkpoint was written: at its last step, or for lack of improvement.
    if resume and read_state(resume)["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]:
        trainer.end_with(resume)
    else:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return loss_before


def _check(plan: Plan, trainer: StudyTrainer) -> None:
    """Find what would fail in mid-training, or silently train on documents that see each other or later tokens."""
    splits = {"training": trainer.train_dataset, "validation": trainer.eval_dataset}
    pad_id = getattr(trainer.data_collator, "pad_token_id", 0)
    longest = checks.check_rows(plan.name, plan.task, plan.settings, plan.model, splits, pad_id)
    see_only_what_precedes(trainer, plan.name, longest, f"lower {plan.task}.{checks.LENGTH[plan.task]}")
    open_rows = {"clm": "clm.boundaries=open", "sft": "sft.packing=false"}[plan.task]
    keep_apart(trainer, plan.name, f"use --set {open_rows}")


def _loss_before(plan: Plan, trainer: StudyTrainer) -> float:
    """The parent's loss on the validation text; measured only once, even if the run is killed and resumed."""
    file = plan.checkpoints / "before.json"
    with trainer.args.main_process_first(local=False):
        measured = file.exists()
    if measured:
        return json.loads(file.read_text(encoding="utf-8"))["loss"]
    loss = trainer.validation_loss()
    if trainer.args.should_save:
        write_json(file, {"loss": loss})
    return loss


def _outcome(trainer: StudyTrainer, loss_before: float) -> Outcome:
    state, arguments = trainer.state, trainer.args
    counted = torch.tensor([trainer.tokens, trainer.slots], dtype=torch.int64, device=arguments.device)
    tokens, slots = trainer.accelerator.reduce(counted).tolist()
    return Outcome(
        history=[entry for entry in state.log_history if "loss" in entry or "eval_loss" in entry],
        steps=state.global_step,
        best_step=state.best_global_step,
        loss_before=loss_before,
        loss_after=state.best_metric,
        seconds=trainer.seconds,
        tokens=tokens,
        tokens_per_second=tokens / trainer.training_seconds,
        padding_share=1 - tokens / slots,
        device=str(arguments.device),
        dtype="bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32",
        processes=arguments.world_size,
    )


def _out_of_memory(plan: Plan) -> TrainingError:
    length, settings = checks.LENGTH[plan.task], plan.settings
    return TrainingError(
        f"{plan.name}: memory ran out at {plan.task}.batch_size={settings.batch_size} rows of up to "
        f"{plan.task}.{length}={getattr(settings, length)} tokens; halve {plan.task}.batch_size and double "
        f"{plan.task}.accumulation, lower {plan.task}.{length}, or train adapters ({plan.task}.lora.rank=16)"
    )
