"""Which models are held against each other: what emotion did first, then what training did at all."""

import re

import pytest

from emogap.config import load_config
from emogap.errors import EmogapError, UsageError
from emogap.study.runner import run_stages
from emogap.study.stages import STAGES
from emogap.study.state import inspect_all
from emogap.train.models import Comparison, comparisons, separated, study_models

ROWS = [
    {"name": "b-instr", "parent": "b", "task": "sft", "data": "v1"},
    {"name": "b-orig", "parent": "b", "task": "sft", "data": "v2", "control_of": "b-instr"},
    {"name": "b-baby", "parent": "b", "task": "clm", "data": "emotional"},
]
VERSIONS = ["v1", "v3"]


def study(tmp_path, **settings):
    given = {"bases": {"b": {"name": "x"}}, "strategies": ROWS, "sft.seeds": [3, 4], "lens.models": ["b"]}
    return load_config("paper", tmp_path / "home", given | settings)


def test_what_controls_tell_comes_first_then_bases(tmp_path):
    assert comparisons(study(tmp_path)) == [
        Comparison("b-instr", "b-orig", "tuned - control"),
        Comparison("b-instr", "b", "tuned - base"),
        Comparison("b-baby", "b", "tuned - base"),
        Comparison("b-orig", "b", "control - base"),
    ]


def test_trainings_are_held_against_those_of_the_same_seed_or_the_only_one(tmp_path):
    pairs = [(pair.model, pair.other) for pair in comparisons(study(tmp_path), "key")]
    assert pairs == [
        ("b-instr.s3", "b-orig.s3"), ("b-instr.s4", "b-orig.s4"),
        ("b-instr.s3", "b"), ("b-instr.s4", "b"), ("b-baby", "b"),
        ("b-orig.s3", "b"), ("b-orig.s4", "b"),
    ]  # fmt: skip


def test_without_controls_it_is_said_and_models_that_are_not_measured_are_left_out(tmp_path):
    config = study(tmp_path, **{"respond.models": ["b", "b-instr"]})
    pairs = comparisons(config)
    assert pairs == [Comparison("b-instr", "b", "tuned - base")]
    assert separated(pairs).startswith(" No model has a control here") and not separated(comparisons(study(tmp_path)))
    assert comparisons(study(tmp_path, **{"respond.models": ["b"]})) == []
    assert [model.control_of for model in study_models(study(tmp_path))] == ["", "", "", "b-instr", "b-instr", ""]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (ROWS[2] | {"data": "emo"}, "'b-baby' is trained on 'emo', a corpus that .*; give its data one of emotional"),
        (ROWS[0] | {"data": "v9"}, "'b-instr' is trained on 'v9', a version that .*one of v1, v3, a file of records"),
        (ROWS[0] | {"data": "original:v9"}, "'b-instr' is trained on 'original:v9', a version"),
        (ROWS[0] | {"data": "none.json"}, "none.json not found; strategy b-instr names it as its records"),
        (ROWS[2], "no/such/folder is no folder, and no model hub has such a name"),
    ],
)
def test_data_that_nothing_makes_are_said_by_the_status_and_before_a_run_begins(tmp_path, row, found):
    config = study(
        tmp_path, strategies=[row], bases={"b": {"name": "no/such/folder"}}, **{"rewrite.versions": VERSIONS}
    )
    if row is not ROWS[2]:
        said = [reason for state in inspect_all(config) for reason in state.reasons]
        assert re.search(found, "\n".join(said))
    with pytest.raises(EmogapError, match=found):
        run_stages(config, list(STAGES), [])
    assert not config.home.root.exists()


@pytest.mark.parametrize("other", ["b", "b-orig", "nobody"])
def test_a_control_is_one_of_another_strategy(tmp_path, other):
    rows = [ROWS[0], ROWS[1] | {"control_of": other}, ROWS[2]]
    with pytest.raises(UsageError, match=f"'b-orig' is to be a control of '{other}', which is no other strategy"):
        study(tmp_path, strategies=rows)
