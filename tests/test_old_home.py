"""A home made before the package was made smaller is fresh with the code of today, but for what ``expected.json`` says.

``fixtures/old_home/make.py`` made it, once. An artefact's reasons there are those for which this code makes it again.
"""

import json
import shutil
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emogap.commands.cli import main
from emogap.config import load_config
from emogap.errors import MissingInput
from emogap.store.artefacts import Artefact
from emogap.store.exhibits import exhibits, read_table
from emogap.store.pieces import run
from emogap.study.stages import STAGES
from emogap.study.state import inspect_all
from emogap.train.models import study_models
from emogap.trial.grid import make_grid

OLD = Path(__file__).parent / "fixtures" / "old_home"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
PROFILE = str(OLD / "tiny.toml")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD / "home.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


def template_alone(reasons: Iterable[str]) -> bool:
    """Whether it is only that the page's template is another one: then it is put together again, and nothing else."""
    return bool(reasons) and all(reason.startswith("template ") for reason in reasons)


def test_every_artefact_is_as_fresh_as_expected(home):
    config = load_config(PROFILE, home)

    def reasons(artefact: Artefact) -> list[str]:
        found = artefact.freshness()
        return ["missing"] if found.state == "missing" else [] if template_alone(found.reasons) else [*found.reasons]

    pieces = {stage.name: list(stage.pieces(config)) for stage in STAGES}
    assert EXPECTED["artefacts"] == {
        name: {config.home.relative(piece.path): reasons(piece) for piece in made if not piece.is_drawing}
        for name, made in pieces.items()
    }
    drawn = {config.home.relative(p.path): reasons(p) for made in pieces.values() for p in made if p.is_drawing}
    assert len(drawn) > 12 and {name: why for name, why in drawn.items() if why} == EXPECTED["drawn"]


def test_with_controls_what_was_made_stays_and_they_alone_are_missing(home):
    """Each stage up to the first thing that needs a control; then what was measured of the models of before."""
    config = load_config(PROFILE, home, ["controls=true"])
    names = ["smollm2-135m", *(s.name for s in config.strategies if not s.control_of)]
    of_before = load_config(PROFILE, home, ["controls=true", ("respond.models", names)])
    states = {}
    for stage in STAGES[:-1]:
        with suppress(MissingInput):
            for piece in stage.pieces(of_before if stage.name == "evaluate" else config):
                if not piece.is_drawing:
                    states[config.home.relative(piece.path)] = piece.freshness().state
    old = {name for stage in EXPECTED["artefacts"].values() for name, why in stage.items() if not why}
    assert {name for name in states if states[name] == "fresh"} == old - {"report/index.html"}
    before = {name for stage in EXPECTED["artefacts"].values() for name, why in stage.items() if why == ["missing"]}
    chunks = {f"babylm_augment/m0/chunk_{number:05d}.parquet" for number in range(6)}
    found = {name for name in states if states[name] == "missing"}
    assert found == before | chunks | {"models/smollm2-135m-orig"}


@pytest.mark.parametrize("settings", [[], *([change] for change in EXPECTED["changes"])], ids=str)
def test_stages_are_stale_for_a_changed_setting_alone_and_say_so(home, settings):
    expected = dict(EXPECTED["changes"][settings[0]] if settings else EXPECTED["stages"])
    stale = {s.stage.name: [*s.reasons] for s in inspect_all(load_config(PROFILE, home, settings)) if s.reasons}
    if template_alone(stale.get("report", ())):
        del stale["report"]
        expected.pop("report", None)
    assert stale == expected


@pytest.mark.parametrize(("stage", "templates"), [("augment", ["m1", "m2"]), ("rewrite", ["v1", "v2"])])
def test_a_grid_is_not_made_again(home, stage, templates):
    summary = make_grid(load_config(PROFILE, home), stage, templates, {"temperature": [0.3, 0.9]}, 3)
    assert (summary.made, summary.fresh) == ([], ["replies.parquet"])


def test_its_bytes_are_those_of_its_manifests(home, capsys):
    assert main(["status", "--verify", "--profile", PROFILE, "--home", str(home)]) == 0
    assert capsys.readouterr().out.endswith("59 artefacts verified\n")


def test_the_worked_example_of_a_measurement_is_one_piece_and_one_function(home, tmp_path):
    document = Path(__file__).parents[1] / "docs" / "extend.md"
    example = document.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(compile(example, str(document), "exec"), names)
    config = load_config(PROFILE, shutil.copytree(home, tmp_path / "home"))
    before = {exhibit.name for exhibit in exhibits(config.home.evaluation)}
    piece = names["exclamations_drawing"](config)
    assert run("evaluate", [piece]).drawn and not run("evaluate", [piece]).drawn
    assert {exhibit.name for exhibit in exhibits(config.home.evaluation)} - before == {"exclamations"}
    shown = read_table(config.home.evaluation / "tables" / "exclamations.csv").set_index("model")["share"]
    for model in study_models(config):
        path = config.home.responses(model.key)
        said = pq.read_table(path)["response"].to_pylist()
        assert shown[model.name] == pytest.approx(sum("!" in text for text in said) / len(said))
    manifest = json.loads(path.with_name(f"{path.name}.manifest.json").read_text())
    manifest["files"][path.name] = {"": "0" * 64}  # as if it had been answered anew
    path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest))
    assert names["exclamations_drawing"](config).freshness().reasons == (f"input responses {model.key} changed",)


def test_a_variant_may_begin_at_a_later_stage(home, tmp_path, capsys):
    variant = tmp_path / "variant"
    options = ["--profile", PROFILE, "--home", str(variant)]
    assert main(["corpus", *options, "--on", str(home), "--set", "corpus.words=300"]) == 0
    assert main(["status", *options]) == 0
    said = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[-11:]}
    assert " fresh " in said["augment"] and f"from {home}" in said["augment"]
    assert " fresh " in said["corpus"] and "from" not in said["corpus"]
