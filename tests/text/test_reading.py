"""One reader: every place where people's files are read takes every form they come in, and refuses the rest in a line.

Three kinds of readers: of records (a table, a JSON list, JSON lines), of one JSON value, of plain text. Each is tried
with each form of the same content, and with each kind of damage.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emogap.answers.fluency import read_passages
from emogap.answers.respond import load_prompts
from emogap.answers.sentiment import read_counts
from emogap.commands.cli import main
from emogap.errors import EmogapError, InputError, MissingInput
from emogap.grammar.blimp import load_pairs, read_subset
from emogap.grammar.blimp_tables import published_accuracies
from emogap.grammar.emobench import load_questions
from emogap.lens.reader import load_emotion_words
from emogap.lens.stage import load_openings, load_sentences
from emogap.preference.questionnaire import read_votes
from emogap.store.artefacts import RULE
from emogap.text.alpaca import load_records
from emogap.text.reading import count_texts, passages_rule, read_lines, read_table, read_texts, texts_rule
from emogap.text.templates import SeedRewrite, StoryExample, load_examples, load_template
from emogap.textstats import sources as text_sources
from tools.goemotions import read_goemotions

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
"""What ends a line for ``str.splitlines``, and for nobody who wrote the file."""


# --- readers of records ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A place where records are read: what is given, how it is read, and what must come out."""

    records: list[dict[str, Any]]
    read: Callable[[Path], Any]
    found: Any
    names: tuple[str, ...] = ()
    """What the file must be called; none: as its form wants it."""
    flat: bool = True
    """Whether all values are texts, so that a table of any form can hold them."""


def _texts(path: Path) -> list[str]:
    return [text for block in read_texts(path) for text in block]


def _statistics(path: Path) -> list[tuple]:
    frame = text_sources.read_texts([path], text_sources.STORY_COLUMNS)
    return list(frame[["group", "text", "emotion"]].itertuples(index=False, name=None))


EA = {
    "qid": "1", "language": "en", "category": "Self", "question type": "Action", "scenario": f"It {SEPARATORS} rains.",
    "subject": "Ann", "choices": ["wait", "run"], "label": "run",
}  # fmt: skip
READERS = {
    "classify": Reader(
        [{"n": "1", "text": f"I love you, {SEPARATORS}"}, {"n": "2", "text": "so; what"}],
        _texts,
        [f"I love you, {SEPARATORS}", "so; what"],
    ),
    "alpaca": Reader(
        [
            {"instruction": f"Say {SEPARATORS}.", "input": "", "output": "Hm, yes; no."},
            {"instruction": "B?", "input": "x", "output": "y"},
        ],
        lambda path: [(r.instruction, r.input, r.output) for r in load_records(str(path))],
        [(f"Say {SEPARATORS}.", "", "Hm, yes; no."), ("B?", "x", "y")],
    ),
    "pairs": Reader(
        [{"sentence_good": f"It {SEPARATORS}.", "sentence_bad": "They, is; not.", "pair_id": "4"}],
        lambda path: [(p.item, p.good, p.bad) for p in load_pairs(path.parent)],
        [("transitive/4", f"It {SEPARATORS}.", "They, is; not.")],
        names=("transitive.jsonl",),
    ),
    "emobench": Reader(
        [EA],
        lambda path: [(q.item, q.scenario, q.choices, q.right) for q in load_questions(path.parent)],
        [("EA/1", EA["scenario"], ("wait", "run"), 1)],
        names=("EA.jsonl",),
        flat=False,
    ),
    "counts": Reader(
        [
            {"model": "gpt2, small; old", "instruction_emotion": "joy", "response_emotion": "love", "count": "2"},
            {"model": "m", "instruction_emotion": "joy", "response_emotion": "anger", "count": "1"},
        ],
        lambda path: list(read_counts(path)[["model", "response_emotion"]].itertuples(index=False, name=None)),
        [("gpt2, small; old", "love")] * 2 + [("m", "anger")],
    ),
    "votes": Reader(
        [
            {"rater": "a", "prompt_id": "joy/0", "choice": "gpt2", "reason": f"short, {SEPARATORS}; good"},
            {"rater": "a", "prompt_id": "joy/1", "choice": "none", "reason": ""},
        ],
        lambda path: read_votes([path]).table.to_numpy().tolist(),
        [["a", "joy/0", "gpt2", f"short, {SEPARATORS}; good"], ["a", "joy/1", "none", ""]],
    ),
    "published": Reader(
        [
            {"model": "gpt2-babylm", "phenomenon": "island, effects", "accuracy": "0.5"},
            {"model": "m", "phenomenon": "x", "accuracy": "1.0"},
        ],
        lambda path: published_accuracies(path).to_numpy().tolist(),
        [["gpt2-baby", "island, effects", 50.0], ["m", "x", 100.0]],
    ),
    "statistics": Reader(
        [
            {"augmented_text": f"Once, {SEPARATORS}; twice", "method": "m1", "emotion": "joy, love"},
            {"augmented_text": "B.", "method": "m2", "emotion": ""},
        ],
        _statistics,
        [("m1", f"Once, {SEPARATORS}; twice", "joy"), ("m2", "B.", "")],
    ),
}


