"""Figures of the logit lens and of the emotion lens. All are sized to be printed as they are."""

from collections.abc import Sequence
from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import CenteredNorm, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from emogap.lens.emotion_lens import so_many_texts
from emogap.store.style import EMOTION_ORDER, SEQUENTIAL, model_colours, use_style
from emogap.text.statistics import mean_interval

CELL_MEASURES: dict[str, str] = {
    "rank": "rank of the next token (1: first choice)",
    "top_1": "probability of the first choice",
    "entropy": "entropy (nats)",
    "kl_to_final": "KL divergence from the last layer (nats)",
    "cross_entropy": "cross-entropy with the text (nats)",
}
"""What a cell's colour can mean, with its unit. Further ones: ``emotion:<label>`` and ``word:<word>``."""
PAIR_POSITIONS, SINGLE_POSITIONS = 7, 14
"""Positions that fit side by side on a page: for two models with their difference, and for one model."""
_BEYOND_SCALE = ("kl_to_final", "cross_entropy")
"""In these the embedding's values are so large that a scale that included them would show nothing else."""
_DIVERGING = "RdBu_r"
_CELL = (0.5, 0.19)
"""Width and height in inches of a cell, in which a token is printed in 6 points."""
_DIFFERENCE_CELL = 0.24
_FONT = "DejaVu Sans"
_FLOOR = 1e-6
"""Probabilities below this are drawn as this."""


def measure_label(measure: str) -> str:
    """The colour's quantity with its unit."""
    kind, _, name = measure.partition(":")
    if kind == "emotion":
        return f"probability mass on words of {name}"
    if kind == "word":
        return f"probability of '{name}'"
    return CELL_MEASURES[measure]


