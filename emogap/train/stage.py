"""What the two training stages share: the recipe of a model, the making of it, processes, exhibits."""

import dataclasses
import logging
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap import errors
from emogap.config import SIZES, Config, Task
from emogap.controls import NEW, is_new
from emogap.device import check_device
from emogap.errors import MissingInput, TrainingError, UsageError
from emogap.home_settings import toml
from emogap.lm.adapters import low_rank_of
from emogap.lm.hub import LocalModel, identify, is_adapter, study_model
from emogap.lm.loading import load_causal, load_tokenizer, without_bars
from emogap.paths import from_root
from emogap.records import CORPUS, read_rows
from emogap.store.artefacts import RULE, Draft, Recipe
from emogap.store.exhibits import Shown, drawing
from emogap.store.pieces import Piece, Summary, run, take_over
from emogap.stories.writing import close_kept_engine
from emogap.train import checkpoints, checks, model_folder
from emogap.train.rows import IGNORED, padding_share, token_table
from emogap.train.strategies import Run, check_data, nothing_to_train, require_data, settings_of, trainable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from emogap.train.trainer import History, Setup, StudyTrainer

Watch = Callable[[str, "History"], None]
"""Called with a model's name and its history after every evaluation."""
Callbacks = Sequence["TrainerCallback | type[TrainerCallback]"]


@dataclass
class Prepared:
    """Data made ready for one training."""

    make_trainer: Callable[..., "StudyTrainer"]
    """Makes a trainer from a plan, callbacks, and the rows of ``train`` and ``validation``."""
    rows: dict[str, list]
    """Split → rows, each with ``input_ids`` and ``labels``."""
    facts: dict[str, Any]
    """For the record: at least ``sha256`` of the data, ``train_rows`` and ``validation_rows``."""
    form: str = ""
    """The form in which the model is asked (SFT)."""
    said: str = ""
    """What is printed about the rows before the first step."""
    positions: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Split → (rows, tokens): each token's place within its document, where a row may hold several documents (CLM)."""


def train_stage(stage: Task, config: Config, watch: Watch | None = None, callbacks: Callbacks = ()) -> Summary:
    """Train every model of a stage that is not fresh and has something to learn from; draw their curves.

    ``watch`` is called at every evaluation. ``callbacks``: Trainer's, beside the study's own; the manifests of the
    models that are trained name them. Raises ``MissingInput``, ``InputError``, ``ModelError``,
    ``TrainingError``, ``UsageError``, ``DiskError``, ``LockHeld``.
    """
    settings = settings_of(config, stage)
    check_device(settings.device, f"{stage}.device")
    checks.check_callbacks(stage, callbacks, max(settings.processes, checks.process_count()))
    models = trainable(config, stage)
    if models and settings.processes > 1 and "WORLD_SIZE" not in os.environ:
        checks.check_settings(stage, settings, settings.processes)
        _take_over(config, stage)
        _launch(settings.processes, stage, config)
    if checks.is_main():
        for line in nothing_to_train(config, stage):
            print(line)
    pieces = model_pieces(stage, config, watch, callbacks)
    summary = run(stage, (piece for piece in pieces if checks.is_main() or not piece.is_drawing))
    if checks.is_main():
        for model in models:  # left by a kill between publishing and clearing up
            shutil.rmtree(checkpoints.folder(config.home.model(model.name)), ignore_errors=True)
    return summary


def _take_over(config: Config, stage: Task) -> None:
    """In a variant's home, take over the models that are fresh in its parent's home, before several processes ask
    whether they are there."""
    for one in trainable(config, stage):
        with suppress(MissingInput):
            for piece in _pieces_of(config, one):
                if piece.freshness().state != "fresh":
                    take_over(piece)


