"""Verdicts by hand, old chunks in pickle form, prompts made by a model. With fake models."""

import collections
import datetime
import json
import pickle

import pandas as pd
import pytest
from fakes import FakeClassifier, reworded, use_fakes

from emogap.errors import InputError, MissingInput, UsageError
from emogap.generate import import_pickles as importing
from emogap.generate import judging, prompt_maker
from emogap.generate import rewrite as rewrites
from emogap.generate.review import add_verdict, read_verdicts, review_in_terminal, undecided, verdicts_path
from emogap.records import REWRITES, STORIES, read_rows


@pytest.fixture
def make_config(make_config):
    """Settings that rewrite with v3, whose seed examples come from a file."""
    return lambda *settings: make_config("rewrite.versions=['v3']", *settings)


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, reworded)


def table(config) -> pd.DataFrame:
    return read_rows(config.home.rewrite_rows("v3"), REWRITES)


@pytest.fixture
def rewritten(make_config, engine):
    """Settings of a home with eight rewrites, all of them kept."""
    config = make_config("rewrite.count=8")
    rewrites.rewrite(config)
    assert set(table(config)["status"]) == {"kept"}
    return config


def test_a_verdict_goes_before_the_gates_and_survives_reruns(rewritten, make_config, engine):
    file = rewritten.home.rewrite_rows("v3")
    rows = table(rewritten).to_dict("records")
    add_verdict(file, rows[0], "reject", "reads like an advert")
    add_verdict(file, rows[1], "accept")
    rewrites.rewrite(rewritten)
    assert engine.opened == 1
    assert table(rewritten)["reason"][0] == "by hand: reads like an advert"
    assert len(json.loads(rewritten.home.rewrites("v3").read_text())) == 7
    rewrites.rewrite(make_config("rewrite.count=8", "rewrite.gates.min_words=400"))
    judged = table(rewritten)
    assert judged["status"].tolist() == ["rejected", "kept"] + ["rejected"] * 6
    assert judged["verdict"].tolist()[:2] == ["reject", "accept"]
    assert engine.opened == 1


def test_a_verdict_does_not_hold_for_another_reply(rewritten, make_config, engine):
    file = rewritten.home.rewrite_rows("v3")
    add_verdict(file, table(rewritten).to_dict("records")[0], "reject")
    engine.reply = lambda conversation: reworded(conversation) + " Truly!"
    rewrites.rewrite(make_config("rewrite.count=8", "seed=5"))
    assert set(table(rewritten)["status"]) == {"kept"}


def test_the_review_asks_row_by_row_and_goes_on_where_it_stopped(rewritten, monkeypatch, capsys):
    file = rewritten.home.rewrite_rows("v3")
    answers = iter(["a", "r", "too loud", "s", "q"])
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    assert review_in_terminal(file) == 2
    assert "original:" in capsys.readouterr().out
    rows = table(rewritten)["id"].tolist()
    decided = read_verdicts(file)
    assert {row: (v.decision, v.reason) for row, v in decided.items()} == {
        rows[0]: ("accept", ""), rows[1]: ("reject", "too loud")
    }  # fmt: skip
    assert [row["id"] for row in undecided(file)] == rows[2:]
    assert not list(undecided(file, rejected=True))


def test_a_later_verdict_replaces_an_earlier_and_a_torn_line_is_named(rewritten):
    file = rewritten.home.rewrite_rows("v3")
    row = table(rewritten).to_dict("records")[0]
    add_verdict(file, row, "reject")
    add_verdict(file, row, "accept")
    assert read_verdicts(file)[row["id"]].decision == "accept"
    with verdicts_path(file).open("a") as handle:
        handle.write('{"row": 1')
    with pytest.raises(InputError, match="line 3: not JSON"):
        read_verdicts(file)


