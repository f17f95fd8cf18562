"""Cleaning at any size and in any state, and the stage that cleans, scores and filters."""

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cells import run_cells
from fakes import HashClassifier

from emogap.babylm import clean, raw
from emogap.babylm import process as babylm
from emogap.babylm.clean import Report, SeenKeys, count_words
from emogap.babylm.process import emotion_shares
from emogap.babylm.raw import find_sources
from emogap.config import Process, load_config
from emogap.emotions import INDEX, LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.records import PROCESSED, read_rows
from emogap.report.entries import to_cells
from emogap.store import artefacts
from emogap.store.artefacts import read_manifest
from emogap.store.exhibits import exhibits, read_table
from tools.benchmarks.clean import clean_line, make_text, plain_loop

ELEVEN = "one two three four five six seven eight nine ten eleven"
TEN = "one two three four five six seven eight nine ten"


def lines_of(path: Path, rules: Process | None = None, **options) -> tuple[list[tuple[int, str]], Report]:
    """(line number, text) of what is kept of one file, and its report."""
    reports: list[Report] = []
    source = raw.Source("s", path)
    kept = [
        (int(number), text)
        for part in clean.clean([source], (rules or Process()).model_copy(update=options), reports)
        for number, text in zip(part.numbers, part.texts.to_list(), strict=True)
    ]
    return kept, reports[0]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- line rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ELEVEN, ELEVEN),
        (TEN, None),
        (f"  {ELEVEN} .  ", f"{ELEVEN}."),
        (f"{TEN} .", None),  # the point is a word only until the space before it goes
        (f"{ELEVEN} , then ; so : yes ! no ?", f"{ELEVEN}, then; so: yes! no?"),
        (f"one\ttwo {TEN}", f"one two {TEN}"),
        (f"\u00a0{ELEVEN}\u3000", ELEVEN),
        (f". {ELEVEN}", f". {ELEVEN}"),
        ("", None),
        ("   \t ", None),
    ],
)
def test_published_line_rules(tmp_path, line, expected):
    kept, _ = lines_of(write(tmp_path / "a.train", line + "\n"))
    assert [text for _, text in kept] == ([] if expected is None else [expected])
    assert clean_line(line + "\n", Process()) == expected


def test_each_rule_has_its_switch(tmp_path):
    path = write(tmp_path / "a.train", f" one\ttwo {TEN} .\n")
    assert lines_of(path, Process(tabs="remove"))[0] == [(1, f"onetwo {TEN}.")]
    assert lines_of(path, Process(space_before_punctuation="keep"))[0] == [(1, f"one two {TEN} .")]
    assert lines_of(path, Process(strip=False))[0] == [(1, f" one two {TEN}.")]
    assert lines_of(path, Process(min_words=12))[0] == []
    assert lines_of(path, Process(min_words=0))[0] == [(1, f"one two {TEN}.")]


def test_duplicates_exact_near_or_kept(tmp_path):
    path = write(tmp_path / "a.train", f"{ELEVEN}\n{ELEVEN.upper()}!\n{ELEVEN}\n")
    assert [n for n, _ in lines_of(path, Process(duplicates="exact"))[0]] == [1, 2]
    assert [n for n, _ in lines_of(path, Process(duplicates="near"))[0]] == [1]
    assert [n for n, _ in lines_of(path, Process(duplicates="keep"))[0]] == [1, 2, 3]


def random_text(seed: int) -> str:
    """Lines of words, all kinds of white space and punctuation, empty ones, repeats."""
    chance = random.Random(seed)
    spaces = [" ", "  ", "\t", "\u00a0", "\u2003", "\x0b", "\x0c", "\x1c", "\u2028", "\x85"]
    words = ["a", "Bär", "naïve", "don't", "🙂", ".", ",", "!", "?", ";", ":", "...", "(so)", "\u200b", "x" * 30]
    lines = []
    for _ in range(400):
        if lines and chance.random() < 0.2:
            lines.append(chance.choice(lines))
        else:
            pieces = [
                chance.choice(words) + chance.choice(spaces) * chance.randint(0, 2)
                for _ in range(chance.randint(0, 25))
            ]
            lines.append(chance.choice(["", " "]) + "".join(pieces))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "rules", [Process(), Process(tabs="remove", strip=False, min_words=3), Process(duplicates="near", min_words=5)]
)
def test_blocks_are_cleaned_as_a_plain_loop_would(tmp_path, monkeypatch, seed, rules):
    monkeypatch.setattr(raw, "BLOCK_BYTES", 499)  # many blocks, cut inside characters and line ends
    path = write(tmp_path / "a.train", random_text(seed))
    kept, report = lines_of(path, rules, workers=3)
    expected = list(plain_loop(path, rules))
    assert expected and kept == expected
    assert report.words == sum(len(text.split()) for _, text in expected)
    assert report.lines == len(path.open(encoding="utf-8").readlines())
    assert report.lines == report.kept + sum(report.dropped.values())


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("workers", [1, 4])
def test_neither_block_size_nor_workers_change_anything(tmp_path, monkeypatch, size, workers):
    monkeypatch.setattr(raw, "BLOCK_BYTES", size)
    path = write(tmp_path / "a.train", f"{ELEVEN} é\r\n\r\n{ELEVEN} ü\r{ELEVEN}\n{ELEVEN} é\n last {ELEVEN}".encode())
    kept, report = lines_of(path, workers=workers)
    assert kept == [(1, f"{ELEVEN} é"), (3, f"{ELEVEN} ü"), (4, ELEVEN), (6, f"last {ELEVEN}")]
    assert (report.lines, report.dropped["blank"], report.dropped["duplicate"], report.odd["cr"]) == (6, 1, 1, 3)


