"""The command line as a user meets it: help, bad use, exit codes."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from emogap.commands import config_from
from emogap.commands.cli import build_parser, main
from emogap.config import load_config
from emogap.errors import UsageError
from emogap.paths import ROOT
from emogap.records import CORPUS, EMOTIONS, PROCESSED, RESPONSES, REWRITES, STORIES, write_rows
from emogap.store.artefacts import Artefact, Recipe
from emogap.study.runner import select
from emogap.study.stages import STAGES, stage


def emogap(*words, capsys):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_stage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(s.name in shown for s in STAGES)
    assert "doctor" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--profile", "nope"], "unknown profile 'nope'"),
        (["run", "--only", "nope"], "unknown stage 'nope'"),
        (["run", "--from", "lens", "--to", "process"], "--from lens comes after --to process"),
        (["run", "--only", "lens", "--from", "process"], "--only stands alone"),
        (["status", "--set", "augment.linez=1"], "unknown setting 'augment.linez'"),
        (["augment", "--set", 'augment.methods=["m7"]'], "method 'm7' has no template"),
        (["bench", "nope"], "unknown benchmark 'nope'"),
        (["push", "m", "--to", "someone/m"], "push is gone: hf upload OWNER/NAME HOME/models/MODEL --private"),
        (["review", "--method", "m1"], "review is gone: verdicts by hand are no longer read; change the gates"),
        (["prompts", "make", "seeds", "--help"], "prompts is gone: write a file like data/sample/"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(words, message, tmp_path, capsys):
    home = [] if words[0] == "bench" else ["--home", tmp_path / "home"]
    code, _, err = emogap(*words, *home, capsys=capsys)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", [["bench", "clean"], ["train-classifier", "--data", "x"], ["emotion-words"]])
def test_what_maintainers_run_needs_the_source_tree(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("emogap.commands.tools.ROOT", tmp_path)
    code, _, err = emogap(*command, capsys=capsys)
    assert code == 2
    assert err == (
        f"emogap: {command[0]} needs the source tree: there is no tools/ in {tmp_path}; clone the project and "
        "`pip install -e .`\n"
    )


def test_what_maintainers_run_is_found_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).resolve() not in (ROOT, tmp_path)])
    for module in [name for name in sys.modules if name.partition(".")[0] == "tools"]:
        monkeypatch.delitem(sys.modules, module)
    code, _, err = emogap("emotion-words", "--goemotions", "nowhere", "--out", "words.json", capsys=capsys)
    assert code == 1 and f"GoEmotions {tmp_path / 'nowhere' / 'train.tsv'} not found" in err
    with pytest.raises(SystemExit) as ended:
        main(["train-classifier", "--help"])
    assert ended.value.code == 0 and "GoEmotions' train.tsv and dev.tsv" in capsys.readouterr().out


@pytest.mark.parametrize("name", [s.name for s in STAGES if s.name not in ("process", "rewrite", "report")])
def test_a_stage_without_its_input_names_the_file_and_its_maker(name, tmp_path, capsys):
    code, _, err = emogap(name, "--home", tmp_path / "home", capsys=capsys)
    assert code == 1
    assert "not found" in err
    assert "run " in err
    assert err.count("\n") == 1


def test_raw_directory_missing_or_empty(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "nowhere", "not found"), (tmp_path / "empty", "no ")):
        code, _, err = emogap(
            "process", "--home", tmp_path / "home", "--set", f'process.raw_dirs=["{folder}"]', capsys=capsys
        )
        assert code == 1
        assert words in err
        assert str(folder) in err
        assert err.count("\n") == 1
        assert not list((tmp_path / "home").rglob("*.parquet"))


@pytest.mark.parametrize("content", ['{"instruction": "a"}', "[1, 2]", "no json"])
def test_records_that_are_not_a_list_of_records(content, tmp_path, capsys):
    records = tmp_path / "alpaca.json"
    records.write_text(content)
    code, _, err = emogap("rewrite", "--home", tmp_path / "home", "--set", f"rewrite.records={records}", capsys=capsys)
    assert code == 1
    assert "alpaca.json" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["1.10", 'a "b" \\ c', "a#b", "it's", "C:\\models\\new", "{x} = [1]", "two\nlines"])
def test_options_are_short_for_settings_and_pass_their_text_as_it_is(name, tmp_path):
    def parsed(*words):
        return config_from(build_parser().parse_args([*words, "--home", str(tmp_path)]))

    assert parsed("process", "--classifier", name).process.classifier.model_dump() == {"name": name, "revision": "main"}
    assert parsed("respond", "--models", name, "1.0").respond.models == [name, "1.0"]
    assert parsed("sentiment", "--models", name).respond.models == [name]
    assert parsed("lens", "--model", "x", "--words", name).lens.words == [name]
    assert parsed("augment", "--chunks", "1_0").augment.chunks == "1_0"
    assert parsed("corpus", "--name", "1.10", "--words", "1e7").corpus.name == "1.10"
    assert parsed("process", "--strict", "--threshold", "tuned").process.strict is True


@pytest.mark.parametrize(
    "words",
    [["corpus", "--nam", "x"], ["process", "--rew", "x"], ["run", "--pro", "paper"], ["fetch", "--t", "x"]],
)
def test_an_option_is_not_taken_by_half_its_name(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert f"unrecognized arguments: {words[1]}" in capsys.readouterr().err


def test_settings_reach_the_notebooks_as_they_were_given(tmp_path):
    from papermill.translators import PythonTranslator

    settings = ["corpus.name=1.10", "respond.prompts=\"a\" \\ # b\n'c' {x} =\t\u2028 \U0001f600", "seed=1"]
    said = {}
    exec(PythonTranslator.codify({"SETTINGS": settings, "HOME": str(tmp_path)}), said)
    assert said["SETTINGS"] == settings


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(UsageError):
        main(["status", "--profile", "nope", "--debug"])


def test_selection_of_stages():
    assert [s.name for s in select(None, None, None)] == [s.name for s in STAGES]
    assert [s.name for s in select("clm", "evaluate", None)] == ["clm", "sft", "evaluate"]
    assert select(None, None, "lens") == [stage("lens")]


HEAVY = {"torch", "transformers", "datasets", "trl", "sklearn", "matplotlib", "ray", "polars", "scipy", "ipywidgets"}


def imported_by(*words: str) -> tuple[set[str], str]:
    """The top-level modules that a command loads in a process of its own, and what it prints."""
    code = f"import sys; from emogap.commands.cli import main; sys.exit(main({list(words)!r}))"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}, done.stdout


@pytest.mark.parametrize("words", [["--help"], ["augment", "--help"]])
def test_nothing_heavy_is_imported_for_help(words):
    loaded, shown = imported_by(*words)
    assert "emogap" in loaded and "usage: emogap" in shown
    assert not loaded & {*HEAVY, "pandas", "pyarrow"}


def fill(home: Path) -> None:
    """Something small at every place where a stage of the embedded profile puts an artefact."""
    config = load_config("embedded", home)
    tables = {"process": PROCESSED, "augment": STORIES, "rewrite": REWRITES, "corpus": CORPUS}

    def some(kind: pa.DataType):
        if pa.types.is_list(kind):
            return [some(kind.value_type)]
        return "kept" if pa.types.is_string(kind) else 1

    for one in STAGES:
        for artefact in (piece for piece in one.pieces(config) if not piece.is_drawing):
            table = RESPONSES if artefact.path.parent.name == "responses" else tables.get(one.name)
            table = EMOTIONS if artefact.path.name.startswith("emotions") else table
            with artefact.making() as draft:
                if artefact.is_folder:
                    (draft.path / "config.json").write_text("{}")
                elif table:
                    row = {name: some(kind) for name, kind in table.columns.items()} | {"emotion": "joy"}
                    write_rows(draft.path, pd.DataFrame([row, row]), table)
                else:
                    draft.path.write_text("x")


@pytest.mark.parametrize("filled", [False, True], ids=["an empty home", "one with every artefact"])
def test_nothing_heavy_is_imported_for_a_status(filled, tmp_path):
    home = tmp_path / "home"
    if filled:
        fill(home)
    loaded, shown = imported_by("status", "--home", str(home))
    states = {line.split()[0]: line.split()[1] for line in shown.splitlines()[1:]}
    if filled:
        assert "missing" not in states.values(), shown
    else:
        assert set(states.values()) == {"missing"}
    assert not loaded & HEAVY


def test_status_of_an_empty_home(tmp_path, capsys):
    code, out, _ = emogap("status", "--home", tmp_path / "home", capsys=capsys)
    assert code == 0
    assert out.count("missing") >= len(STAGES)


def test_doctor_says_what_this_machine_has(tmp_path, capsys):
    code, out, _ = emogap("doctor", "--home", tmp_path, capsys=capsys)
    assert code == 0
    for word in ("device", "processor", "disk", "emotion-minilm: here", "smollm2-135m-instruct: here"):
        assert word in out


def test_doctor_says_which_model_is_not_there(tmp_path, capsys):
    bases = [f'bases.one={{name="{tmp_path}/nowhere"}}', 'bases.two={name="embedded:none"}']
    options = [word for base in bases for word in ("--set", base)]
    code, out, _ = emogap("doctor", "--home", tmp_path, *options, capsys=capsys)
    assert code == 0 and f"{tmp_path}/nowhere: NOT HERE: {tmp_path}/nowhere is no folder, and no model hub" in out
    assert "embedded:none: NOT HERE: no embedded model 'none'" in out


def test_a_damaged_manifest_is_said_of_its_stage_and_the_others_are_shown(tmp_path, capsys):
    home = tmp_path / "home"
    with Artefact(home / "processed_data" / "lines.parquet", Recipe("process")).making() as draft:
        draft.path.write_text("rows")
    manifest = home / "processed_data" / "lines.parquet.manifest.json"
    manifest.write_text(manifest.read_text().replace('"settings"', '"sexxings"'))
    code, out, _ = emogap("status", "--home", home, capsys=capsys)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and "rewrite" in lines
    assert f"{manifest} is damaged ('settings' is not there); delete it and rerun" in lines["process"]
    for words in (["status", "--verify"], ["process"], ["run", "--only", "process"]):
        code, _, err = emogap(*words, "--home", home, capsys=capsys)
        assert code == 1 and f"{manifest} is damaged" in err and "Traceback" not in err
