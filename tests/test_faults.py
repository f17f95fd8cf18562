"""Every stage under kills, full disks, unreadable files, flipped bytes, and two runs at once.

The stages are the real ones, on a random model of two layers and with a server in the test for a writer
(``tiny_study``): a stage takes a second or some, so that it can be killed a dozen times.
"""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import Study, Writer, profile_file

from emogap.errors import DiskError, InputError
from emogap.study.stages import STAGES, stage
from emogap.study.state import inspect_all, verify_all

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


EVALUATE = "emogap.study.evaluate"
MEASURES = "quantitative_analysis"
WORKS = (
    whole("process"),
    whole("augment"),
    whole("corpus"),
    whole("rewrite"),
    Work("clm", "emogap.train.causal_lm:clm", ("models/*baby", "models/*baby.*", "models/.*")),
    Work("sft", "emogap.train.sft:sft", ("models/*instr", "models/*instr.*", "models/.*")),
    Work("respond", "emogap.answers.respond:respond", (f"{MEASURES}/responses*",)),
    Work("sentiment", f"{EVALUATE}:measure_sentiment",
         (f"{MEASURES}/emotions*", f"{MEASURES}/scores/*/answers.*", f"{MEASURES}/scores/*/sentiment.*",
          f"{MEASURES}/scores/*/plain_text.*")),
    Work("blimp", "emogap.grammar.blimp:BLIMP.pieces", (f"{MEASURES}/scores/*/blimp*",)),
    Work("emobench", "emogap.grammar.emobench:EMOBENCH.pieces", (f"{MEASURES}/scores/*/emobench*",)),
    whole("evaluate", kills=4),  # its parts stand above; here they follow one another
    whole("lens"),
    whole("babylm-stats"),
    whole("alpaca-stats"),
    whole("report"),
)  # fmt: skip

NOT_COMPARED = ("seconds", "tokens/s")
"""Columns that say how long a row took."""


def contents(study: Study) -> dict[str, object]:
    """What a home holds that must not depend on how it came about: rows of tables, texts, weights, exhibits."""
    found: dict[str, object] = {}
    for path in sorted(study.home.rglob("*")):
        name = str(path.relative_to(study.home))
        if path.suffix == ".parquet":
            found[name] = pd.read_parquet(path).drop(columns=list(NOT_COMPARED), errors="ignore")
        elif path.suffix == ".csv":
            found[name] = pd.read_csv(path).drop(columns=list(NOT_COMPARED), errors="ignore")
        elif path.suffix in (".txt", ".safetensors", ".png") or path.name in ("captions.json", "index.html"):
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
    """An undisturbed run, in the order of the works."""
    folder = tmp_path_factory.mktemp("study")
    study = Study(profile_file(folder), folder / "home", writer.url)
    for work in WORKS:
        study.run(work.function)
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
    """SIGKILL between its first moment and its last, a dozen times; nothing that has a manifest is ever incomplete.

    What ends before the kill is held against the undisturbed run and begun anew. The whole evaluation, whose parts
    have a dozen each, is killed four times.
    """
    work.forget(study)
    seconds = study.run(work.function)
    assert_same(contents(study), undisturbed)
    work.forget(study)
    moments, kills = random.Random(work.name), 0
    while kills < work.kills:
        child = study.start(work.function)
        child.join(moments.uniform(0, 0.7 * seconds))  # what is left to do is less after every kill
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


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, of 200 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200M", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs to mount a small tmpfs: run as root where mounting is allowed")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left: int) -> Path:
    """Fill a file system but for ``left`` bytes; the file that does."""
    filler = folder / ".filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(file.tell() - left)
    return filler


@pytest.mark.parametrize("name", ["process", "augment", "corpus", "rewrite", "clm", "lens", "babylm-stats", "report"])
def test_a_full_disk_is_one_line_and_nothing_is_half_done(name, finished, undisturbed, small_disk):
    work = next(work for work in WORKS if work.name == name)
    study = finished.copy(small_disk)
    work.forget(study)
    filler = fill(small_disk, left=12 << 10)
    code, said = study.command(name)
    assert code == 1, said
    last = said.strip().splitlines()[-1]
    assert re.match(r"emogap: .*(no space left on the disk|No space left on device|GB are free; free some)", last), said
    assert "Traceback" not in said
    verify_all(study.config)
    filler.unlink()
    code, said = study.command(name)
    assert code == 0, said
    assert_same(contents(study), undisturbed)


