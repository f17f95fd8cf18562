"""What the project runs in: terminals, environments, folders and working directories of any kind."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from emogap import paths
from emogap.babylm.process import emotions_by_source
from emogap.commands import a_model, a_path, config_from
from emogap.commands.cli import build_parser, main
from emogap.errors import DiskError, UsageError
from emogap.paths import ROOT, cache_dir, cache_folder, choose_home, folder_or_name, from_root, given_path
from emogap.study import runner

STRANGE = "a\u00a0b\\c \"q\" 's' %41 #x ?y [z] {k} *\n$v$"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def started(*words: str, **more) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more.pop("env", {})
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "emogap", *words], env=environment, **pipe | more)


def run(*words: str, **more) -> tuple[int, str, str]:
    process = started(*words, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


# --- terminals -------------------------------------------------------------------------------------------------------


def test_an_ascii_terminal_shows_what_it_can(tmp_path):
    code, out, err = run("blimp", "--help", env=ASCII | {"COLUMNS": "1", "TERM": "dumb"})
    assert code == 0 and err == "" and "paradigm" in out and "\\u2192" in out
    code, out, err = run("status", "--profile", "né", "--home", str(tmp_path), env=ASCII | {"PYTHONUTF8": "1"})
    assert code == 2 and err.startswith("emogap: unknown profile 'n\\xe9'") and err.count("\n") == 1


def test_who_stops_reading_is_told_nothing_more(tmp_path):
    for words in (("status", "--home", str(tmp_path)), ("--help",)):
        process = started(*words)
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
        assert process.wait(60) == (1 if words[0] == "status" else 0)


def test_a_full_or_closed_output_is_one_line_at_most(tmp_path):
    closed = f'exec "{sys.executable}" -m emogap status --home "{tmp_path}" >&- <&-'
    done = subprocess.run(["sh", "-c", closed], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            code, _, err = run("status", "--home", str(tmp_path), stdout=full)
        assert code == 1 and "No space left on device" in err and err.count("\n") == 1


def test_a_word_that_is_no_utf_8_is_said():
    code, _, err = run("status", "--home", b"/tmp/a\xffb")
    assert code == 2 and "'/tmp/a\\udcffb' on the command line is no UTF-8" in err and err.count("\n") == 1


def test_a_broken_pipe_of_the_work_is_an_error_like_others(tmp_path, monkeypatch, capsys):
    def break_off(config):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("emogap.study.state.inspect_all", break_off)
    assert main(["status", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "emogap: file system: Broken pipe\n"


# --- the environment -------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No variable that says where things lie but HOME; the working directory is empty."""
    for name in ("EMOGAP_HOME", "EMOGAP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return monkeypatch


def test_the_cache_lies_in_an_absolute_folder(bare, tmp_path):
    own = tmp_path / "user" / ".cache" / "emogap"
    assert cache_dir() == own
    for ignored in ("", "cache", "./cache"):  # the XDG specification: what is not absolute is ignored
        bare.setenv("XDG_CACHE_HOME", ignored)
        assert cache_dir() == own
    bare.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/emogap")
    bare.setenv("EMOGAP_CACHE", "")
    assert cache_dir() == Path("/xdg/emogap")
    for given, meant in (("mine", tmp_path / "here" / "mine"), ("~/mine", tmp_path / "user" / "mine"), ("/m", "/m")):
        bare.setenv("EMOGAP_CACHE", given)
        assert cache_dir() == Path(meant)


@pytest.fixture
def homeless(bare):
    """Nothing says which folder is the user's own."""
    bare.setattr(os.path, "expanduser", lambda path: path)
    return bare


def test_a_user_without_a_home_has_a_cache_and_no_tilde(homeless, capsys):
    assert cache_dir() == ROOT / "runs" / ".cache" / "emogap"
    assert main(["status", "--home", "~/x"]) == 2
    assert "emogap: ~/x: it is not known what ~ stands for here" in capsys.readouterr().err
    with pytest.raises(UsageError, match="give the whole path"):
        from_root("~/x")


def test_jupyter_is_lent_a_home(homeless, tmp_path):
    homeless.delenv("HOME")
    cache = str(cache_dir())
    with runner._at_home(str(tmp_path)):
        assert (os.environ["HOME"], os.environ["EMOGAP_CACHE"]) == (str(tmp_path), cache)
    assert "HOME" not in os.environ and "EMOGAP_CACHE" not in os.environ


def test_notebooks_and_libraries_get_absolute_folders(bare, tmp_path, capsys):
    bare.setenv("EMOGAP_HOME", "run")
    bare.setenv("EMOGAP_CACHE", "cache")
    bare.setenv("XDG_CACHE_HOME", "")
    assert main(["status"]) == 0
    assert f"embedded in {tmp_path}/here/run\n" in capsys.readouterr().out
    here = tmp_path / "here"
    assert (os.environ["EMOGAP_HOME"], os.environ["EMOGAP_CACHE"]) == (str(here / "run"), str(here / "cache"))
    assert "XDG_CACHE_HOME" not in os.environ
    assert {path.name for path in here.iterdir()} <= {"cache"}


def test_a_cache_that_cannot_be_written_is_said_with_the_remedy(bare, tmp_path):
    (tmp_path / "file").write_text("")
    bare.setenv("EMOGAP_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        DiskError, match=r"the cache .*/file/models cannot be written \(Not a directory\); set EMOGAP_CACHE"
    ):
        cache_folder("models")
    bare.setenv("EMOGAP_CACHE", str(tmp_path / "kept"))
    bare.setattr(paths.os, "access", lambda path, how: False)
    with pytest.raises(DiskError, match=r"cannot be written \(not allowed\); set EMOGAP_CACHE"):
        cache_folder("models")


def test_a_home_must_be_able_to_be_a_folder(bare, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for given, said in (
        ("", "an empty path; name a file or folder"),
        (
            tmp_path / "file",
            f"the home {tmp_path}/file cannot be: {tmp_path}/file is a file; name a folder with --home",
        ),
        (tmp_path / "file" / "x", f"the home {tmp_path}/file/x cannot be: {tmp_path}/file is a file"),
        ("~nobody-of-that-name/x", "it is not known what ~ stands for here"),
    ):
        assert main(["status", "--home", str(given)]) == 2
        assert said in capsys.readouterr().err
    bare.setenv("EMOGAP_HOME", "")
    assert choose_home("embedded") == ROOT / "runs" / "embedded"
    assert choose_home("embedded", "~/x") == tmp_path / "user" / "x"


def test_what_can_be_no_path_is_said(bare, tmp_path):
    for given, said in (("a\0b", "holds a NUL"), ("a\udcff", "is no UTF-8"), ("", "an empty path")):
        with pytest.raises(UsageError, match=said):
            given_path(given)
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with pytest.raises(UsageError, match="cannot be looked up from here"):
        given_path(tmp_path / "ring" / "x")
    gone = tmp_path / "gone"
    gone.mkdir()
    bare.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="x cannot be looked up from here .*; give the whole path"):
        given_path("x")
    assert given_path(tmp_path) == tmp_path


# --- the working directory -------------------------------------------------------------------------------------------


def commands(parser: argparse.ArgumentParser, name: str = "emogap"):
    """(command, action) of every option and argument there is."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, f"{name} {word}")
        else:
            yield name, action


def test_every_option_that_takes_a_path_takes_it_from_the_working_directory(bare, tmp_path):
    there = str(tmp_path / "here" / "x")
    found = [
        (f"{command} {action.dest}", str(action.type("x")))
        for command, action in commands(build_parser())
        if any(word in str(action.metavar) for word in ("DIR", "FILE", "IDS")) and action.metavar != "DIR_OR_NAME"
    ]
    assert len(found) > 20
    assert [name for name, meant in found if meant != there] == []


def test_paths_of_options_are_from_here_and_those_of_settings_from_the_root(bare, tmp_path):
    def config(*words):
        return config_from(build_parser().parse_args([*words, "--home", str(tmp_path / "home")]))

    here = tmp_path / "here"
    (here / "model").mkdir()
    assert config("respond", "--prompts", "mine.json").respond.prompts == str(here / "mine.json")
    assert config("respond", "--prompts", "~/mine.json").respond.prompts == str(tmp_path / "user" / "mine.json")
    assert config("process", "--raw", "raw", "../raw").process.raw_dirs == [str(here / "raw"), str(tmp_path / "raw")]
    assert config("process", "--classifier", "model").process.classifier.name == str(here / "model")
    assert config("process", "--classifier", "org/model").process.classifier.name == "org/model"
    assert config("blimp", "--data", "d", "--subset", "s.json").blimp.subset == str(here / "s.json")
    prompts = config("respond", "--set", "respond.prompts=data/mine.json").respond.prompts
    assert prompts == "data/mine.json" and from_root(prompts) == ROOT / "data" / "mine.json"
    (here / "mine.toml").write_text('extends = "embedded"\n')
    assert config("status", "--profile", "mine.toml").source == str(here / "mine.toml")
    with pytest.raises(UsageError, match=f"unknown profile '{here}/no.toml'"):
        config("status", "--profile", "no.toml")


def test_a_folder_goes_before_a_name_but_for_the_projects_own_classifiers(bare, tmp_path):
    for name in ("gpt2", "emotion-minilm"):
        (tmp_path / "here" / name).mkdir()
    assert folder_or_name("gpt2") == str(tmp_path / "here" / "gpt2")
    assert folder_or_name("gpt3") == "gpt3"
    assert a_model("emotion-minilm") == "emotion-minilm"
    with pytest.raises(argparse.ArgumentTypeError, match="an empty path"):
        a_path("")


def test_templates_of_a_grid_are_from_here(bare, tmp_path, capsys):
    words = ["grid", "--stage", "augment", "--home", str(tmp_path / "home"), "--lines", "2"]
    assert main([*words, "--templates", "m1,mine.txt"]) == 2
    assert f"'{tmp_path}/here/mine.txt' is neither one of m1, m2, m3, m0 nor a template file" in capsys.readouterr().err


# --- folders of any name ---------------------------------------------------------------------------------------------


def test_a_home_may_have_any_name_in_notebooks_too(tmp_path, capsys):
    home = tmp_path / STRANGE / "home"
    assert main(["run", "--only", "corpus", "--home", str(home)]) == 1
    shown = str(home).replace("\n", "\\n")
    said = f"pretrain_data_corpus.ipynb: babylm_augment/m1/chunk_*.parquet not found under {shown}; run "
    assert said in capsys.readouterr().err


def test_tables_are_read_from_folders_of_any_name(tmp_path):
    folder = tmp_path / STRANGE
    folder.mkdir()
    lines = pd.DataFrame({"source": ["s", "s"], "emotion": ["joy", "anger"]})
    lines.to_parquet(folder / "all.parquet")
    lines.head(1).to_parquet(folder / "filtered.parquet")
    table = emotions_by_source(folder / "all.parquet", folder / "filtered.parquet").set_index("emotion")
    assert table.loc["joy"].tolist() == [1, 1, 1] and table.loc["anger"].tolist() == [1, 1, 0]


def test_papermill_fills_in_nothing_in_a_path():
    from papermill.parameterize import parameterize_path

    assert parameterize_path(runner._literal(Path(f"/x/{STRANGE}/{{HOME}}")), {"HOME": "y"}) == f"/x/{STRANGE}/{{HOME}}"
