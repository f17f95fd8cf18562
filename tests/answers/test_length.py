"""Effects on answers of equal length: what is cut, what the regression says, and where there is no number."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from emogap.answers.emotions_found import ANSWER
from emogap.answers.judges import polarity_pieces
from emogap.answers.length import at_equal_length, counted, cut_answers, cut_piece, length_table, pairs
from emogap.config import load_config
from emogap.emotion.classifier import load_classifier
from emogap.emotions import LABELS
from emogap.records import EMOTIONS, RESPONSES, read_rows, write_rows
from emogap.store.pieces import run
from emogap.train.models import TUNED, Comparison, study_models

PAIR = [Comparison("tuned", "base", TUNED)]


def said(model, *texts, seed=0, found="joy"):
    """One model's answers, one a prompt."""
    rows = pd.DataFrame({"prompt_id": [f"joy/{n:02d}" for n in range(len(texts))], "response": texts})
    rows["response_emotion"] = [found if text else np.nan for text in texts]
    return rows.assign(model=model, train_seed=seed, sample=0, instruction_emotion="joy")


def test_the_longer_answer_of_a_pair_is_cut_to_the_words_of_the_shorter_one():
    answers = counted(
        pd.concat([said("base", "One two.", "", "Yes, I am glad!", "..."), said("tuned", "A b c", "d e", "Oh no", "f")])
    )
    assert answers["words"].tolist() == [2, 0, 4, 0, 3, 2, 2, 1]
    cut = cut_answers(answers, PAIR)
    assert cut[["model", "prompt_id", "words", "response"]].to_numpy().tolist() == [
        ["tuned", "joy/00", 2, "A b c"],
        ["base", "joy/02", 2, "Yes, I am glad!"],
    ]  # where one of both says no word nothing is cut


def test_an_answer_is_cut_once_for_each_length_whatever_it_is_compared_with():
    answers = counted(pd.concat([said("base", "a b"), said("tuned", "c d e"), said("control", "f g")]))
    compared = [*PAIR, Comparison("tuned", "control", TUNED), Comparison("control", "base", TUNED)]
    assert cut_answers(answers, compared)[["model", "words"]].to_numpy().tolist() == [["tuned", 2]]


def test_the_one_training_of_a_base_stands_beside_every_training_of_a_model():
    tuned = [said("tuned", text, seed=seed) for seed, text in ((3, "a b c"), (7, "d"))]
    answers = counted(pd.concat([said("base", "x y"), *tuned]))
    both = pairs(answers, "tuned", "base", ["train_seed", "words"])
    assert both.to_numpy().tolist() == [[3, 3, 0, 2], [7, 1, 0, 2]]
    assert cut_answers(answers, PAIR)[["model", "train_seed", "words"]].to_numpy().tolist() == [
        ["tuned", 3, 2],
        ["base", 0, 1],
    ]


def test_effects_as_they_are_and_cut_by_hand():
    base = said("base", "Good day", "Fine then", "", "Stop it now", found="anger")
    tuned = said("tuned", "What a joy", "Well, it is fine", "Yes", "No")
    answers = counted(pd.concat([base, tuned]))
    cut = cut_answers(answers, PAIR).assign(response_emotion=["neutral", "joy", "neutral"])
    table = length_table(answers, cut, PAIR).set_index("outcome")
    assert cut[[*ANSWER, "words"]].to_numpy().tolist() == [
        ["tuned", 0, "joy/00", 0, 2],
        ["tuned", 0, "joy/01", 0, 2],
        ["base", 0, "joy/03", 0, 1],
    ]
    # As they are: joy in all three, against anger in all three. Cut: neutral, joy, joy against anger, anger, neutral.
    assert table["change"].tolist() == [100, 0, -100]
    assert table["cut"].tolist() == pytest.approx([200 / 3, 0, -200 / 3])
    counts = ["pairs", "left_out", "empty", "empty_against"]
    assert table[counts].drop_duplicates().to_numpy().tolist() == [[3, 1, 0, 1]]
    assert table[["words", "words_against"]].iloc[0].tolist() == pytest.approx([8 / 3, 7 / 3])
    assert table["equal_length"].isna().all() and set(table["reason"]) == {"fewer than 10 prompts"}


def made_up(prompts, seeds=1, samples=1, effect=0.0, slope=0.0, more=0.4, seed=0):
    """Pairs whose positive answers depend on the model and on the logarithm of the number of words."""
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [[f"joy/{n:03d}" for n in range(prompts)], range(seeds), range(samples)], names=["prompt_id", "seed", "sample"]
    )
    table = pd.DataFrame(index=index)
    for one, is_tuned in (("", 1), ("other_", 0)):
        words = np.exp(rng.normal(3 + more * is_tuned, 0.5, len(table))).round().clip(1)
        positive = rng.random(len(table)) < 0.3 + effect * is_tuned + slope * (np.log(words) - 3)
        table = table.assign(**{f"{one}words": words, f"{one}group": np.where(positive, "positive", "neutral")})
    return table


