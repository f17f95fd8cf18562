"""Every stage under kills, full disks, unreadable files, flipped bytes, and two runs at once.

The stages are the real ones, on a random model of two layers and with a server in the test for a writer
(``tiny_study``): a stage takes a second or some, so that it can be killed a dozen times.
"""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import Study, Writer, profile_file

from emogap.artefacts import Artefact, verify
from emogap.stages import STAGES, stage
from emogap.state import inspect_all, verify_all

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Work:
    """A stage, or a part of one, and what it leaves in a home."""

    name: str
    function: str
    makes: tuple[str, ...]
    """Patterns of all it makes; taken away, it has everything to do."""
    kills: int = 12

    def forget(self, study: Study) -> None:
        """Take away what it made, also what it would take over from its own earlier work."""
        for found in [path for pattern in self.makes for path in study.home.glob(pattern)]:
            shutil.rmtree(found) if found.is_dir() else found.unlink(missing_ok=True)
        shutil.rmtree(study.environment["EMOGAP_CACHE"], ignore_errors=True)


def whole(name: str, kills: int = 12) -> Work:
    chosen = stage(name)
    return Work(name, f"{chosen.module}:{chosen.function}", (chosen.folder,), kills)


EVALUATE = "emogap.evaluate.evaluate"
MEASURES = "quantitative_analysis"
WORKS = (
    whole("process"),
    whole("augment"),
    whole("corpus"),
    whole("rewrite"),
    Work("clm", "emogap.train.causal_lm:clm", ("models/*baby", "models/*baby.*", "models/.*")),
    Work("sft", "emogap.train.sft:sft", ("models/*instr", "models/*instr.*", "models/.*")),
    Work("respond", "emogap.evaluate.respond:respond", (f"{MEASURES}/responses*",)),
    Work("sentiment", f"{EVALUATE}:measure_sentiment",
         (f"{MEASURES}/emotions*", f"{MEASURES}/scores/*/fluency*", f"{MEASURES}/scores/*/plain*",
          f"{MEASURES}/tables", f"{MEASURES}/figures", f"{MEASURES}/captions.json")),
    Work("blimp", "emogap.evaluate.blimp:blimp", (f"{MEASURES}/scores/*/blimp*",)),
    Work("emobench", "emogap.evaluate.emobench:emobench", (f"{MEASURES}/scores/*/emobench*",)),
    whole("evaluate", kills=6),  # its parts stand above; here they follow one another
    whole("lens", kills=6),  # half of it is figures
    whole("babylm-stats"),
    whole("alpaca-stats"),
    whole("report"),
)  # fmt: skip

NOT_COMPARED = ("seconds",)
"""Columns that say how long a row took."""


def contents(study: Study) -> dict[str, object]:
    """What a home holds that must not depend on how it came about: rows of tables, texts, weights, exhibits."""
    found: dict[str, object] = {}
    for path in sorted(study.home.rglob("*")):
        name = str(path.relative_to(study.home))
        if path.suffix == ".parquet":
            found[name] = pd.read_parquet(path).drop(columns=list(NOT_COMPARED), errors="ignore")
        elif path.suffix in (".csv", ".txt", ".safetensors", ".png") or path.name in ("captions.json", "index.html"):
            found[name] = path.read_bytes()
    return found


def assert_same(found: dict[str, object], wanted: dict[str, object]) -> None:
    assert found.keys() == wanted.keys()
    for name, content in wanted.items():
        if isinstance(content, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], content, obj=name)
        elif not name.endswith((".png", "index.html")):
            assert found[name] == content, name


@pytest.fixture(scope="module")
def writer() -> Iterator[Writer]:
    server = Writer()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, writer) -> Study:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("study")
    study = Study(profile_file(folder), folder / "home", writer.url)
    for each in STAGES:
        study.run(f"{each.module}:{each.function}")
    assert {state.stage.name: (state.state, state.reasons) for state in inspect_all(study.config)} == {
        each.name: ("fresh", ()) for each in STAGES
    }
    return study


@pytest.fixture(scope="module")
def undisturbed(finished) -> dict[str, object]:
    return contents(finished)


@pytest.fixture
def study(finished, tmp_path) -> Study:
    """A copy of the finished run."""
    return finished.copy(tmp_path / "home")


# --- kills -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_a_stage_killed_at_random_moments_ends_with_the_same_rows(work, study, undisturbed):
    """SIGKILL between its first moment and its last; nothing that has a manifest is ever incomplete. When it ends
    before the kill it is held against the undisturbed run and begun anew."""
    work.forget(study)
    seconds = study.run(work.function)
    assert_same(contents(study), undisturbed)
    work.forget(study)
    moments, kills = random.Random(work.name), 0
    while kills < work.kills:
        child = study.start(work.function)
        child.join(moments.uniform(0, seconds))
        if child.is_alive():
            child.kill()
            child.join()
            kills += 1
            verify_all(study.config)
        else:
            assert child.exitcode == 0, study.log.read_text()[-3000:]
            assert_same(contents(study), undisturbed)
            work.forget(study)
    study.run(work.function)
    assert_same(contents(study), undisturbed)
    verify_all(study.config)
    assert not [path for path in study.home.rglob("*.tmp-*")], "what the killed ones left is swept"