def cells(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """model, layer, position, value, token (the layer's first choice), input, target: of one text's readings."""
    kind, _, name = measure.partition(":")
    column = {"emotion": "emotion_mass", "word": "word_probability"}.get(kind, measure)
    rows = table[table["measure"] == column]
    if name:
        rows = rows[rows["token"] == name]
    keys = ["model", "layer", "position"]
    first = table.loc[table["measure"] == "top_1", [*keys, "token", "input", "target"]]
    # From the first choices, so that a place without a value (no next token) is still a cell.
    return first.merge(rows[[*keys, "value"]], on=keys, how="left")


def slices(positions: Sequence[int], width: int) -> list[tuple[int, int]]:
    """First and last position of each figure, if ``width`` positions fit on one."""
    ordered = sorted(set(positions))
    return [(part[0], part[-1]) for part in (ordered[i : i + width] for i in range(0, len(ordered), width))]


def heat_maps(table: pd.DataFrame, measure: str, first: int, last: int) -> Figure:
    """Layers × positions ``first`` to ``last`` for each model side by side, on one colour scale.

    ``table``: readings of one text, all of it: the scale is that of the whole text, the same for all its slices. In
    each cell stands the layer's first choice. Two models of equal depth that read the same text get a third panel with
    their difference (the ratio for a measure on a logarithmic scale), with a dot where the first choice differs.
    """
    use_style()
    grid = cells(table, measure)
    models = list(dict.fromkeys(grid["model"]))
    scale = _scale(measure, grid)
    shown = grid[grid["position"].between(first, last)]
    comparable = len(models) == 2 and _same_text(shown, models)
    columns = shown["position"].nunique()
    widths = [columns * _CELL[0]] * len(models) + ([columns * _DIFFERENCE_CELL] if comparable else [])
    layers = shown["layer"].nunique()
    figure, axes = plt.subplots(
        1,
        len(widths),
        figsize=(sum(widths) + 0.55 * len(widths) + 0.4, layers * _CELL[1] + 2.0),
        width_ratios=widths,
        squeeze=False,
        layout="constrained",
    )
    for ax, model in zip(axes[0], models, strict=False):
        image = _heat_map(ax, shown[shown["model"] == model], scale, measure)
        ax.set_title(model, pad=4)
    _colour_bar(figure, image, axes[0, : len(models)], measure_label(measure), sum(widths[: len(models)]))
    if comparable:
        _difference(figure, axes[0, -1], shown, grid, measure, models)
    axes[0, 0].set_ylabel("layer (0: embedding)")
    return figure


def _same_text(grid: pd.DataFrame, models: Sequence[str]) -> bool:
    one, other = (
        grid[grid["model"] == model].set_index(["layer", "position"])[["input", "target"]].sort_index()
        for model in models
    )
    return one.equals(other)


def _is_logarithmic(measure: str) -> bool:
    return measure == "rank" or ":" in measure


def _scale(measure: str, grid: pd.DataFrame) -> Normalize:
    highest = grid["value"].max()
    if measure == "rank":
        return LogNorm(1, max(10.0, highest))
    if ":" in measure:
        return LogNorm(_FLOOR, max(10 * _FLOOR, highest), clip=True)
    if measure in _BEYOND_SCALE:
        return Normalize(0, grid.loc[grid["layer"] > 0, "value"].max())
    return Normalize(0, 1 if measure == "top_1" else highest)


def _heat_map(ax: Axes, rows: pd.DataFrame, scale: Normalize, measure: str, text: str = "token"):
    values = rows.pivot(index="layer", columns="position", values="value")
    written = rows.pivot(index="layer", columns="position", values=text)
    # The light end of the colours means certain or likely, whatever the measure.
    colours = f"{SEQUENTIAL}_r" if measure in ("rank", "entropy", "kl_to_final", "cross_entropy") else SEQUENTIAL
    image = ax.imshow(values, aspect="auto", origin="lower", cmap=colours, norm=scale)
    for y, layer in enumerate(values.index):
        for x, position in enumerate(values.columns):
            value = values.loc[layer, position]
            light = np.isnan(value) or _is_light(image.cmap(scale(value)))
            ax.text(x, y, visible(str(written.loc[layer, position])), ha="center", va="center", fontsize=6,
                    family=_FONT, color="black" if light else "white")  # fmt: skip
    _label_positions(ax, rows)
    return image


def _is_light(colour: Sequence[float]) -> bool:
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5


def _label_positions(ax: Axes, rows: pd.DataFrame) -> None:
    """The token at each position below, the one that comes next above; layers at the side."""
    labels = rows[rows["layer"] == rows["layer"].min()].sort_values("position")
    places = range(len(labels))
    style = {"fontsize": 7, "family": _FONT}
    ax.set_xticks(places, [visible(text) for text in labels["input"]], rotation=40, ha="right", rotation_mode="anchor",
                  **style)  # fmt: skip
    above = ax.secondary_xaxis("top")
    above.set_xticks(places, [visible(text) for text in labels["target"]], rotation=40, ha="left",
                     rotation_mode="anchor", **style)  # fmt: skip
    above.tick_params(length=2)
    layers = sorted(rows["layer"].unique())
    ax.set_yticks(range(0, len(layers), 2), layers[::2])
    ax.grid(False)


def _colour_bar(figure: Figure, image, axes, label: str, width: float) -> Colorbar:
    """A colour bar below the axes, ``width`` inches wide and equally thick whatever the figure's height."""
    thickness = 0.13
    share = thickness / figure.get_figheight()
    extend = "max" if np.nanmax(image.get_array()) > image.norm.vmax else "neither"
    bar = figure.colorbar(
        image, ax=axes, location="bottom", fraction=share, pad=0.01, aspect=width / thickness, extend=extend
    )
    bar.set_label(label)
    return bar


def _difference(
    figure: Figure, ax: Axes, shown: pd.DataFrame, grid: pd.DataFrame, measure: str, models: Sequence[str]
) -> None:
    """The second model's difference from the first; the colour scale is that of the whole text, not of the slice."""
    base, tuned = models
    limit = max(float(_change(grid, measure, base, tuned)["change"].abs().max()), 1e-9)
    change = _change(shown, measure, base, tuned)
    values = change.pivot(index="layer", columns="position", values="change")
    image = ax.imshow(values, aspect="auto", origin="lower", cmap=_DIVERGING, norm=CenteredNorm(0, limit))
    other = change.pivot(index="layer", columns="position", values="other_choice").to_numpy()
    y, x = np.nonzero(other)
    ax.plot(x, y, linestyle="none", marker="o", markersize=1.8, color="black")
    _label_positions(ax, shown[shown["model"] == base])
    ax.set_title("difference", pad=4)
    relation, unit = "÷", ""
    if not _is_logarithmic(measure):
        relation, unit = "-", " (nats)" if "nats" in measure_label(measure) else ""
    label = f"{tuned}\n{relation} {base}{unit}\n(dot: another first choice)"
    bar = _colour_bar(figure, image, ax, label, values.shape[1] * _DIFFERENCE_CELL)
    bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    if _is_logarithmic(measure):
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda power, _place: _factor(10**power)))


