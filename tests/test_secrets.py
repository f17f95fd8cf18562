"""Keys and tokens in the environment appear nowhere: no file of a home, no output, no executed notebook, no report."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import Study, Writer, profile_file

from emogap.study.stages import stage

pytestmark = pytest.mark.slow

CANARIES = {
    "OPENAI_API_KEY": "sk-canary-4711-openai",
    "HF_TOKEN": "hf_canary4711token",
    "HUGGING_FACE_HUB_TOKEN": "hf_canary4711oldtoken",
    "WANDB_API_KEY": "canary4711wandb",
}


class EchoingWriter(Writer):
    """Says the key that it was sent back wherever it can: in refusals, in failures, in answers without sense."""

    def __init__(self):
        self.keys: list[str] = []
        self.refuses = self.lists_key = False
        self.faults = 0
        super().__init__()

    def fault(self, headers: dict[str, str], path: str) -> tuple[int, object] | None:
        sent = headers.get("Authorization", "")
        self.keys.append(sent)
        if self.refuses:
            return 401, {"error": {"message": f"wrong key {sent}"}}
        if path.endswith("models"):
            return (200, {"data": [{"id": sent, "owned_by": sent}]}) if self.lists_key else None
        self.faults += 1
        return {
            # A process's first reply must have sense, or its stage ends: none of these comes first, but for the one
            # that is asked again.
            1: (500, {"error": {"message": f"overloaded, {sent}"}}),
            3: (400, {"error": {"message": f"too long, said {sent}"}}),
            5: (422, sent),
            6: (200, {"choices": sent}),
        }.get(self.faults % 8)


@pytest.fixture(scope="module")
def writer():
    server = EchoingWriter()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def study(tmp_path_factory, writer) -> Study:
    folder = tmp_path_factory.mktemp("secrets")
    return Study(profile_file(folder), folder / "home", writer.url)


def run(study: Study, *words: str, code: int = 0) -> str:
    """What a command said that has the canaries in its environment."""
    command = [
        sys.executable,
        "-m",
        "emogap",
        *words,
        "--profile",
        str(study.profile),
        "--home",
        str(study.home),
    ]
    environment = os.environ | study.environment | CANARIES
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=study.home.parent, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def readable(file: Path) -> str:
    """All that can be read in a file, also what is packed in it."""
    raw = file.read_bytes()
    parts = [raw]
    if file.suffix == ".parquet":
        parts.append(pd.read_parquet(file).to_json(orient="records").encode())
    if file.suffix == ".gz":
        parts.append(gzip.decompress(raw))
    if file.suffix == ".pdf":
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL):
            try:
                parts.append(zlib.decompress(stream))
            except zlib.error:
                continue
    return b"\n".join(parts).decode("utf-8", "replace")


def leaks(text: str) -> list[str]:
    return [name for name, canary in CANARIES.items() if canary in text]


def test_the_search_finds_what_it_looks_for(tmp_path):
    file = tmp_path / "rows.parquet"
    pd.DataFrame({"reason": ["wrong key sk-canary-4711-openai"] * 3}).to_parquet(file, compression="zstd")
    assert leaks(readable(file)) == ["OPENAI_API_KEY"]


def test_keys_appear_in_no_file_and_no_output(study, writer):
    said = [run(study, "run", "--to", "rewrite")]
    assert set(writer.keys) == {f"Bearer {CANARIES['OPENAI_API_KEY']}"}, "the key was sent, and to the server alone"
    assert writer.faults > 20
    study.environment.update(CANARIES)
    for name in ("clm", "babylm-stats", "report"):  # in processes that hold the keys too, without notebooks
        study.run(f"{stage(name).module}:{stage(name).function}")
    said += [study.log.read_text(), run(study, "status", "--verify"), run(study, "doctor")]
    rows = pd.read_parquet(next(study.home.glob("alpaca-instruction/*.rows.parquet")))
    assert rows["error"].fillna("").str.contains(r"\*\*\*").any(), (
        "an error that held the key is in the rows, without it"
    )
    executed = sorted(path.name for path in (study.home / "notebooks").glob("*.ipynb"))
    assert executed == ["pretrain_data_augment.ipynb", "pretrain_data_corpus.ipynb"]
    assert (study.home / "report" / "index.html").exists()
    assert leaks("\n".join(said)) == []
    files = [path for path in study.home.parent.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert {str(path): leaks(readable(path)) for path in files if leaks(readable(path))} == {}


@pytest.mark.parametrize("fault", ["refuses", "lists_key"])
def test_a_server_that_says_the_key_back_in_a_refusal(study, writer, fault):
    home = Study(study.profile, study.home.with_name(fault), writer.url)
    shutil.copytree(study.home / "processed_data", home.home / "processed_data")
    setattr(writer, fault, True)
    try:
        said = run(home, "run", "--only", "augment", code=1) + run(home, "augment", code=1)
        run_with_traceback = [
            sys.executable,
            "-m",
            "emogap",
            "augment",
            "--debug",
            "--home",
            str(home.home),
        ]
        done = subprocess.run(
            [*run_with_traceback, "--profile", str(home.profile)],
            capture_output=True, text=True, env=os.environ | home.environment | CANARIES,
        )  # fmt: skip
    finally:
        setattr(writer, fault, False)
    assert "Traceback" in done.stderr
    assert leaks(said + done.stdout + done.stderr) == []
    failed = json.loads((home.home / "notebooks" / "pretrain_data_augment.failed.ipynb").read_text())
    assert any(output["output_type"] == "error" for cell in failed["cells"] for output in cell.get("outputs", []))
    assert {str(path) for path in home.home.rglob("*") if path.is_file() and leaks(readable(path))} == set()
