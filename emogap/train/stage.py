"""What the two training stages share: the recipe of a model, the making of it, processes, exhibits."""

import dataclasses
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from emogap import errors
from emogap.config import Config, Task
from emogap.device import check_device
from emogap.errors import MissingInput
from emogap.lm.adapters import low_rank_of
from emogap.lm.hub import LocalModel, identify, is_adapter, study_model
from emogap.lm.loading import load_causal
from emogap.paths import from_root
from emogap.store.artefacts import RULE, Draft, Recipe
from emogap.store.exhibits import Shown, drawing
from emogap.store.pieces import Piece, Summary, run
from emogap.store.variants import take_over
from emogap.train import checkpoints
from emogap.train.checks import check_settings, check_tracker, is_main, process_count, training_device
from emogap.train.model_folder import inherited, read_record, rehearse_writing, with_adapters, write_model
from emogap.train.strategies import Run, nothing_to_train, settings_of, trainable

if TYPE_CHECKING:
    from emogap.train.trainer import History, Plan, StudyTrainer

Watch = Callable[[str, "History"], None]
"""Called with a model's name and its history after every evaluation."""


@dataclass
class Prepared:
    """Data made ready for one training."""

    make_trainer: Callable[["Plan", list], "StudyTrainer"]
    facts: dict[str, Any]
    """For the record: at least ``sha256`` of the data, ``train_rows`` and ``validation_rows``."""
    form: str = ""
    """The form in which the model is asked (SFT)."""


def train_stage(config: Config, stage: Task, watch: Watch | None = None) -> Summary:
    """Train every model of a stage that is not fresh and has something to learn from; draw their curves."""
    settings = settings_of(config, stage)
    check_device(settings.device, f"{stage}.device")
    models = trainable(config, stage)
    if models and settings.processes > 1 and "WORLD_SIZE" not in os.environ:
        check_settings(stage, settings, settings.processes)
        _take_over(config, stage)
        _launch(settings.processes, stage, config)
    if is_main():
        for line in nothing_to_train(config, stage):
            print(line)
    summary = run(stage, (piece for piece in model_pieces(config, stage, watch) if is_main() or not piece.is_drawing))
    if is_main():
        for model in models:  # left by a kill between publishing and clearing up
            shutil.rmtree(checkpoints.folder(config.home.model(model.name)), ignore_errors=True)
    return summary


def _take_over(config: Config, stage: Task) -> None:
    """What a variant has from its parent is taken over before several processes ask whether it is there."""
    for one in trainable(config, stage):
        with suppress(MissingInput):
            piece = model_piece(config, one)
            if piece.freshness().state != "fresh":
                take_over(piece)


def _launch(processes: int, name: Task, config: Config) -> None:
    """Run the stage in several processes; afterwards its models are fresh. An error in one of them is raised here."""
    from accelerate import notebook_launcher
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Of an error it would print the whole way first, and it is raised here.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    # Port 0: whichever is free, so that two trainings on one machine do not meet.
    try:
        notebook_launcher(
            train_stage, (config, name), num_processes=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0"
        )
    except ChildFailedError as error:
        raise _first_error(error) from error


def _first_error(error: Any) -> Exception:
    """The project's own error that the first failing process ended with; if it was another one, the launcher's
    error."""
    failure = error.get_first_failure()[1].message
    name, _, message = failure["message"].partition(": ") if isinstance(failure, dict) else ("", "", "")
    error_type = getattr(errors, name, None)
    return error_type(message) if error_type and issubclass(error_type, errors.EmogapError) else error


def model_pieces(config: Config, stage: Task, watch: Watch | None = None) -> Iterator[Piece]:
    """The models of a stage, each when those before it are there, which it may start from; at last their tables and
    figures.

    Raises ``MissingInput`` while data or a parent are not there.
    """
    models = {}
    for one in trainable(config, stage):
        piece = model_piece(config, one, watch)
        models[one.name] = piece.path
        yield piece
    yield drawing(config.home.models, stage, f"tables/training_{stage}", models, partial(_exhibits, config, stage))


