"""The whole pipeline as a user runs it: every notebook and script, real models, few rows, tokens and steps."""

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from emogap.config import load_config
from emogap.emotions import LABELS
from emogap.store.artefacts import manifest_path
from emogap.store.exhibits import exhibits
from emogap.study.stages import STAGES
from emogap.study.state import inspect_all

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(2400)]

SMALL = (
    "augment.lines=4",
    "augment.chunk_size=2",
    "augment.sampling.max_new_tokens=32",
    "augment.gates.min_words=5",
    "writer.dtype=fp32",
    "rewrite.count=6",
    "rewrite.sampling.max_new_tokens=48",
    "clm.max_steps=2",
    "clm.eval_steps=2",
    "sft.max_steps=2",
    "sft.eval_steps=2",
    "respond.sampling.max_new_tokens=8",
    "respond.empty_prompts=2",
    "sentiment.plain_text=data/sample/lens_sentences.txt",
    "emobench.items=1",
    "lens.per_emotion=1",
    "lens.new_tokens=2",
)


def emogap(*words: str, home: Path, check: bool = True) -> subprocess.CompletedProcess:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = [sys.executable, "-m", "emogap", *words, "--home", str(home), *settings]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home.parent, timeout=1800)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("study") / "home"
    emogap("run", home=folder)
    return folder


@pytest.fixture
def config(home):
    return load_config("embedded", home, list(SMALL))


def test_every_stage_is_fresh_and_every_notebook_executed(home, config):
    assert {state.stage.name: (state.state, state.reasons) for state in inspect_all(config)} == {
        stage.name: ("fresh", ()) for stage in STAGES
    }
    notebooks = {Path(stage.source).name for stage in STAGES if (stage.source or "").endswith(".ipynb")}
    assert {p.name for p in (home / "notebooks").iterdir()} == notebooks


def test_running_again_does_nothing(home):
    before = {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()}
    started = time.monotonic()
    done = emogap("run", home=home)
    assert time.monotonic() - started < 30
    assert done.stdout.count(": fresh") == len(STAGES)
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()} == before


def test_stories_are_written_about_the_same_lines_by_each_method(config):
    chunks = {m: [config.home.chunk(m, n) for n in (0, 1)] for m in ("m1", "m2", "m3")}
    lines = {m: [line for c in files for line in pd.read_parquet(c)["line_id"]] for m, files in chunks.items()}
    assert len(lines["m1"]) == 4
    assert lines["m1"] == lines["m2"] == lines["m3"]
    rows = pd.concat(pd.read_parquet(c) for files in chunks.values() for c in files)
    assert rows["id"].is_unique
    assert (rows["reply"].str.len() > 0).any()
    assert set(rows["status"]) <= {"kept", "rejected"}
    assert (rows.loc[rows["status"] == "rejected", "reason"].str.len() > 0).all()


def test_controls_are_trained_and_come_first_in_every_table_of_effects(config):
    plain = [row for c in config.home.chunks("m0").values() for row in pd.read_parquet(c)["line_id"]]
    lines = [row for c in config.home.chunks("m1").values() for row in pd.read_parquet(c)["line_id"]]
    assert plain[:4] == lines and len(plain) == len(set(plain)) == 3 * len(lines)
    told = {own.name: pd.read_parquet(config.home.corpus(own.name)) for own in config.all_corpora}
    assert list(told) == ["emotional", "plain", "lines"] and "m0" not in set(told["emotional"]["method"])
    facts = {name: set(table.loc[table["kind"] == "factual", "id"]) for name, table in told.items()}
    assert facts["plain"] == facts["lines"] == facts["emotional"]
    of = {"baby": ["plain", "lines"], "instr": ["orig"], "baby-instr": ["plain-orig"]}
    first = [(f"smollm2-135m-{model}", f"smollm2-135m-{one}") for model, controls in of.items() for one in controls]
    for name in ("effects", "sentiment_change_groups", "blimp_differences", "emobench_differences"):
        table = pd.read_csv(config.home.evaluation / "tables" / f"{name}.csv")
        pairs = list(dict.fromkeys(table[["model", "against"]].itertuples(index=False, name=None)))
        assert pairs[:4] == first, name
        assert list(dict.fromkeys(table["comparison"])) == ["tuned - control", "tuned - base", "control - base"]
    steps = {s.name: json.loads((config.home.model(s.name) / "training.json").read_text())["steps"]
             for s in config.strategies}  # fmt: skip
    assert all(steps[s.name] == steps[s.control_of] for s in config.strategies if s.control_of)


def test_models_load_without_this_project(config):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for strategy in config.strategies:
        folder = config.home.model(strategy.name)
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.num_parameters() > 130e6
        assert AutoTokenizer.from_pretrained(folder).eos_token_id is not None
        assert json.loads((folder / "training.json").read_text())["parent"]


