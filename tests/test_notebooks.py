"""The notebooks as they are committed: thin, without outputs, ready to be run from top to bottom."""

import ast
import re

import nbformat
import pytest

from emogap.config import load_config
from emogap.paths import ROOT
from emogap.study.stages import STAGES

NOTEBOOKS = [stage.source for stage in STAGES if (stage.source or "").endswith(".ipynb")]
NOTEBOOKS += ["alpaca-instruction/prompt_studio.ipynb"]  # beside the stages: for trying out


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    found = nbformat.read(ROOT / request.param, as_version=4)
    nbformat.validate(found)
    return found


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_committed_without_outputs_or_traces_of_a_run(notebook):
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}


def test_first_the_question_then_the_parameters(notebook):
    first, second = notebook.cells[:2]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for word in ("Reads", "Writes"):
        assert word.lower() in first.source.lower()
    assert second.metadata.tags == ["parameters"]
    names = {target.id for node in ast.parse(second.source).body for target in node.targets}
    assert {"PROFILE", "HOME", "SETTINGS"} <= names
    assert len(names) <= 12


def test_thin(notebook):
    for cell in code(notebook):
        body = [node for node in ast.parse(cell.source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
        steps = "\n".join(ast.get_source_segment(cell.source, node) for node in body).splitlines()
        lines = [line for line in steps if line.strip() and not line.lstrip().startswith("#")]
        assert len(lines) <= 15, cell.source
        assert "!pip" not in cell.source
        assert "%cd" not in cell.source
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        assert not kinds & {ast.ClassDef, ast.If, ast.While, ast.Lambda}, cell.source


def test_the_settings_stand_right_behind_loading(notebook):
    loading, shown = code(notebook)[1:3]
    assert "config = load_config(" in loading.source and "settings(config, " in shown.source


@pytest.mark.parametrize(
    ("path", "said", "key"),
    [
        ("pretrain_data_augment.ipynb", r"embedded profile \((\d+) lines", "augment.lines"),
        ("casual_lm.ipynb", r"for (\d+) steps a model", "clm.max_steps"),
        ("fine-tune/sft_instruction.ipynb", r"for (\d+) steps a model", "sft.max_steps"),
        ("quantitative_analysis/quantitative_analysis.ipynb", r"(\d+) new tokens", "respond.sampling.max_new_tokens"),
    ],
)
def test_the_sizes_that_an_introduction_gives_are_those_of_the_profile(path, said, key):
    introduction = nbformat.read(ROOT / path, as_version=4).cells[0].source
    (size,) = re.findall(said, introduction)
    assert [size] == load_config("embedded").show(key)["value"].tolist()


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("pretrain_data_augment.ipynb", "prompts/stories/m3.txt"),
        ("alpaca-instruction/prompt_studio.ipynb", "prompts/rewrites/v3.txt"),
    ],
)
def test_the_prompt_in_its_cell_begins_as_a_shipped_one(path, prompt):
    found = nbformat.read(ROOT / path, as_version=4)
    (cell,) = [cell for cell in code(found) if "PROMPT = " in cell.source]
    assert ast.literal_eval(ast.parse(cell.source).body[0].value) == (ROOT / prompt).read_text(encoding="utf-8")
