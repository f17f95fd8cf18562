"""The published set-up from end to end on small stand-ins for its models: what is run before the night on a GPU box."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hub_stand_ins import build_hub, missing

from emogap.artefacts import read_manifest
from emogap.config import load_config
from emogap.records import KEPT
from emogap.stages import STAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}; `make test-all` installs it"),
]
SECONDS = 2400


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub cache with a writer that writes, or with a random one; built once each."""
    built = {}

    def of(writes: bool) -> Path:
        if writes not in built:
            built[writes] = build_hub(tmp_path_factory.mktemp("hub"), writes)
        return built[writes]

    return of


def run(home: Path, hub: Path, *words: str) -> str:
    """`emogap run --profile paper-smoke`; what it said. It must end well."""
    environment = os.environ | {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "emogap", "run", "--profile", "paper-smoke", "--home", str(home), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def second_run_is_fresh(home: Path, hub: Path, *words: str) -> None:
    said = run(home, hub, *words)
    assert said.count(": fresh") == len(STAGES), said


def test_with_a_random_writer_all_is_rejected_and_the_report_says_so(tmp_path, hub):
    """The profile as it stands, 4-bit weights and half precision included."""
    home = tmp_path / "home"
    said = run(home, hub(False))
    assert "precision=fp16 is for GPUs" in said or "computed in" in (home / "notebooks" / "casual_lm.ipynb").read_text()
    config = load_config("paper-smoke", home)
    for method in config.augment.methods:
        stories = pd.read_parquet(config.home.chunk(method, 0))
        assert len(stories) == 8 and not stories["status"].eq(KEPT).any() and stories["reason"].notna().all()
    page = config.home.report.read_text(encoding="utf-8")
    assert "stories of m1 was kept" in page and "nothing to train: gpt2-instr" in page
    model = read_manifest(config.home.model("gpt2-baby"))
    assert model["settings"]["clm.precision"] == "fp16" and model["notes"]["dtype"] in ("bf16", "fp32")
    second_run_is_fresh(home, hub(False))


WRITES = ("--set", "writer.quantization=none")


def test_with_a_writer_that_writes_everything_has_something_to_work_on(tmp_path, hub):
    home = tmp_path / "home"
    run(home, hub(True), *WRITES)
    config = load_config("paper-smoke", home)
    for method in config.augment.methods:
        stories = pd.read_parquet(config.home.chunk(method, 0))
        assert stories["status"].eq(KEPT).any(), stories["reason"].value_counts()
    rewrites = pd.read_parquet(config.home.rewrite_rows("v3"))
    assert rewrites["status"].eq(KEPT).sum() >= 2, rewrites["reason"].value_counts()
    for strategy in config.strategies:
        record = json.loads((config.home.model(strategy.name) / "training.json").read_text(encoding="utf-8"))
        assert record["steps"] == 10
    answers = pd.read_parquet(config.home.emotions)
    assert set(answers["model"]) == {*config.bases, *(strategy.name for strategy in config.strategies)}
    assert config.home.report.exists()
    second_run_is_fresh(home, hub(True), *WRITES)