def test_word_counts_are_those_of_split():
    import polars as pl

    texts = ["", " ", "a", "a b", "a  b", " a\u2003b c ", "a\u00a0b", "x y z"]
    assert count_words(pl.Series(texts)).tolist() == [len(text.split()) for text in texts]


def test_seen_keys_are_a_set_in_order():
    chance = np.random.default_rng(0)
    seen, truth = SeenKeys(), set()
    for _ in range(50):
        keys = chance.integers(0, 2000, size=chance.integers(0, 200)).astype(np.uint64)
        mask = seen.add(keys)
        expected = []
        for key in keys.tolist():
            expected.append(key not in truth)
            truth.add(key)
        assert mask.tolist() == expected
    assert sum(len(run) for run in seen._runs) == len(truth)


# --- files in any state ----------------------------------------------------------------------------------------------


def test_oddities_are_counted_and_the_rest_is_read(tmp_path):
    content = b"\xef\xbb\xbf" + f"{ELEVEN} a\r\n".encode() + b"bad \xff\xfe byte " + ELEVEN.encode() + b"\n"
    content += b"nul\0nul " + ELEVEN.encode() + b"\n"
    content += f"{'word ' * 100}\n{ELEVEN} end".encode()
    kept, report = lines_of(write(tmp_path / "a.train", content), Process(max_line_bytes=200))
    assert kept == [
        (1, f"{ELEVEN} a"), (2, f"bad \ufffd\ufffd byte {ELEVEN}"), (3, f"nulnul {ELEVEN}"), (5, f"{ELEVEN} end"),
    ]  # fmt: skip
    assert report.odd == {"bad_bytes": 2, "nul": 1, "bom": 1, "cr": 1, "empty_file": 0, "too_long": 1}
    assert report.dropped["too_long"] == 1


def test_an_enormous_line_is_dropped_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "BLOCK_BYTES", 1000)
    path = write(tmp_path / "a.train", f"{ELEVEN}\n" + "long " * 200_000 + f"\n{ELEVEN} after\n")
    held = []
    for number, block in raw.blocks(raw.Source("s", path), 5000, lambda *_: None, lambda _: None):
        held.append((number, len(block)))
    assert max(length for _, length in held) < 8000
    kept, report = lines_of(path, Process(max_line_bytes=5000))
    assert kept == [(1, ELEVEN), (3, f"{ELEVEN} after")]
    assert report.odd["too_long"] == 1


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (f"{ELEVEN}\nx \xff\n".encode("latin-1"), "line 2: bytes that are not UTF-8"),
        (f"{ELEVEN}\n\na\0\n".encode(), "line 3: NUL"),
        (b"\xef\xbb\xbfa\n", "line 1: byte-order"),
        (b"a\nb\r\n", "line 2: carriage"),
        (b"a\n" + b"x" * 60 + b"\n", "line 2: lines over"),
        (b"", ": empty files"),
    ],
)
def test_strict_makes_an_oddity_an_error_that_names_its_line(tmp_path, content, place):
    path = write(tmp_path / "a.train", content)
    rules = Process(max_line_bytes=58)
    lines_of(path, rules)
    with pytest.raises(InputError, match="a.train") as error:
        lines_of(path, rules, strict=True)
    assert place in str(error.value)