def _launch(processes: int, name: Task, config: Config) -> None:
    """Run the stage in several processes; afterwards its models are fresh. An error in one of them is raised here.

    They are forked from a newly spawned process, because a process that has asked whether there is a GPU, or has loaded
    a library that takes one, cannot be forked.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_dies_with_its_parent) as pool:
        try:
            pool.submit(_fork, processes, name, config).result()
        except BrokenProcessPool as error:
            raise TrainingError(
                f"{name}: the process that starts the {processes} of the training was killed, or could not begin; a "
                'script that calls it needs `if __name__ == "__main__":` above the call'
            ) from error


def _dies_with_its_parent() -> None:
    from torch.multiprocessing import _prctl_pr_set_pdeathsig

    _prctl_pr_set_pdeathsig(signal.SIGKILL)


def _fork(processes: int, name: Task, config: Config) -> None:
    from accelerate import notebook_launcher
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # The launcher would first print the whole traceback of an error, which is raised here anyway.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    # Port 0: any that is free, so that two trainings on one machine do not collide.
    try:
        notebook_launcher(
            train_stage, (name, config), num_processes=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0"
        )
    except ChildFailedError as error:
        raise _first_error(error) from None


def _first_error(error: Any) -> Exception:
    """The project's own error that the first failing process ended with; for any other error, a ``RuntimeError`` with
    all that the launcher says about it."""
    failure = error.get_first_failure()[1].message
    name, _, message = failure["message"].partition(": ") if isinstance(failure, dict) else ("", "", "")
    error_type = getattr(errors, name, None)
    own = error_type is not None and issubclass(error_type, errors.EmogapError)
    return error_type(message) if own else RuntimeError(str(error))


def model_pieces(stage: Task, config: Config, watch: Watch | None = None, callbacks: Callbacks = ()) -> Iterator[Piece]:
    """The models of a stage, then their tables and figures. A model may start from one before it: take the next piece
    only when all before it are made.

    Raises ``MissingInput`` while data or a parent are not there, ``InputError`` if nothing makes the data.
    """
    check_data(config, stage)
    models = {}
    for one in trainable(config, stage):
        models[one.name] = config.home.model(one.name)
        yield from _pieces_of(config, one, watch, callbacks)
    yield drawing(config.home.models, stage, f"tables/training_{stage}", models, partial(_exhibits, config, stage))


def _exhibits(config: Config, stage: Task) -> Iterator[Shown]:
    from emogap.train.exhibits import training_exhibits  # with matplotlib, which most commands do without

    return training_exhibits(config, stage)


def _pieces_of(config: Config, run: Run, watch: Watch | None = None, callbacks: Callbacks = ()) -> "Iterator[Model]":
    """The model folder of a training; if it is from scratch, first the untrained model that it begins with."""
    if is_new(run.strategy):
        yield untrained_piece(config, run)
    yield model_piece(config, run, watch, callbacks)


def untrained_piece(config: Config, run: Run) -> "Model":
    """The untrained model that a training from scratch begins with. Raises ``MissingInput`` without its corpus."""
    corpus, settings = {"corpus": require_data(config, run.strategy)}, config.flat("clm", "vocabulary")
    recipe = Recipe("clm", corpus, settings, {"parent": run.strategy.parent}, run.seed)
    return Model(config.home.model(run.parent), recipe, is_folder=True, make=partial(_make_untrained, config, run))


def _make_untrained(config: Config, run: Run, draft: Draft | None) -> None:
    import torch

    module_of("clm").trainer_arguments(_setup(config, run))  # which also joins several processes into a group
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    if draft is None:
        return
    documents = read_rows(require_data(config, run.strategy), CORPUS)
    texts = documents.loc[documents["split"] == "train", "text"].tolist()
    size, vocabulary = SIZES[run.strategy.parent.removeprefix(NEW)], config.clm.vocabulary
    with without_bars():
        draft.notes["parameters"] = model_folder.write_untrained(draft.path, size, texts, vocabulary, run.seed)


def _settings(config: Config, task: Task) -> dict[str, Any]:
    """The settings that shape what a kind of training makes. Left out: the vocabulary, which shapes only what a
    training from scratch begins with, and ``checkpoints_by_words`` if it asks for none."""
    idle = {"clm.vocabulary"} | (set() if config.clm.marks else {"clm.checkpoints_by_words"})
    return {key: value for key, value in config.flat(task).items() if key not in idle}


def model_piece(config: Config, run: Run, watch: Watch | None = None, callbacks: Callbacks = ()) -> "Model":
    """The model folder of a training. Raises ``MissingInput`` if its data or its parent is not there."""
    task, own = run.strategy.task, module_of(run.strategy.task).own_recipe(config, run)
    shaping = {key: value for key, value in _settings(config, task).items() if key != f"{task}.seeds"}
    inputs, identities = own.inputs, own.identities
    if run.parent in config.bases:
        parent = from_root(config.bases[run.parent].name)
        identities = identities | {"parent": identify(config.bases[run.parent])}
    else:
        parent = config.home.require(config.home.model(run.parent))
        inputs = inputs | {"parent": parent}
    if settings_of(config, task).lora.keeps_adapter and is_adapter(parent):
        identities = identities | {RULE + "adapter on adapter": "2 (one adapter holds both)"}
    recipe = Recipe(task, inputs, shaping | own.settings, identities, run.seed)
    make = partial(_make, config, run, watch, callbacks)
    return Model(config.home.model(run.name), recipe, is_folder=True, keep_superseded=True, make=make)


def module_of(task: Task) -> ModuleType:
    """The module of a kind of training, with its ``own_recipe``, ``prepare`` and ``trainer_arguments``."""
    return import_module({"clm": "emogap.train.causal_lm", "sft": "emogap.train.sft"}[task])


@dataclass(frozen=True)
class Model(Piece):
    """The piece of a model folder, which several processes may make together."""

    @contextmanager
    def making(self) -> Iterator[Draft | None]:
        """The draft in the first process, which alone writes it; None in the others. All leave the block together."""
        import torch

        if checks.is_main():
            with super().making() as draft:
                yield draft
        else:
            yield None
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def _make(config: Config, run: Run, watch: Watch | None, callbacks: Callbacks, draft: Draft | None) -> None:
    close_kept_engine()
    folder = checkpoints.folder(config.home.model(run.name))
    if draft:
        checkpoints.bind(config.home.model(run.name), draft.artefact.recipe.sha256())
        draft.afterwards.append(partial(shutil.rmtree, folder))
    with without_bars():
        _train(config, run, draft, watch, callbacks)


def _train(config: Config, run: Run, draft: Draft | None, watch: Watch | None, callbacks: Callbacks) -> None:
    from transformers import set_seed

    from emogap.train.trainer import Plan, fit

    how = _setup(config, run)
    settings = settings_of(config, run.strategy.task)
    checks.check_settings(run.strategy.task, settings, checks.process_count())
    checks.check_tracker(run.strategy.task, settings.report_to)
    module_of(run.strategy.task).trainer_arguments(how)
    parent = study_model(config, run.parent)
    inherits = _announce(run, parent)
    below = low_rank_of(parent.path) if settings.lora.keeps_adapter else None
    model, tokenizer = load_causal(parent.path)
    prepared: Prepared = module_of(run.strategy.task).prepare(config, run, tokenizer)
    if checks.is_main() and prepared.said:
        print(prepared.said)
    set_seed(run.seed)
    model = model_folder.with_adapters(model, settings.lora)
    parameters = {"parameters": model.num_parameters(), "trainable": model.num_parameters(only_trainable=True)}
    marks = _reached(config, run, prepared)
    if draft:
        checkpoints.check_disk(how.checkpoints, run.name, *parameters.values(), len(marks))
        model_folder.rehearse_writing(how.checkpoints, model, parent.path, settings.lora, below)
    show = (lambda history: watch(run.name, history)) if watch else None
    make_trainer = partial(prepared.make_trainer, **prepared.rows)
    plan = Plan(**vars(how), model=model, tokenizer=tokenizer, make_trainer=make_trainer, watch=show)
    plan.callbacks, plan.marks = callbacks, marks
    outcome = fit(plan)
    if draft is None:
        return
    record = {
        "model": run.name,
        "task": run.strategy.task,
        "seed": run.seed,
        "parent": {"name": run.parent, "identity": parent.identity, "inherited": inherits},
        "data": {"name": run.strategy.data, **prepared.facts},
        "settings": _settings(config, run.strategy.task),
        **parameters,
        "perplexity_before": math.exp(outcome.loss_before),
        "perplexity_after": math.exp(outcome.loss_after),
        "form": prepared.form,
        **dataclasses.asdict(outcome),
    }
    if marks:
        record["checkpoints"] = checkpoints.kept(how.checkpoints)
    model_folder.write_model(draft.path, model, parent.path, settings.lora, below, record)
    checkpoints.keep_with(draft.path, how.checkpoints)
    draft.counts |= {"models": 1, "steps": outcome.steps}
    draft.notes |= {"device": outcome.device, "dtype": outcome.dtype, "perplexity": record["perplexity_after"]}
    if callbacks:
        draft.notes["callbacks"] = [checks.callback_name(one) for one in callbacks]


def _reached(config: Config, run: Run, prepared: Prepared) -> list[int]:
    """The marks that a training can reach by its last step. Prints a line if there are marks and it reaches none."""
    if "words_an_epoch" not in prepared.facts:
        return []
    settings, words = config.clm, prepared.facts["words_an_epoch"]
    epochs = settings.epochs
    if settings.max_steps > 0:
        epochs = settings.max_steps * settings.batch_size * settings.accumulation / len(prepared.rows["train"])
    # Whole epochs: the rows of a part of an epoch may have more words than the others.
    marks = [mark for mark in settings.marks if mark <= max(1, math.ceil(epochs)) * words]
    if not marks and checks.is_main():
        print(f"{run.name}: no checkpoint by words: {words:,} an epoch, and the first is after {settings.marks[0]:,}")
    return marks


def _setup(config: Config, run: Run) -> "Setup":
    from emogap.train.trainer import Setup

    folder = checkpoints.folder(config.home.model(run.name))
    return Setup(run.name, run.strategy.task, settings_of(config, run.strategy.task), run.seed, folder)


def _announce(run: Run, parent: LocalModel) -> str:
    """Print what the model starts from. Returns what its parent was trained on, empty for a base."""
    record = model_folder.read_record(parent.path)
    inherits = model_folder.inherited(record) if record else ""
    if checks.is_main():
        print(f"{run.name} starts from {inherits or parent.identity}")
    return inherits


def training_arguments(config: Config, run: Run, everything: bool = False) -> pd.DataFrame:
    """argument, value, published, from: the arguments of Trainer (SFT: SFTTrainer) for a training, before it begins.

    Read from an object made as training makes it. ``value`` and ``published`` are in TOML's notation; ``from`` is the
    setting, or ``the study`` for what is the same in every training. ``everything``: also the library's defaults. With
    several processes they are those of each. Raises ``UsageError`` for settings that could not be trained with.
    """
    task, how = run.strategy.task, _setup(config, run)
    how.processes = max(how.processes, how.settings.processes)
    arguments = module_of(task).trainer_arguments(how)
    alike = {name: getattr(arguments, name) for name in ("output_dir", "use_cpu", "bf16", "fp16", "report_to")}
    plain = type(arguments)(**alike)
    said = config.show(task).set_index("setting")["published"]
    rows = []
    for argument in dataclasses.fields(arguments):
        name, value = argument.name, getattr(arguments, argument.name)
        if name in how.settings.trainer:
            source = f"{task}.trainer"
        elif name in checks.SETTING_OF:
            source = f"{task}.{checks.SETTING_OF[name]}"
        else:
            source = "the study" if value != getattr(plain, name) else "default of the library"
        if everything or source != "default of the library":
            published = said.get(f"{task}.{checks.SETTING_OF.get(name)}", "")
            if name in ("bf16", "fp16") and published:
                published = toml(toml(name) == published)
            rows.append((name, _as_toml(value), published, source))
    order = {"default of the library": 2, "the study": 1}
    return pd.DataFrame(
        sorted(rows, key=lambda row: order.get(row[3], 0)), columns=["argument", "value", "published", "from"]
    )


def _tokenizer(config: Config, one: Run) -> "PreTrainedTokenizerBase":
    """The parent's tokenizer; that of a training from scratch is made if it is not there."""
    if is_new(one.strategy):
        run("clm", [untrained_piece(config, one)])
    return load_tokenizer(study_model(config, one.parent).path)


