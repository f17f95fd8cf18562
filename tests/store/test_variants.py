"""A variant of a home: what has an equal recipe in its parent is taken from there; what is made anew disturbs none."""

from pathlib import Path

import pytest

from emogap.commands.cli import main
from emogap.config import load_config
from emogap.errors import UsageError
from emogap.home_settings import parent_of, set_parent
from emogap.store.artefacts import Recipe, verify
from emogap.store.locks import lock
from emogap.store.pieces import Piece, run


def piece(home: Path, text: str, name: str = "out.txt", source: Path | None = None, **options) -> Piece:
    """Says ``text``; a folder holds a file that does."""

    def make(draft) -> None:
        (draft.path / "file" if draft.artefact.is_folder else draft.path).write_text(text)
        draft.companion(f"beside-{draft.artefact.path.name}").write_text(text)
        draft.counts["letters"] = len(text)

    inputs = {"source": source} if source else {}
    return Piece(home / "stage" / name, Recipe("stage", inputs, {"text": text}), make=make, **options)


@pytest.fixture
def homes(tmp_path) -> tuple[Path, Path]:
    """A parent with something made, and its variant."""
    parent, variant = tmp_path / "parent", tmp_path / "variant"
    run("stage", [piece(parent, "one"), piece(parent, "folder", "model", is_folder=True)])
    set_parent(variant, parent)
    return parent, variant


def test_equal_recipes_are_taken_over_and_others_made(homes, capsys):
    parent, variant = homes
    capsys.readouterr()
    summary = run("stage", [piece(variant, "one"), piece(variant, "folder", "model", is_folder=True)])
    assert (summary.made, summary.fresh, summary.counts) == ([], ["out.txt", "model"], {"letters": 9})
    assert f"out.txt is taken from {parent / 'stage' / 'out.txt'}\n" in capsys.readouterr().out
    for name in ("out.txt", "beside-out.txt", "model/file"):
        assert (variant / "stage" / name).samefile(parent / "stage" / name)
    verify(variant / "stage" / "model")
    assert run("stage", [piece(variant, "other")]).made == ["out.txt"]
    assert (variant / "stage" / "out.txt").read_text() == "other"
    assert (parent / "stage" / "out.txt").read_text() == "one", "the parent is as it was"
    assert run("stage", [piece(variant, "one", keep_superseded=True)]).made == []
    assert (variant / "stage" / "superseded").is_dir(), "what had been made here is set aside"


def test_inputs_count_by_content_wherever_they_lie(homes):
    parent, variant = homes
    first = [piece(home, "one") for home in (parent, variant)]
    second = [piece(home, "two", "second.txt", source.path) for home, source in zip(homes, first, strict=True)]
    run("stage", [first[0], second[0]])
    assert run("stage", [first[1], second[1]]).made == []
    changed = piece(variant, "changed")
    assert run("stage", [changed, second[1]]).made == ["out.txt", "second.txt"]


def test_a_variant_of_a_variant_and_one_that_somebody_makes(homes, tmp_path):
    parent, variant = homes
    set_parent(tmp_path / "third", variant)
    third = piece(tmp_path / "third", "one")
    with lock(third.path):
        run("stage", [piece(variant, "one")])
    assert run("stage", [third]).made == [] and third.path.samefile(parent / "stage" / "out.txt")


def test_no_home_is_a_variant_of_itself_or_of_nothing(homes, tmp_path):
    parent, variant = homes
    with pytest.raises(UsageError, match="there is no such home"):
        set_parent(variant, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be a variant of itself"):
        set_parent(parent, variant)
    assert parent_of(parent) is None and parent_of(variant) == parent


def test_the_command_makes_a_variant_and_status_says_so(tmp_path, capsys):
    (tmp_path / "parent").mkdir()
    home = tmp_path / "variant"
    assert main(["status", "--home", str(home), "--on", str(tmp_path / "parent")]) == 0
    assert f"{home} is a variant of {tmp_path / 'parent'}" in capsys.readouterr().out
    assert parent_of(load_config("embedded", home).home.root) == tmp_path / "parent"
    assert main(["status", "--home", str(home), "--on", str(home)]) == 2
