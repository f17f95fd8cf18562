"""Judges beside the first one: how far they agree, and the effects as each sees them."""

import numpy as np
import pandas as pd
import pytest

from emogap.answers.judges import agreement_table, effects_by_judge
from emogap.emotion.lexicon import VADER
from emogap.train.models import TUNED, Comparison


def judged_by(judge, model, *found):
    """What a judge finds in one model's answers, one a prompt; None: it was empty."""
    rows = pd.DataFrame({"prompt_id": [f"joy/{n:02d}" for n in range(len(found))], "response_emotion": found})
    return rows.assign(classifier=judge, model=model, train_seed=0, sample=0, instruction_emotion="joy")


def test_every_two_judges_are_compared_the_lexicon_by_groups_alone():
    answers = pd.concat(
        [
            judged_by("a", "m", "joy", "anger", "neutral", "joy", None),
            judged_by("b", "m", "love", "anger", "neutral", "anger", None),
            judged_by(VADER, "m", "positive", "negative", "neutral", "positive", None),
        ]
    )
    table = agreement_table(answers).set_index(["judge", "second"])
    assert table.index.tolist() == [("a", "b"), ("a", VADER), ("b", VADER)]
    assert set(table["n"]) == {4}  # the empty answer, of which nobody said anything, is no agreement
    assert (
        table["same_emotion"].tolist()[0] == 50 and table.loc[[("a", VADER), ("b", VADER)], "same_emotion"].isna().all()
    )
    assert table["same_group"].tolist() == [75, 100, 75]
    # a: + - 0 +, b: + - 0 -: observed 3/4; by chance (2·1 + 1·2 + 1·1) / 16; kappa (12 - 5) / (16 - 5).
    assert table["kappa_group"].tolist() == pytest.approx([7 / 11, 1, 7 / 11])
    assert table.loc[("a", VADER), "kappa_emotion"] != table.loc[("a", VADER), "kappa_emotion"]


def test_beside_the_lexicon_an_ambiguous_emotion_is_neither_positive_nor_negative():
    found = [judged_by("a", "m", "surprise", "joy", "anger"), judged_by("b", "m", "surprise", "joy", "neutral")]
    answers = pd.concat([*found, judged_by(VADER, "m", "neutral", "positive", "negative")])
    table = agreement_table(answers, "goemotions").set_index(["judge", "second"])["same_group"]
    assert table.to_numpy() == pytest.approx([200 / 3, 100, 200 / 3])


def test_effects_as_each_judge_sees_them():
    answers = pd.concat(
        [
            judged_by("a", "base", "joy", "anger", None, "neutral"),
            judged_by("a", "tuned", "joy", "joy", "joy", "love"),
            judged_by(VADER, "base", "neutral", "neutral", None, "negative"),
            judged_by(VADER, "tuned", "positive", "negative", "positive", "neutral"),
        ]
    )
    table = effects_by_judge(answers, [Comparison("tuned", "base", TUNED)])
    assert table[["outcome", "judge", "change", "prompts"]].to_numpy().tolist() == [
        ["positive", "a", pytest.approx(200 / 3), 3],
        ["positive", VADER, pytest.approx(100 / 3), 3],
        ["negative", "a", pytest.approx(-100 / 3), 3],
        ["negative", VADER, 0, 3],
    ]
    assert (table["low"] <= table["change"]).all() and np.isfinite(table["high"]).all()