@pytest.mark.parametrize("change", [{"decision": "maybe"}, {"reason": None}, {"row": 5}, {"at": 0}])
def test_a_verdict_of_another_form_is_named(rewritten, change):
    file = rewritten.home.rewrite_rows("v3")
    verdict = add_verdict(file, table(rewritten).to_dict("records")[0], "reject", "too long\u2028and too loud")
    assert read_verdicts(file)[verdict.row] == verdict
    verdicts_path(file).write_text(json.dumps(verdict.model_dump() | change))
    with pytest.raises(InputError, match=f"line 1: '{next(iter(change))}' is .* mend or delete the line"):
        read_verdicts(file)


def test_the_widget_writes_the_same_verdicts(rewritten):
    from emogap.show.review_widget import review_widget

    file = rewritten.home.rewrite_rows("v3")
    shown, controls = review_widget(file).children
    accept, reject, _, reason = controls.children
    first = shown.value.split()[0]
    reason.value = "wrong"
    reject.click()
    accept.click()
    decided = read_verdicts(file)
    assert [v.decision for v in decided.values()] == ["reject", "accept"]
    assert decided[first].reason == "wrong"


# --- pickles ---------------------------------------------------------------------------------------------------------

STORY = "{} was what the dog sang as it ran over the hill and found a ball under the old tree by the river."


def old_record(number: int, **changes) -> dict:
    record = {
        "source": "data/babylm_100M/aochildes.train",
        "text": f"line {number}",
        "emotion": "joy, love",
        "augmented_text": STORY.format(" ".join(f"w{number}x{i}" for i in range(30))),
    }
    return record | changes


@pytest.fixture
def old(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "classifier", lambda model: FakeClassifier())
    monkeypatch.setattr(importing, "show_stories", lambda home: None)
    folder = tmp_path / "old"
    folder.mkdir()
    return folder


def dump(folder, name: str, value) -> None:
    (folder / name).write_bytes(pickle.dumps(value))


def test_old_chunks_are_judged_like_others(config, old):
    dump(old, "babylm_augment_7.pkl", [old_record(0), old_record(1, augmented_text="As an AI, I cannot.")])
    columns = {key: [old_record(i)[key] for i in range(3)] for key in old_record(0)}
    dump(old, "babylm_augment_0.pkl", columns)
    dump(old, "babylm_augment_0_new.pkl", [old_record(0)])
    summary = importing.import_pickles(config, old, "published-m1")
    assert summary.counts == {"lines": 6, "kept": 5, "rejected": 1}
    rows = read_rows(config.home.chunk("published-m1", 7), STORIES)
    assert rows["status"].tolist() == ["kept", "rejected"]
    assert rows["source"].tolist() == ["aochildes"] * 2
    assert list(rows["emotions"][0]) == ["joy", "love"]
    same_line = read_rows(config.home.chunk("published-m1", 0), STORIES)["line_id"][0]
    assert rows["line_id"][0] == same_line
    assert len(read_rows(config.home.chunk("published-m1", 8), STORIES)) == 1
    assert importing.import_pickles(config, old, "published-m1").made == []


