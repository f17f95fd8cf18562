"""Alpaca records: reading, cleaning with reasons, selection."""

import json

import pytest

from emogap.errors import InputError, MissingInput
from emogap.paths import ROOT
from emogap.store.artefacts import RULE
from emogap.text.alpaca import Record, clean, drop_reason, load_records, select


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


CASES = json.loads((ROOT / "tests" / "data" / "alpaca_cases.json").read_text(encoding="utf-8"))
"""Sixty records of the project's own, each with the reason that it must be dropped for; none if it must stay."""
SEEDS_WITH_CODE = {28, 31, 37, 41, 50, 61, 69, 72, 138, 139, 140, 141, 158}
"""Places of those of Alpaca's 175 seed tasks that hold code or ask for it; each of the others can be rewritten."""


def reasons_found(records: list[Record]) -> list[str]:
    dropped = {record.id: reason for record, reason in clean(records).dropped}
    return [dropped.get(record.id, "") for record in records]


def test_own_records_are_dropped_for_the_expected_reason():
    assert len(CASES) == 60
    fields = [{field: case[field] for field in ("instruction", "input", "output")} for case in CASES]
    found = reasons_found([Record(str(i), **values) for i, values in enumerate(fields)])
    wrong = [(case, got) for case, got in zip(CASES, found, strict=True) if case["expected"] != got]
    assert not wrong


def test_seed_tasks_of_alpaca_are_dropped_for_code_alone(real_data):
    file = real_data / "alpaca" / "seed_tasks.jsonl"
    if not file.is_file():
        pytest.skip("needs seed_tasks.jsonl of Alpaca in alpaca/ of the real data")
    tasks = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    first = [task["instances"][0] for task in tasks]
    records = [
        Record(str(i), task["instruction"].strip(), instance["input"].strip(), instance["output"].strip())
        for i, (task, instance) in enumerate(zip(tasks, first, strict=True))
    ]
    found = {place for place, reason in enumerate(reasons_found(records)) if reason}
    assert (len(records), found) == (175, SEEDS_WITH_CODE)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (("Calculate.", "5 + 3"), ("Calculate.", "5 - 3"), False),
        (("Calculate.", "5 + 3"), ("calculate", " 5  +  3"), True),
        (("Compare.", "x < y"), ("Compare.", "x > y"), False),
        (("Compare.", "x ≤ y"), ("Compare.", "x ≥ y"), False),
        (("Convert.", "$5"), ("Convert.", "€5"), False),
        (("Convert.", "5°"), ("Convert.", "5%"), False),
        (("Simplify.", "a * b"), ("Simplify.", "a / b"), False),
        (("Simplify.", "x²"), ("Simplify.", "x2"), False),
        (("What is 5 + 3?", ""), ("What is 5 - 3?", ""), False),
        (("What is 5!", ""), ("What is 5", ""), False),
        (("Name the language.", "C"), ("Name the language.", "C++"), False),
        (("What is it?", "Co"), ("What is it?", "CO"), False),
        (("What is Co?", ""), ("What is CO?", ""), False),
        (("Explain.", "Polish"), ("Explain.", "polish"), False),
        (("A question?", "You are late."), ("A question?", "You are late?"), False),
        (("Punctuate.", "Lets eat Grandma"), ("Punctuate.", "Lets eat, Grandma"), False),
        (("Name a fruit.", ""), ("name a Fruit", ""), True),
        (("Name a fruit.", ""), ("NAME A FRUIT!", ""), True),
        (("What's a haiku?", ""), ("What’s a haiku?", ""), True),
        (("Describe a café.", ""), ("Describe a cafe\u0301.", ""), True),
        (("Describe it.", "none"), ("Describe it.", ""), True),
        (("Describe it.", "<noinput>"), ("Describe it.", "\\<noinput\\>"), True),
    ],
)
def test_duplicates_ask_for_the_same(first, second, equal):
    records = [
        Record(str(i), instruction, given, "An answer.") for i, (instruction, given) in enumerate((first, second))
    ]
    assert reasons_found(records) == ["", "duplicate" if equal else ""]


def test_sodium_is_an_input():
    assert [record.input for record in clean([record("Name the element.", "Na", "Sodium.")]).kept] == ["Na"]
    assert [record.input for record in clean([record("Name an element.", "N/A", "Sodium.")]).kept] == [""]


def test_recipes_name_the_rule_where_other_records_are_kept_than_before(make_config, tmp_path):
    from emogap.stories.rewrite import rewrite_versions

    def rules(*settings: str) -> tuple[bool, bool]:
        """Whether the rule is in what shapes the replies, and in the recipe."""
        version = rewrite_versions(make_config("rewrite.versions=['v3']", *settings))[0]
        return tuple(f"{RULE}cleaning" in recipe.identities for recipe in (version.parts_recipe, version.recipe))

    def file(*records: tuple[str, str, str]) -> str:
        path = tmp_path / "records.json"
        path.write_text(json.dumps([dict(zip(("instruction", "input", "output"), r, strict=True)) for r in records]))
        return f"rewrite.records={path}"

    apple, code = ("Name a fruit.", "", "An apple."), ("Write a Python function.", "", "def f(): pass")
    assert rules() == (False, False)
    assert rules(file(apple, code, apple)) == (False, False)
    assert rules(file(apple, ("Calculate.", "5 + 3", "8"), ("Calculate.", "5 - 3", "2"))) == (True, True)
    assert rules(file(apple, ("Select the oldest from the list.", "1, 2", "2"))) == (True, True)
    assert rules(file(apple, ("Describe it.", "Na", "A soft metal."))) == (True, True)
    assert rules(file(apple, ("Write a script.", "", "def f(x):\n\nInput: x\nreturn x"))) == (False, True)
    assert rules("rewrite.records=somebody/records") == (True, True)


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
