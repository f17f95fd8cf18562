"""The report's first screen: each form of sentence, from tables whose answer is known."""

import pandas as pd
import pytest

from emogap.report.answer import answer

KINDS = {"control": "tuned - control", "base": "tuned - base"}


def effect(
    measure: str, change: float, low: float, high: float, against: str = "control", model: str = "tiny-baby",
    holm: float = 0.2,
):  # fmt: skip
    other = {"control": "tiny-plain", "base": "tiny"}[against]
    return {"comparison": KINDS[against], "model": model, "against": other, "measure": measure, "change": change,
            "low": low, "high": high, "p": 0.01, "p_holm": holm}  # fmt: skip


def language(**perplexity: tuple[float, float, float]) -> pd.DataFrame:
    columns = ["perplexity", "perplexity_low", "perplexity_high"]
    rows = {name.replace("_", "-"): values for name, values in perplexity.items()}
    return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("model").reset_index()


@pytest.fixture
def said(make_config):
    def say(effects: list[dict], spoken: pd.DataFrame | None = None, *settings: str) -> list[str]:
        tables = {"effects": pd.DataFrame(effects) if effects else None, "language": spoken}
        found = answer(make_config(*settings), lambda name: tables[name.split("/")[1]])
        return [f"{sentence.about}: {sentence.text}" for sentence in found]

    return say


def test_an_effect_is_one_that_stands_after_correction(said):
    against_base = effect("positive answers", -4, -9, 1, "base")
    first, *_ = said([effect("positive answers", 12.34, 3.21, 21.4, holm=0.03), against_base])
    assert first == (
        "Positive answers: changed with emotion in the training text, by +12.3 [3.2, 21.4] points (tiny-baby "
        "against tiny-plain). 1 of 1 comparison with a control can be told after correction for all tests of their "
        "kind."
    )
    first, *_ = said([effect("positive answers", 12.34, 3.21, 21.4), against_base])
    assert first == (
        "Positive answers: no effect of emotion in the training text can be told after correction for all tests of "
        "its kind; before it the intervals of 1 of 1 comparison with a control leave out zero: +12.3 [3.2, 21.4] "
        "points (tiny-baby against tiny-plain)."
    )


def test_without_one_the_largest_is_named_and_nothing_is_told(said):
    larger = effect("positive answers", -7.5, -20.0, 5.0, model="tiny-instr")
    assert said([effect("positive answers", 1.0, -3.0, 5.0), larger])[0] == (
        "Positive answers: no effect of emotion in the training text can be told; the largest of 2 comparisons with a "
        "control is -8 [-20, 5] points (tiny-instr against tiny-plain)."
    )
    touching = said([effect("positive answers", 3.0, 0.0, 6.0)])[0]
    assert "no effect" in touching, "an interval that ends at zero holds it"


def test_without_controls_it_is_training_that_changed_something_and_the_page_says_so(said):
    first = said([effect("positive answers", 12.34, 3.21, 21.4, "base", holm=0.03)])[0]
    assert first.startswith(
        "Positive answers: changed with training, by +12.3 [3.2, 21.4] points (tiny-baby against tiny)"
    )
    assert first.endswith("what emotion did is not separated from what any training of this kind does.")


def test_what_has_not_been_measured_is_missing(said):
    _, grammar, language, *_ = said([effect("positive answers", 1.0, -3.0, 5.0)])
    assert grammar == "Grammar (minimal pairs): not measured yet; run `emogap evaluate`."
    assert language == "Plain text: not measured yet; run `emogap evaluate`."
    first, *_ = said([])
    assert first.startswith("Effects: not measured yet; run `emogap evaluate`. No model has a control here")


def test_plain_text_costs_something_where_intervals_lie_apart(said):
    rows = [effect("positive answers", 1.0, -3.0, 5.0)]
    apart = said(rows, language(tiny_baby=(71.0, 65.0, 78.0), tiny_plain=(50.0, 45.0, 55.0)))
    assert (
        "Plain text: in 1 of 1 comparisons the intervals of its perplexity lie apart: 71.0 [65.0, 78.0] for tiny-baby, "
        "50.0 [45.0, 55.0] for tiny-plain."
    ) in apart
    overlapping = said(rows, language(tiny_baby=(54.0, 49.0, 60.0), tiny_plain=(50.0, 45.0, 55.0)))
    assert any(sentence.startswith("Plain text: no cost can be told") for sentence in overlapping)


def test_the_limits_are_those_of_the_intervals_and_of_the_trainings(said):
    rows = [effect("positive answers", 1.0, -17.0, 19.0), effect("minimal pairs", 0.0, -8.0, 8.0)]
    limits = said(rows)[-1]
    assert "18 points (positive answers), 8 points (minimal pairs)" in limits
    assert "Each model was trained once" in limits
    assert "trained once" not in said(rows, None, "clm.seeds=[0, 1]")[-1]
    questions = said([*rows, effect("EmoBench EA", 30.0, 10.0, 50.0)])[2]
    assert questions.startswith("Understanding") and "(tiny-baby against tiny-plain, EmoBench EA)" in questions