def test_a_chunk_may_be_parquet(config, old):
    pd.DataFrame([old_record(0), old_record(1)]).to_parquet(old / "chunk_3.parquet")
    assert importing.import_pickles(config, old, "published-m1").counts["kept"] == 2
    assert len(read_rows(config.home.chunk("published-m1", 3), STORIES)) == 2
    whole = (old / "chunk_3.parquet").read_bytes()
    (old / "chunk_2.parquet").write_bytes(whole[:-20])
    with pytest.raises(InputError, match="chunk_2.parquet cannot be read as Parquet"):
        importing.import_pickles(config, old, "published-m1")
    (old / "chunk_2.parquet").unlink()
    pd.DataFrame([{"text": "No story."}]).to_parquet(old / "chunk_4.parquet")
    with pytest.raises(
        InputError,
        match="chunk_4.parquet, record 1: no 'emotion'; a record has the texts",
    ):
        importing.import_pickles(config, old, "published-m1")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        # The published chunks, and what is beside them.
        (["babylm_augment_0.pkl", "babylm_augment_0_new.pkl", "babylm_augment_56.pkl"], [0, 57, 56]),
        (["chunk_3.parquet", "chunk_00004.parquet"], [3, 4]),
        (["stories.pkl"], [0]),
        # A date is no chunk's number: what reads chunks would not see it.
        (["stories_20240514.parquet"], [0]),
        (["babylm_augment_3.pkl", "stories_20240514.parquet"], [3, 4]),
        (["babylm_augment_12_20240514.pkl"], [12]),
        (["a_20240514.pkl", "b_20240515.pkl"], [0, 1]),
        (["babylm_augment_99999.pkl", "babylm_augment_100000.pkl"], [99999, 0]),
        (["babylm_augment_2.PKL", "._babylm_augment_3.pkl"], [2]),
    ],
)
def test_every_chunk_gets_a_number_that_the_corpus_sees(config, old, names, numbers):
    for name in names:
        if name.lower().endswith(".pkl"):
            dump(old, name, [old_record(0)])
        else:
            pd.DataFrame([old_record(0)]).to_parquet(old / name)
    importing.import_pickles(config, old, "published-m1")
    assert sorted(config.home.chunks("published-m1")) == sorted(numbers)
    for name, number in zip(names, numbers, strict=False):
        rows = read_rows(config.home.chunk("published-m1", number), STORIES)
        assert rows["id"][0] == f"published-m1/{name.rpartition('.')[0]}/0"


def test_content_decides_and_a_chunk_in_both_forms_is_refused(config, old):
    dump(old, "babylm_augment_0.parquet", [old_record(0)])
    pd.DataFrame([old_record(1)]).to_parquet(old / "babylm_augment_1.pkl")
    assert importing.import_pickles(config, old, "published-m1").counts["kept"] == 2
    dump(old, "babylm_augment_0.pkl", [old_record(0)])
    with pytest.raises(InputError, match="are one chunk in two forms; take one of them away"):
        importing.import_pickles(config, old, "published-m1")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", ".", "", " m1", "a\nb", ".hidden", "a\\b"])
def test_a_name_cannot_lead_out_of_the_home(config, old, name):
    dump(old, "babylm_augment_0.pkl", [old_record(0)])
    before = sorted(old.parent.rglob("*"))
    for ask in (
        lambda: importing.import_pickles(config, old, name),
        lambda: config.home.chunk(name, 0),
        lambda: config.home.chunks(name),
        lambda: config.home.corpus(name),
        lambda: config.home.rewrites(name),
        lambda: config.home.rewrite_rows(name),
        lambda: config.home.model(name),
        lambda: config.home.responses(name),
        lambda: config.home.task_scores(name, "blimp"),
        lambda: config.home.lens_readings(name),
    ):
        with pytest.raises(UsageError, match="cannot name a method, version, corpus or model") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert sorted(old.parent.rglob("*")) == before


def test_a_chunk_has_a_number_of_five_digits(config):
    assert config.home.chunk("m1", 99_999).name == "chunk_99999.parquet"
    for number in (-1, 100_000):
        with pytest.raises(UsageError, match=f"there is no chunk {number}"):
            config.home.chunk("m1", number)
    folder = config.home.chunk("m1", 0).parent
    folder.mkdir(parents=True)
    for name in ("chunk_00007.parquet", "chunk_0_new.parquet", "chunk_20240514.parquet", "chunk_00008.txt"):
        (folder / name).touch()
    assert config.home.chunks("m1") == {7: folder / "chunk_00007.parquet"}