def _factor(value: float) -> str:
    return f"×{value:.3g}" if value >= 1 else f"÷{1 / value:.3g}"


def _change(grid: pd.DataFrame, measure: str, base: str, tuned: str) -> pd.DataFrame:
    """layer, position, change (a difference, or the logarithm to base 10 of a ratio), other_choice (bool)."""
    keys = ["layer", "position"]
    both = grid[grid["model"] == base].merge(grid[grid["model"] == tuned], on=keys, suffixes=("_base", "_tuned"))
    before, after = both["value_base"], both["value_tuned"]
    if _is_logarithmic(measure):
        before, after = np.log10(before.clip(lower=_FLOOR)), np.log10(after.clip(lower=_FLOOR))
    return both[keys].assign(change=after - before, other_choice=both["token_base"] != both["token_tuned"])


def rank_view(table: pd.DataFrame) -> Figure:
    """Rank of each token that a model wrote itself, by layer: models side by side, the rank as a number in each cell.

    ``table``: readings of one text with its continuation.
    """
    use_style()
    grid = cells(table[table["generated"]], "rank").dropna(subset=["value"])
    grid["number"] = [_short(value) for value in grid["value"]]
    models = list(dict.fromkeys(grid["model"]))
    scale = _scale("rank", grid)
    columns = [grid.loc[grid["model"] == model, "position"].nunique() for model in models]
    layers = grid["layer"].nunique()
    size = (sum(columns) * 0.4 + 0.6 * len(models) + 0.4, layers * _CELL[1] + 2.0)
    figure, axes = plt.subplots(1, len(models), figsize=size, width_ratios=columns, squeeze=False, layout="constrained")
    for ax, model in zip(axes[0], models, strict=True):
        image = _heat_map(ax, grid[grid["model"] == model], scale, "rank", "number")
        ax.set_title(model, pad=4)
    label = "rank of the token that the model then wrote (1: the layer's first choice)"
    _colour_bar(figure, image, axes[0], label, sum(columns) * 0.4)
    axes[0, 0].set_ylabel("layer (0: embedding)")
    return figure


def _short(rank: float) -> str:
    return f"{rank:.0f}" if rank < 10_000 else f"{rank / 1000:.0f}k"


def visible(token: str, width: int = 10) -> str:
    """A token as it is printed: white space made visible, long ones cut, letters that the font lacks as code points."""
    shown = token.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")
    shown = shown if len(shown) <= width else shown[: width - 1] + "…"
    drawn = "".join(letter if ord(letter) in _glyphs() else f"U+{ord(letter):X}" for letter in shown)
    return drawn.replace("$", r"\$")  # matplotlib would read it as mathematics


@lru_cache
def _glyphs() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(_FONT)).get_charmap())


