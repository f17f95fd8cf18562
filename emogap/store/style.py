"""One look for all figures: the same colour for the same thing everywhere, readable in grey and when printed small."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from emogap.emotions import LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito (2008): colour-blind readers can distinguish them. Base models are grey, trained models have a hue.
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
"""Font size of all texts in a figure, in points; only in a grid of texts it may be smaller."""
PERCENT = (-3, 103)
"""Limits of an axis in per cent on which points are drawn, so that a point at 0 or 100 is not cut."""
_SIZES = (
    "font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize", "legend.fontsize", "xtick.labelsize",
    "ytick.labelsize",
)  # fmt: skip


def model_colours(models: Iterable[str], bases: Iterable[str]) -> dict[str, str]:
    """Model → colour: grey for a base, one hue for each kind of training, whatever the base and whichever other models
    are shown beside it."""
    bases = sorted(bases, key=len, reverse=True)
    kinds = {model: _kind_of_training(model, bases) for model in models}
    spare: dict[str, str] = {}
    for kind in kinds.values():
        if kind and kind not in _SUFFIX_COLOURS and kind not in spare:
            first = crc32(kind.encode())
            turns = [SPARE_COLOURS[(first + turn) % len(SPARE_COLOURS)] for turn in range(len(SPARE_COLOURS))]
            spare[kind] = next((colour for colour in turns if colour not in spare.values()), turns[0])
    colours = {"": _GREY} | _SUFFIX_COLOURS | spare
    return {model: colours[kind] for model, kind in kinds.items()}


def _kind_of_training(model: str, bases: Sequence[str]) -> str:
    """The part of a model's name after its base, without the seed; the whole name if it begins with none of ``bases``,
    and an empty text if there are no bases."""
    base = next((b for b in bases if model == b or model.startswith(b + "-")), "" if bases else model)
    return model[len(base) :].removeprefix("-").split(".s")[0]


def nothing_figure(said: str) -> "Figure":
    """A figure for the case that there is nothing to draw: it shows the sentence that says so."""
    import matplotlib.pyplot as plt

    use_style()
    text = textwrap.fill(said, 88)
    figure = plt.figure(figsize=(7.2, 0.5 + 0.22 * (1 + text.count("\n"))))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()  # a notebook shows no figure without axes
    figure.text(0.02, 0.5, text.replace("$", r"\$"), va="center", style="italic")
    return figure


def ink_on(colour: Any) -> str:
    """The colour of a number on a bar of that colour: black or white, whichever has more contrast (WCAG's relative
    luminance)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if luminance > 0.179 else "white"


def use_style() -> None:
    """Set fonts, grid and sizes for every figure drawn afterwards."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(context="paper", style="whitegrid")
    plt.rcParams.update(dict.fromkeys(_SIZES, TYPE))
    plt.rcParams.update({"figure.dpi": 100, "axes.titlelocation": "left"})
    plt.rcParams.update({"axes.titleweight": "bold", "figure.titleweight": "bold"})
