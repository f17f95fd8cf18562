"""Figures of the logit lens."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from emogap.show.style import SEQUENTIAL, model_colours, use_style

UNITS = {
    "rank": "rank of the next token",
    "probability": "probability of the first choice",
    "entropy": "entropy (nats)",
    "kl_to_final": "KL to the last layer (nats)",
    "cross_entropy": "cross-entropy (nats)",
}


def layer_curves(table: pd.DataFrame, bases: list[str]) -> Figure:
    """Three measures over the layers, a line a model; the band is the 95 % interval of the mean over sentences.

    ``table``: lens readings (model, prompt_id, layer, position, measure, value).
    """
    use_style()
    models = list(dict.fromkeys(table["model"]))
    colours = model_colours(models, bases)
    measures = ("entropy", "kl_to_final", "rank")
    figure, axes = plt.subplots(1, len(measures), figsize=(11, 3.6), layout="constrained")
    for ax, measure in zip(axes, measures, strict=True):
        chosen = table[table["measure"] == measure].assign(value=_on_scale(measure))
        per_sentence = chosen.groupby(["model", "prompt_id", "layer"])["value"].mean()
        for model in models:
            over = per_sentence[model].groupby(level="layer")
            mean, half = over.mean(), 1.96 * over.std() / np.sqrt(over.size())
            values, low, high = (_back(measure, part) for part in (mean, mean - half, mean + half))
            ax.plot(values.index, values, color=colours[model], label=model)
            ax.fill_between(values.index, low, high, color=colours[model], alpha=0.2, linewidth=0)
        ax.set_xlabel("layer (0 = embedding)")
        ax.set_ylabel(UNITS[measure])
        if measure != "entropy":
            ax.set_yscale("symlog" if measure == "kl_to_final" else "log")
    axes[0].legend(frameon=False, fontsize="small")
    sentences = table["prompt_id"].nunique()
    figure.suptitle(f"Where in the depth the next token is decided ({sentences} sentences)", x=0.01, ha="left")
    return figure


def _on_scale(measure: str):
    """Ranks are averaged on a logarithmic scale, where one outlier does not decide the mean."""
    return lambda frame: np.log(frame["value"]) if measure == "rank" else frame["value"]


def _back(measure: str, values: pd.Series) -> pd.Series:
    return np.exp(values) if measure == "rank" else values


def heat_maps(table: pd.DataFrame, measure: str, positions: int = 14) -> Figure:
    """Layers × positions for each model, one above the other, all on one colour scale.

    ``table``: lens readings of one sentence. Only the first ``positions`` of the readings given are drawn: a long text
    is to be sliced by the caller, not squeezed.
    """
    use_style()
    models = list(dict.fromkeys(table["model"]))
    chosen = table[table["measure"] == measure]
    scale = _scale(measure, chosen["value"])
    layers = chosen["layer"].nunique()
    figure, axes = plt.subplots(
        len(models), 1, figsize=(0.85 * positions + 1.5, (0.2 * layers + 1.4) * len(models)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for ax, model in zip(axes[:, 0], models, strict=True):
        image = _heat_map(ax, chosen[chosen["model"] == model], positions, scale)
        ax.set_title(model, pad=22)
    figure.colorbar(image, ax=axes[:, 0], label=UNITS[measure], fraction=0.025, pad=0.01)
    return figure


def _scale(measure: str, values: pd.Series) -> Normalize:
    return LogNorm(1, max(10.0, values.max())) if measure == "rank" else Normalize(0, values.max())


def _heat_map(ax: Axes, rows: pd.DataFrame, positions: int, scale: Normalize):
    kept = sorted(rows["position"].unique())[:positions]
    rows = rows[rows["position"].isin(kept)]
    values = rows.pivot(index="layer", columns="position", values="value")
    tokens = rows.pivot(index="layer", columns="position", values="token")
    # Low ranks are the finding, so they are the light end, whatever the measure.
    colours = f"{SEQUENTIAL}_r" if isinstance(scale, LogNorm) else SEQUENTIAL
    image = ax.imshow(values, aspect="auto", origin="lower", cmap=colours, norm=scale)
    for y, layer in enumerate(values.index):
        for x, position in enumerate(values.columns):
            light = sum(image.cmap(scale(values.loc[layer, position]))[:3]) > 1.5
            ax.text(x, y, visible(tokens.loc[layer, position]), ha="center", va="center", fontsize=6.5,
                    color="black" if light else "white")  # fmt: skip
    labels = rows[rows["layer"] == 0].set_index("position").loc[kept]
    ax.set_xticks(range(len(kept)), [visible(text) for text in labels["input"]], rotation=30, ha="right", fontsize=7)
    ax.set_yticks(range(0, len(values.index), 5), values.index[::5])
    ax.set_ylabel("layer")
    ax.grid(False)
    above = ax.secondary_xaxis("top")
    above.set_xticks(range(len(kept)), [visible(text) for text in labels["target"]], rotation=30, ha="left", fontsize=7)
    return image


def visible(token: str, width: int = 10) -> str:
    """A token as it can be printed: white space shown, long ones cut, what matplotlib would read as maths escaped."""
    shown = token.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥").replace("$", r"\$")
    return shown if len(shown) <= width else shown[: width - 1] + "…"