def layer_curves(table: pd.DataFrame, bases: list[str]) -> Figure:
    """Three measures over the layers, one line per model; the band is the 95 % interval of the mean over texts.

    ``table``: lens readings (model, prompt_id, layer, position, measure, value).
    """
    use_style()
    models = list(dict.fromkeys(table["model"]))
    colours = model_colours(models, bases)
    measures = {
        "entropy": "entropy (nats)",
        "kl_to_final": "KL from the last layer (nats)",
        "rank": "rank of the next token",
    }
    figure, axes = plt.subplots(1, len(measures), figsize=(9, 3.2), layout="constrained")
    for ax, (measure, label) in zip(axes, measures.items(), strict=True):
        chosen = table[table["measure"] == measure]
        chosen = chosen.assign(value=np.log(chosen["value"])) if measure == "rank" else chosen
        per_text = chosen.groupby(["model", "prompt_id", "layer"])["value"].mean()
        for model in models:
            _line_with_band(ax, per_text[model].unstack("layer"), colours[model], model, measure == "rank")
        ax.set_xlabel("layer (0: embedding)")
        ax.set_ylabel(label)
        if measure != "entropy":
            ax.set_yscale("symlog" if measure == "kl_to_final" else "log")
            ax.set_ylim(bottom=0 if measure == "kl_to_final" else 1)
    axes[0].legend(frameon=False)
    title = f"Entropy, distance and rank, layer by layer ({so_many_texts(table['prompt_id'].nunique())})"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _line_with_band(ax: Axes, values: pd.DataFrame, colour: str, label: str, are_logarithms: bool) -> None:
    """The mean over texts (rows) of each layer (column) with its 95 % band. Ranks are averaged as logarithms, so that
    one outlier does not decide the mean."""
    lines = (values.mean(), *mean_interval(values.to_numpy().T[:, :, None]))
    mean, low, high = (np.exp(line) for line in lines) if are_logarithms else lines
    ax.plot(values.columns, mean, color=colour, label=label)
    low = np.maximum(low, _FLOOR)  # a band down to 0 has no place on a logarithmic axis
    ax.fill_between(values.columns, low, high, color=colour, alpha=0.2, linewidth=0)