def by_dummies(both):
    """The model's coefficient from ordinary least squares with a column for each prompt."""
    prompts = both.index.get_level_values("prompt_id")
    dummies = pd.get_dummies(np.tile(prompts, 2)).to_numpy(dtype=float)
    words = np.log(np.concatenate([both["words"], both["other_words"]]))
    found = np.concatenate([both["group"], both["other_group"]]) == "positive"
    model = np.repeat([1.0, 0.0], len(both))
    columns = np.column_stack([model, words, dummies])
    return np.linalg.lstsq(columns, found.astype(float))[0][0]


def test_at_equal_length_is_the_regression_with_a_dummy_for_each_prompt():
    both = made_up(prompts=14, samples=2, effect=0.3, slope=0.2)
    estimate = at_equal_length(both, "positive")
    effect = by_dummies(both)
    prompts = both.index.unique("prompt_id")
    without = np.array([by_dummies(both.drop(one, level="prompt_id")) for one in prompts])
    half = t.ppf(0.975, 13) * np.sqrt(13 / 14 * ((without - effect) ** 2).sum())
    assert estimate["equal_length"] == pytest.approx(100 * effect) and estimate["reason"] == ""
    assert estimate["equal_length_low"] == pytest.approx(100 * (effect - half))
    assert estimate["equal_length_high"] == pytest.approx(100 * (effect + half))


def test_trainings_vary_too():
    both = made_up(prompts=20, seeds=3, effect=0.2)
    both.loc[(slice(None), 2, slice(None)), "group"] = "positive"  # one training of the three is another model
    estimate = at_equal_length(both, "positive")
    effect = by_dummies(both)
    over = []
    for level, count in (("prompt_id", 20), ("seed", 3)):
        without = np.array([by_dummies(both.drop(one, level=level)) for one in both.index.unique(level)])
        over.append((count - 1) / count * ((without - effect) ** 2).sum())
    half = np.sqrt(t.ppf(0.975, 19) ** 2 * over[0] + t.ppf(0.975, 2) ** 2 * over[1])
    assert estimate["equal_length_low"] == pytest.approx(max(-100, 100 * (effect - half)))
    assert estimate["equal_length_high"] == pytest.approx(min(100, 100 * (effect + half)))
    assert over[1] > over[0]


def test_an_effect_of_length_alone_goes_at_equal_length_and_one_of_emotion_stays():
    length = made_up(prompts=300, slope=0.3, more=0.8)
    emotion = made_up(prompts=300, effect=0.3, more=0.8)
    as_is = [
        (both["group"] == "positive").mean() - (both["other_group"] == "positive").mean() for both in (length, emotion)
    ]
    assert min(as_is) > 0.15
    found = [at_equal_length(both, "positive") for both in (length, emotion)]
    assert found[0]["equal_length_low"] < 0 < found[0]["equal_length_high"]
    assert found[1]["equal_length_low"] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"group": "neutral", "other_group": "neutral"}, "no answer differs"),
        ({"group": "positive", "other_group": "neutral"}, "all answers differ alike"),
        ({"words": 20.0, "other_words": 10.0}, "model and length cannot be told apart"),
    ],
)
def test_where_nothing_can_be_estimated_there_is_no_number_but_a_reason(change, reason):
    estimate = at_equal_length(made_up(prompts=12).assign(**change), "positive")
    assert estimate.pop("reason") == reason
    assert np.isnan(list(estimate.values())).all()


@pytest.fixture
def config(tmp_path):
    """A home in which four models answered two prompts; only the base says more than a word."""
    config = load_config("embedded", tmp_path, ["sentiment.classifiers=[{name='emotion-tfidf'}]"])
    for model in study_models(config):
        texts = ["I love you. I hate it", "Thank you so much"] if model.name == model.base else ["Thanks!", ""]
        rows = said(model.name, *texts).assign(instruction="Say it.", input="", finished=True)
        path = config.home.responses(model.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, rows.drop(columns="response_emotion"), RESPONSES)
    return config


def test_what_is_cut_is_judged_once_and_not_again(config):
    summary = run("sentiment", [cut_piece(config)])
    assert summary.counts == {"cut answers classified": 1}  # "I", whatever it is compared with
    rows = read_rows(cut_piece(config).path, EMOTIONS)
    named = ["model", "prompt_id", "words", "classifier"]
    assert rows[named].to_numpy().tolist() == [["smollm2-135m", "joy/00", 1, "emotion-tfidf"]]
    assert not run("sentiment", [cut_piece(config)]).made
    judge = load_classifier("emotion-tfidf")
    assert rows["response_emotion"].tolist() == [LABELS[judge.scores(["I"])[0].argmax()]]


def test_the_lexicon_reads_every_answer_but_empty_ones(config):
    run("sentiment", polarity_pieces(config))
    rows = read_rows(polarity_pieces(config)[0].path, EMOTIONS).set_index(["model", "prompt_id"])
    # love 3.2 and hate -2.7 add up to 0.5: 0.5 / sqrt(0.25 + 15).
    assert rows.loc[("smollm2-135m", "joy/00"), "score"] == pytest.approx(0.128, abs=5e-4)
    found = rows["response_emotion"]
    assert found["smollm2-135m"].tolist() == ["positive", "positive"]
    assert found["smollm2-135m-baby"].iloc[0] == "positive" and pd.isna(found["smollm2-135m-baby"].iloc[1])
    without = load_config("embedded", config.home.root, ["sentiment.lexicon=none"])
    assert polarity_pieces(without) == [] and config.sentiment.lexicon == "vader"
