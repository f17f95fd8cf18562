"""Reading texts of any common form, and classifying them: order, thresholds, shards that outlive a kill."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from fakes import HashClassifier

from emogap.commands.cli import main
from emogap.config import HubModel
from emogap.emotion import classify
from emogap.emotion.classify import classify_file, thresholds_of, top_labels
from emogap.emotions import INDEX, LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.store.artefacts import read_manifest
from emogap.store.parts import Arrays
from emogap.text.reading import count_texts, read_texts

TEXTS = ["plain words", "", 'say "hi", now', "tab\tand, comma", "Bär 🙂\u2028same line", "last"]


@pytest.fixture
def fake_classifier(monkeypatch):
    classifier = HashClassifier()
    monkeypatch.setattr(classify, "load", lambda *_: classifier)
    monkeypatch.setattr(classify, "classifier_identity", lambda model: model.name)
    return classifier


def write_as(kind: str, path, texts):
    frame = pd.DataFrame({"n": range(len(texts)), "text": texts})
    if kind == "txt":
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    elif kind == "csv":
        frame.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
    elif kind == "tsv":
        path.write_text("n\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(texts)), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"n": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    else:
        frame.to_parquet(path)
    return path


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_every_form_gives_the_same_texts_in_order(tmp_path, kind):
    texts = [text for text in TEXTS if kind != "tsv" or "\t" not in text]
    path = write_as(kind, tmp_path / f"a.{kind}", texts)
    blocks = list(read_texts(path, size=4))
    assert [text for block in blocks for text in block] == texts
    assert [len(block) for block in blocks[:-1]] == [4] * (len(blocks) - 1)
    assert count_texts(path) == len(texts)


def test_the_column_is_named_or_the_only_one(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n,line\n1,yes\n")
    assert list(read_texts(path, "line")) == [["yes"]]
    with pytest.raises(UsageError, match=r"no column 'text'; choose with --column among n, line"):
        list(read_texts(path))
    path.write_text("line\nyes\n")
    assert list(read_texts(path)) == [["yes"]]
    with pytest.raises(UsageError, match="has no columns"):
        list(read_texts(write_as("txt", tmp_path / "a.txt", ["x"]), "line"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\nbad \xff\n", r"a\.txt, line 2: byte 0xff is not UTF-8"),
        ("a.csv", b"n,text\n1,x\n2\n", r"a\.csv, line 3: 1 fields, not the 2"),
        ("a.csv", b'text\n"open\n', r"a\.csv, line \d: unexpected end"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 5}\n', r"line 2: text is 5, not a text"),
        ("a.jsonl", b'{"text": "x"}\nnonsense\n', r"line 2: not JSON"),
        ("a.jsonl", b"[1]\n", r"record 1 is a number, not an object with text"),
        ("a.parquet", b"PAR0", "cannot be read as Parquet"),
        ("a.txt", b"", "a.txt is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        count_texts(path)


def test_parquet_without_texts_is_named(tmp_path):
    pd.DataFrame({"text": ["a", None]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"record 2: text is null, not a text"):
        count_texts(tmp_path / "a.parquet")
    pd.DataFrame({"text": [1, 2]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="record 1: text is 1, not a text"):
        count_texts(tmp_path / "b.parquet")
    with pytest.raises(MissingInput, match="give a file of texts"):
        count_texts(tmp_path / "c.txt")


# --- classifying -----------------------------------------------------------------------------------------------------


def run(source, out, **options):
    return classify_file(source, out, model=HubModel(name="hash"), **options)


def test_columns_order_and_labels(tmp_path, fake_classifier, monkeypatch):
    monkeypatch.setattr(classify, "SHARD_LINES", 4)
    texts = [f"text {i} {'word ' * (i % 7)}" for i in range(30)]
    run(write_as("jsonl", tmp_path / "a.jsonl", texts), tmp_path / "out.parquet")
    rows = pd.read_parquet(tmp_path / "out.parquet")
    assert list(rows.columns) == ["text", "emotion", "score", "scores", "labels"]
    assert rows["text"].tolist() == texts
    for row in rows.itertuples():
        scores = fake_classifier.scores([row.text])[0]
        np.testing.assert_array_equal(row.scores, scores)
        assert row.emotion == LABELS[scores.argmax()] and row.score == scores.max()
        assert [INDEX[label] for label in row.labels] == [i for i in np.argsort(-scores) if scores[i] > 0.5]


def test_tuned_thresholds_are_the_classifiers_own(tmp_path, fake_classifier):
    fake_classifier.thresholds = np.linspace(0, 0.9, 28, dtype=np.float32)
    run(write_as("txt", tmp_path / "a.txt", TEXTS), tmp_path / "out.parquet", threshold="tuned")
    rows = pd.read_parquet(tmp_path / "out.parquet")
    for row in rows.itertuples():
        assert {INDEX[label] for label in row.labels} == set(np.flatnonzero(row.scores > fake_classifier.thresholds))
    assert read_manifest(tmp_path / "out.parquet")["notes"]["thresholds"]["neutral"] == pytest.approx(0.9)
    with pytest.raises(UsageError, match="has no tuned thresholds"):
        thresholds_of("tuned", None, "some hub model")


def test_a_killed_run_goes_on_and_ends_with_the_same_file(tmp_path, fake_classifier, monkeypatch):
    monkeypatch.setattr(classify, "SHARD_LINES", 3)
    source = write_as("txt", tmp_path / "a.txt", [f"line {i}" for i in range(11)])
    run(source, tmp_path / "undisturbed.parquet")
    assert fake_classifier.calls == [3, 3, 3, 2]
    fake_classifier.calls, fake_classifier.dies_at = [], 2
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    fake_classifier.calls, fake_classifier.dies_at = [], None
    run(source, tmp_path / "out.parquet")
    assert fake_classifier.calls == [3, 2]
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
    assert not list(tmp_path.glob("*.partial"))
    fake_classifier.calls = []
    assert run(source, tmp_path / "out.parquet").made == [] and fake_classifier.calls == []


def test_shards_of_something_else_are_emptied(tmp_path):
    scores = np.full((2, 28), 0.5, dtype=np.float32)
    Arrays(tmp_path / "a.partial", {"recipe": "one"}).put("0", scores)
    again = Arrays(tmp_path / "a.partial", {"recipe": "one"})
    assert again.has("0") and np.array_equal(again.read("0"), scores)
    assert not Arrays(tmp_path / "a.partial", {"recipe": "two"}).has("0")


def test_the_output_must_be_another_parquet_file(tmp_path, fake_classifier):
    source = write_as("parquet", tmp_path / "a.parquet", TEXTS)
    for out in (source, tmp_path / "out.csv"):
        with pytest.raises(UsageError, match="--out"):
            run(source, out)


def test_top_labels():
    scores = np.zeros((2, 28), dtype=np.float32)
    scores[0, INDEX["joy"]], scores[1, INDEX["neutral"]] = 0.4, 0.9
    labels, best = top_labels(scores)
    assert labels == ["joy", "neutral"] and best.tolist() == pytest.approx([0.4, 0.9])


# --- with real models ------------------------------------------------------------------------------------------------


def test_the_command_with_the_second_judge(tmp_path, capsys):
    source = write_as("csv", tmp_path / "a.csv", ["thank you so much, this is lovely", "what do you mean? I am lost"])
    words = ["classify", "--in", str(source), "--out", str(tmp_path / "out.parquet"), "--classifier", "emotion-tfidf"]
    assert main([*words, "--threshold", "tuned"]) == 0
    assert "tuned" in capsys.readouterr().out
    rows = pd.read_parquet(tmp_path / "out.parquet")
    assert rows["emotion"].tolist() == ["gratitude", "confusion"]
    assert main([*words, "--column", "words"]) == 2
    assert main(["classify", "--in", str(tmp_path / "no.txt"), "--out", str(tmp_path / "o.parquet")]) == 1
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.slow
def test_speed_against_a_pipeline_over_the_same_model():
    from tools.bench import ratio
    from tools.benchmarks.classify import AS_THEY_COME, BF16, FP32, ONE_BY_ONE, compare, sample_lines

    timings = compare(sample_lines(512), "emotion-minilm")
    assert ratio(timings, FP32, ONE_BY_ONE) >= 3
    assert ratio(timings, FP32, AS_THEY_COME) >= 1.5
    if BF16 in {timing.name for timing in timings}:
        assert ratio(timings, BF16, ONE_BY_ONE) >= 5
        assert ratio(timings, BF16, AS_THEY_COME) >= 2.4


def test_a_table_without_a_header_is_read_by_the_number_of_its_column(tmp_path):
    table = tmp_path / "rows.tsv"
    table.write_text("What a day!\t17\ta1\nOh no.\t25\ta2\n")
    assert next(read_texts(table, "1")) == ["What a day!", "Oh no."]
    with pytest.raises(UsageError, match="--column 4 of a table without a header; it has 1 to 3"):
        next(read_texts(table, "4"))
