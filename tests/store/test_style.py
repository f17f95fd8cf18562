"""Colours of models: the same in every figure, whichever other models are in it; and what is written on them."""

import pytest
from matplotlib.colors import to_rgb

from emogap.store import style
from emogap.store.style import SPARE_COLOURS, model_colours


def test_a_model_keeps_its_colour_whatever_stands_beside_it():
    bases = ["gpt2", "gpt2-medium"]
    models = ["gpt2", "gpt2-baby", "gpt2-medium-baby", "gpt2-baby.s1", "gpt2-odd", "gpt2-medium-odd"]
    together = model_colours(models, bases)
    assert together["gpt2-baby"] == together["gpt2-medium-baby"] == together["gpt2-baby.s1"] != together["gpt2"]
    assert together["gpt2-odd"] == together["gpt2-medium-odd"] in SPARE_COLOURS
    assert all(model_colours([model], bases)[model] == colour for model, colour in together.items())


def test_kinds_of_training_of_ones_own_are_told_apart():
    kinds = [f"gpt2-kind{i}" for i in range(len(SPARE_COLOURS))]
    assert sorted(model_colours(kinds, ["gpt2"]).values()) == sorted(SPARE_COLOURS)


@pytest.mark.parametrize("colour", sorted({*style.GROUP_COLOURS.values(), *style.METHOD_COLOURS.values(), "#000000"}))
def test_what_is_written_on_a_bar_is_told_apart_from_it(colour):
    def luminance(name: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(colour), luminance(style.ink_on(colour))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5, "WCAG's contrast for texts"
