"""Every command of the documents runs, or is marked as needing a GPU or a network and then names what exists."""

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

import pandas as pd
import pytest
import readme_demo
from documents import DOCUMENTS, NOT_RUN, ROOT, RUN, Block, blocks, command_blocks, links, spans, stray_commands
from pydantic import BaseModel

from emogap.commands import config_from
from emogap.commands.cli import build_parser
from emogap.commands.tools import DOORS
from emogap.config import Config, load_config
from emogap.train.models import known_models
from tools.bench import BENCHMARKS

SMALL = """
extends = "full"
[writer]
dtype = "fp32"
[augment]
lines = 4
chunk_size = 4
sampling = { max_new_tokens = 40 }
gates = { min_words = 5 }
[rewrite]
count = 6
sampling = { max_new_tokens = 48 }
[clm]
max_steps = 2
eval_steps = 2
[sft]
max_steps = 2
eval_steps = 2
[respond]
sampling = { max_new_tokens = 8 }
[sentiment]
bootstrap = 200
[emobench]
items = 2
"""
"""What the embedded profile is in the copy of the project in which commands run: the same stages on fewer rows."""
SECONDS = 900


# --- running ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose commands are this environment's."""
    copy = tmp_path_factory.mktemp("docs") / "emogap"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / "configs" / "embedded.toml").rename(copy / "configs" / "full.toml")
    (copy / "configs" / "embedded.toml").write_text(SMALL)
    binaries = copy / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for program in Path(sys.executable).parent.iterdir():
        (binaries / program.name).symlink_to(program)
    # A link to an interpreter would look for its packages beside the link.
    for name, call in {"python": "", "python3": "", "emogap": "-m emogap "}.items():
        (binaries / name).unlink(missing_ok=True)
        (binaries / name).write_text(f'#!/bin/sh\nexec {sys.executable} {call}"$@"\n')
        (binaries / name).chmod(0o755)
    for stamp in (".ready", ".dev-ready"):
        (copy / ".venv" / stamp).touch()
    return copy


@pytest.fixture(scope="module")
def finished(project) -> Path:
    """The copy after a small run of the whole study, with real data where they are to be had."""
    # In one process: notebooks and their kernels have a test of their own.
    run(
        "python -c 'from emogap.config import load_config; from emogap.study.stages import STAGES\n"
        "for stage in STAGES: print(stage.run(load_config()), flush=True)'",
        project,
    )
    return project


