"""Loading and scoring with the emotion classifiers: order, sigmoid, label order, errors, the committed weights."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest

from emogap.emotion.classifier import (
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
from emogap.errors import InputError, ModelError

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
    assert identify_classifier(classifier.name) == f"{classifier.name}@sha256:{classifier.sha256}"


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
    assert identify_classifier(name) == f"{Path(name).name}@sha256:{classifier.sha256}"


def test_batch_that_does_not_fit_is_halved(tmp_path):
    import torch

    whole = load_classifier(tiny_bert(tmp_path / "model", LABELS), device="cpu", dtype="fp32")
    expected, sizes, failed = whole.scores(TEXTS), [], []

    class Small(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, attention_mask):
            assert not any(one() is not None for one in failed), "what a batch had computed outlives its failure"
            if len(input_ids) > 2:
                hidden = torch.zeros(1)
                failed.append(weakref.ref(hidden))
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
    monkeypatch.setattr("emogap.emotion.classifier.MODELS", tmp_path)
    for name in (MINILM, TFIDF):
        with pytest.raises(ModelError, match="run `emogap train-classifier --data DIR`"):
            load_classifier(name)


def test_own_model_with_other_labels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("emogap.emotion.classifier.MODELS", tmp_path)
    (tmp_path / MINILM).mkdir()
    config = {"labels": list(LABELS[::-1]), "thresholds": [0.5] * 28}
    (tmp_path / MINILM / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="not the 28 in GoEmotions' order"):
        load_classifier(MINILM)


def test_padding():
    ids, mask = pad([[5, 6, 7], [8]], pad_id=0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


# Models of every kind, each held against itself one text at a time

LONG = [*TEXTS, "word " * 200, "so " * 61 + "happy", "<|endoftext|> Well", "Well <|endoftext|>"]


def tiny_decoder(folder, kind="gpt2", **config):
    """A random decoder that judges a text by its last token, with the tokenizer of the tiny GPT-2."""
    import torch
    from tiny_models import save_tiny_gpt2
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    save_tiny_gpt2(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=int(1e30))
    for file in folder.iterdir():
        file.unlink()
    size = {
        "gpt2": {"n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2},
        "llama": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                  "max_position_embeddings": 64},
        "opt": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16,
                "word_embed_proj_dim": 16, "max_position_embeddings": 64},
        "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16},
        "fnet": {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "max_position_embeddings": 64,
                 "tpu_short_seq_length": 64},
        "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                    "max_position_embeddings": 64},
    }[kind] | {"vocab_size": len(tokenizer) + 8, "initializer_range": 0.5}  # fmt: skip
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **size | names | config))
    assert model.num_parameters() < 60_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def one_by_one(name, texts, longest, activation="sigmoid", **more):
    """What the library's own model says of each text alone, (texts, 28)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(name)
    scores = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        tokens = {key: tokens[key] for key in more.get("keys", ("input_ids", "attention_mask"))}
        with torch.no_grad():
            logits = model(**tokens).logits[0]
        scores.append(logits.sigmoid() if activation == "sigmoid" else logits.softmax(0))
    return torch.stack(scores).numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize(
    ("of_model", "of_tokenizer", "side"),
    [(None, None, "right"), (0, None, "right"), (None, "<|endoftext|>", "right"), (4, "<|endoftext|>", "left")],
    ids=["none", "the model's", "the tokenizer's", "two"],
)
def test_a_classifier_that_judges_by_the_last_token_finds_it(tmp_path, kind, of_model, of_tokenizer, side):
    from transformers import AutoTokenizer

    name = tiny_decoder(tmp_path / "model", kind, pad_token_id=of_model)
    tokenizer = AutoTokenizer.from_pretrained(name, pad_token=of_tokenizer, padding_side=side)
    tokenizer.save_pretrained(name)
    scores = load_classifier(name, device="cpu", dtype="fp32").scores(LONG)
    np.testing.assert_allclose(scores, one_by_one(name, LONG, 64), atol=1e-5)


@pytest.mark.parametrize("pad", [0, 1, 5])
def test_a_long_text_is_cut_at_the_last_position_that_a_word_may_have(tmp_path, pad):
    name = tiny_decoder(tmp_path / "model", "roberta", pad_token_id=pad)
    scores = load_classifier(name, device="cpu", dtype="fp32").scores(LONG)
    np.testing.assert_allclose(scores, one_by_one(name, LONG, 64 - pad - 1), atol=1e-5)


def test_a_bert_reads_all_its_positions(tmp_path):
    from transformers import AutoTokenizer

    name = tiny_bert(tmp_path / "model", LABELS)
    AutoTokenizer.from_pretrained(name, model_max_length=int(1e30)).save_pretrained(name)
    keys = ("input_ids", "attention_mask", "token_type_ids")
    scores = load_classifier(name, device="cpu", dtype="fp32").scores(LONG)
    np.testing.assert_allclose(scores, one_by_one(name, LONG, 64, keys=keys), atol=1e-5)


