"""One look for all figures: the same colour for the same thing everywhere, readable in grey and when printed small."""

import textwrap
from collections.abc import Iterable

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from emogap.emotions import LABELS

# Okabe & Ito (2008): told apart by colour-blind readers. Base models are grey, what was trained on them has a hue.
_BLACK, _GREY, _BLUE, _ORANGE, _GREEN, _RED, _SKY, _PINK = (
    "#000000", "#8c8c8c", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7",
)  # fmt: skip

GROUP_COLOURS = {"positive": _ORANGE, "neutral": "#bbbbbb", "negative": _BLUE, "ambiguous": _PINK}
METHOD_COLOURS = {"m0": _GREY, "m1": _BLUE, "m2": _ORANGE, "m3": _GREEN, "v1": _SKY, "v2": _PINK, "v3": _RED}
VERDICT_COLOURS = {True: _GREEN, False: _RED}
"""Kept or not."""
DIFFERENCE_COLOURS = {"+": _GREEN, "-": _RED, "@": _GREY}
"""Lines of a diff, by their first character."""
_SUFFIX_COLOURS = {"baby": _BLUE, "instr": _ORANGE, "baby-instr": _GREEN}
# A control has a paler hue of what it is a control of.
_SUFFIX_COLOURS |= {"plain": "#66aad1", "lines": "#a6cbe3", "orig": "#f3cd80", "plain-orig": "#80cfb9"}
SPARE_COLOURS = (_SKY, _RED, _PINK, _BLACK)

EMOTION_ORDER = LABELS
"""An emotion keeps its place in every figure."""

SEQUENTIAL = "viridis"
TYPE = 9
"""Points of all that is written in a figure; only in a grid of texts it may be smaller."""
_SIZES = (
    "font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize", "legend.fontsize", "xtick.labelsize",
    "ytick.labelsize",
)  # fmt: skip


def model_colours(models: Iterable[str], bases: Iterable[str]) -> dict[str, str]:
    """Model → colour: grey for a base, one hue for each kind of training, whatever the base."""
    bases = sorted(bases, key=len, reverse=True)
    colours: dict[str, str] = {}
    for model in models:
        base = next((b for b in bases if model == b or model.startswith(b + "-")), "")
        suffix = model[len(base) + 1 if base else 0 :].split(".s")[0]
        if model == base or not bases:
            colours[model] = _GREY
        else:
            taken = list(dict.fromkeys(m[len(base) + 1 :] for m in colours))
            colours[model] = _SUFFIX_COLOURS.get(suffix, SPARE_COLOURS[len(taken) % len(SPARE_COLOURS)])
    return colours


def nothing_figure(said: str) -> Figure:
    """What stands where there is nothing to draw: the sentence that says so."""
    use_style()
    text = textwrap.fill(said, 88)
    figure = plt.figure(figsize=(7.2, 0.5 + 0.22 * (1 + text.count("\n"))))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
    figure.text(0.02, 0.5, text.replace("$", r"\$"), va="center", style="italic")
    return figure


def use_style() -> None:
    """Set fonts, grid and sizes for every figure drawn afterwards."""
    sns.set_theme(context="paper", style="whitegrid")
    plt.rcParams.update(dict.fromkeys(_SIZES, TYPE))
    plt.rcParams.update({"figure.dpi": 100, "axes.titlelocation": "left"})
    plt.rcParams.update({"axes.titleweight": "bold", "figure.titleweight": "bold"})
