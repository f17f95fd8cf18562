"""Training the emotion classifiers on a few made-up rows: files, resuming, errors, card, agreement."""

import json

import numpy as np
import pytest

from emogap.emotion.classifier import MINILM, TFIDF, TfidfClassifier, load_minilm
from emogap.emotions import LABELS
from emogap.errors import InputError, MissingInput, UsageError
from tools import train_classifier as training
from tools.goemotions import read_goemotions
from tools.train_classifier import FitSettings, case_weights, fit, teacher_agreement, training_batches


@pytest.fixture
def data(tmp_path):
    """84 rows for training and 28 for tuning, three and one a label, each naming its label."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, copies in (("train", 3), ("dev", 1)):
        rows = [f"I felt {LABELS[i]} number {i % 7}\t{i}\tid{i}" for i in range(28) for _ in range(copies)]
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokens():
    from emogap.emotion import minilm

    _, tokenizer = minilm.load_encoder()
    return tokenizer([f"a line about {LABELS[i]}" for i in range(28)])["input_ids"]


def test_reads_texts_and_labels(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("Well done!\t0,17\tx1\r\nIt's a \u2028table\t27\tx2\n", encoding="utf-8", newline="")
    rows = read_goemotions(path)
    assert rows.texts == ["Well done!", "It's a \u2028table"]
    assert [np.flatnonzero(row).tolist() for row in rows.targets] == [[0, 17], [27]]


@pytest.mark.parametrize(
    "line",
    ["no label", "text\t28\tid", "text\tjoy\tid", "text\t1\tid\tmore", "text\t-1\tid", "text\t1_0\tid", "text\t \tid"],
)
def test_bad_line_is_named(tmp_path, line):
    path = tmp_path / "train.tsv"
    path.write_text(f"fine\t3\tid\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.tsv, line 2"):
        read_goemotions(path)


def test_absent_and_empty_data_are_named(tmp_path):
    with pytest.raises(MissingInput, match=r"train\.tsv not found; run `emogap fetch goemotions`"):
        read_goemotions(tmp_path / "train.tsv")
    (tmp_path / "dev.tsv").touch()
    with pytest.raises(InputError, match="is empty"):
        read_goemotions(tmp_path / "dev.tsv")


def test_batches_are_a_shuffle_of_all_rows_by_length():
    lengths = np.random.default_rng(0).integers(3, 50, size=1000)
    batches = training_batches(lengths, 32, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    again, other = training_batches(lengths, 32, 1, 0), training_batches(lengths, 32, 1, 1)
    assert [b.tolist() for b in batches] == [b.tolist() for b in again] != [b.tolist() for b in other]
    assert np.mean([np.ptp(lengths[rows]) for rows in batches]) < 5


def test_a_trained_update_is_the_same_beside_the_weights_and_in_them(tokens):
    import torch

    from emogap.emotion import minilm
    from emogap.emotion.classifier import pad
    from tools.minilm_training import add_adapter, trained_parameters

    torch.manual_seed(0)
    learning, _ = minilm.load_encoder()
    plain, _ = minilm.load_encoder()
    add_adapter(learning, rank=2, half=False)
    trained = trained_parameters(learning)
    assert sum(name.endswith(".A") for name in trained) == 6 * 6  # six linear layers in each of six blocks
    learnt = {id(value) for value in trained.values()}
    assert {id(value) for value in learning.parameters() if value.requires_grad} == learnt
    ids, mask = (torch.from_numpy(part) for part in pad(tokens[:5], 0))
    with torch.no_grad():
        untrained = learning.bert(ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(untrained, plain.bert(ids, attention_mask=mask).last_hidden_state)
        for name, value in trained.items():
            if name.endswith(".B"):
                value.normal_(std=0.02)
        minilm.load_trained(plain, trained)
        assert (learning.bert(ids, attention_mask=mask).last_hidden_state - untrained).abs().max() > 0.05
        torch.testing.assert_close(learning(ids, mask).logits, plain(ids, mask).logits, atol=1e-5, rtol=1e-4)


def test_cases_of_rare_labels_count_more():
    shares = np.array([0.2, 0.1, 0.1, 0.1, 0.025], dtype=np.float32)
    weights = case_weights(shares, 0.5)
    np.testing.assert_allclose(weights, [1, 1, 1, 1, 2])
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(case_weights(shares, 0), np.ones(5))


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_fit_weighs_cases_of_rare_labels(tokens, tmp_path, power):
    """Before the first step every score is its label's frequency, so that the first loss can be had by hand."""
    targets = np.zeros((28, 28), dtype=np.float32)
    targets[:14], targets[1:, 5] = 1, 0  # half of the lines have every label but label 5, which one line has
    log = []
    settings = FitSettings(epochs=1, rank=2, rarity_power=power, batch_size=28)
    fit(tokens, targets, settings, 0, tmp_path / "fit.safetensors", log.append)
    common, rare = np.log(2), -(14**power * np.log(1 / 28) + 27 * np.log(27 / 28)) / 28
    assert float(log[0].split("loss ")[1].split(",")[0]) == pytest.approx((27 * common + rare) / 28, abs=1e-4)