@pytest.mark.parametrize("kind", ["xlnet", "fnet"])
def test_a_classifier_that_minds_company_scores_one_by_one(tmp_path, capsys, kind):
    name = tiny_decoder(tmp_path / "model", kind, pad_token_id=0)
    keys = ("input_ids", "attention_mask") if kind == "xlnet" else ("input_ids",)
    classifier = load_classifier(name, device="cpu", dtype="fp32")
    assert "texts are scored one by one" in capsys.readouterr().out
    longest = 512 if kind == "xlnet" else 64  # its positions have no end
    np.testing.assert_allclose(classifier.scores(TEXTS), one_by_one(name, TEXTS, longest, keys=keys), atol=1e-5)


def test_the_parts_of_a_text_are_given_to_a_model_that_asks_for_them(tmp_path):
    name = tiny_bert(tmp_path / "model", LABELS)
    classifier = load_classifier(name, device="cpu", dtype="fp32")
    tokenize = classifier.tokenizer

    class Second:
        """Calls every token one of a second text."""

        def __call__(self, *texts, **options):
            found = tokenize(*texts, **options)
            found["token_type_ids"] = [[1] * len(ids) for ids in found["input_ids"]]
            return found

    classifier.tokenizer = Second()
    import torch

    with torch.no_grad():
        tokens = tokenize(TEXTS[0], return_tensors="pt")
        alone = classifier.model(**tokens | {"token_type_ids": torch.ones_like(tokens["input_ids"])}).logits.sigmoid()
    np.testing.assert_allclose(classifier.scores(TEXTS)[0], alone[0], atol=1e-5)


def test_a_model_of_one_label_a_text_gives_shares_of_one(tmp_path):
    name = tiny_decoder(tmp_path / "model", "gpt2", pad_token_id=0, problem_type="single_label_classification")
    scores = load_classifier(name, device="cpu", dtype="fp32").scores(TEXTS)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(scores, one_by_one(name, TEXTS, 64, "softmax"), atol=1e-5)
    with pytest.raises(ModelError, match="gives measures .problem_type=regression., no probabilities"):
        load_classifier(tiny_decoder(tmp_path / "measures", problem_type="regression"))


def test_a_text_without_a_token_is_one_line(tmp_path):
    classifier = load_classifier(tiny_decoder(tmp_path / "model"), device="cpu", dtype="fp32")
    with pytest.raises(InputError, match="reads no token in text 2 .''.; leave it out"):
        classifier.scores(["a dog", "", "b"])


def test_weights_of_a_classifier_that_would_be_random_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    name = tiny_bert(tmp_path / "model", LABELS)
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if not k.startswith("classifier")}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 of the model's weights \(classifier.bias, classifier.weight…\)"):
        load_classifier(name)
    save_file(weights | {"classifier.weight": weights["classifier.weight"][:5]}, file, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"1 weights have other sizes than config.json says \(classifier.weight…\)"
    ) as caught:
        load_classifier(name)
    assert "\n" not in str(caught.value)


def test_a_token_of_a_classifier_without_a_row_is_refused(tmp_path):
    from transformers import AutoTokenizer

    name = tiny_decoder(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(name)
    tokenizer.add_tokens([f"<new{i}>" for i in range(9)])
    tokenizer.save_pretrained(name)
    with pytest.raises(ModelError, match="1 tokens of the tokenizer lie beyond .* .'<new8>' is"):
        load_classifier(name)


def test_labels_without_names_say_where_to_write_them(tmp_path):
    name = tiny_bert(tmp_path / "model", [f"LABEL_{i}" for i in range(28)])
    with pytest.raises(ModelError, match="with LABEL_0.* write their names into its config.json .id2label."):
        load_classifier(name)


def test_a_classifiers_adapter_is_merged_into_what_it_stands_on(tmp_path):
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    base = tiny_bert(tmp_path / "base", ["bad", "good"])
    config = AutoConfig.from_pretrained(base, id2label=dict(enumerate(LABELS)))
    config.label2id = {label: i for i, label in enumerate(LABELS)}

    def with_head():
        torch.manual_seed(1)
        return AutoModelForSequenceClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)

    lora = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], init_lora_weights=False)
    get_peft_model(with_head(), lora).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match="without admiration"):
        load_classifier(str(tmp_path / "adapter"))
    config.save_pretrained(tmp_path / "adapter")
    model = PeftModel.from_pretrained(with_head(), tmp_path / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).logits[0].sigmoid().numpy() for text in TEXTS]
    classifier = load_classifier(str(tmp_path / "adapter"), device="cpu", dtype="fp32")
    np.testing.assert_allclose(classifier.scores(TEXTS), expected, atol=1e-4)


def test_only_classifiers_that_are_scored_otherwise_now_have_the_rule_in_their_identity(tmp_path):
    plain = tiny_bert(tmp_path / "plain", LABELS)
    assert identify_classifier(plain) == f"plain@sha256:{load_classifier(plain).sha256}"
    for name in (
        tiny_decoder(tmp_path / "decoder"),
        tiny_decoder(tmp_path / "one", "roberta", pad_token_id=1, problem_type="single_label_classification"),
        tiny_decoder(tmp_path / "pads", "roberta", pad_token_id=0),
    ):
        assert identify_classifier(name).endswith(", rule 2 (texts scored as the model itself does each one alone)")
    assert "rule" not in identify_classifier(tiny_decoder(tmp_path / "usual", "roberta", pad_token_id=1))
    assert identify_classifier("someone/classifier", "abc") == "someone/classifier@abc"