class Harmful:
    def __reduce__(self):
        return (print, ("this must not be printed",))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Harmful(), "builtins.print"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (pd.DataFrame({"a": [1]}), "pandas"),
        (datetime.date(2024, 1, 1), "datetime.date"),
        ([old_record(0, source=datetime.datetime)], "datetime.datetime"),
    ],
)
def test_anything_but_plain_values_is_refused_by_name(config, old, capsys, value, named):
    dump(old, "babylm_augment_0.pkl", value)
    with pytest.raises(InputError, match=f"is refused: it asks for {named}"):
        importing.import_pickles(config, old, "published-m1")
    assert "must not be printed" not in capsys.readouterr().out
    assert not config.home.chunk("published-m1", 0).exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "expected a list of records"),
        ([{"text": "a"}], "record 1: no 'emotion'; a record has the texts text, emotion"),
        ({"text": ["a"], "emotion": []}, "columns differ in length"),
        ([old_record(0), old_record(1, text="half \ud83d")], "record 2, 'text': holds half of a surrogate pair"),
        ([old_record(0, source=float("nan"))], "record 1: 'source' is NaN, not a text"),
        ([old_record(0, text=None)], "record 1: 'text' is null, not a text"),
        ([old_record(0, emotion="")], "record 1: 'emotion' is '', empty"),
        ([old_record(0, emotion=["joy"])], "'emotion' is .*, not a text"),
        ([["a"]], "record 1: it is .*, not an object"),
        ([old_record(0, emotion="happiness")], "record 1, 'emotion': item 1 is 'happiness', not one of the 28"),
    ],
)
def test_odd_contents_are_named(config, old, value, message):
    dump(old, "babylm_augment_0.pkl", value)
    with pytest.raises(InputError, match=message):
        importing.import_pickles(config, old, "published-m1")


def test_no_pickle_a_torn_one_and_a_name_that_is_taken(config, old):
    with pytest.raises(MissingInput, match=r"no \*\.pkl or \*\.parquet file"):
        importing.import_pickles(config, old, "published-m1")
    (old / "babylm_augment_0.pkl").write_bytes(pickle.dumps([old_record(0)])[:-20])
    with pytest.raises(InputError, match="no readable pickle"):
        importing.import_pickles(config, old, "published-m1")


# --- prompts ---------------------------------------------------------------------------------------------------------

TASKS = """1. Instruction: Describe a thunderstorm as a dog would.
2. Instruction: Write to the captain. Input: She scored although her foot hurt.
3) Instruction: Describe a thunderstorm, as a dog would!
4. Just a sentence."""


@pytest.fixture
def writer(monkeypatch):
    return use_fakes(monkeypatch, lambda conversation: TASKS)


def test_evaluation_prompts_have_the_published_form(config, writer):
    summary = prompt_maker.make_prompts(config, "evaluation", ["joy"])
    assert summary.counts == {"kept": 2, "rejected": 2}
    made = json.loads((config.home.root / "prompts" / "evaluation_prompts.json").read_text())
    assert made == {
        "joy": [
            "Instruction: Describe a thunderstorm as a dog would.",
            "Instruction: Write to the captain. Input: She scored although her foot hurt.",
        ]
    }
    rows = json.loads((config.home.root / "prompts" / "evaluation_prompts.rows.json").read_text())
    assert [row["reason"] for row in rows] == [None, None, "duplicate", "form"]
    assert prompt_maker.make_prompts(config, "evaluation", ["joy"]).made == []


def test_seed_rewrites_can_be_used_as_they_are(config, writer):
    block = "Instruction: How long?\nInput:\nAnswer: Forty minutes.\nRewritten answer: Only forty minutes!"
    writer.reply = lambda conversation: f"{block}\n\nThat was all."
    prompt_maker.make_prompts(config, "seeds", ["joy"])
    made = json.loads((config.home.root / "prompts" / "seed_rewrites.json").read_text())
    assert made["joy"][0] == {
        "instruction": "How long?", "input": "", "output": "Forty minutes.", "rewritten": "Only forty minutes!"
    }  # fmt: skip
    assert rewrites.render_seed(made["joy"][0]) == block.replace("Input:\n", "Input: \n")


def test_unknown_kinds_and_emotions_are_named(config):
    with pytest.raises(UsageError, match="unknown kind of prompts 'x'; choose among evaluation, seeds"):
        prompt_maker.make_prompts(config, "x")
    with pytest.raises(UsageError, match="'glee' is not one of the 28"):
        prompt_maker.make_prompts(config, "seeds", ["glee"])