def test_mean_of_fits_is_that_of_their_updates():
    import torch

    from tools.minilm_training import mean_trained

    def learnt(rank):
        shapes = {"layer.A": (rank, 7), "layer.B": (9, rank), "head.weight": (3, 9), "head.bias": (3,)}
        return {name: torch.randn(shape) for name, shape in shapes.items()}

    torch.manual_seed(0)
    one, two = learnt(2), learnt(3)
    mean = mean_trained([one, two])
    assert mean["layer.A"].shape == (5, 7) and mean["layer.B"].shape == (9, 5)
    update = (one["layer.B"] @ one["layer.A"] + two["layer.B"] @ two["layer.A"]) / 2
    torch.testing.assert_close(mean["layer.B"] @ mean["layer.A"], update)
    torch.testing.assert_close(mean["head.bias"], (one["head.bias"] + two["head.bias"]) / 2)
    assert mean.keys() == one.keys()


def test_fit_learns(tokens, tmp_path):
    losses = []
    settings = FitSettings(epochs=10, rank=2, batch_size=28, learning_rate=5e-3, head_learning_rate=0.1, warmup_steps=1)
    fit(tokens, np.eye(28, dtype=np.float32), settings, 0, tmp_path / "fit.safetensors", losses.append)
    values = [float(line.split("loss ")[1].split(",")[0]) for line in losses]
    assert len(values) == 10 and values[-1] < 0.6 * values[0]


def test_killed_fit_goes_on_to_the_same_weights(tokens, tmp_path):
    settings = FitSettings(epochs=3, rank=2, batch_size=20, warmup_steps=2)
    targets = np.eye(28, dtype=np.float32)
    whole = fit(tokens, targets, settings, 5, tmp_path / "whole.safetensors", lambda line: None)

    def kill_after_two(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tokens, targets, settings, 5, tmp_path / "killed.safetensors", kill_after_two)
    epochs = []
    resumed = fit(tokens, targets, settings, 5, tmp_path / "killed.safetensors", epochs.append)
    assert len(epochs) == 1 and epochs[0].startswith("epoch 3 of 3")
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name].numpy(), resumed[name].numpy())
    done = fit(tokens, targets, settings, 5, tmp_path / "killed.safetensors", epochs.append)
    assert len(epochs) == 1 and (done["head.bias"] == whole["head.bias"]).all()


