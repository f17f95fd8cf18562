"""The figure of effects: a panel a measure, a model in its own colour, filled where an interval leaves out zero."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.colors import to_hex

from emogap.store.style import model_colours
from emogap.study.effects import effects_figure

COLUMNS = ["comparison", "model", "against", "measure", "change", "low", "high"]


def drawn(*rows: tuple) -> plt.Figure:
    figure = effects_figure(pd.DataFrame(rows, columns=COLUMNS))
    plt.close(figure)
    return figure


def labels(figure: plt.Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_names_are_short_where_there_is_one_base_and_whole_where_there_are_two():
    one = [("tuned - control", "gpt2-baby", "gpt2-plain", "positive answers", 5.0, 1.0, 9.0),
           ("tuned - base", "gpt2-baby", "gpt2", "positive answers", 2.0, -1.0, 5.0)]  # fmt: skip
    assert labels(drawn(*one)) == ["baby - plain", "baby - base"]
    two = [*one, ("tuned - base", "tiny-baby", "tiny", "positive answers", 2.0, -1.0, 5.0)]
    assert labels(drawn(*two)) == ["gpt2-baby - gpt2-plain", "gpt2-baby - gpt2", "tiny-baby - tiny"]
    assert labels(drawn(one[0])) == ["gpt2-baby - gpt2-plain"], "controls alone do not tell the base"


def test_a_point_is_filled_where_its_interval_leaves_out_zero():
    figure = drawn(
        ("tuned - base", "gpt2-baby", "gpt2", "a", 5.0, 1.0, 9.0),
        ("tuned - base", "gpt2-instr", "gpt2", "a", 2.0, -1.0, 5.0),
        ("tuned - base", "gpt2-baby", "gpt2", "b", -5.0, -9.0, 0.0),
        ("tuned - base", "gpt2-baby", "gpt2", "c", -5.0, -9.0, -1.0),
    )
    points = [axes.collections[-1] for axes in figure.axes[:3]]
    colours = model_colours(["gpt2-baby", "gpt2-instr"], ["gpt2"])
    assert [to_hex(face) for face in points[0].get_facecolors()] == [colours["gpt2-baby"], "#ffffff"]
    assert [to_hex(edge) for edge in points[0].get_edgecolors()] == list(colours.values())
    assert to_hex(points[1].get_facecolors()[0]) == "#ffffff", "an interval that ends at zero holds it"
    assert to_hex(points[2].get_facecolors()[0]) == colours["gpt2-baby"]
    assert [axes.axison for axes in figure.axes] == [True, True, True, False], "no panel without a measure"