def separated(records: list[dict], separator: str = ",", ends: str = "\n", last: str = "") -> str:
    """A table; ``last``: what stands at the end of every row."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=last + ends)
    writer.writerow(records[0])
    writer.writerows(record.values() for record in records)
    return out.getvalue()


def unquoted(records: list[dict]) -> str:
    return "".join("\t".join(row) + "\n" for row in [list(records[0]), *(list(r.values()) for r in records)])


def listed(records: list[dict]) -> str:
    return json.dumps(records, ensure_ascii=False, indent=1)


def lines(records: list[dict]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parquet(records: list[dict]) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(records).to_parquet(out)
    return out.getvalue()


def odd_header(records: list[dict]) -> str:
    head, rest = separated(records).split("\n", 1)
    return ",".join(f" {name.upper()} " for name in head.split(",")) + "\n" + rest


TABLES: dict[str, tuple[str, Callable[[list[dict]], str | bytes]]] = {
    "CSV": ("a.csv", separated),
    "CSV under another name": ("a.CSV", separated),
    "CSV separated by semicolons": ("a.csv", lambda r: separated(r, ";")),
    "CSV separated by tabs": ("a.csv", lambda r: separated(r, "\t")),
    "TSV": ("a.tsv", unquoted),
    "TSV separated by commas": ("a.tsv", separated),
    "CSV with a comma behind each row": ("a.csv", lambda r: separated(r, last=",")),
    "CSV with commas behind the rows but not the header": (
        "a.csv", lambda r: separated(r, last=",,").replace(",,\n", "\n", 1)
    ),
    "CSV with a column of numbers before it": (
        "a.csv", lambda r: separated([{"": str(i), **record} for i, record in enumerate(r)])
    ),
    "CSV with blank lines": ("a.csv", lambda r: separated(r) + "\n\n"),
    "CSV with a mark": ("a.csv", lambda r: "\ufeff" + separated(r)),
    "CSV in UTF-16": ("a.csv", lambda r: separated(r).encode("utf-16")),
    "CSV with ends of Windows": ("a.csv", lambda r: separated(r, ends="\r\n")),
    "CSV with ends of old machines": ("a.csv", lambda r: separated(r, ends="\r")),
    "CSV with an odd header": ("a.csv", odd_header),
    "CSV packed": ("a.csv.gz", lambda r: gzip.compress(separated(r).encode())),
    "Parquet": ("a.parquet", parquet),
    "Parquet called CSV": ("a.csv", parquet),
}  # fmt: skip
JSONS: dict[str, tuple[str, Callable[[list[dict]], str | bytes]]] = {
    "JSON list": ("a.json", listed),
    "JSON list called lines": ("a.jsonl", listed),
    "JSON list in one line": ("a.json", json.dumps),
    "JSON list called text": ("a.txt", listed),
    "JSON list called CSV": ("a.csv", listed),
    "JSON lines": ("a.jsonl", lines),
    "JSON lines of another ending": ("a.ndjson", lines),
    "JSON lines called JSON": ("a.json", lambda r: lines([*r])),
    "JSON lines called text": ("a.txt", lines),
    "JSON lines with blank ones": ("a.jsonl", lambda r: "\n" + lines(r).replace("\n", "\n\n")),
    "JSON lines with a mark": ("a.jsonl", lambda r: "\ufeff" + lines(r)),
    "JSON lines in UTF-16": ("a.jsonl", lambda r: lines(r).encode("utf-16")),
    "JSON lines in UTF-32": ("a.jsonl", lambda r: lines(r).encode("utf-32")),
    "JSON lines with ends of Windows": ("a.jsonl", lambda r: lines(r).replace("\n", "\r\n")),
    "JSON lines with ends of old machines": ("a.jsonl", lambda r: lines(r).replace("\n", "\r")),
    "JSON lines packed": ("a.jsonl.gz", lambda r: gzip.compress(lines(r).encode())),
    "JSON lines packed under another name": ("a.jsonl", lambda r: gzip.compress(lines(r).encode())),
}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def forms_of(reader: Reader) -> list[str]:
    """The forms that a reader takes: tables hold no lists, some files are found by the ending .jsonl alone, and one
    object called JSON is no list of records."""
    tables = ["Parquet"] if reader.names else [*TABLES]
    lone = {"JSON lines called JSON"} if len(reader.records) == 1 else set()
    return [*(tables if reader.flat else []), *(form for form in JSONS if form not in lone)]


@pytest.mark.parametrize(("name", "form"), [(name, form) for name in READERS for form in forms_of(READERS[name])])
def test_every_reader_of_records_reads_every_form(tmp_path, name, form):
    reader, (called, content) = READERS[name], (TABLES | JSONS)[form]
    path = write(tmp_path / "data", *(reader.names or (called,)), content(reader.records))
    assert reader.read(path) == reader.found


HALF = '["\\ud83d"]'


def damaged(reader: Reader, key: str) -> dict[str, tuple[str, str | bytes, str]]:
    """What may be wrong with a file: its name, its content, and what is said."""
    good, first = lines(reader.records), json.dumps(reader.records[0], ensure_ascii=False)
    broken = {
        "NaN": "NaN is no value in JSON",
        "-Infinity": "-Infinity is no value",
        "1e999": "1e999 is too large for a number",
    }
    packed = gzip.compress(good.encode())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.jsonl", good)

    def with_value(value: str) -> str:
        return first.replace(json.dumps(reader.records[0][key], ensure_ascii=False), value, 1)

    return {
        "zip": ("a.jsonl", zipped.getvalue(), "is a zip archive or an Excel workbook; unpack it, or save"),
        "bzip2": ("a.jsonl", bz2.compress(good.encode()), "packed with bzip2; unpack it"),
        "xz": ("a.jsonl", lzma.compress(good.encode()), "packed with xz; unpack it"),
        "packed twice": ("a.jsonl", gzip.compress(packed), "packed twice with gzip"),
        "a torn archive": ("a.jsonl", packed[:-9], "cannot be unpacked"),
        "a pickle": ("a.jsonl", pickle.dumps(reader.records), "is a Python pickle"),
        "a PDF": ("a.jsonl", b"%PDF-1.7\n%\xe2\xe3", "is a PDF; give its text"),
        "a web page": ("a.jsonl", "<!DOCTYPE html>\n<html>", "is a web page; bring the file itself"),
        "torn Parquet": ("a.jsonl", parquet(reader.records)[:-20], "cannot be read as Parquet"),
        "Parquet in name alone": ("a.parquet", separated(reader.records), "cannot be read as Parquet"),
        "nothing": ("a.jsonl", b"", "is empty"),
        "a mark alone": ("a.jsonl", b"\xef\xbb\xbf", "is empty"),
        "Latin-1": ("a.jsonl", b"\r\n\n" + first.encode() + b"\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
        "a torn letter": ("a.jsonl", good.encode() + "é".encode()[:1], "is not UTF-8"),
        "UTF-16 without a mark": ("a.jsonl", good.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        "a NUL": ("a.jsonl", b"\n" + good.encode() + b"\0", "a NUL byte"),
        "depth": ("a.jsonl", with_value("[" * 100_000 + "]" * 100_000), "nested too deeply"),
        "depth of a list": ("a.json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        "half a pair": ("a.jsonl", with_value('"\\ud83d"'), rf"line 1, '{key}': holds half of a surrogate pair"),
        "half a pair in a list": ("a.json", f"[{with_value(HALF)}]", rf"record 1, '{key}', item 1: holds"),
        "a key twice": ("a.jsonl", first.replace("{", f'{{"{key}": "x", ', 1), rf"'{key}' stands twice"),
        "no JSON": ("a.jsonl", good + "{nonsense}\n", r"line \d: not JSON .* at column 2"),
        "a huge number": ("a.jsonl", with_value("1" * 5000), "not JSON"),
        "no object": ("a.jsonl", good + "[1]\n", "is a list, not an object"),
        "an object with a list in it": ("a.json", '{"data": []}', "holds one JSON object, not a list of records"),
    } | {value: ("a.jsonl", with_value(value), f"line 1, '{key}': {said}") for value, said in broken.items()}


KEYS = {"classify": "text", "alpaca": "input", "pairs": "sentence_bad", "emobench": "scenario", "counts": "count",
        "votes": "choice", "published": "accuracy", "statistics": "augmented_text"}  # fmt: skip
NO_DAMAGE = ("counts", "an object with a list in it")
"""Counts may be one object, and are refused for what is in it."""


DAMAGE = [
    (name, kind)
    for name, reader in READERS.items()
    for kind, (called, _, _) in damaged(reader, KEYS[name]).items()
    if (called == "a.jsonl" or not reader.names) and (name, kind) != NO_DAMAGE
]


@pytest.mark.parametrize(("name", "kind"), DAMAGE)
def test_every_reader_of_records_refuses_every_damage_in_one_line(tmp_path, name, kind):
    reader = READERS[name]
    called, content, message = damaged(reader, KEYS[name])[kind]
    path = write(tmp_path / "data", *(reader.names or (called,)), content)
    with pytest.raises(EmogapError, match=message) as caught:
        reader.read(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


TABLE_READERS = [name for name, reader in READERS.items() if reader.flat and not reader.names]


@pytest.mark.parametrize("name", TABLE_READERS)
def test_a_row_of_another_width_is_named(tmp_path, name):
    records = READERS[name].records
    width, head, row = len(records[0]), ",".join(records[0]), ",".join("x" * len(records[0]))
    for rows, message in (
        (f"{row},\n{row}\n", f"line 3: {width} fields, not {width + 1} as the rows above"),
        (f"{row}\n{row},\n", f"line 3: {width + 1} fields, not the {width} of the first line; quote a text"),
        (f"{row},more\n", f"line 2: {width + 1} fields, not the {width} of the first line"),
        (f'"open,{row}\n{row}\n', "line [23]: unexpected end of data; quote texts as CSV does"),
    ):
        # What the rows hold is no matter: their widths are looked at where they are read.
        with pytest.raises(EmogapError, match=message):
            list(read_table(write(tmp_path, "a.csv", f"{head}\n{rows}")).rows)
        if name == "classify":
            with pytest.raises(InputError, match=message):
                count_texts(tmp_path / "a.csv")


@pytest.mark.parametrize("name", TABLE_READERS)
def test_a_column_that_stands_twice_is_named(tmp_path, name):
    key = KEYS[name]
    others = [column for column in READERS[name].records[0] if column != key]
    for twins, said in (([key, key], f"'{key}' and '{key}'"), ([key.upper(), key.title()], "")):
        path = write(tmp_path, "a.csv", ",".join([*twins, *others]) + "\n")
        with pytest.raises(EmogapError, match=f"the column '{key}' stands twice .{said}"):
            READERS[name].read(path)


# --- readers of one JSON value ---------------------------------------------------------------------------------------

SEED = {"instruction": "A?", "input": "", "output": "B.", "rewritten": "B!"}
KEY = {"questionnaire": "q", "options": {"x": "gpt2"}, "checks": {}, "prompts": {"joy/0": "A?"}}


def _read_key(path: Path) -> dict[str, str]:
    votes = path.with_name("votes.csv")
    votes.write_text("questionnaire,rater,prompt_id,choice,reason\nq,a,joy/0,x,\n")
    return read_votes([votes], path).prompts


VALUES: dict[str, tuple[Any, Callable[[Path], Any], Any]] = {
    "prompts": ({"joy": [f"Instruction: {SEPARATORS}."]}, lambda p: load_prompts(p)[0].instruction, f"{SEPARATORS}."),
    "openings": ({"joy": [SEPARATORS]}, load_openings, {"joy/00": SEPARATORS}),
    "examples": (
        {"joy": [{"context": "c", "story": SEPARATORS}]},
        lambda p: load_examples(p, StoryExample),
        {"joy": [{"context": "c", "story": SEPARATORS}]},
    ),
    "seeds": ({"joy": [SEED]}, lambda p: load_examples(p, SeedRewrite), {"joy": [SEED]}),
    "items": ({"transitive": [1, "2"]}, read_subset, {"transitive": {1, 2}}),
    "study's counts": ({"joy": {"m": {"love": 1}}}, lambda p: read_counts(p)["response_emotion"].tolist(), ["love"]),
    "key": (KEY, _read_key, {"joy/0": "A?"}),
}
FORMS: dict[str, Callable[[str], str | bytes]] = {
    "as it is": lambda text: text,
    "a mark": lambda text: "\ufeff" + text,
    "UTF-16": lambda text: text.encode("utf-16"),
    "ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "packed": lambda text: gzip.compress(text.encode()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", VALUES)
def test_every_reader_of_json_reads_every_form(tmp_path, name, form):
    value, read, found = VALUES[name]
    for indent in (1, None):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        assert read(write(tmp_path, "a.json", FORMS[form](text))) == found


@pytest.mark.parametrize("name", VALUES)
def test_every_reader_of_json_refuses_every_damage_in_one_line(tmp_path, name):
    value, read, _ = VALUES[name]
    good = json.dumps(value)
    first = next(iter(value))
    for content, message in (
        ("", "is empty"),
        ("\n", "is empty|not JSON"),
        ("[]", "not an object|counts no answers|valid dictionary"),
        ("[1]", "not an object|valid dictionary"),
        ('"text"', "not an object|not a list of records|valid dictionary"),
        ("3", "not an object|not a list of records|valid dictionary"),
        ("[" * 100_000, "nested too deeply"),
        (good[:-1], "not JSON"),
        (good + "]", "not JSON"),
        (good[:-1] + f', "{first}": 1}}', f"'{first}' stands twice"),
        (good[:-1] + ', "more": [NaN]}', "'more', item 1: NaN is no value in JSON"),
        (good[:-1] + ', "more": {"x": "\\udc00"}}', "'more', 'x': holds half of a surrogate pair"),
        (good.encode()[:-1] + b"\xe9", "byte 0xe9 is not UTF-8"),
        (b"PK\x03\x04", "is a zip archive"),
        (parquet([{"a": 1}]), "is Parquet|no column"),
    ):
        with pytest.raises(EmogapError, match=message) as caught:
            read(write(tmp_path, "a.json", content))
        assert "\n" not in str(caught.value) and "a.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompts", {"joy": None}, "'joy' is null, not a list"),
        ("prompts", {"joy": [["Instruction: A."]]}, "'joy', item 1 is .*, not a text"),
        ("openings", {"joy": "I am so"}, "'joy' is 'I am so', not a list"),
        ("openings", {"happy": ["I am so"]}, "'happy' is not one of the 28 emotions"),
        ("examples", {"joy": [{"context": "c"}]}, "no 'joy', item 1, 'story'"),
        ("examples", {"joy": [{"context": "c", "story": 5}]}, "'joy', item 1, 'story' is 5, not a text"),
        ("examples", {"joy": {"context": "c", "story": "s"}}, "not a list"),
        ("seeds", {"joy": [SEED | {"input": None}]}, "'input' is null, not a text"),
        ("seeds", {"joy": ["text"]}, "'joy', item 1 is 'text'"),
        ("items", {"transitive": [1.5]}, "'transitive', item 1 is 1.5, not a whole number"),
        ("items", {"transitive": "12"}, "'transitive' is '12', not a list"),
        ("key", KEY | {"options": ["x"]}, "'options' is .*, not an object; give the questionnaire.key.json"),
        ("key", KEY | {"options": {"x": 5}}, "'options', 'x' is 5, not a text"),
        ("key", {"options": {}}, "no 'questionnaire'"),
    ],
)
def test_values_of_another_type_are_refused_where_they_are_read(tmp_path, name, value, message):
    with pytest.raises(InputError, match=message):
        VALUES[name][1](write(tmp_path, "a.json", json.dumps(value)))


# --- readers of plain text -------------------------------------------------------------------------------------------

PLAIN: dict[str, tuple[Callable[[Path], Any], Any]] = {
    "lines": (lambda path: list(read_lines(path)), [f"one {SEPARATORS}", "", "two"]),
    "classify": (_texts, [f"one {SEPARATORS}", "", "two"]),
    "passages": (read_passages, [f"one {SEPARATORS}", "two"]),
    "sentences": (load_sentences, [f"one {SEPARATORS}", "two"]),
    "template": (lambda path: load_template(path, []).text, f"one {SEPARATORS}\n\ntwo\n"),
}


@pytest.mark.parametrize("form", [*FORMS, "ends of old machines", "a mark twice"])
@pytest.mark.parametrize("name", PLAIN)
def test_every_reader_of_text_reads_every_form(tmp_path, name, form):
    forms = FORMS | {
        "ends of old machines": lambda text: text.replace("\n", "\r"),
        "a mark twice": lambda text: "\ufeff\ufeff" + text,
    }
    read, found = PLAIN[name]
    assert read(write(tmp_path, "a.txt", forms[form](f"one {SEPARATORS}\n\ntwo\n"))) == found


@pytest.mark.parametrize("kind", ["zip", "xz", "a torn archive", "a pickle", "Latin-1", "a NUL",
                                  "UTF-16 without a mark"])  # fmt: skip
@pytest.mark.parametrize("name", PLAIN)
def test_every_reader_of_text_refuses_what_is_none(tmp_path, name, kind):
    _, content, message = damaged(READERS["classify"], "text")[kind]
    with pytest.raises(InputError, match=message):
        PLAIN[name][0](write(tmp_path, "a.txt", content))


@pytest.mark.parametrize("name", ["passages", "sentences"])
def test_passages_of_a_table_are_those_of_its_column(tmp_path, name):
    for file, content in (
        ("a.csv", "n;text\n1;one\n2; two \n"), ("a.json", '["one", "two"]'), ("a.jsonl", '{"text": "one"}\n"two"'),
        ("a.parquet", parquet([{"text": "one"}, {"text": "two"}])),
    ):  # fmt: skip
        path = write(tmp_path, file, content)
        if file == "a.jsonl":
            with pytest.raises(InputError, match="line 2 is a text, not an object with text"):
                PLAIN[name][0](path)
        else:
            assert PLAIN[name][0](path) == ["one", "two"]
    with pytest.raises(InputError, match="has no column 'text', where the texts of a table must stand"):
        PLAIN[name][0](write(tmp_path, "b.csv", "n,m\n1,2\n"))
    with pytest.raises(MissingInput, match="is a folder"):
        PLAIN[name][0](tmp_path)


def test_parquet_is_no_text(tmp_path):
    with pytest.raises(InputError, match="is Parquet, where text is wanted"):
        load_template(write(tmp_path, "a.txt", parquet([{"a": 1}])), [])


# --- what a file is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "column", "texts"),
    [
        ("a.csv", "1;I love you\n2;so, so\n", "2", ["I love you", "so, so"]),
        ("a.csv", "1;I love you\n2;so\n", "2", ["I love you", "so"]),
        ("a.csv", "1;well, yes\n2;so\n", "2", ["well, yes", "so"]),
        ("a.csv", "id;text\n1;I love you\n", None, ["I love you"]),
        ("a.csv", "text\nno; comma\n", None, ["no; comma"]),
        ("a.csv", "text\nfirst\n\nthird\n", None, ["first", "", "third"]),
        ("a.csv", 'text,n\n"two\nlines",1\n', None, ["two\nlines"]),
        ("a.csv", 'text,n\r\n"two\r\nlines",1\r\n', None, ["two\r\nlines"]),
        ("a.csv", "1,2\nx,y\n", "2", ["y"]),
        ("a.csv", "What a day,1,\nOh.,2,\n", "1", ["What a day", "Oh."]),
        ("a.csv", "Sentence ;n\nx;1\n", "sentence", ["x"]),
        ("a.tsv", 'text\tn\n"never quoted\t1\n', None, ['"never quoted']),
        ("a.tab", "text\tn\nx\t1\n", None, ["x"]),
        ("a.txt", "[Music]\n[x]\n", None, ["[Music]", "[x]"]),
        ("a.txt", '["Hello"] he said\n', None, ['["Hello"] he said']),
        ("a.txt", "{emotion} is it\n", None, ["{emotion} is it"]),
        ("a.txt", '{"text": "x"} is how it looks\n', None, ['{"text": "x"} is how it looks']),
        ("a.train", "a,b;c\td\n", None, ["a,b;c\td"]),
        ("a.json", '[{"line": "x"}, {"line": "y"}]', None, ["x", "y"]),
        ("a.json", '[{"a": "x", "b": 1}]', "a", ["x"]),
        ("a.json", '{"text": "x"}', None, None),
        ("a.json", '["x", {"text": "y"}]', None, None),
        ("a.json", '[{"text": "x"}, {"n": 1}]', None, None),
        ("a.json", "[]", None, None),
        ("a.json", '[["x"]]', None, None),
    ],
)
def test_texts_of_a_file(tmp_path, name, content, column, texts):
    path = write(tmp_path, name, content)
    if texts is None:
        with pytest.raises(InputError, match=path.name):
            count_texts(path, column)
    else:
        assert [text for block in read_texts(path, column) for text in block] == texts
        assert count_texts(path, column) == len(texts)


def test_a_name_that_says_something_else_is_mentioned_once(tmp_path, capsys):
    path = write(tmp_path, "a.txt", '{"text": "x"}\n{"text": "y"}\n')
    assert count_texts(path) == count_texts(path) == 2
    mention = f"emogap: {path} is called text but holds JSON lines; it is read as JSON lines\n"
    assert tuple(capsys.readouterr()) == ("", mention)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "PK\x03\x04", "is a zip archive"),
        ("a.json", '[{"text": "x"}, NaN]', "record 2: NaN is no value"),
        ("a.txt", b"I love you\n\xff\xd8\xff", "line 2: byte 0xff is not UTF-8"),
        ("a.csv", "n;words\n1;x\n", "has no column 'text'; choose with --column among n, words"),
    ],
)
def test_the_command_says_it_in_one_line_and_writes_nothing(tmp_path, capsys, name, content, message):
    out = tmp_path / "out.parquet"
    assert main(["classify", "--in", str(write(tmp_path, name, content)), "--out", str(out)]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()


# --- what a recipe says ----------------------------------------------------------------------------------------------


def test_only_files_that_were_read_otherwise_get_the_rule(tmp_path):
    for name, content, otherwise in (
        ("a.txt", "one\n\ntwo\n", False),
        ("b.txt", "one\r\ntwo\r\n", False),
        ("c.txt", "one\u2028still one\n", True),
        ("d.txt", "\ufeffone\n", True),
        ("e.csv", "text\none\n", True),
    ):
        assert bool(passages_rule(write(tmp_path, name, content))) is otherwise, name
    assert passages_rule(tmp_path / "none.txt") == {}
    assert list(passages_rule(tmp_path / "c.txt")) == [RULE + "files of texts"]
    for name, content, otherwise in (
        ("a.txt", "one\n\ntwo", False),
        ("b.txt", "one\u2028still one\r\n", False),
        ("c.txt", "one\rtwo\n", True),
        ("d.csv", "n,text\n1,x\n", False),
        ("e.csv", "n;text\n1;x\n", True),
        ("f.json", '["x"]', True),
        ("g.txt", '{"text": "x"}\n', True),
        ("h.jsonl", '{"text": "x"}\n', False),
        ("i.parquet", parquet([{"text": "x"}]), False),
        ("j.tsv", "n\ttext\n1\tx\n", False),
    ):
        path = write(tmp_path, name, content)
        assert bool(texts_rule(path, None, count_texts(path))) is otherwise, name


# --- the published data ----------------------------------------------------------------------------------------------


def test_the_published_files_are_read(real_data):
    assert len(load_records(str(real_data / "alpaca" / "alpaca_2000.json"))) == 2000
    assert len(read_goemotions(real_data / "goemotions" / "dev.tsv")) == 5426
    folder = real_data / "mistral_babylm"
    found = text_sources.read_texts(sorted(folder.glob("*.parquet")), text_sources.STORY_COLUMNS)
    assert len(found) == 10_452 + 871 + 10_452 and (found["emotion"] != "").all()
    assert len(load_emotion_words()) == 28