def test_trains_both_and_writes_a_card_from_what_was_measured(data, tmp_path):
    import polars as pl

    stories = tmp_path / "stories"
    stories.mkdir()
    lines = {"text": ["I felt joy", "I felt fear"], "emotion": ["joy, love", "fear"]}
    pl.DataFrame(lines).write_parquet(stories / "prompt1.parquet")
    out, options = tmp_path / "out", {"epochs": 1, "rank": 2, "stories": stories}
    log = []
    scores = training.train_classifier(data, out, seed=3, log=log.append, **options)
    assert {file.name for file in (out / MINILM).iterdir()} == {
        "adapter.safetensors", "head.safetensors", "config.json", "scores.json", "README.md"
    }  # fmt: skip
    classifier = load_minilm(out / MINILM, "cpu", "fp32")
    assert classifier.scores(["I felt joy"]).shape == (1, 28)
    assert json.loads((out / MINILM / "scores.json").read_text()) == scores[MINILM]
    card = (out / MINILM / "README.md").read_text()
    macro = scores[MINILM]["f1"]["cross-fitted"]["macro"]
    assert f"| emotion-minilm | cross-fitted | {macro['value']:.3f} ({macro['low']:.3f} to {macro['high']:.3f})" in card
    assert "emogap train-classifier --data DIR --seed 3 --epochs 1 --rank 2\n" in card
    assert "mean of 2 fits of 1 epochs" in card and "with p = 0.0 and 0.5" in card
    assert "84 training and 28 dev rows" in card and "| all | 2 |" in card
    assert scores[TFIDF]["labels"].keys() == set(LABELS)


def test_training_begun_otherwise_is_not_mixed_in(tmp_path):
    recipe = {"seed": 0, "rank": 16}
    training.begin(tmp_path / "training", recipe, 84)
    assert training.begin(tmp_path / "training", recipe, 84) == tmp_path / "training"
    with pytest.raises(UsageError, match=r"other settings \(rank 16 → 8\); delete it or use those"):
        training.begin(tmp_path / "training", {"seed": 0, "rank": 8}, 84)


def test_second_judge_scores_as_scikit_learn_does(data, tmp_path):
    from sklearn.linear_model import LogisticRegression

    from emogap.emotion.classifier import tfidf_vectorizer

    train, dev = read_goemotions(data / "train.tsv"), read_goemotions(data / "dev.tsv")
    training.train_tfidf(train, dev, tmp_path / TFIDF)
    scores = TfidfClassifier(tmp_path / TFIDF).scores(dev.texts)
    vectorizer = tfidf_vectorizer(max_features=training.TFIDF_FEATURES)
    features = vectorizer.fit_transform(train.texts)
    for label in (0, 13, 27):
        model = LogisticRegression(C=training.TFIDF_INVERSE_PENALTY, solver="liblinear")
        expected = model.fit(features, train.targets[:, label]).predict_proba(vectorizer.transform(dev.texts))[:, 1]
        np.testing.assert_allclose(scores[:, label], expected, atol=2e-3)  # half-precision coefficients


class Fixed:
    """A classifier whose scores are given."""

    def __init__(self, scores):
        self.given = scores

    def scores(self, texts):
        return np.array([self.given[text] for text in texts], dtype=np.float32)


def test_agreement_counts_the_top_label_other_than_neutral(tmp_path):
    import polars as pl

    def peak(label, neutral=0.9):
        return [neutral if name == "neutral" else 0.5 if name == label else 0.1 for name in LABELS]

    lines = {"a": ("joy, love", "joy"), "b": ("joy, love", "love"), "c": ("joy", "fear"), "d": ("fear", "fear")}
    table = {"text": list(lines), "emotion": [teacher for teacher, _ in lines.values()], "source": ["x"] * 4}
    pl.DataFrame(table).write_parquet(tmp_path / "prompt1.parquet")
    agreement = teacher_agreement(tmp_path, Fixed({text: peak(own) for text, (_, own) in lines.items()}))
    assert agreement == {"fear": {"rows": 1, "same": 1, "among": 1}, "joy": {"rows": 3, "same": 1, "among": 2}}


def test_agreement_needs_stories(tmp_path):
    with pytest.raises(MissingInput, match="no Parquet file in"):
        teacher_agreement(tmp_path, Fixed({}))
