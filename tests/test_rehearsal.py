"""The published set-up from end to end on small stand-ins for its models: what is run before the night on a GPU box."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hub_stand_ins import build_hub, missing
from public_home import PublicHome, serving
from published_files import files_of

from emogap.config import load_config
from emogap.fetch.download import fetch
from emogap.fetch.registry import data_set
from emogap.records import KEPT
from emogap.store.artefacts import read_manifest
from emogap.study.stages import STAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}; `make test-all` installs it"),
]
WRITES = (
    "writer.quantization=none",
    "augment.sampling.max_new_tokens=160",
    "augment.sampling.repetition_penalty=1.1",
    "augment.gates.truncated=trim",
    "rewrite.sampling={temperature = 0.6, top_p = 0.95, repetition_penalty = 1.1, max_new_tokens = 160}",
    "rewrite.gates.truncated=trim",
)
"""The writer that writes has no time for 4 bits on a CPU; it is small, seldom comes to an end by itself, and cannot do
with the published sampling of rewrites."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub cache with a writer that writes, or with a random one; built once each."""
    built = {}

    def of(writes: bool) -> Path:
        if writes not in built:
            built[writes] = build_hub(tmp_path_factory.mktemp("hub"), writes)
        return built[writes]

    return of


def options(*settings: str) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


def emogap(command: str, profile: str, home: Path, hub: Path, *words: str) -> str:
    """A command without a network; what it said. It must end well."""
    environment = os.environ | {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1"}
    line = [sys.executable, "-m", "emogap", command, "--profile", profile, "--home", str(home), *words]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def run_twice(profile: str, home: Path, hub: Path, *words: str) -> None:
    """From an empty home to the report; the second time there is nothing left to do."""
    emogap("run", profile, home, hub, *words)
    said = emogap("run", profile, home, hub, *words)
    assert said.count(": fresh") == len(STAGES), said


def kept(rows: pd.DataFrame) -> int:
    return int(rows["status"].eq(KEPT).sum())


def test_with_a_random_writer_all_is_rejected_and_the_report_says_so(tmp_path, hub):
    """The profile as it stands, 4-bit weights and half precision included."""
    home = tmp_path / "home"
    run_twice("paper-smoke", home, hub(False))
    config = load_config("paper-smoke", home)
    for method in config.augment.methods:
        stories = pd.read_parquet(config.home.chunk(method, 0))
        assert len(stories) == 8 and kept(stories) == 0 and stories["reason"].notna().all()
    page = config.home.report.read_text(encoding="utf-8")
    assert "stories of m1 was kept" in page and "nothing to train: gpt2-instr" in page
    model = read_manifest(config.home.model("gpt2-baby"))
    assert model["settings"]["clm.precision"] == "fp16" and model["notes"]["dtype"] in ("bf16", "fp32")
    said = (home / "notebooks" / "casual_lm.ipynb").read_text(encoding="utf-8")
    assert said.count("precision=fp16 is for GPUs") == 1


def test_with_a_writer_that_writes_everything_has_something_to_work_on(tmp_path, hub):
    home = tmp_path / "home"
    run_twice("paper-smoke", home, hub(True), *options(*WRITES))
    config = load_config("paper-smoke", home, list(WRITES))
    for method in config.augment.methods:
        assert kept(pd.read_parquet(config.home.chunk(method, 0)))
    assert kept(pd.read_parquet(config.home.rewrite_rows("v3"))) >= 2
    for strategy in config.strategies:
        record = json.loads((config.home.model(strategy.name) / "training.json").read_text(encoding="utf-8"))
        assert record["steps"] == 10
    answers = pd.read_parquet(config.home.emotions)
    assert set(answers["model"]) == {*config.bases, *(strategy.name for strategy in config.strategies)}


def test_a_story_of_the_writer_in_4_bits(tmp_path, hub):
    home = tmp_path / "home"
    emogap("process", "paper-smoke", home, hub(True))
    few = ("augment.lines=1", "augment.methods=['m1']", "augment.sampling.max_new_tokens=32")
    emogap("augment", "paper-smoke", home, hub(True), *options(*few))
    config = load_config("paper-smoke", home, list(few))
    (story,) = pd.read_parquet(config.home.chunk("m1", 0)).to_dict("records")
    assert len(story["reply"].split()) >= 10
    assert read_manifest(config.home.chunk("m1", 0))["settings"]["writer.quantization"] == "nf4"


def test_the_published_profile_over_data_of_the_published_forms(tmp_path, hub, monkeypatch):
    """`paper` itself, two chunks of eight lines, over what `emogap fetch` brings from stand-ins of its homes."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    folders = {}
    for name in ("babylm-100m", "babylm-10m", "alpaca", "blimp", "emobench", "published"):
        wanted = replace(data_set(name), sha256={})  # known of the real files alone
        origin = wanted.home
        commit = origin.revision + "0" * (40 - len(origin.revision))
        public = PublicHome(origin.repository, commit, origin.revision)
        public.files = files_of(name)
        with serving(public) as servers:
            folders[name] = fetch(wanted, tmp_path / "raw" / wanted.folder, servers)
    settings = (
        f"process.raw_dirs=['{folders['babylm-100m']}']",
        "augment.chunk_size=8",
        "augment.chunks=0-1",
        f"corpus.factual=['{folders['babylm-10m']}/simple_wikipedia.train', '{folders['babylm-10m']}/wikipedia.train']",
        f"rewrite.records={folders['alpaca']}/alpaca_cleaned.json",
        "rewrite.count=8",
        f"respond.prompts={folders['published']}/emotion_prompts.json",
        "respond.per_emotion=1",
        f"blimp.data={folders['blimp']}",
        f"emobench.data={folders['emobench']}",
        *WRITES,
    )
    home = tmp_path / "home"
    run_twice("paper", home, hub(True), *options(*settings))
    config = load_config("paper", home, list(settings))
    for method in config.augment.methods:
        assert [len(pd.read_parquet(config.home.chunk(method, chunk))) for chunk in (0, 1)] == [8, 8]
    corpus = pd.read_parquet(config.home.corpus("emotional"))
    assert {"simple_wikipedia", "wikipedia"} <= set(corpus["source"])
