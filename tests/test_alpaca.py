"""Alpaca records: reading, cleaning with reasons, selection."""

import json

import pytest

from emogap.data.alpaca import Record, clean, drop_reason, load_records, select
from emogap.errors import InputError, MissingInput


def record(instruction="Name a fruit.", input="", output="An apple.") -> Record:
    return Record("id", instruction, input, output)


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (record(output=""), "empty output"),
        (record(instruction=" ?"), "no instruction"),
        (record(output="<nooutput>"), "no output"),
        (record(output="No output is needed."), "no output"),
        (record(output="N/A"), "no output"),
        (record(output="An apple.\n\nInstruction: Name a colour.\nOutput: Red."), "merged"),
        (record(input="See https://example.org/a"), "URL"),
        (record(output="Look it up on example.com."), "URL"),
        (record(instruction="Write a Python function that adds two numbers."), "code"),
        (record(output="def add(a, b):\n    return a + b"), "code"),
        (record(instruction="Create an algorithm for sorting letters."), "code"),
        (record(instruction="Draw a picture of a house."), "image"),
        (record(instruction="Describe the following image."), "image"),
        (record(instruction="Design a logo for a bakery."), "image"),
    ],
)
def test_each_fault_is_dropped_with_its_reason(faulty, reason):
    assert drop_reason(faulty) == reason


@pytest.mark.parametrize(
    "instruction",
    ["Draw a conclusion from the two facts.", "Write a code of conduct for a choir.", "Write a character sketch.",
     "How do I paint a wall?", "Describe a painting by a famous artist."],
)  # fmt: skip
def test_what_only_sounds_like_a_fault_stays(instruction):
    assert drop_reason(record(instruction=instruction)) is None


def test_cleaning_counts_and_the_first_of_equals_stays():
    records = [
        Record("a", "Name a fruit.", "", "An apple."),
        Record("b", "Name a fruit", "<noinput>", "A pear."),
        Record("c", "Name a tree.", "No input.", "An oak."),
        Record("d", "Name a bird.", "", "nothing"),
    ]
    cleaned = clean(records)
    assert [r.id for r in cleaned.kept] == ["a", "c"]
    assert cleaned.kept[1].input == ""
    assert cleaned.reasons() == {"duplicate": 1, "no output": 1}
    assert {row["id"]: row["reason"] for row in cleaned.dropped_rows()} == {"b": "duplicate", "d": "no output"}


def test_a_smaller_selection_begins_a_larger_one():
    records = [Record(str(i), f"Task {i}", "", "x") for i in range(50)]
    ten = select(records, 10, run_seed=1)
    assert [r.id for r in select(records[::-1], 20, run_seed=1)][:10] == [r.id for r in ten]
    assert [r.id for r in select(records, 10, run_seed=2)] != [r.id for r in ten]
    assert len(select(records, 0, run_seed=1)) == 50


def test_json_and_json_lines_give_the_same_records(tmp_path):
    rows = [{"instruction": "A?", "input": "", "output": "B."}, {"instruction": "C?", "output": "D."}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert load_records(str(tmp_path / "a.json")) == load_records(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"instruction": "A?"}', "holds one JSON object, not a list of records"),
        ('"text"', "holds one JSON text, not a list of records"),
        ("[1, 2]", "record 1 is a number, not an object"),
        ('[{"instruction": "A?", "output": "B"}, {"instruction": "A?"}]', "record 2: no 'output'"),
        ("[{", "line 1: not JSON"),
        ('[{"instruction": "A?", "output": "B", "input": NaN}]', "record 1, 'input': NaN is no value in JSON"),
        ('[{"instruction": "A?", "output": "B", "input": 5}]', "record 1: 'input' is 5, not a text"),
        ('[{"instruction": "A?", "output": "\\ud83d"}]', "record 1, 'output': holds half of a surrogate pair"),
    ],
)
def test_a_file_that_holds_no_records_is_named(tmp_path, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_records(str(file))
    assert "bad.json" in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(MissingInput, match=r"nowhere\.json not found"):
        load_records("nowhere.json")


def test_the_published_data_cleaned(real_data):
    cleaned = clean(load_records(str(real_data / "alpaca" / "alpaca_2000.json")))
    dropped = cleaned.reasons()
    assert 0.9 < len(cleaned.kept) / 2000 < 0.97
    assert dropped["code"] > 50 and dropped["URL"] > 10 and dropped["no output"] >= 2
    assert sum(dropped.values()) + len(cleaned.kept) == 2000
    texts = "\n".join(f"{r.instruction}\n{r.input}\n{r.output}" for r in cleaned.kept)
    assert "http" not in texts


def test_the_shipped_records_are_clean():
    cleaned = clean(load_records("data/sample/alpaca.json"))
    assert len(cleaned.kept) == 60 and not cleaned.dropped
