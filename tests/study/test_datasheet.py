"""What models have seen, and in which tracks of the BabyLM challenge they can be entered."""

import json

import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.config import load_config
from emogap.corpus.compile import corpus
from emogap.records import CORPUS, PROCESSED, STORIES, read_rows, write_rows
from emogap.store.artefacts import fingerprint, manifest_path, write_json
from emogap.study.datasheet import Corpus, Sheet, data_sheets

STRATEGIES = [
    {"name": "plain-text", "parent": "new:gpt2-tiny", "task": "clm", "data": "babylm"},
    {"name": "told", "parent": "new:gpt2-tiny", "task": "clm", "data": "emotional"},
    {"name": "chosen", "parent": "new:gpt2-tiny", "task": "clm", "data": "lines"},
    {"name": "tuned", "parent": "base", "task": "clm", "data": "babylm"},
    {"name": "instr", "parent": "plain-text", "task": "sft", "data": "v1"},
]


def manifest(path, **more):
    """What stands beside an artefact that a stage made."""
    known = {"artefact": path.name, "stage": "x", "inputs": {}, "settings": {}, "identities": {}, "seed": 0,
             "counts": {}, "notes": {}, "seconds": 1.0, "files": {path.name: {"": "0"}}}  # fmt: skip
    write_json(manifest_path(path), known | more)


@pytest.fixture
def home(tmp_path):
    """A home with three corpora of ten lines or stories and the records of five trainings; none was trained."""
    corpora = [{"name": "babylm", "lines": "all"}, {"name": "lines", "lines": True}]
    given = {"bases": {"base": {"name": "owner/base"}}, "strategies": STRATEGIES, "controls": False,
             "lens.models": ["base"], "corpora": corpora, "corpus.methods": ["m1"], "corpus.factual": []}  # fmt: skip
    config = load_config("embedded", tmp_path / "home", given)
    texts = [f"line number {n} of the text" for n in range(20)]
    lines = pd.DataFrame({"id": [f"s:{n}" for n in range(20)], "source": ["a", "b"] * 10, "text": texts})
    config.home.lines.parent.mkdir(parents=True)
    lines.to_parquet(config.home.lines)
    emotional = lines.assign(emotion="joy", score=0.9, scores=[[0.0] * 28] * 20)
    write_rows(config.home.filtered, emotional[:10], PROCESSED)
    manifest(config.home.processed, identities={"classifier": "judge@1"})
    story = {"method": "m1", "prompt_sha": "", "model": "w", "seed": 1, "reply": "", "status": "kept", "reason": ""}
    stories = emotional[:10].assign(line_id=emotional["id"], emotions=[["joy"]] * 10, story=texts[10:], **story)
    chunk = config.home.chunk("m1", 0)
    chunk.parent.mkdir(parents=True)
    write_rows(chunk, stories, STORIES)
    manifest(chunk, identities={"writer.model": "writer@2"}, files={chunk.name: {"": fingerprint(chunk)}})
    corpus(config)
    for row in STRATEGIES:
        record(config, **row)
    return config


def record(config, name, parent, task, data, epochs=2.5, **more):
    folder = config.home.model(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = config.home.corpus(data)
    sha = fingerprint(path) if task == "clm" else ""
    trained_on = {"name": data, "sha256": sha, "train_rows": 16}
    written = {"model": name, "task": task, "perplexity_after": 1.0, "parent": {"name": parent}, "data": trained_on,
               "history": [{"epoch": epochs, **more}]}  # fmt: skip
    (folder / "training.json").write_text(json.dumps(written))
    manifest(folder, files={folder.name: {}})


def of(config, name) -> Sheet:
    return next(sheet for sheet in data_sheets(config) if sheet.model == name)


def test_words_are_those_that_were_trained_on_by_source(home):
    sheet = of(home, "plain-text")
    rows = read_rows(home.home.corpus("babylm"), CORPUS)
    assert len(rows) == 20 and set(rows["kind"]) == {"line"} and set(rows["emotion"]) == {""}
    train = rows[rows["split"] == "train"].groupby("source")["words"].sum().to_dict()
    [text] = sheet.corpora
    assert text.parts == train == {"a": 48, "b": 48} and sheet.words == 96
    assert sheet.seen == 2.5 * 96 and not text.is_counted
    record(home, **STRATEGIES[0], words=233)
    assert of(home, "plain-text").seen == 233 and "233 words seen (counted)" in str(of(home, "plain-text"))


def test_only_text_that_no_model_wrote_or_chose_can_be_entered(home):
    verdicts = {sheet.model: sheet.verdict for sheet in data_sheets(home)}
    assert verdicts == {
        "plain-text": "can be entered, as far as its text and words go, in: strict-small, strict",
        "told": "cannot be entered in a strict track: 48 of its words were written by writer@2, whose own training "
        "data count against the budget",
        "chosen": "cannot be entered in a strict track: 48 of its words were chosen by a classifier (judge@1), whose "
        "own training data count against the budget",
        "tuned": "cannot be entered in a strict track: it starts from owner/base, whose own training data count "
        "against the budget",
        "instr": "cannot be entered in a strict track: the answers of v1 (16 records) were written by a model, whose "
        "own training data count against the budget",
    }
    assert [text.name for text in of(home, "instr").corpora] == ["babylm", "v1"]


def test_what_is_gone_or_has_changed_is_not_known(home):
    manifest_path(home.home.chunk("m1", 0)).unlink()
    assert "written by a model that is not known" in of(home, "told").verdict
    rows = read_rows(home.home.corpus("babylm"), CORPUS)
    manifest_path(home.home.corpus("babylm")).unlink()
    write_rows(home.home.corpus("babylm"), rows[1:], CORPUS)
    assert of(home, "plain-text").verdict == (
        "not known whether it can be entered: the corpus babylm is no longer the one that plain-text was trained on"
    )


@pytest.mark.parametrize(
    ("words", "seen", "tracks"),
    [
        (10_000_000, 100_000_000, ["strict-small", "strict"]),
        (10_000_001, 100_000_000, ["strict"]),
        (10_000_000, 100_000_001, ["strict"]),
        (100_000_001, 100_000_001, []),
        (10_000_000, 1_000_000_001, []),
    ],
)
def test_a_track_has_bounds_for_words_of_text_and_for_words_seen(words, seen, tracks):
    sheet = Sheet("m", "new:gpt2-small", [Corpus("c", {"a": words}, 1.0, seen)])
    assert sheet.tracks == tracks
    assert sheet.verdict.startswith("can be" if tracks else "cannot be entered: ")


def test_the_command_prints_one_for_each_model(home, capsys, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('extends = "embedded"\ncontrols = false\n')
    assert main(["datasheet", "--profile", str(file), "--home", str(tmp_path / "empty")]) == 0
    assert "no model is trained in" in capsys.readouterr().out
    assert str(of(home, "plain-text")).splitlines() == [
        "plain-text, trained from scratch (new:gpt2-tiny)",
        "  babylm: 96 words an epoch (a 48, b 48)",
        "    2.50 epochs, 240 words seen (by its epochs)",
        "  in all: 96 words of text, 240 seen",
        "  can be entered, as far as its text and words go, in: strict-small, strict",
    ]