def run(script: str, project: Path) -> str:
    """What a script printed. It must end well."""
    environment = os.environ | {
        "PATH": f"{project / '.venv' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
    environment.pop("EMOGAP_HOME", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project, env=environment, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def chosen(mark: str) -> list[Block]:
    return [block for block in command_blocks() if block.mark == mark]


@pytest.mark.parametrize("block", chosen(""), ids=str)
def test_quick_commands_run(block, project):
    run("\n".join(block.lines), project)


@pytest.fixture(scope="module")
def begun() -> set[Path]:
    """Documents whose quick blocks have been run for the slow ones behind them."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("run: slow"), ids=str)
def test_slow_commands_run(block, finished, begun):
    if block.document not in begun:
        begun.add(block.document)
        for quick in chosen(""):
            if quick.document == block.document:
                run("\n".join(quick.lines), finished)
    run("\n".join(block.lines), finished)


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("run: published"), ids=str)
def test_commands_on_the_published_files_run(block, project, published):
    run("\n".join(block.lines), project)


@pytest.fixture(scope="module")
def published(project, real_data) -> Path:
    """``data/raw/published`` as `emogap fetch published` lays it out, filled with the real files that are at hand."""
    folder = project / "data" / "raw" / "published"
    (folder / "babylm_augment").mkdir(parents=True)
    for stories in sorted((real_data / "mistral_babylm").glob("*.parquet")):
        for chunk, rows in pd.read_parquet(stories).groupby("chunk"):
            records = rows[["source", "text", "emotion", "augmented_text"]].head(40).to_dict("records")
            (folder / "babylm_augment" / f"babylm_augment_{chunk}.pkl").write_bytes(pickle.dumps(records))
    artefacts = real_data / "paper_artifacts"
    for name, place in {
        "emotion_alpaca_temp3e-1.json": "alpaca-instruction",
        "emotion_alpaca_temp12e-1.json": "alpaca-instruction",
        "sentiment_analysis_detailed_results.json": "quantitative_analysis",
        "blimp_results.csv": ".",
        "emotion_prompts.json": ".",
    }.items():
        (folder / place).mkdir(exist_ok=True)
        shutil.copy(artefacts / name, folder / place / name)
    return folder


@pytest.mark.slow
def test_recomputed_tables_are_the_published_ones(project, published):
    for block in blocks(ROOT / "docs" / "recompute-published.md"):
        if block.mark == "run: published":
            run("\n".join(block.lines), project)
    words = pd.read_csv(project / "recomputed" / "rewrites" / "text_statistics.csv")
    total = words[words["measure"] == "total_words"].set_index("group")["value"]
    assert total["emotion_alpaca_temp3e-1"] == 5734 and total["emotion_alpaca_temp12e-1"] == 5386
    stories = pd.read_csv(project / "recomputed" / "stories" / "text_statistics.csv")
    assert set(stories["group"]) == {"m1", "m2", "m3"}
    sentiment = pd.read_csv(project / "recomputed" / "sentiment" / "sentiment_emotions.csv").set_index(["model", "row"])
    assert sentiment.loc[("finetuned", "approval"), "positive"] == pytest.approx(93.33)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_stands_in_a_block_that_says_how_it_is_tested(document):
    assert stray_commands(document) == []
    assert [str(block) for block in blocks(document) if block.kind == "sh" and block.mark not in RUN + NOT_RUN] == []


@pytest.mark.parametrize("block", [block for block in command_blocks() if block.mark in NOT_RUN], ids=str)
def test_what_cannot_run_here_names_what_exists(block):
    for command in block.commands:
        check_command(command)


def check_command(command: str) -> None:
    """Whether a command could be run: its parser takes it, its settings are valid, its targets and files are there."""
    words = shlex.split(re.split(r" (?:\d?>|&)", command)[0], comments=True)
    while words and (words[0] == "nohup" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
        words.pop(0)
    if not words or words[0] in ("export", "cd", "git"):
        return
    program = Path(words[0]).name
    if program == "emogap" or ("-m" in words and words[words.index("-m") + 1] == "emogap"):
        arguments = words[1:] if program == "emogap" else words[words.index("emogap") + 1 :]
        parsed = build_parser().parse_args(arguments)
        if arguments[0] in DOORS:
            import_module(DOORS[arguments[0]]).options().parse_args(arguments[1:])
        elif hasattr(parsed, "profile"):
            parsed.home = None
            config_from(parsed)
    elif program == "make":
        targets = [word for word in words[1:] if "=" not in word]
        subprocess.run(["make", "-n", "--assume-old=.venv", *targets], cwd=ROOT, check=True, capture_output=True)
    elif program in ("pip", "pip-audit"):
        files = [words[i + 1] for i, word in enumerate(words) if word == "-r"]
        assert (files or words[1:] == ["install", "pip-audit"]) and all((ROOT / file).is_file() for file in files), (
            command
        )
    else:
        assert program in ("sbatch", "vllm", "ray", "huggingface-cli", "hf", "nvidia-smi", "jupyter"), command


def walk(parser: ArgumentParser, words: list[str]) -> None:
    """Every subcommand and every option of a command's form must exist."""
    for word in words:
        if parser.prog.endswith(" bench"):  # a benchmark has options of its own
            assert word in BENCHMARKS or word == "…", f"no benchmark {word}"
            return
        actions = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
        if actions and re.fullmatch(r"[a-z-]+", word):
            assert word in actions[0].choices, f"no command {word}"
            parser = import_module(DOORS[word]).options() if word in DOORS else actions[0].choices[word]
        elif word.startswith("--"):
            option = word.partition("=")[0]
            assert option in parser._option_string_actions, f"no option {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_settings_in_running_text_exist(document):
    for span in spans(document):
        if span.startswith("emogap "):
            # Brackets, bars and dots of a command's form say nothing about names.
            walk(build_parser(), re.split(r"[\s\[\]()]+|(?<=\w)\|(?=\w)", span)[1:])
        elif span.startswith("make "):
            targets = [word for word in span.split()[1:] if re.fullmatch(r"[a-z-]+", word)]
            text = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", text, re.MULTILINE) for target in targets), span
        elif span.endswith((".csv", ".parquet")):
            continue  # a file, although a section is called like it
        elif re.fullmatch(r"[a-z]+(\.\w+)+(=.*)?", span) and span.partition(".")[0] in Config.model_fields:
            check_setting(span.partition("=")[0].split("."))


def check_setting(names: list[str]) -> None:
    model: Any = Config
    for name in names:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return
        assert name in model.model_fields, f"no setting {'.'.join(names)}"
        annotation = model.model_fields[name].annotation
        model = None if get_origin(annotation) is dict else next(iter(get_args(annotation)), annotation)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    assert [target for target in links(document) if not (document.parent / target).exists()] == []


def test_the_readme_leads_to_every_document():
    reachable = {(ROOT / target).resolve() for target in links(ROOT / "README.md")}
    assert [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path not in reachable] == []


def test_the_readme_shows_the_table_of_a_demo():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition(readme_demo.BEGIN)[2].partition(readme_demo.END)[0].strip().splitlines()
    assert table[0] == f"| {' | '.join(readme_demo.HEADINGS)} |"
    models = [model.name for model in known_models(load_config("embedded"))]
    assert [row.split("|")[1].strip() for row in table[2:]] == models
