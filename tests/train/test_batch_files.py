"""Batch files and launcher configurations: they can be read by what reads them, and a job resumes by itself."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from emogap.commands.cli import build_parser
from emogap.paths import ROOT

BATCH_FILES = sorted((ROOT / "slurm").glob("*.sbatch"))


@pytest.mark.parametrize("file", [*BATCH_FILES, ROOT / "slurm" / "resume.sh"], ids=lambda file: file.name)
def test_bash_can_read_it(file):
    subprocess.run(["bash", "-n", file], check=True)


@pytest.mark.parametrize("file", BATCH_FILES, ids=lambda file: file.name)
def test_a_batch_file_asks_to_be_warned_and_runs_a_stage(file):
    text = file.read_text(encoding="utf-8")
    assert "--signal=B:USR1@" in text and "#SBATCH --requeue" in text
    stage = re.search(r"-m emogap (.*)", text)[1]
    words = [word.strip('"') for word in stage.replace("${SLURM_ARRAY_TASK_ID}", "3").split()]
    parsed = build_parser().parse_args([re.sub(r"\$\{PROFILE:-(\w+)\}", r"\1", word) for word in words])
    assert parsed.profile == "paper"
    for config in re.findall(r"--config_file (\S+)", text):
        assert (ROOT / config).is_file()


def test_a_job_whose_time_is_up_is_stopped_and_queued_again(tmp_path):
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    (tmp_path / "scontrol").chmod(0o755)
    worker = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(300)"
    (tmp_path / "worker.py").write_text(worker)
    started = time.monotonic()
    script = f". {ROOT}/slurm/resume.sh\nrun_and_resume {sys.executable} {tmp_path}/worker.py\n"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "77"}
    job = subprocess.Popen(["bash", "-c", script], env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == 0
    assert (tmp_path / "requeued").read_text().split() == ["requeue", "77"]
    assert time.monotonic() - started < 200, "the stage was to be stopped, not waited for"


@pytest.mark.parametrize("name", ["one-box", "two-boxes"])
def test_accelerate_reads_its_configuration(name):
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    loaded = load_config_from_file(str(ROOT / "configs" / "accelerate" / f"{name}.yaml"))
    assert isinstance(loaded, ClusterConfig)
    assert loaded.num_machines == {"one-box": 1, "two-boxes": 2}[name]
