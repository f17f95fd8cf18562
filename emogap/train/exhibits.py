"""The course of trainings, from the records in the model folders: tables, figures, curves while they train, pace."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from emogap.config import Config, Task
from emogap.device import pick_device
from emogap.errors import UsageError
from emogap.lm.answer_form import AnswerForm, begin_ids, end_ids, load_answer_form
from emogap.lm.attention_reach import context_length
from emogap.lm.hub import study_model
from emogap.lm.loading import Loaded, load_causal
from emogap.store.exhibits import Exhibit, Shown
from emogap.store.style import model_colours, nothing_figure, use_style
from emogap.train.model_folder import HISTORY, TASKS, history_table, read_record, recorded_history
from emogap.train.strategies import Run, nothing_to_train, settings_of, trainable


def summary_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a model: what it started from, how long it was trained, and validation perplexity before and after."""
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "model": lambda record: record["model"],
        "parent": lambda record: record["parent"]["name"],
        "data": lambda record: record["data"]["name"],
        "rows": lambda record: record["data"]["train_rows"],
        "steps": lambda record: record["steps"],
        "best step": lambda record: record["best_step"],
        "perplexity before": lambda record: round(record["perplexity_before"], 2),
        "perplexity after": lambda record: round(record["perplexity_after"], 2),
        "seconds": lambda record: round(record["seconds"]),
        "tokens/s": lambda record: round(record["tokens_per_second"]),
    }
    return pd.DataFrame({name: [value(record) for record in records] for name, value in columns.items()})


def training_exhibits(config: Config, task: Task) -> Iterator[Shown]:
    """Curves and a table of all finished models of that kind; where there is none, the reason in their place."""
    use_style()
    records = [read_record(config.home.model(run.name)) for run in trainable(config, task)]
    order, kind = 50 if task == "clm" else 55, TASKS[task]
    if records:
        before_after = ", ".join(
            f"{r['model']} {r['perplexity_before']:.1f} → {r['perplexity_after']:.1f}" for r in records
        )
        caption = f"Validation perplexity before and after {kind}: {before_after}."
        of_history = f"Loss and validation loss at every evaluation of {kind}; step 0 is the parent."
        of_curves = f"{caption[:-1]}; curves over steps."
        alt = (
            "Four panels over steps: training and validation loss, validation perplexity, learning rate, gradient norm."
        )
        history = histories(records)
        figure = curves(history, list(config.bases))
    else:
        why = "; ".join(nothing_to_train(config, task)) or f"no strategy of the settings is of the kind {kind}"
        caption = of_history = of_curves = alt = f"No model was trained by {kind}: {why}."
        history, figure = histories(records), nothing_figure(caption)
    yield Exhibit(f"training_{task}", "table", caption, order), summary_table(records)
    yield Exhibit(f"history_{task}", "table", of_history, order + 2), history.dropna(subset=["validation_loss"])
    yield Exhibit(f"curves_{task}", "figure", of_curves, order + 1, alt=alt), figure
    if len(words := by_words(records)):
        of_words = f"Loss on held-out text of each checkpoint that {kind} kept, by the number of words seen."
        yield Exhibit(f"words_{task}", "table", of_words, order + 3), words
        alt = "Held-out loss over words seen on a logarithmic axis, one curve per model."
        figure = curves_by_words(words, list(config.bases))
        yield Exhibit(f"words_{task}", "figure", of_words, order + 3, alt=alt), figure


def before_after(config: Config, run: Run, prompts: Sequence[str], new_tokens: int = 60) -> pd.DataFrame:
    """Columns: ``opening`` (SFT: ``instruction``), and one each for how the parent and the trained model go on.

    Decoding is greedy, so that every call gives the same. Raises ``MissingInput`` for a model that was not trained yet,
    and what ``ask`` raises.
    """
    form = load_answer_form(config.sft.template) if run.strategy.task == "sft" else None
    device = pick_device(settings_of(config, run.strategy.task).device)
    table = pd.DataFrame({"instruction" if form else "opening": list(prompts)})
    for name in (run.parent, run.name):
        loaded = load_causal(study_model(config, name).path, device=device)
        table[name] = [ask(loaded, prompt, form, new_tokens) for prompt in prompts]
    return table


def ask(loaded: Loaded, text: str, form: AnswerForm | None = None, new_tokens: int = 60) -> str:
    """A model's greedy continuation of a text or, with the ``form`` of SFT, its answer to an instruction: at most
    ``new_tokens`` tokens, up to EOS.

    Raises ``UsageError`` for an empty text, or one that fills all that the model reads.
    """
    from emogap.lm.generation import continued

    model, tokenizer = loaded
    if not text.strip():
        raise UsageError("the text to go on with is empty; type some")
    question = form.render(text) if form else text
    ids = begin_ids(tokenizer) + tokenizer(question, add_special_tokens=False, verbose=False)["input_ids"]
    room = (context_length(model.config) or len(ids) + new_tokens) - len(ids)
    if room < 1:
        raise UsageError(f"the text has {len(ids):,} tokens and the model reads {len(ids) + room:,}; shorten it")
    new = continued(model, ids, min(new_tokens, room), end_ids(tokenizer))
    return tokenizer.decode(new, skip_special_tokens=True)


