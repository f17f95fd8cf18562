"""Old chunks of stories, in pickle or Parquet form. With a fake classifier."""

import collections
import datetime
import pickle

import pandas as pd
import pytest
from fakes import FakeClassifier

from emogap.config import load_config
from emogap.errors import InputError, MissingInput, UsageError
from emogap.records import STORIES, read_rows
from emogap.stories import gating
from emogap.stories import import_pickles as importing
from emogap.study.state import take_over_before

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
    monkeypatch.setattr(gating, "classifier", lambda model: FakeClassifier())
    monkeypatch.setattr("emogap.stories.outcomes._stories_shown", lambda home: [])
    folder = tmp_path / "old"
    folder.mkdir()
    return folder


def dump(folder, name: str, value) -> None:
    (folder / name).write_bytes(pickle.dumps(value))


def test_old_chunks_are_checked_like_others(config, old):
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


def test_a_variant_takes_over_what_its_parents_imported(config, old, tmp_path):
    dump(old, "chunk_0.pkl", [old_record(0), old_record(1)])
    importing.import_pickles(config, old, "published-m1")

    def variant(name: str, **settings):
        given = {"corpus.methods": ["published-m1"], "process.classifier": config.process.classifier.model_dump()}
        return load_config("embedded", tmp_path / name, given | settings, on=config.home.root)

    equal, third = variant("variant"), load_config("embedded", tmp_path / "third", on=tmp_path / "variant")
    checked_otherwise = variant("other", **{"augment.gates.min_words": 3})
    for one in (equal, third, checked_otherwise):
        take_over_before(one, "corpus")
    assert list(equal.home.chunks("published-m1")) == [0] and not checked_otherwise.home.chunks("published-m1")
    assert equal.home.chunk("published-m1", 0).samefile(config.home.chunk("published-m1", 0))
    assert not third.home.chunks("published-m1"), "its corpora have no such method"
    assert importing.import_pickles(equal, old, "published-m1").made == []


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
    for request in (
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
            request()
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