def test_answers_and_scores_of_every_model(config):
    names = ["smollm2-135m", *(strategy.name for strategy in config.strategies)]
    for name in names:
        answers = pd.read_parquet(config.home.responses(name))
        assert len(answers) == 28
        assert set(answers["instruction_emotion"]) == set(LABELS)
    emotions = pd.read_parquet(config.home.emotions)
    assert set(emotions["model"]) == set(names)
    scores = pd.read_parquet(config.home.scores)
    correct = scores[(scores["task"] == "blimp") & (scores["metric"] == "correct")]
    assert correct.groupby("model").size().to_dict() == dict.fromkeys(names, 60)
    assert set(correct["value"]) <= {0.0, 0.5, 1.0}
    assert scores["value"].notna().all()


def test_the_report_shows_every_exhibit_and_only_people_are_missing(home, config):
    page = (home / "report" / "index.html").read_text()
    assert "has not run" not in page.replace("A dashed box has not run.", "")
    missing = re.findall(r'<a href="#([\w-]+)">[^<]*</a> <span class="state missing">', page)
    assert missing == ["table-4"], "people's preference: nobody has been asked"
    folders = dict.fromkeys(home / stage.folder for stage in STAGES[:-1])
    for folder in folders:
        shown = exhibits(folder)
        assert shown, f"{folder} has no exhibit"
        for exhibit in shown:
            assert f'id="{folder.name}-{exhibit.kind}-{exhibit.name}"' in page
    assert "http" not in "".join(part for part in page.split('"') if part.startswith("http"))


def test_executed_notebooks_hold_pictures(home):
    for notebook in (home / "notebooks").iterdir():
        assert "image/png" in notebook.read_text(), f"{notebook.name} shows no picture"


def test_a_changed_setting_names_what_is_stale(home):
    shown = emogap("status", "--set", "augment.sampling.temperature=0.9", home=home).stdout
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert "augment.sampling.temperature 0.7 → 0.9" in lines["augment"]
    assert "stale" in lines["clm"]
    assert "fresh" in lines["rewrite"]


def test_status_verifies_bytes(home):
    assert "artefacts verified" in emogap("status", "--verify", home=home).stdout
    text = home / "babylm_pretrain_corpus" / "emotional.txt"
    kept = text.read_bytes()
    try:
        text.write_bytes(kept + b"x")
        done = emogap("status", "--verify", home=home, check=False)
        assert done.returncode == 1
        assert "emotional.txt differs from its manifest" in done.stderr
    finally:
        text.write_bytes(kept)


TABLES = (
    "processed_data/*.parquet",
    "babylm_augment/*/chunk_*.parquet",
    "babylm_pretrain_corpus/*.parquet",
    "alpaca-instruction/*.parquet",
    "quantitative_analysis/responses*/*.parquet",
    "quantitative_analysis/scores.parquet",
    "model_analysis/*.parquet",
)
TIMED = ("seconds",)
"""Columns that say how long a row took."""


def rows_of(home: Path) -> dict[str, pd.DataFrame]:
    files = [file for pattern in TABLES for file in sorted(home.glob(pattern))]
    return {str(f.relative_to(home)): pd.read_parquet(f).drop(columns=[*TIMED], errors="ignore") for f in files}


def run_and_kill(home: Path, *words: str, until) -> bool:
    """Start a run and kill it once ``until()`` is true; whether it was killed before it ended."""
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = [sys.executable, "-m", "emogap", "run", *words, "--home", str(home), *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not until():
        time.sleep(0.02)
    was_running = process.poll() is None
    process.kill()
    process.wait()
    return was_running


def test_a_run_killed_among_stories_goes_on_and_ends_with_the_same_rows(home, tmp_path):
    again = tmp_path / "home"
    first = again / "babylm_augment" / "m1" / "chunk_00000.parquet"
    part = ("--to", "corpus", "--set", "controls=false")
    assert run_and_kill(again, *part, until=manifest_path(first).exists)
    assert not list(again.glob("babylm_pretrain_corpus/*.parquet"))
    emogap("run", *part, home=again)
    undisturbed, resumed = rows_of(home), rows_of(again)
    assert len(resumed) > 8
    for name, rows in resumed.items():
        pd.testing.assert_frame_equal(rows, undisturbed[name])


@pytest.mark.slow
def test_a_run_killed_a_dozen_times_ends_with_the_same_rows(home, tmp_path):
    """Killed at random moments, wherever that falls: in a stage, between two, while a kernel starts."""
    again, moments = tmp_path / "home", random.Random(1)
    kills = 0
    while kills < 12:
        deadline = time.monotonic() + moments.uniform(4, 25)
        if not run_and_kill(again, until=lambda at=deadline: time.monotonic() > at):
            break
        kills += 1
    emogap("run", home=again)
    undisturbed, resumed = rows_of(home), rows_of(again)
    assert resumed.keys() == undisturbed.keys()
    for name, rows in resumed.items():
        pd.testing.assert_frame_equal(rows, undisturbed[name], obj=name)
