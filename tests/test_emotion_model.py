"""Loading and scoring with the emotion classifiers: order, sigmoid, label order, errors, the committed weights."""

import json

import numpy as np
import pytest

from emogap.data.emotion_model import (
    MINILM,
    MODELS,
    TFIDF,
    EncoderClassifier,
    identify_classifier,
    label_columns,
    length_batches,
    load_classifier,
    pad,
)
from emogap.emotions import LABELS
from emogap.errors import ModelError

TEXTS = [
    "Thank you so much for the lovely present, grandma!",
    "Go away.",
    "I am so sorry that I broke the blue vase when nobody was looking and then told you that it was the cat.",
    "The train leaves at nine.",
    "That dog scares me, it growls whenever I come near the gate.",
    "What does this button do, and why is it red?",
    "Ha ha, that is the funniest thing I have heard all week.",
]


@pytest.fixture(scope="module")
def minilm():
    return load_classifier(MINILM, device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def tfidf():
    return load_classifier(TFIDF)


def tiny_bert(folder, labels):
    """A random BERT of a few thousand parameters with these labels, saved with a word-level vocabulary."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(0)
    words = sorted({word.strip(".,!?").lower() for text in TEXTS for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?", *words])}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=0.5,
    )
    model = BertForSequenceClassification(config)
    assert model.num_parameters() < 10_000
    model.save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    return str(folder)


def test_batches_hold_every_row_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 60, size=500).tolist()
    lengths.append(900)
    batches = length_batches(lengths, 256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(501))
    for rows in batches:
        longest = max(lengths[row] for row in rows)
        assert len(rows) * longest <= 256 or len(rows) == 1
    assert batches[0].tolist() == [500]
    padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)
    assert padded < 1.1 * sum(lengths)


def test_no_texts_give_no_rows(minilm, tfidf):
    assert minilm.scores([]).shape == tfidf.scores([]).shape == (0, 28)


@pytest.mark.parametrize("name", ["minilm", "tfidf"])
def test_scores_do_not_depend_on_order_or_company(name, request):
    classifier = request.getfixturevalue(name)
    scores = classifier.scores(TEXTS, token_budget=40)
    assert scores.dtype == np.float32 and scores.shape == (len(TEXTS), 28)
    alone = np.concatenate([classifier.scores([text]) for text in TEXTS])
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    np.testing.assert_allclose(classifier.scores(TEXTS[::-1])[::-1], alone, atol=1e-5)


def test_progress_counts_every_text(minilm, tfidf):
    for classifier in (minilm, tfidf):
        done = []
        classifier.scores(TEXTS, token_budget=40, progress=done.append)
        assert sum(done) == len(TEXTS)


@pytest.mark.parametrize(
    ("text", "label"),
    [(TEXTS[0], "gratitude"), (TEXTS[4], "fear"), (TEXTS[5], "curiosity"), (TEXTS[6], "amusement")],
)
def test_the_embedded_classifier_knows_plain_cases(minilm, text, label):
    assert LABELS[minilm.scores([text])[0].argmax()] == label


def test_emoji_are_read(minilm):
    plain, laughing = minilm.scores(["He fell off his chair", "He fell off his chair 😂😂"])[
        :, LABELS.index("amusement")
    ]
    assert laughing > 10 * plain


@pytest.mark.parametrize("name", ["minilm", "tfidf"])
def test_own_classifiers_have_a_threshold_a_label_and_one_identity(name, request):
    classifier = request.getfixturevalue(name)
    assert classifier.thresholds.shape == (28,) and classifier.thresholds.dtype == np.float32
    assert ((classifier.thresholds > 0) & (classifier.thresholds < 1)).all()
    assert len(set(classifier.thresholds.tolist())) > 5
    assert classifier.identity == identify_classifier(classifier.name)


@pytest.mark.parametrize("name", [MINILM, TFIDF])
def test_committed_models_are_small_and_hold_no_pickle(name):
    files = list((MODELS / name).iterdir())
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert sum(file.stat().st_size for file in files) < 3_000_000


def test_bf16_changes_scores_little(minilm):
    rounded = load_classifier(MINILM, device="cpu", dtype="bf16")
    assert np.abs(rounded.scores(TEXTS) - minilm.scores(TEXTS)).max() < 0.03


def test_long_text_is_cut_not_refused(minilm):
    assert np.isfinite(minilm.scores(["word " * 3000, "a"])).all()


def test_embedded_model_runs_in_a_text_classification_pipeline(minilm):
    from transformers import pipeline

    pipe = pipeline("text-classification", model=minilm.model, tokenizer=minilm.tokenizer, device="cpu")
    answers = pipe(TEXTS, top_k=None, function_to_apply="sigmoid")
    table = [[{a["label"]: a["score"] for a in answer}[label] for label in LABELS] for answer in answers]
    np.testing.assert_allclose(minilm.scores(TEXTS), table, atol=1e-5)


def test_hub_model_is_reordered_and_never_softmaxed(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    shuffled = list(np.random.default_rng(1).permutation(LABELS))
    name = tiny_bert(tmp_path / "model", [str(label) for label in shuffled])
    classifier = load_classifier(name, device="cpu", dtype="fp32")
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    with torch.no_grad():
        logits = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    expected = {label: float(torch.sigmoid(logit)) for label, logit in zip(shuffled, logits, strict=True)}
    scores = classifier.scores(TEXTS)
    np.testing.assert_allclose(scores[0], [expected[label] for label in LABELS], rtol=1e-4)
    assert (np.abs(scores.sum(1) - 1) > 0.1).any()
    assert classifier.thresholds is None and classifier.revision is None
    assert classifier.identity == f"{name}@sha256:{classifier.sha256}"


def test_batch_that_does_not_fit_is_halved(tmp_path):
    import torch

    whole = load_classifier(tiny_bert(tmp_path / "model", LABELS), device="cpu", dtype="fp32")
    expected, sizes = whole.scores(TEXTS), []

    class Small(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, attention_mask):
            if len(input_ids) > 2:
                raise torch.OutOfMemoryError("made up")
            sizes.append(len(input_ids))
            return whole.model(input_ids=input_ids, attention_mask=attention_mask)

    small = EncoderClassifier(
        name="small",
        revision=None,
        sha256="",
        thresholds=None,
        model=Small(),
        tokenizer=whole.tokenizer,
        columns=whole.columns,
    )
    np.testing.assert_allclose(small.scores(TEXTS), expected, atol=1e-6)
    assert sum(sizes) == len(TEXTS) and max(sizes) <= 2


def test_labels_must_be_the_28():
    with pytest.raises(ModelError, match=r"'m' does not have the 28 .* has 2, without admiration.* with bad, good"):
        label_columns("m", {0: "bad", 1: "good"})
    doubled = dict(enumerate([*LABELS, "joy"]))
    with pytest.raises(ModelError, match="it has 29"):
        label_columns("m", doubled)


def test_folder_without_weights_is_one_line(tmp_path):
    name = tiny_bert(tmp_path / "model", LABELS)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot be loaded .*model\.safetensors") as caught:
        load_classifier(name)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_loaded(tmp_path):
    import torch

    name = tiny_bert(tmp_path / "model", LABELS)
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load_classifier(name)


def test_absent_own_model_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr("emogap.data.emotion_model.MODELS", tmp_path)
    for name in (MINILM, TFIDF):
        with pytest.raises(ModelError, match="run `emogap train-classifier --data DIR`"):
            load_classifier(name)


def test_own_model_with_other_labels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("emogap.data.emotion_model.MODELS", tmp_path)
    (tmp_path / MINILM).mkdir()
    config = {"labels": list(LABELS[::-1]), "thresholds": [0.5] * 28}
    (tmp_path / MINILM / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not the 28 in GoEmotions' order"):
        load_classifier(MINILM)


def test_padding():
    ids, mask = pad([[5, 6, 7], [8]], pad_id=0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