def test_compressed_sources(tmp_path):
    text = f"{ELEVEN}\n{ELEVEN} two\n"
    write(tmp_path / "raw/plain.train", text)
    with gzip.open(tmp_path / "raw/packed.train.gz", "wt") as file:
        file.write(text)
    with zipfile.ZipFile(tmp_path / "raw/many.zip", "w") as archive:
        archive.writestr("data/inside.train", text)
        archive.writestr("data/inside.txt", text)
        archive.writestr("__MACOSX/data/._inside.train", b"\0\1")
    write(tmp_path / "raw/.hidden.train", text)
    sources = find_sources([tmp_path / "raw"], [".train"])
    assert [source.name for source in sources] == ["inside", "packed", "plain"]
    reports: list[Report] = []
    read: list[int] = []
    list(clean.clean(sources, Process(), reports=reports, advance=read.append))
    assert [report.kept for report in reports] == [2, 2, 2]
    assert sum(read) == sum(raw.size(source) for source in sources)


def test_names_tell_files_of_several_directories_apart(tmp_path):
    for name in ("x/10M/a.train", "x/100M/a.train", "x/100M/b.train", "y/10M/a.train"):
        write(tmp_path / name, ELEVEN)
    folders = [tmp_path / "x/10M", tmp_path / "x/100M", tmp_path / "y/10M", tmp_path / "x/10M"]
    assert [s.name for s in find_sources(folders, [".train"])] == ["x/10M/a", "100M/a", "b", "y/10M/a"]