def _exhibits(config: Config, stage: Task) -> Iterator[Shown]:
    from emogap.train.exhibits import training_exhibits  # with matplotlib, which most commands do without

    return training_exhibits(config, stage)


def model_piece(config: Config, run: Run, watch: Watch | None = None) -> "Model":
    """The model folder of a training. Raises ``MissingInput`` if its data or its parent is not there."""
    task, own = run.strategy.task, module_of(run.strategy.task).own_recipe(config, run)
    shaping = {key: value for key, value in config.flat(task).items() if key != f"{task}.seeds"}
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
    make = partial(_make, config, run, watch)
    return Model(config.home.model(run.name), recipe, is_folder=True, keep_superseded=True, make=make)


def module_of(task: Task) -> ModuleType:
    """The module of a kind of training, with its ``own_recipe`` and ``prepare``."""
    return import_module({"clm": "emogap.train.causal_lm", "sft": "emogap.train.sft"}[task])


@dataclass(frozen=True)
class Model(Piece):
    """A model that several processes train."""

    @contextmanager
    def making(self) -> Iterator[Draft | None]:
        """The draft; None in processes other than the first, which alone writes it. All leave it together."""
        import torch

        if is_main():
            with super().making() as draft:
                yield draft
        else:
            yield None
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def _make(config: Config, run: Run, watch: Watch | None, draft: Draft | None) -> None:
    from emogap.stories.writing import close_kept_engine

    close_kept_engine()
    folder = checkpoints.folder(config.home.model(run.name))
    if draft:
        checkpoints.bind(config.home.model(run.name), draft.artefact.recipe.sha256())
        draft.afterwards.append(partial(shutil.rmtree, folder))
    _train(config, run, draft, folder, watch)


def _train(config: Config, run: Run, draft: Draft | None, folder: Path, watch: Watch | None) -> None:
    from transformers import set_seed

    from emogap.train.trainer import Plan, fit

    settings = settings_of(config, run.strategy.task)
    check_settings(run.strategy.task, settings, process_count())
    check_tracker(run.strategy.task, settings.report_to)
    training_device(run.strategy.task, settings)
    parent = study_model(config, run.parent)
    inherits = _announce(run, parent)
    below = low_rank_of(parent.path) if settings.lora.keeps_adapter else None
    model, tokenizer = load_causal(parent.path)
    prepared: Prepared = module_of(run.strategy.task).prepare(config, run, tokenizer)
    set_seed(run.seed)
    model = with_adapters(model, settings.lora)
    parameters = {"parameters": model.num_parameters(), "trainable": model.num_parameters(only_trainable=True)}
    if draft:
        checkpoints.check_disk(folder, run.name, parameters["parameters"], parameters["trainable"])
        rehearse_writing(folder, model, parent.path, settings.lora, below)
    show = (lambda history: watch(run.name, history)) if watch else None
    plan = Plan(run.name, run.strategy.task, settings, run.seed, model, tokenizer, prepared.make_trainer, folder, show)
    outcome = fit(plan)
    if draft is None:
        return
    record = {
        "model": run.name,
        "task": run.strategy.task,
        "seed": run.seed,
        "parent": {"name": run.parent, "identity": parent.identity, "inherited": inherits},
        "data": {"name": run.strategy.data, **prepared.facts},
        "settings": config.flat(run.strategy.task),
        **parameters,
        "perplexity_before": math.exp(outcome.loss_before),
        "perplexity_after": math.exp(outcome.loss_after),
        "form": prepared.form,
        **dataclasses.asdict(outcome),
    }
    write_model(draft.path, model, parent.path, settings.lora, below, record)
    draft.counts |= {"models": 1, "steps": outcome.steps}
    draft.notes |= {"device": outcome.device, "dtype": outcome.dtype, "perplexity": record["perplexity_after"]}


def _announce(run: Run, parent: LocalModel) -> str:
    """Say what the model starts from; what its parent was trained on, empty for a base."""
    record = read_record(parent.path)
    inherits = inherited(record) if record else ""
    if is_main():
        print(f"{run.name} starts from {inherits or parent.identity}")
    return inherits
