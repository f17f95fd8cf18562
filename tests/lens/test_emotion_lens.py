"""The emotion lens: word lists from counts, mass and depth from tables made by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from emogap.emotions import INDEX, LABELS
from emogap.errors import InputError, MissingInput
from emogap.lens.emotion_lens import (
    ANY,
    OWN,
    Mass,
    curves,
    depths,
    half_depth,
    mass_at_ends,
    quantities,
    shift_statements,
)
from emogap.lens.reader import WORDS, load_emotion_words
from tools.emotion_words import emotion_words, make_emotion_words, usage

N = 300


def made_up_texts():
    texts = ["what a glad and sunny day"] * N + ["a sorrowful rainy day"] * N + ["the day of the slow bus"] * N
    return texts, [["joy"]] * N + [["sadness"]] * N + [["neutral"]] * N


def test_a_word_is_listed_where_it_stands_out_and_weighs_its_share():
    lists = emotion_words([usage(*made_up_texts())])
    assert set(lists["joy"]) == {"glad", "sunny"}
    assert set(lists["sadness"]) == {"sorrowful", "rainy"}
    assert set(lists["neutral"]) == {"slow", "bus"}
    assert lists["anger"] == {}
    assert not any("day" in words for words in lists.values())
    counted = usage(*made_up_texts())
    # By hand: the rate of the word in each emotion's words, shrunk by 1,000 words used as in all together.
    pooled = N / counted.counts.sum()
    rates = {}
    for label in ("joy", "sadness", "neutral"):
        own = counted.counts[INDEX[label]].sum()
        rates[label] = ((N if label == "joy" else 0) + 1000 * pooled) / (own + 1000)
    assert lists["joy"]["glad"] == pytest.approx(rates["joy"] / sum(rates.values()), abs=5e-4)


def test_a_word_must_be_known_to_both_sources_and_contradicted_by_neither():
    texts, labels = made_up_texts()
    swapped = [["sadness"] if own == ["joy"] else ["joy"] if own == ["sadness"] else own for own in labels]
    without_glad = [text.replace("glad and ", "") for text in texts]
    lists = emotion_words([usage(texts, labels), usage(without_glad, labels)])
    assert set(lists["joy"]) == {"sunny"}
    assert emotion_words([usage(texts, labels), usage(texts, swapped)])["joy"] == {}


def test_an_emotion_that_one_source_lacks_is_judged_by_the_other():
    texts, labels = made_up_texts()
    without_joy = [["neutral"] if own == ["joy"] else own for own in labels]
    lists = emotion_words([usage(texts, labels), usage([text + " again" for text in texts], without_joy)])
    assert set(lists["joy"]) == {"glad", "sunny"}


def test_lists_are_made_from_folders_without_a_sentence_of_them(tmp_path):
    texts, labels = made_up_texts()
    rows = [f"{text} [NAME]\t{INDEX[own[0]]}\tid{i}" for i, (text, own) in enumerate(zip(texts, labels, strict=True))]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    stories = tmp_path / "stories"
    stories.mkdir()
    with pytest.raises(MissingInput, match="no Parquet file"):
        make_emotion_words(tmp_path, stories, tmp_path / "words.json")
    table = pd.DataFrame({"augmented_text": texts, "emotion": [f"{own[0]}, love" for own in labels]})
    table.to_parquet(stories / "chunk.parquet")
    made = make_emotion_words(tmp_path, stories, tmp_path / "words.json")
    assert set(made["joy"]) == {"glad", "sunny"}
    assert "sunny day" not in (tmp_path / "words.json").read_text(encoding="utf-8")
    # Some emotions of so small a source have no word at all: such lists are refused when they are read.
    with pytest.raises(InputError, match="no word of admiration"):
        load_emotion_words(tmp_path / "words.json")


def test_the_lists_that_ship():
    lists = load_emotion_words()
    assert tuple(lists) == LABELS
    for label, words in lists.items():
        assert 3 <= len(words) <= 40, label
        assert all(word.isalpha() and word == word.lower() for word in words)
        assert all(0.12 <= weight <= 1 for weight in words.values())
    for label, word in {"joy": "happy", "pride": "proud", "fear": "afraid", "sadness": "sad", "anger": "angry"}.items():
        assert word in lists[label]


@pytest.mark.slow
def test_the_lists_that_ship_are_what_the_command_makes(real_data, tmp_path):
    made = make_emotion_words(real_data / "goemotions", real_data / "mistral_babylm", tmp_path / "words.json")
    for label, words in load_emotion_words().items():
        # A sum's last bit, which the processor decides, can turn a rounded weight's last digit.
        assert made[label] == pytest.approx(words, abs=0.0011)
    assert json.loads((tmp_path / "words.json").read_text())["made_from"] == json.loads(WORDS.read_text())["made_from"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not an object; make the word lists anew"),
        ('{"words": {"joy": {}}}', "has no word of admiration"),
        ('{"words": 3}', "'words' is 3, not an object"),
        ('{"words": {"joy": {"glad": 7}}}', "'words', 'joy', 'glad' is 7"),
        ('{"words": {"joy": {"glad": NaN}}}', "NaN is no value"),
        ("not json", "line 1: not JSON"),
    ],
)
def test_files_that_are_no_lists(tmp_path, content, message):
    (tmp_path / "words.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_emotion_words(tmp_path / "words.json")


@pytest.mark.parametrize(
    ("curve", "depth"),
    [
        ([0, 0, 0, 8], 2.5),  # half is 4: half way between the layers 2 and 3
        ([0, 2, 6, 8], 1.5),
        ([0, 9, 1, 8], 2 + 3 / 7),  # an early peak that falls again does not count
        ([0, 12, 12, 8], 4 / 12),
        ([5, 6, 7, 8], 0.0),
    ],
)
def test_half_depth(curve, depth):
    assert half_depth(np.array(curve)) == pytest.approx(depth)
    assert half_depth(np.array([curve, curve])) == pytest.approx([depth, depth])


def made_up_mass(shift: int) -> Mass:
    """Twenty openings of joy and ten of fear; the tuned model's own mass rises ``shift`` layers earlier."""
    prompts = [f"joy/{i:02d}" for i in range(20)] + [f"fear/{i:02d}" for i in range(10)] + ["neutral/00"]
    rng = np.random.default_rng(0)
    values = {}
    for model, at in (("base", 6), ("base-instr", 6 - shift)):
        table = np.full((31, 11, 28), 1e-4)
        for row, prompt in enumerate(prompts):
            table[row, at:, INDEX[prompt.split("/")[0]]] = 0.1 + 0.01 * rng.random()
        values[model] = table
    return Mass(("base", "base-instr"), tuple(prompts), values)