class LiveCurves:
    """Curves in a notebook while models train, drawn anew at every evaluation: pass it to a stage as ``watch``."""

    def __init__(self, config: Config):
        self._bases = list(config.bases)
        self._histories: dict[str, pd.DataFrame] = {}
        self._handle: Any = None

    def __call__(self, model: str, history: list[dict[str, float]]) -> None:
        from IPython.display import display

        use_style()
        self._histories[model] = history_table(model, history)
        figure = curves(pd.concat(self._histories.values()), self._bases)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)


def histories(records: list[dict[str, Any]]) -> pd.DataFrame:
    """The histories of several trainings (``read_record``) in one table; without a training it has no row."""
    return pd.concat([recorded_history(record) for record in records]) if records else pd.DataFrame(columns=HISTORY)


def by_words(records: list[dict[str, Any]]) -> pd.DataFrame:
    """model, name, words, step, validation_loss, validation_perplexity: one row per checkpoint that trainings kept by
    words seen; ``words`` is how many had been seen in fact."""
    rows = [{"model": record["model"], **one} for record in records for one in record.get("checkpoints", ())]
    table = pd.DataFrame(rows, columns=["model", "name", "words", "step", "validation_loss"])
    return table.assign(validation_perplexity=np.exp(table["validation_loss"].astype(float)))


def curves_by_words(table: pd.DataFrame, bases: list[str]) -> Figure:
    """Held-out loss over words seen, a colour a model; from ``by_words``, all of it or a part."""
    if table.empty:
        return nothing_figure("no checkpoint was kept by words seen (clm.checkpoints_by_words)")
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    models = list(table["model"].unique())
    colours = model_colours(models, bases)
    for model in models:
        own = table[table["model"] == model]
        axis.plot(own["words"], own["validation_loss"], marker="o", markersize=4, color=colours[model], label=model)
    axis.set(title="Loss on held-out text", xlabel="words seen", ylabel="nats a token", xscale="log")
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.legend(frameon=False)
    return figure


class Pace(NamedTuple):
    """How fast a training went: seconds per step, per evaluation and per saving after it; ``timed``: steps measured."""

    step: float
    evaluation: float
    saving: float
    timed: int

    def seconds(self, steps: int, eval_steps: int, held_out: float) -> float:
        """The time of so many steps, with an evaluation before them, after every ``eval_steps`` and at the end; each
        evaluation reads ``held_out`` times as much as those that were timed."""
        evaluations = ceil(steps / eval_steps)
        return steps * self.step + (1 + evaluations) * held_out * self.evaluation + evaluations * self.saving


def pace(history: list[dict[str, float]]) -> Pace:
    """The pace of a history without its first step, which warms up; ``timed`` is 0 if there is no evaluation.

    ``history``: Trainer's entries, in which an evaluation follows its step and is followed by a checkpoint.
    """
    entries = [entry for entry in history if "loss" in entry or "eval_loss" in entry]
    took: dict[tuple[bool, bool], list[float]] = {}
    for before, entry in pairwise(entries):
        took.setdefault(("eval_loss" in before, "eval_loss" in entry), []).append(entry["seconds"] - before["seconds"])
    steps, evaluations, saved = (took.get(kind, []) for kind in ((False, False), (False, True), (True, False)))
    if not steps or not evaluations:
        return Pace(0.0, 0.0, 0.0, 0)
    step = fmean(steps)
    return Pace(step, fmean(evaluations), max(0.0, fmean(saved) - step) if saved else 0.0, len(steps))


_PANELS = (
    ("validation_perplexity", "Perplexity of held-out text", "perplexity a token"),
    ("validation_loss", "Loss (faint: training batches)", "nats a token"),
    ("learning_rate", "Learning rate", "learning rate"),
    ("grad_norm", "Norm of the gradient", "norm (before clipping)"),
)


def curves(history: pd.DataFrame, bases: list[str]) -> Figure:
    """Four panels over steps, a colour a model; on the loss, held-out text is drawn over training batches.

    ``history``: ``model, step, loss, learning_rate, grad_norm, validation_loss, validation_perplexity``; without a row
    the figure says that there is nothing.
    """
    if history.empty:
        return nothing_figure("no model was trained")
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    models = list(history["model"].unique())
    colours = model_colours(models, bases)
    for axis, (column, title, unit) in zip(axes.flat, _PANELS, strict=True):
        for model in models:
            _draw(axis, history[history["model"] == model], column, colours[model], model)
        axis.set(title=title, ylabel=unit)
        axis.set_ylim(bottom=0 if column in ("learning_rate", "grad_norm") else None)
    for axis in axes[1]:
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw(axis: Axes, history: pd.DataFrame, column: str, colour: str, model: str) -> None:
    evaluated = column.startswith("validation")
    if column == "validation_loss":
        axis.plot(history["step"], history["loss"], color=colour, alpha=0.35, linewidth=1)
    shown = history.dropna(subset=[column])
    axis.plot(shown["step"], shown[column], color=colour, marker="o" if evaluated else None, markersize=4, label=model)
