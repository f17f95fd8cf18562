"""Data sets of a home: ``datasets.load_dataset`` reads them without a network, cards say what is known of them."""

import json
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.errors import InputError
from emogap.paths import ROOT, Home
from emogap.records import CORPUS, REWRITES, STORIES, write_rows
from emogap.share.cards import UNKNOWN, licence_of, model_licence
from emogap.share.data_sets import share
from emogap.store.artefacts import Artefact, Recipe, read_manifest, write_json

SAMPLE = ROOT / "data" / "sample" / "alpaca.json"


def story(method: str, number: int, status: str = "kept") -> dict:
    reason = "" if status == "kept" else "too_short"
    texts = dict.fromkeys(STORIES.columns, "text") | {"id": f"{method}/{number}", "method": method, "seed": number}
    return texts | {"emotions": ["joy"], "status": status, "reason": reason, "genre": None, "words": 3 + number}


@pytest.fixture
def home(config, tmp_path) -> Home:
    home, outside = config.home, tmp_path / "secret" / "mine.train"
    outside.parent.mkdir()
    outside.write_text("one line")
    made(home.filtered, Recipe("process", {"raw": outside}), lambda path: path.write_text("lines"))
    identities = {"writer.model": "embedded:smollm2-135m-instruct@sha256:12", "prompt m1": "abc"}
    for method in ("m1", "m2"):
        for number in (0, 1):
            rows = [story(method, 2 * number), story(method, 2 * number + 1, "rejected" if method == "m1" else "kept")]
            if number:  # a column that one chunk says nothing of
                rows = [row | {"genre": "fable"} for row in rows]
            settings = {"augment.method": method, "augment.gates.min_words": 15, "augment.file": str(outside)}
            recipe = Recipe("augment", {"lines": home.filtered}, settings, identities)
            made(home.chunk(method, number), recipe, table(rows, STORIES))
    rows = [dict.fromkeys(CORPUS.columns, "text") | {"words": 2, "split": s} for s in ("train", "validation", "train")]
    recipe = Recipe("corpus", {"m1": home.chunk("m1", 0)}, {"corpus.words": 0})
    made(home.corpus("emotional"), recipe, table(rows, CORPUS))
    rewrites = [dict.fromkeys(REWRITES.columns, "text") | {"status": "kept", "reason": ""}]
    made(home.rewrite_rows("v1"), Recipe("rewrite", {"records": SAMPLE}), table(rewrites, REWRITES))
    return home


def table(rows: list[dict], row_type):
    return lambda path: write_rows(path, pd.DataFrame(rows), row_type)


def made(path: Path, recipe: Recipe, write) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Artefact(path, recipe, is_folder=not path.suffix).making() as draft:
        write(draft.path)


def load(folder: Path, *name: str):
    import datasets

    return datasets.load_dataset(str(folder), *name, cache_dir=str(folder.parent / "cache"))


def test_each_kind_is_read_by_datasets(home, tmp_path):
    out = tmp_path / "out"
    share(home, out)
    stories = load(out / "stories", "m1")
    assert {split: rows["id"][:] for split, rows in stories.items()} == {
        "train": ["m1/0", "m1/2"], "rejected": ["m1/1", "m1/3"]
    }  # fmt: skip
    assert stories["train"]["genre"][:] == [None, "fable"] and stories["train"][0]["emotions"] == ["joy"]
    assert {split: len(rows) for split, rows in load(out / "stories", "m2").items()} == {"train": 4}
    corpus = load(out / "corpus")
    assert {split: len(rows) for split, rows in corpus.items()} == {"train": 2, "validation": 1}
    assert load(out / "rewrites", "v1")["train"].column_names == list(REWRITES.columns)


def test_a_card_says_from_what_under_which_licence_by_which_gates(home, tmp_path):
    share(home, tmp_path / "out")
    card = (tmp_path / "out" / "stories" / "README.md").read_text()
    assert f"license: {UNKNOWN}\n" in card and "| m1 | train | 2 |" in card and "| m1 | too_short | 2 |" in card
    raw = read_manifest(home.filtered)["inputs"]["raw"]["sha256"]
    assert f"| mine.train | {raw} | {UNKNOWN} |" in card, "what is behind the lines, by its name alone"
    assert "secret" not in card and "| augment.gates.min_words | 15 |" in card and "| prompt m1 | abc |" in card
    assert read_manifest(home.chunk("m1", 0))["files"]["chunk_00000.parquet"][""] in card
    rewrites = (tmp_path / "out" / "rewrites" / "README.md").read_text()
    assert "| data/sample/alpaca.json |" in rewrites and "license: mit\n" in rewrites


def test_licences_are_the_registrys_or_unknown():
    assert licence_of("data/raw/babylm_10M/bnc_spoken.train").startswith("that of each source")
    assert licence_of("data/sample/alpaca.json").startswith("MIT") and licence_of("/else/where") == UNKNOWN
    assert model_licence("emotion-minilm@sha256:1") == "apache-2.0"
    assert model_licence("embedded:no-such-model@sha256:1") == UNKNOWN


def test_a_second_run_writes_only_what_changed_and_damage_is_refused(home, tmp_path, capsys):
    words = ["share", str(tmp_path / "out"), "--home", str(home.root)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"hf upload OWNER/stories {tmp_path / 'out' / 'stories'} --repo-type dataset --private" in out
    assert main(words) == 0 and " 0 files written" in capsys.readouterr().out
    home.chunk("m1", 0).write_bytes(b"x")
    assert main(words) == 1 and "differs from its manifest" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"README\.md and 8 more files are not as this command wrote it"):
        (tmp_path / "out" / ".emogap-written.json").unlink()
        home.chunk("m1", 0).unlink()
        Path(f"{home.chunk('m1', 0)}.manifest.json").unlink()
        for file in (tmp_path / "out").rglob("*.*"):
            file.write_text("mine")
        share(home, tmp_path / "out")


def test_a_model_without_a_card_gets_one_outside_the_home(config, tmp_path, capsys):
    model = config.home.model("base-baby")
    made(model, Recipe("clm", {}, {"clm.epochs": 3}), lambda path: write_json(path / "config.json", {}))
    assert main(["share", str(tmp_path / "out"), "--home", str(config.home.root)]) == 0
    assert f"hf upload OWNER/base-baby {model} --private" in capsys.readouterr().out
    card = (tmp_path / "out" / "models" / "base-baby" / "README.md").read_text()
    assert "No record of its training" in card and "| clm.epochs | 3 |" in card and not (model / "README.md").exists()
    assert main(["share", str(tmp_path / "out"), "--home", str(tmp_path / "none")]) == 1
    assert "no corpus, stories, rewrites or models to hand on" in capsys.readouterr().err


def test_a_home_that_the_stages_made_is_handed_on_whole(tmp_path):
    with tarfile.open(ROOT / "tests" / "fixtures" / "old_home" / "home.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = Home(tmp_path / "home")
    share(home, tmp_path / "out")
    for kind, names in (("stories", ("m1", "m2", "m3")), ("corpus", ("emotional",)), ("rewrites", ("v1",))):
        card = (tmp_path / "out" / kind / "README.md").read_text()
        for name in names:
            loaded = load(tmp_path / "out" / kind, name)
            assert sum(map(len, loaded.values())) > 0 and f"config_name: {name}\n" in card
    rows = json.loads(home.rewrites("v1").read_text())
    assert [row["output"] for row in rows] == load(tmp_path / "out" / "rewrites", "v1")["train"]["output"][:]
