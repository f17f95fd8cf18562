"""The notebooks as people use them, in JupyterLab: a prompt changed in its cell, a setting, a restart, a variant."""

import json
from pathlib import Path

import nbformat
import pytest
from browser import browser, downloads  # noqa: F401 (fixtures)
from jupyter_lab import Lab, lab_address
from tiny_study import Study, Writer, profile_file

from emogap.config import load_config
from emogap.home_settings import kept
from emogap.paths import ROOT
from emogap.study.state import inspect_all

pytestmark = pytest.mark.slow
STORIES = "pretrain_data_augment.ipynb"


@pytest.fixture
def study(tmp_path) -> Study:
    """A home with emotional lines, whose writer is a server."""
    writer = Writer()
    study = Study(profile_file(tmp_path), tmp_path / "home", writer.url)
    study.run("emogap.babylm.process:process")
    yield study
    writer.shutdown()


def notebook_for(study: Study, name: str, **parameters: object) -> dict:
    """A notebook of the repository with that home in its parameters."""
    notebook = nbformat.read(ROOT / name, as_version=4)
    given = {"PROFILE": str(study.profile), "HOME": str(study.home), "ON": None, "SETTINGS": {}} | parameters
    notebook.cells[1].source = "\n".join(f"{key} = {value!r}" for key, value in given.items())
    return json.loads(nbformat.writes(notebook))


def test_a_prompt_is_changed_in_its_cell_tried_and_made_a_method(browser, study, tmp_path):  # noqa: F811
    mine = tmp_path / "mine.txt"
    notebook = notebook_for(study, STORIES, PREVIEW=1, SAVE_AS=str(mine))
    with lab_address(tmp_path, notebook, study.environment) as address:
        lab = Lab(browser, address)
        lab.run("PROFILE = ", "load_config(", "PROMPT = ")
        shipped = lab.run("preview(config")
        lab.run("add_method(")
        assert not mine.exists() and kept(study.home) == {}, "unchanged, it writes nothing and adds nothing"
        lab.change("PROMPT = ", "Objective: write a story", "Objective: write a merry story")
        lab.run("PROMPT = ")
        tried = lab.run("preview(config")
        assert tried != shipped and "template" in tried
        lab.run("add_method(")
        assert "write a merry story" in mine.read_text(encoding="utf-8")
        config = load_config(str(study.profile), study.home)
        assert config.augment.methods[-1] == "mine" and config.augment.templates["mine"] == str(mine)
        lab.run("print(augment(config))")
    assert config.home.chunk("mine", 0).exists()


def test_a_setting_makes_stale_what_depends_on_it_alone_and_a_restart_loses_nothing(browser, study, tmp_path):  # noqa: F811
    study.run("emogap.stories.augment:augment")
    study.run("emogap.corpus.compile:corpus")
    notebook = notebook_for(study, STORIES, PREVIEW=1, SAVE_AS=str(tmp_path / "mine.txt"))
    with lab_address(tmp_path, notebook, study.environment) as address:
        lab = Lab(browser, address)
        lab.run("PROFILE = ", "load_config(", "print(augment(config))")
        lab.change("PROFILE = ", "SETTINGS = {}", "SETTINGS = {'augment.sampling.temperature': 1.3}")
        lab.run("PROFILE = ", "load_config(")
        states = {state.stage.name: state.state for state in inspect_all(load_config(str(study.profile), study.home))}
        assert (states["process"], states["augment"], states["corpus"]) == ("fresh", "stale", "stale")
        lab.begin("print(augment(config))")
        lab.restart()
        lab.run("PROFILE = ", "load_config(", "print(augment(config))")
        said = lab.run("after(config")
        assert "pretrain_data_corpus.ipynb" in said
        figure = lab.run("outcome_shares(table")
        lab.change("outcome_shares(table", "table = story_outcomes(config.home)",
                   "table = story_outcomes(config.home).query('rows > 1')")  # fmt: skip
        assert lab.run("outcome_shares(table") != figure or "image/png" in figure
    assert kept(study.home) == {"augment.sampling.temperature": 1.3}


def test_a_variant_is_made_in_the_notebook(browser, study, tmp_path):  # noqa: F811
    study.run("emogap.stories.augment:augment")
    parameters = {"HOME": str(tmp_path / "variant"), "ON": str(study.home), "SETTINGS": {"corpus.words": 200}}
    notebook = notebook_for(study, "pretrain_data_corpus.ipynb", **parameters)
    with lab_address(tmp_path, notebook, study.environment) as address:
        lab = Lab(browser, address)
        lab.run("PROFILE = ", "load_config(", "before(config", "print(corpus(config))")
    variant = load_config(str(study.profile), tmp_path / "variant")
    assert variant.home.corpus("emotional").exists()
    method = variant.augment.methods[0]
    assert variant.home.chunk(method, 0).samefile(study.config.home.chunk(method, 0))
    assert not Path(study.home / "babylm_pretrain_corpus").exists()