def _as_toml(value: Any) -> str:
    """A value in TOML's notation; for a dataclass or an enum of the library, its fields or its value."""
    return toml(vars(value) if dataclasses.is_dataclass(value) else getattr(value, "value", value))


def training_size(config: Config, run: Run) -> pd.DataFrame:
    """quantity, value: rows, tokens, steps and padding of a training, counted from its data before it begins.

    Steps are those without stopping early. Padding is what batches of random rows have on average. Loads the parent's
    tokenizer, not its weights. Raises ``MissingInput`` while the data or the parent are not there, ``InputError``.
    """
    task, how = run.strategy.task, _setup(config, run)
    settings = how.settings
    prepared: Prepared = module_of(task).prepare(config, run, _tokenizer(config, run))
    train, packs = prepared.rows["train"], getattr(settings, "packing", False)
    lengths = module_of(task).packed_lengths(settings, train) if packs else [len(row["input_ids"]) for row in train]
    labels = [label for row in train for label in row["labels"]]
    processes = max(how.processes, settings.processes)
    batch_size, accumulation = checks.shared_batches(task, settings, processes)
    whole = math.floor if settings.trainer.get("dataloader_drop_last") else math.ceil
    an_epoch = max(1, math.ceil(whole(len(lengths) / (batch_size * processes)) / accumulation))
    steps = settings.max_steps if settings.max_steps > 0 else math.ceil(settings.epochs * an_epoch)
    found = {
        "rows to train on": len(train),
        "rows held out": len(prepared.rows["validation"]),
        "rows through the model": len(lengths),
        "tokens to train on": sum(lengths),
        "share of them that the loss counts": sum(label != IGNORED for label in labels) / len(labels),
        "tokens of the longest row": max(lengths),
        "rows a step": settings.batch_size * settings.accumulation,
        "tokens a step": sum(lengths) / an_epoch,
        "steps an epoch": an_epoch,
        "steps at most": steps,
        "epochs at most": steps / an_epoch,
        "evaluations at most": math.ceil(steps / settings.eval_steps),
        **({"words an epoch": prepared.facts["words_an_epoch"]} if "words_an_epoch" in prepared.facts else {}),
        "share of padding": 0.0 if packs else padding_share(lengths, batch_size),
    }
    if packs:
        found["share of the rows that is filled"] = sum(lengths) / (settings.max_length * len(lengths))
    return pd.DataFrame({"quantity": found.keys(), "value": pd.Series(found.values(), dtype=object)})


def example(config: Config, run: Run, number: int = 0, split: str = "train") -> pd.DataFrame:
    """One training row as the model sees it, a token a row; see ``token_table``. ``as_seen`` shows it as text.

    ``number``: which row, from 0; ``split``: ``train`` or ``validation``. Loads the parent's tokenizer, not its
    weights. Raises ``UsageError`` for a row that is not there, ``MissingInput`` while data or parent are not there.
    """
    tokenizer = _tokenizer(config, run)
    prepared: Prepared = module_of(run.strategy.task).prepare(config, run, tokenizer)
    rows = prepared.rows.get(split, [])
    if not 0 <= number < len(rows):
        there = ", ".join(f"{len(found):,} {name}" for name, found in prepared.rows.items())
        raise UsageError(f"{run.name} has no {split} row {number}; it has {there} rows, counted from 0")
    positions = prepared.positions[split][number] if split in prepared.positions else None
    ids, labels = (list(map(int, rows[number][name])) for name in ("input_ids", "labels"))
    return token_table(ids, labels, tokenizer, positions)