def test_a_disk_that_fills_up_while_a_model_trains_is_one_line(finished, undisturbed, small_disk, monkeypatch):
    from emogap.train.causal_lm import clm

    study = finished.copy(small_disk)
    next(work for work in WORKS if work.name == "clm").forget(study)
    filler = fill(small_disk, left=1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr("emogap.train.checkpoints.check_disk", lambda *_: None)
        with pytest.raises(DiskError, match="no space left on the disk while writing .*smollm2-135m-baby"):
            clm(study.config)
    verify_all(study.config)
    filler.unlink()
    study.run("emogap.train.causal_lm:clm")
    assert_same(contents(study), undisturbed)


# --- flipped bytes, files that cannot be read ------------------------------------------------------------------------


def flip(file: Path) -> None:
    """Change one bit in the middle of a file and put its time of change back."""
    before, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_flipped_bit_in_any_file_of_any_artefact_is_found(study):
    """In the data, and in the manifest itself where it says what the data are."""
    manifests = sorted(study.home.rglob("*.manifest.json"))
    assert len(manifests) > 30
    checked = 0
    for manifest in manifests:
        for name, hashes in json.loads(manifest.read_text())["files"].items():
            for inner in hashes:
                file = manifest.with_name(name) / inner
                content = file.read_bytes()
                if not content:
                    continue
                flip(file)
                with pytest.raises(InputError, match=f"{re.escape(name)} differs from its manifest"):
                    verify_all(study.config)
                file.write_bytes(content)
                checked += 1
    assert checked > 60
    verify_all(study.config)
    code, said = study.command("status", "--verify")
    assert code == 0 and f"{len(manifests)} artefacts verified" in said
    flip(study.home / "babylm_pretrain_corpus" / "emotional.txt")
    code, said = study.command("status", "--verify")
    assert code == 1 and "emotional.txt differs from its manifest" in said.splitlines()[-1]


READERS = {
    "augment": "processed_data/babylm_filtered.parquet",
    "corpus": "babylm_augment/m2/chunk_00001.parquet",
    "clm": "babylm_pretrain_corpus/emotional.parquet",
    "sft": "alpaca-instruction/emotion_alpaca_v1.json",
    "respond": "models/smollm2-135m-baby/model.safetensors",
    "sentiment": "quantitative_analysis/responses/smollm2-135m.parquet",
    "lens": "models/smollm2-135m-baby-instr/model.safetensors",
    "evaluate": "quantitative_analysis/scores/smollm2-135m/blimp.parquet",
    "babylm-stats": "babylm_augment/m1/chunk_00000.parquet",
    "alpaca-stats": "alpaca-instruction/emotion_alpaca_v1.rows.parquet",
}
"""Stage → a file that it reads."""


@pytest.mark.parametrize("name", READERS)
def test_no_stage_reads_what_was_damaged_as_good(name, study):
    file = study.home / READERS[name]
    if name == "evaluate":  # what is combined last: the rest may stay
        for path in study.home.glob("quantitative_analysis/scores.parquet*"):
            path.unlink()
    else:
        next(work for work in WORKS if work.name == name).forget(study)
    flip(file)
    code, said = study.command(name)
    assert code == 1, said
    assert re.match(
        r"emogap: \S+ differs from its manifest: its bytes were changed; delete it", said.splitlines()[-1]
    ), said
    file.unlink()
    file.mkdir()
    code, said = study.command(name)
    assert code == 1, said
    assert said.splitlines()[-1].startswith("emogap: ") and "Traceback" not in said, said


# --- two at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["process", "augment", "corpus", "rewrite", "clm", "evaluate", "babylm-stats", "report"]
)
def test_two_runs_of_a_stage_at_once_share_the_work(name, study, undisturbed):
    next(work for work in WORKS if work.name == name).forget(study)
    both = [study.start_command(name) for _ in range(2)]
    for child, _ in both:
        child.join(300)
    assert [child.exitcode for child, _ in both] == [0, 0], [log.read_text() for _, log in both]
    assert_same(contents(study), undisturbed)
    verify_all(study.config)


def start_run(study: Study, log: Path, *words: str) -> subprocess.Popen:
    """``emogap run WORDS`` as a user starts it: with notebooks."""
    command = [sys.executable, "-m", "emogap", "run", *words, "--profile", str(study.profile)]
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, "--home", str(study.home)], stdout=file, stderr=file, env=os.environ | study.environment
        )


def test_two_whole_runs_at_once_execute_one_notebook_without_disturbing_each_other(study, undisturbed, tmp_path):
    next(work for work in WORKS if work.name == "corpus").forget(study)
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    runs = [start_run(study, log, "--only", "corpus") for log in logs]
    codes = sorted(run.wait(300) for run in runs)
    assert codes in ([0, 0], [0, 1]), [log.read_text() for log in logs]
    for run, log in zip(runs, logs, strict=True):
        assert "Traceback" not in log.read_text()
        if run.returncode:
            assert "is being made by" in log.read_text().splitlines()[-1]
    executed = json.loads((study.home / "notebooks" / "pretrain_data_corpus.ipynb").read_text())
    assert any(cell.get("outputs") for cell in executed["cells"])
    assert {path.name for path in (study.home / "notebooks").iterdir()} <= {
        "pretrain_data_corpus.ipynb", "pretrain_data_corpus.failed.ipynb"
    }  # fmt: skip
    shutil.rmtree(study.home / "notebooks")
    assert_same(contents(study), undisturbed)


def kernels_of(process: int) -> list[int]:
    """The notebook kernels that a process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == process and b"ipykernel" in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_killed_kernel_is_one_line_and_the_run_goes_on_from_there(study, undisturbed, tmp_path):
    next(work for work in WORKS if work.name == "augment").forget(study)
    log = tmp_path / "run.log"
    run = start_run(study, log, "--only", "augment")
    deadline = time.monotonic() + 120
    while not (kernels_of(run.pid) and (study.home / "babylm_augment").exists()):
        assert run.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    for kernel in kernels_of(run.pid):
        os.kill(kernel, signal.SIGKILL)
    assert run.wait(120) == 1
    said = log.read_text()
    assert re.match(r"emogap: the kernel of pretrain_data_augment.ipynb died", said.splitlines()[-1]), said
    assert "Traceback" not in said
    assert start_run(study, log, "--only", "augment").wait(300) == 0, log.read_text()
    shutil.rmtree(study.home / "notebooks")
    assert_same(contents(study), undisturbed)