def zipped(path: Path, *members: str, text: str = ELEVEN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of a name that stands twice
        for number, member in enumerate(members):
            archive.writestr(member, f"{text} {number}\n")
    return path


def names_in(folder: Path, *extensions: str) -> list[str]:
    return [source.name for source in find_sources([folder], list(extensions) or [".train"])]


def test_the_names_of_later_releases_are_found_where_there_are_no_others(tmp_path):
    for name in ("aochildes.train.txt", "cbt.train.txt.gz", "README.txt", "cbt.dev.txt"):
        content = gzip.compress(ELEVEN.encode()) if name.endswith(".gz") else ELEVEN
        write(tmp_path / "later" / name, content)
    assert names_in(tmp_path / "later") == ["aochildes", "cbt"]
    assert names_in(tmp_path / "later", ".dev") == ["cbt"]
    assert names_in(tmp_path / "later", ".txt") == ["README", "aochildes.train", "cbt.dev", "cbt.train"]
    assert names_in(tmp_path / "later", ".txt", ".train.txt") == ["README", "aochildes", "cbt.dev", "cbt"]
    write(tmp_path / "later/old.train", ELEVEN)
    assert names_in(tmp_path / "later") == ["old"], "a directory with the names of 2023 is read as before"
    zipped(tmp_path / "packed/a.zip", "in/qed.train.txt", "in/notes.txt")
    assert names_in(tmp_path / "packed") == ["qed"]


SINCE_2024 = {
    "bnc_spoken": "You want it now?\n", "childes": "*MOT:\tyou want it now ?\n*CHI:\tno .\n",
    "gutenberg": "= = = PG1 = = =\n\nIt was a dark night.\n", "open_subtitles": "- You came back.\n",
    "simple_wiki": "= = = April = = =\n\nApril is a month.\n", "switchboard": "A:\tWell, I do.\n",
}  # fmt: skip
"""Texts in the forms of the six sources of BabyLM's releases since 2024."""


@pytest.mark.parametrize("form", ["{}.train.txt", "{}.train.txt.gz", "train_10M/{}.train"])
def test_the_sources_since_2024_are_read_in_the_forms_they_come_in(tmp_path, form):
    for name, text in SINCE_2024.items():
        if form.endswith(".gz"):
            write(tmp_path / form.format(name), gzip.compress(text.encode()))
        elif form.startswith("train_10M"):  # the archive as it was fetched, with the folder in it
            with zipfile.ZipFile(tmp_path / "train_10M.zip", "a") as archive:
                archive.writestr(form.format(name), text)
        else:
            write(tmp_path / form.format(name), text)
    sources = find_sources([tmp_path], [".train"])
    assert [source.name for source in sources] == sorted(SINCE_2024)
    kept = clean.clean(sources, Process(min_words=0), [])
    texts = {part.source: part.texts.to_list() for part in kept}
    assert texts["childes"] == ["*MOT: you want it now?", "*CHI: no."] and texts["switchboard"] == ["A: Well, I do."]
    assert texts["gutenberg"] == ["= = = PG1 = = =", "It was a dark night."]


def test_extensions_in_capitals_and_without_a_point(tmp_path):
    write(tmp_path / "a/one.TRAIN", ELEVEN)
    write(tmp_path / "a/two.Train.GZ", gzip.compress(f"{ELEVEN} two".encode()))
    zipped(tmp_path / "a/THREE.ZIP", "Three.TRAIN")
    assert names_in(tmp_path / "a") == names_in(tmp_path / "a", "train") == ["Three", "one", "two"]
    packed = find_sources([tmp_path / "a"], [".train"])[2]
    assert b"".join(block for _, block in raw.blocks(packed, 1000, lambda *_: None, lambda _: None)) == (
        f"{ELEVEN} two\n".encode()
    )


def test_hidden_members_of_archives_are_no_texts_as_on_a_disk(tmp_path):
    members = ("a.train", ".a.train", ".git/b.train", "__MACOSX/c/._a.train", "../up/d.train", "/e.train", "in.zip")
    zipped(tmp_path / "x.zip", *members, "a.train")
    sources = find_sources([tmp_path], [".train"])
    assert [source.member for source in sources] == ["../up/d.train", "/e.train", "a.train"]
    zipped(tmp_path / "nested/x.zip", "in.zip")
    with pytest.raises(MissingInput, match="an archive inside an archive is not opened"):
        names_in(tmp_path / "nested")


def test_a_text_that_would_count_twice_is_refused_by_the_names_of_both(tmp_path):
    """A text is the same whatever its byte-order mark and line ends."""
    a = write(tmp_path / "twins/a.train", f"{ELEVEN}\n{ELEVEN} two\n")
    gz = write(tmp_path / "twins/a.train.gz", gzip.compress(f"\ufeff{ELEVEN}\r\n{ELEVEN} two".encode()))
    with pytest.raises(InputError, match=f"^{a} and {gz} hold the same text, .* twice; take one of them away$"):
        names_in(tmp_path / "twins")
    write(gz, gzip.compress(f"{ELEVEN}\n{ELEVEN} two\n{ELEVEN} three".encode()))
    assert names_in(tmp_path / "twins") == ["a#1", "a#2"], "other text under the same name is another text"
    write(tmp_path / "twins/a#1.train", f"{ELEVEN} one")
    assert names_in(tmp_path / "twins") == ["a#1", "a#2", "a#3"]

    zipped(tmp_path / "raw/all.zip", "b.train")
    write(tmp_path / "unpacked/b.train", f"{ELEVEN} 0\n")
    with pytest.raises(InputError, match=r"all\.zip:b\.train and .*unpacked/b\.train hold the same text"):
        find_sources([tmp_path / "raw", tmp_path / "unpacked"], [".train"])

    write(tmp_path / "linked/one.train", ELEVEN)
    (tmp_path / "linked/two.train").symlink_to(tmp_path / "linked/one.train")
    with pytest.raises(InputError, match=r"one\.train and .*two\.train are one file"):
        names_in(tmp_path / "linked")

    for name in ("c.train", "c.train.gz"):
        write(tmp_path / "empty" / name, gzip.compress(b"") if name.endswith("gz") else b"")
    assert names_in(tmp_path / "empty") == ["c#1", "c#2"], "of nothing there is nothing twice"


def test_names_that_are_no_text_are_refused(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.train")).write_text(ELEVEN)
    with pytest.raises(InputError, match=r"a\\udcff\.train' has a name that is not UTF-8"):
        names_in(tmp_path)


def test_damaged_archives_are_named(tmp_path):
    packed = gzip.compress(b"text " * 1000)
    write(tmp_path / "a/cut.train.gz", packed[:-20])
    with pytest.raises(InputError, match=r"cut\.train\.gz is damaged"):
        lines_of(tmp_path / "a/cut.train.gz")
    write(tmp_path / "b/no.zip", b"not a zip")
    with pytest.raises(InputError, match=r"no\.zip is damaged"):
        find_sources([tmp_path / "b"], [".train"])


def test_missing_and_empty_directories(tmp_path):
    with pytest.raises(MissingInput, match="nowhere not found; fetch one"):
        find_sources([tmp_path / "nowhere"], [".train"])
    write(tmp_path / "empty/readme.txt", "x")
    with pytest.raises(MissingInput, match=r"has no \*\.train"):
        find_sources([tmp_path / "empty"], [".train"])


# --- the stage -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_classifier(monkeypatch):
    classifier = HashClassifier()
    monkeypatch.setattr("emogap.emotion.classify.load", lambda *_: classifier)
    monkeypatch.setattr(babylm, "classifier_identity", lambda model: model.name)
    return classifier


@pytest.fixture
def figures():
    """A test that asks for this draws the figure, which takes a second."""


@pytest.fixture(autouse=True)
def no_figures(request, monkeypatch):
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("emogap.babylm.process.emotion_shares", lambda table: None)
        monkeypatch.setattr("emogap.store.exhibits.save_figure", lambda *_: None)


def scored_by(classifier, text: str) -> np.ndarray:
    return classifier.scores([text], progress=lambda _: None)[0]


def test_the_stage_on_the_shipped_sample(config, fake_classifier, figures, capsys):
    summary = babylm.process(config)
    rows = read_rows(config.home.processed, PROCESSED)
    assert summary.counts["lines kept"] == len(rows) > 400
    assert rows["id"].is_unique
    first = rows.iloc[0]
    source, number = first["id"].rsplit(":", 1)
    file = Path("data/sample/babylm") / f"{source}.train"
    line = (Path(babylm.__file__).parents[2] / file).read_text("utf-8").splitlines()[int(number) - 1]
    assert clean_line(line, Process()) == first["text"]
    expected = scored_by(fake_classifier, first["text"])
    np.testing.assert_array_equal(np.array(first["scores"], dtype=np.float32), expected)
    assert first["emotion"] == LABELS[expected.argmax()]
    assert first["score"] == expected.max()

    filtered = read_rows(config.home.filtered, PROCESSED)
    wanted = rows[(rows["emotion"] != "neutral") & (rows["score"] > 0.5)]
    assert filtered["id"].tolist() == wanted["id"].tolist()
    for labels, scores in zip(filtered["labels"], filtered["scores"], strict=True):
        passing = sorted((s for s in scores if s > 0.5), reverse=True)
        assert [scores[INDEX[label]] for label in labels] == passing
    assert {(e.name, e.kind) for e in exhibits(config.home.filtered.parent)} == {
        ("cleaning", "table"), ("emotions_by_source", "table"), ("emotions_by_source", "figure"),
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "subtitles" in printed and "duplicate" in printed

    table = pd.read_csv(config.home.filtered.parent / "tables/emotions_by_source.csv")
    assert table["all"].sum() == len(rows)
    assert table["emotional"].sum() == len(filtered)
    assert (
        table.set_index("emotion").loc["joy", "subtitles"]
        == ((rows["emotion"] == "joy") & (rows["source"] == "subtitles")).sum()
    )


def test_a_second_run_does_nothing_and_a_changed_threshold_only_filters(make_config, fake_classifier, capsys):
    babylm.process(make_config())
    assert babylm.process(make_config()).made == []
    capsys.readouterr()
    assert babylm.process(make_config("process.threshold=0.9")).made == ["babylm_filtered.parquet"]
    assert "process.threshold 0.5 → 0.9" in capsys.readouterr().out
    made = babylm.process(make_config("process.threshold=0.9", "process.min_words=15")).made
    assert made == ["lines.parquet", "babylm.parquet", "babylm_filtered.parquet"]


def test_other_members_of_an_archive_make_the_lines_stale(make_config, fake_classifier, tmp_path):
    zipped(tmp_path / "raw/x.zip", "a.train", "a.dev", "README")

    def lines(*more: str):
        return babylm.process_pieces(make_config(f"process.raw_dirs=['{tmp_path / 'raw'}']", *more))[0]

    assert lines().recipe.identities == {}, "what is read by default was never told, and homes made so stay fresh"
    babylm.process(make_config(f"process.raw_dirs=['{tmp_path / 'raw'}']"))
    assert lines().freshness().state == "fresh"
    dev = lines("process.extensions=['.dev']")
    assert dev.recipe.identities == {"members of raw a": "a.dev"}
    assert dev.freshness().reasons == ('members of raw a null → "a.dev"',)
    zipped(tmp_path / "raw/x.zip", "a.dev", "b.dev")
    assert lines("process.extensions=['.dev']").recipe.identities == {}, "all files, of one kind: there is no choice"
    zipped(tmp_path / "raw/x.zip", "a.train", ".b.train")
    assert lines().recipe.identities == {"members of raw a": "a.train"}, "a hidden file was read before"


def test_sources_called_like_columns_of_the_tables_stand_beside_them(make_config, fake_classifier, figures, tmp_path):
    names = ("all", "emotional", "emotion", "all (source)", "source", "lines", "kept", "cbt", "cbt_low", "cbt_high")
    for place, name in enumerate(names):
        write(tmp_path / f"raw/{name}.train", "".join(f"{ELEVEN} {name} {n}\n" for n in range(place + 1)))
    config = make_config(f"process.raw_dirs=['{tmp_path / 'raw'}']")
    babylm.process(config)
    table = pd.read_csv(config.home.filtered.parent / "tables/emotions_by_source.csv")
    own = ["all (source)", "all (source) (source)", "cbt", "cbt_high", "cbt_low", "emotion (source)"]
    own += ["emotional (source)", "kept", "lines", "source"]
    assert list(table.columns) == ["emotion", *own, "all", "emotional"]
    assert table[own].sum().tolist() == [1, 4, 8, 10, 9, 3, 2, 7, 6, 5]
    assert (table["all"] == table[own].sum(axis=1)).all() and table["all"].sum() == 55
    assert table["emotional"].sum() == len(read_rows(config.home.filtered, PROCESSED)) < 55
    cleaned = babylm.cleaning_table(config).set_index("source")
    assert (cleaned.loc["all (source)", "kept"], cleaned.loc["all", "kept"]) == (1, 55)
    assert read_rows(config.home.processed, PROCESSED)["source"].isin(names).all(), "ids and rows keep the file's name"
    cells = to_cells(read_table(config.home.filtered.parent / "tables/emotions_by_source.csv"))
    assert [name for part in cells.parts for name in part.columns if name.startswith("cbt")] == [
        "cbt", "cbt high", "cbt low",
    ]  # fmt: skip


def test_tuned_thresholds_are_per_label_and_noted(make_config, fake_classifier):
    fake_classifier.thresholds = np.linspace(0.2, 0.95, 28, dtype=np.float32)
    config = make_config("process.threshold=tuned")
    babylm.process(config)
    rows = read_rows(config.home.processed, PROCESSED)
    own = fake_classifier.thresholds[[INDEX[emotion] for emotion in rows["emotion"]]]
    wanted = rows[(rows["emotion"] != "neutral") & (rows["score"] > own)]
    assert 0 < len(wanted) < len(rows)
    assert read_rows(config.home.filtered, PROCESSED)["id"].tolist() == wanted["id"].tolist()
    notes = read_manifest(config.home.filtered)["notes"]
    assert notes["threshold"] == "tuned"
    assert notes["thresholds"]["neutral"] == pytest.approx(0.95)


def test_tuned_needs_a_classifier_that_has_thresholds(make_config, fake_classifier):
    fake_classifier.thresholds = None
    config = make_config("process.threshold=tuned")
    with pytest.raises(UsageError, match="has no tuned thresholds"):
        babylm.process(config)
    assert not config.home.filtered.exists()


def test_a_sample_is_drawn_by_the_line_alone(make_config, fake_classifier, tmp_path):
    whole = make_config("process.sample=50", "seed=3")
    babylm.process(whole)
    drawn = read_rows(whole.home.lines, type(PROCESSED)("lines", {"id": None}))["id"].tolist()
    assert len(drawn) == 50
    again = load_config("embedded", tmp_path / "other", ["process.sample=80", "seed=3", "process.workers=1"])
    babylm.process(again)
    more = read_rows(again.home.processed, PROCESSED)["id"].tolist()
    assert len(more) == 80
    assert [row_id for row_id in more if row_id in set(drawn)] == drawn  # fewer lines are a part of more, in order
    other = load_config("embedded", tmp_path / "third", ["process.sample=50", "seed=4"])
    babylm.process(other)
    assert read_rows(other.home.processed, PROCESSED)["id"].tolist() != drawn


def test_balance_draws_evenly_and_leaves_the_scores_alone(make_config, fake_classifier):
    babylm.process(make_config())
    everything = read_rows(make_config().home.filtered, PROCESSED)
    config = make_config("process.balance=true", "process.sample=60")
    assert babylm.process(config).made == ["babylm_filtered.parquet"]
    drawn = read_rows(config.home.filtered, PROCESSED)
    assert len(drawn) == 60
    found, taken = everything["emotion"].value_counts(), drawn["emotion"].value_counts()
    most = taken.max()
    assert all(taken.get(emotion, 0) >= min(found[emotion], most - 1) for emotion in found.index)
    assert drawn["id"].tolist() == [i for i in everything["id"] if i in set(drawn["id"])]
    config = make_config("process.balance=true")
    babylm.process(config)
    assert read_rows(config.home.filtered, PROCESSED)["emotion"].value_counts().max() <= found.median()


@pytest.mark.parametrize(
    ("found", "total", "expected"),
    [
        ([5, 5, 5], 6, [2, 2, 2]),
        ([1, 9, 9], 11, [1, 5, 5]),
        ([0, 3, 9], 100, [0, 3, 9]),
        ([4, 4, 4], 5, [2, 2, 1]),
        ([2, 2], 0, [0, 0]),
    ],
)
def test_even_quotas(found, total, expected):
    assert babylm.even_quotas(np.array(found), total).tolist() == expected


def test_labels_that_never_occur_are_warned_of(make_config, fake_classifier, capsys):
    fake_classifier.zero = ("grief", "pride")
    config = make_config()
    babylm.process(config)
    assert "never the top emotion of an emotional line: grief, pride" in capsys.readouterr().out


def test_nothing_kept_is_an_error_and_leaves_nothing(make_config, fake_classifier, tmp_path):
    write(tmp_path / "raw/a.train", "too short\n")
    config = make_config(f"process.raw_dirs=['{tmp_path / 'raw'}']")
    with pytest.raises(InputError, match="none of the 1 lines"):
        babylm.process(config)
    assert [p for p in config.home.lines.parent.iterdir() if p.is_file()] == []


def test_a_killed_run_goes_on_and_ends_with_the_same_file(make_config, fake_classifier, monkeypatch, tmp_path):
    monkeypatch.setattr(babylm, "SHARD_LINES", 100)
    undisturbed = load_config("embedded", tmp_path / "undisturbed")
    babylm.process(undisturbed)
    calls = len(fake_classifier.calls)
    assert calls == 6
    fake_classifier.dies_at = calls + 3
    config = make_config()
    with pytest.raises(KeyboardInterrupt):
        babylm.process(config)
    assert not config.home.processed.exists()
    fake_classifier.dies_at = None
    babylm.process(config)
    assert len(fake_classifier.calls) == 2 * calls + 1  # three shards were there, the interrupted one was done again
    assert config.home.processed.read_bytes() == undisturbed.home.processed.read_bytes()
    assert not (config.home.root / "processed_data/babylm.parquet.partial").exists()


def test_scores_of_another_recipe_are_not_mixed_in(make_config, fake_classifier, monkeypatch):
    monkeypatch.setattr(babylm, "SHARD_LINES", 100)
    fake_classifier.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        babylm.process(make_config())
    fake_classifier.dies_at = None
    fake_classifier.salt, fake_classifier.sha256 = "other weights", "1" * 64
    babylm.process(make_config())
    rows = read_rows(make_config().home.processed, PROCESSED)
    np.testing.assert_array_equal(rows["scores"][0], scored_by(fake_classifier, rows["text"][0]))


def test_large_raw_files_are_hashed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(artefacts, "LARGE_BYTES", 10)
    path, hashed = write(tmp_path / "a.train", ELEVEN), []
    real = artefacts._sha256_of_file
    monkeypatch.setattr(artefacts, "_sha256_of_file", lambda file: hashed.append(file) or real(file))
    first = artefacts.fingerprint(path)
    assert artefacts.fingerprint(path) == first == hashlib.sha256(ELEVEN.encode()).hexdigest()
    assert len(hashed) == 1
    write(path, ELEVEN.upper())
    os.utime(path, ns=(0, 0))
    assert artefacts.fingerprint(path) != first


def test_manifest_says_what_came_of_each_source(config, fake_classifier):
    babylm.process(config)
    manifest = read_manifest(config.home.lines)
    entry = {row["source"]: row for row in manifest["notes"]["sources"]}["subtitles"]
    assert entry["lines"] == 125
    assert entry["kept"] + sum(entry[reason] for reason in clean.DROPPED) == 125
    assert any(path["path"].endswith("subtitles.train") for path in manifest["inputs"].values())
    assert read_manifest(config.home.processed)["identities"] == {"classifier": "emotion-minilm"}
    assert pq.ParquetFile(config.home.processed).schema_arrow.names == list(PROCESSED.columns)


def test_the_script_and_its_options(tmp_path):
    root = Path(babylm.__file__).parents[2]
    command = [sys.executable, str(root / "process_pretrain_data.py"), "--home", str(tmp_path / "home")]
    ended = subprocess.run(
        [*command, "--raw", str(tmp_path / "none")], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "none not found" in ended.stderr
    wrong = subprocess.run([*command, "--duplicates", "fuzzy"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "process.duplicates" in wrong.stderr


# --- at size ---------------------------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys, time
from pathlib import Path
from emogap.babylm.process import _as_table, _write_lines
from emogap.config import Process
from emogap.babylm.clean import clean
from emogap.babylm.raw import Source
path, reports = Path(sys.argv[1]), []
started = time.monotonic()
_write_lines(path.with_suffix(".parquet"), map(_as_table, clean([Source("a", path)], Process(), reports=reports)))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_kib": peak, "kept": reports[0].kept, "seconds": time.monotonic() - started}))
"""


def measured(path: Path) -> dict:
    environment = os.environ | {"POLARS_MAX_THREADS": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(ended.stdout)


def grow(path: Path, copies: int) -> None:
    """Make a file ``copies`` times as long, the lines of every copy different."""
    lines = path.read_text("utf-8").splitlines()
    with path.open("w", encoding="utf-8") as out:
        for copy in range(copies):
            out.writelines(f"{line} {copy}\n" for line in lines)


@pytest.mark.slow
def test_a_gigabyte_in_a_gigabyte_and_a_half(tmp_path):
    path = tmp_path / "big.train"
    make_text(path, 16 << 20)
    grow(path, 61)
    assert path.stat().st_size > 1e9
    found = measured(path)
    path.unlink()
    assert found["kept"] > 5_000_000
    assert found["peak_kib"] < 1.5 * (1 << 20)


def test_memory_grows_by_no_more_than_sixteen_bytes_a_line(tmp_path):
    path = tmp_path / "a.train"
    make_text(path, 1 << 20)
    small = measured(path)
    grow(path, 16)
    large = measured(path)
    allowed = 16 * (large["kept"] - small["kept"]) / 1024 + 150 * 1024  # blocks at work, and what the allocator holds
    assert large["peak_kib"] - small["peak_kib"] < allowed


@pytest.mark.slow
def test_three_times_as_fast_as_a_plain_loop(tmp_path):
    from tools.benchmarks.clean import compare

    path = tmp_path / "a.train"
    make_text(path, 24 << 20)
    assert compare(path) >= 3


def test_real_text_is_cleaned_as_a_plain_loop_would(real_data):
    for source in find_sources([real_data / "babylm_sample"], [".train"]):
        kept, _ = lines_of(source.path)
        assert kept == list(plain_loop(source.path, Process()))


@pytest.mark.parametrize(
    ("counts", "title"),
    [
        ({"joy": 3, "fear": 1, "neutral": 6}, "Top emotion of 10 lines by source: joy most often (3)"),
        ({"joy": 2, "fear": 2, "neutral": 6}, "Top emotion of 10 lines by source: fear, joy most often (2 each)"),
        ({"joy": 1, "fear": 1, "love": 1, "grief": 1},
         "Top emotion of 4 lines by source: 4 emotions have 1 each, none has more"),
        ({"neutral": 5}, "Top emotion of 5 lines by source: all are neutral"),
    ],
)  # fmt: skip
def test_the_title_of_the_map_knows_ties(counts, title):
    all_counts = [counts.get(label, 0) for label in LABELS]
    table = pd.DataFrame({"emotion": LABELS, "a": all_counts, "all": all_counts, "emotional": all_counts})
    assert emotion_shares(table).axes[0].get_title("left") == title


def test_lines_before_and_after_the_stage(make_config, fake_classifier, tmp_path):
    raw_lines = ["", "\tthe  first line is short", f"{ELEVEN} , ok", "and one more"]
    write(tmp_path / "raw" / "a.train", "\r\n".join(raw_lines))
    write(tmp_path / "raw" / "b.train", f"{ELEVEN} of b\n")
    config = make_config(f"process.raw_dirs=['{tmp_path / 'raw'}']")
    before = babylm.before_and_after(config, 4)
    assert before["id"].tolist() == ["a:2", "a:3", "b:1"]
    assert before["raw"].tolist() == [raw_lines[1], raw_lines[2], f"{ELEVEN} of b"]
    babylm.process(config)
    after = babylm.before_and_after(config, 4)
    assert after["raw"].equals(before["raw"])
    assert after["cleaned"].tolist() == ["", f"{ELEVEN}, ok", f"{ELEVEN} of b"]
    expected = scored_by(fake_classifier, f"{ELEVEN}, ok")
    assert after["emotion"].tolist()[:2] == ["", LABELS[expected.argmax()]]
    assert after["score"].iloc[1] == expected.max() and np.isnan(after["score"].iloc[0])
    assert after["emotional"].tolist() == after["id"].isin(read_rows(config.home.filtered, PROCESSED)["id"]).tolist()


def test_the_scripts_cells_show_settings_lines_and_outcome(config, fake_classifier, figures, monkeypatch, capsys):
    shown = run_cells("process_pretrain_data.py", config.home.root, monkeypatch)
    assert shown["config"].home == config.home and len(shown["table"]) == 28
    assert shown["figure"].axes[0].get_title("left").startswith("Top emotion of ")
    printed = capsys.readouterr().out
    assert "process: made 3" in printed and "next: pretrain_data_augment.ipynb" in printed