def emotion_curves(curves: pd.DataFrame, depths: pd.DataFrame, models: Sequence[str], bases: list[str]) -> Figure:
    """Mass over the layers (logarithmic), a panel per quantity, a line per model with its 95 % band over the texts.

    ``curves`` and ``depths``: from ``emotion_lens``. The dot on a line is where half of the final mass is reached.
    ``models``: those to draw, a base and what was tuned from it.
    """
    use_style()
    colours = model_colours(curves["model"].unique(), bases)
    wanted = list(dict.fromkeys(curves["quantity"]))
    figure, axes = plt.subplots(
        1,
        len(wanted),
        figsize=(max(5.0, 2.5 * len(wanted) + 0.8), 3.4),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for ax, quantity in zip(axes[0], wanted, strict=True):
        for model in models:
            line = curves[(curves["model"] == model) & (curves["quantity"] == quantity)]
            at = depths[(depths["model"] == model) & (depths["quantity"] == quantity)].iloc[0]
            ax.plot(line["layer"], line["mean"], color=colours[model], label=model)
            low = line["low"].clip(lower=_FLOOR)
            ax.fill_between(line["layer"], low, line["high"], color=colours[model], alpha=0.2, linewidth=0)
            ax.plot(at["half_depth"], at["final_mass"] / 2, marker="o", markersize=5, color=colours[model])
        ax.set_title(f"{quantity} ({so_many_texts(int(line['texts'].iloc[0]))})")
        ax.set_xlabel("layer (0: embedding)")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(_FLOOR, 1)
    axes[0, 0].set_ylabel("mean probability mass")
    axes[0, 0].legend(frameon=False, loc="upper left")
    figure.suptitle("Mass on the words of an emotion (dot: half of the final mass)", x=0.01, ha="left")
    return figure


def emotion_map(curves: pd.DataFrame, models: Sequence[str]) -> Figure:
    """28 emotions × layers: the mean mass over the texts for each model, and tuned ÷ base where there are two.

    ``curves``: what ``emotion_lens.curves`` gives for the 28 labels.
    """
    use_style()
    grids = [
        curves[curves["model"] == model]
        .pivot(index="quantity", columns="layer", values="mean")
        .loc[list(EMOTION_ORDER)]
        for model in models
    ]
    scale = LogNorm(_FLOOR, max(grid.to_numpy().max() for grid in grids), clip=True)
    panels = len(models) + (len(models) == 2)
    figure, axes = plt.subplots(
        1, panels, figsize=(3.3 * panels + 0.9, 5.6), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, grid, model in zip(axes[0], grids, models, strict=False):
        image = ax.imshow(grid, aspect="auto", cmap=SEQUENTIAL, norm=scale)
        ax.set_title(model)
    _colour_bar(figure, image, axes[0, : len(models)], "mean probability mass on the emotion's words", 3 * len(models))
    if len(models) == 2:
        _mass_ratio(figure, axes[0, -1], grids, models)
    for ax in axes[0]:
        ax.set_xlabel("layer (0: embedding)")
        ax.grid(False)
    axes[0, 0].set_yticks(range(len(EMOTION_ORDER)), EMOTION_ORDER)
    return figure


def _mass_ratio(figure: Figure, ax: Axes, grids: Sequence[pd.DataFrame], models: Sequence[str]) -> None:
    base, tuned = (np.log10(grid.clip(lower=_FLOOR)) for grid in grids)
    change = tuned - base
    image = ax.imshow(
        change, aspect="auto", cmap=_DIVERGING, norm=CenteredNorm(0, max(change.abs().to_numpy().max(), 1e-9))
    )
    ax.set_title("difference")
    bar = _colour_bar(figure, image, ax, f"{models[1]} ÷ {models[0]}", 3)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda power, _place: _factor(10**power)))


def word_curves(table: pd.DataFrame, models: Sequence[str], bases: Sequence[str]) -> Figure:
    """Probability and rank of each target word at the end of the texts, layer by layer: a line per model, 95 % bands.

    ``table``: readings with ``word_probability`` and ``word_rank`` (ranks are averaged on a logarithmic scale).
    """
    use_style()
    ends = table[table["end"]]
    words = list(dict.fromkeys(ends.loc[ends["measure"] == "word_probability", "token"]))
    colours = model_colours(ends["model"].unique(), bases)
    figure, axes = plt.subplots(
        2, len(words), figsize=(2.4 * len(words) + 0.8, 5), sharex=True, sharey="row", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for column, word in enumerate(words):
        for row, measure in enumerate(("word_probability", "word_rank")):
            ax = axes[row, column]
            for model in models:
                rows = ends[(ends["model"] == model) & (ends["measure"] == measure) & (ends["token"] == word)]
                values = rows.pivot(index="prompt_id", columns="layer", values="value")
                is_rank = measure == "word_rank"
                _line_with_band(ax, np.log(values) if is_rank else values, colours[model], model, is_rank)
            ax.set_yscale("log")
        axes[0, column].set_ylim(_FLOOR, 1)
        axes[0, column].set_title(f"'{word}'")
        axes[1, column].set_xlabel("layer (0: embedding)")
    axes[0, 0].set_ylabel("mean probability")
    axes[1, 0].set_ylabel("mean rank (geometric)")
    axes[1, 0].set_ylim(bottom=1)
    axes[0, 0].legend(frameon=False)
    figure.suptitle(f"Target words as the next word ({so_many_texts(ends['prompt_id'].nunique())})", x=0.01, ha="left")
    return figure
