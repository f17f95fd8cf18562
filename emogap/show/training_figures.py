"""Curves of trainings: DataFrame → Figure."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emogap.show.style import model_colours

_PANELS = (
    ("validation_perplexity", "Perplexity of held-out text", "perplexity a token"),
    ("validation_loss", "Loss", "nats a token"),
    ("learning_rate", "Learning rate", "learning rate"),
    ("grad_norm", "Norm of the gradient", "norm (before clipping at 1)"),
)


def curves(history: pd.DataFrame, bases: list[str]) -> Figure:
    """Four panels over steps, a colour a model; on the loss, held-out text is drawn over training batches.

    ``history``: ``model, step, loss, learning_rate, grad_norm, validation_loss, validation_perplexity``.
    """
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
    axes[0, 0].legend(frameon=False)
    return figure


def _draw(axis: Axes, history: pd.DataFrame, column: str, colour: str, model: str) -> None:
    evaluated = column.startswith("validation")
    if column == "validation_loss":
        axis.plot(history["step"], history["loss"], color=colour, alpha=0.35, linewidth=1)
        axis.annotate("faint: training batches", (0.98, 0.95), xycoords="axes fraction", ha="right", va="top", size=8)
    shown = history.dropna(subset=[column])
    axis.plot(shown["step"], shown[column], color=colour, marker="o" if evaluated else None, markersize=4, label=model)