BASES = {"base": "base", "base-instr": "base"}


def test_quantities_and_their_texts():
    mass = made_up_mass(0)
    assert quantities(mass) == [OWN, "own positive", "own negative"]
    assert [len(mass.of("base", q)) for q in (OWN, "own positive", "own negative", "joy", ANY)] == [30, 20, 10, 31, 31]
    assert mass.of("base", ANY)[0, 0] == pytest.approx(27e-4)
    unlabelled = Mass(mass.models, tuple(f"t{i}" for i in range(31)), mass.values)
    assert quantities(unlabelled) == [ANY]


@pytest.mark.parametrize(("shift", "said"), [(2, "moved it earlier"), (-2, "moved it later"), (0, "it stays open")])
def test_the_statement_says_what_the_interval_supports(shift, said):
    table = depths(made_up_mass(shift), BASES, [OWN, "joy"], 200, 0)
    row = table[(table["model"] == "base-instr") & (table["quantity"] == OWN)].iloc[0]
    assert row["shift"] == pytest.approx(-shift, abs=0.01)
    assert row["shift_low"] <= row["shift"] <= row["shift_high"]
    assert row["low"] <= row["half_depth"] <= row["high"]
    assert table.loc[table["model"] == "base", "shift"].isna().all()
    (statement,) = shift_statements(table)
    assert said in statement and "30 texts" in statement
    pd.testing.assert_frame_equal(table, depths(made_up_mass(shift), BASES, [OWN, "joy"], 200, 0))


def test_one_text_has_no_interval():
    mass = made_up_mass(2)
    one = Mass(mass.models, mass.prompt_ids[:1], {model: values[:1] for model, values in mass.values.items()})
    table = depths(one, BASES, [OWN], 200, 0)
    assert table[["low", "high"]].isna().all(axis=None)
    assert "has no interval, the texts are too few (1 text)" in shift_statements(table)[0]


def test_mass_is_read_from_the_ends_of_long_tables():
    rows = [
        {"model": model, "prompt_id": prompt, "layer": layer, "position": position, "measure": "emotion_mass",
         "token": label, "value": layer + INDEX[label] / 100 + (prompt == "b"), "end": position == 3}
        for model in ("x", "y") for prompt in ("b", "a") for layer in range(2) for position in (2, 3)
        for label in LABELS
    ]  # fmt: skip
    mass = mass_at_ends(pd.DataFrame(rows).sample(frac=1, random_state=0).sort_values("model"))
    assert set(mass.prompt_ids) == {"a", "b"}
    values = mass.values["y"][mass.prompt_ids.index("b")]
    np.testing.assert_allclose(values, 1 + np.arange(2)[:, None] + np.arange(28) / 100)
    table = curves(mass, ["joy"])
    assert table.loc[(table["model"] == "x") & (table["layer"] == 1), "mean"].item() == pytest.approx(
        1.5 + INDEX["joy"] / 100
    )
