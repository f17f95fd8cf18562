"""Colours of models: the same in every figure, whichever other models are in it."""

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
