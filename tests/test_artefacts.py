import errno
import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from emogap.artefacts import Artefact, Recipe, manifest_path, verify
from emogap.errors import DiskError, InputError, LockHeld, MissingInput
from emogap.journal import Journal
from emogap.locks import lock


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "in.txt"
    file.write_text("one")
    return file


def artefact(source, path="out.txt", **changes):
    recipe = Recipe("test", {"in": source}, {"test.a": 1} | changes.pop("settings", {}), seed=changes.pop("seed", 0))
    return Artefact(source.parent / path, recipe, **changes)


def make(an_artefact, text="done"):
    with an_artefact.making() as draft:
        draft.path.write_text(text)
        draft.counts["rows"] = 3


def test_missing_then_fresh_then_stale_with_reasons(source):
    assert artefact(source).freshness().state == "missing"
    make(artefact(source))
    assert artefact(source).freshness().state == "fresh"
    assert artefact(source, settings={"test.a": 2}).freshness().reasons == ("test.a 1 → 2",)
    assert artefact(source, seed=5).freshness().reasons == ("seed 0 → 5",)
    source.write_text("two")
    assert artefact(source).freshness().reasons == ("input in changed",)


def test_manifest_says_what_shaped_it(source):
    make(artefact(source))
    manifest = artefact(source).manifest()
    assert manifest["settings"] == {"test.a": 1}
    assert manifest["counts"] == {"rows": 3}
    assert len(manifest["inputs"]["in"]["sha256"]) == 64
    assert manifest["packages"]["pandas"]
    assert manifest["seconds"] >= 0


def test_a_failed_making_leaves_nothing(source):
    with pytest.raises(ZeroDivisionError), artefact(source).making() as draft:
        draft.path.write_text("half")
        draft.companion("out.log").write_text("half")
        raise ZeroDivisionError
    assert sorted(p.name for p in source.parent.iterdir()) == ["in.txt"]


def test_what_a_killed_maker_left_is_swept(source):
    (source.parent / ".out.txt.tmp-999999").write_text("half")
    make(artefact(source))
    assert sorted(p.name for p in source.parent.iterdir()) == ["in.txt", "out.txt", "out.txt.manifest.json"]


def test_data_without_a_manifest_is_not_complete(source):
    (source.parent / "out.txt").write_text("half")
    assert artefact(source).freshness().state == "missing"


def test_superseded_rows_are_kept_beside(source):
    make(artefact(source, keep_superseded=True), "old")
    make(artefact(source, keep_superseded=True, settings={"test.a": 2}), "new")
    old = list((source.parent / "superseded").glob("*/out.txt"))
    assert [file.read_text() for file in old] == ["old"]
    assert (source.parent / "out.txt").read_text() == "new"


def test_folder_artefacts_are_replaced_as_a_whole(source):
    for name in ("first", "second"):
        with artefact(source, "model", is_folder=True).making() as draft:
            (draft.path / name).write_text(name)
    assert [p.name for p in (source.parent / "model").iterdir()] == ["second"]


def test_changed_bytes_are_found_and_never_read_as_good(source):
    make(artefact(source))
    out = source.parent / "out.txt"
    out.write_text("d0ne")
    with pytest.raises(InputError, match=r"out.txt differs from its manifest"):
        verify(out)
    reader = Artefact(source.parent / "next.txt", Recipe("next", {"out": out}))
    with pytest.raises(InputError, match="differs"), reader.making():
        pass


def test_a_damaged_manifest_is_an_error_that_names_it(source):
    make(artefact(source))
    manifest_path(source.parent / "out.txt").write_text("{")
    with pytest.raises(InputError, match="out.txt.manifest.json is damaged"):
        artefact(source).freshness()


def test_missing_input_is_named(tmp_path):
    with pytest.raises(MissingInput, match="nowhere.txt"):
        make(artefact(tmp_path / "nowhere.txt"))


def test_full_disk_is_one_clear_error_and_leaves_nothing(source):
    with pytest.raises(DiskError, match="no space left.*--home"), artefact(source).making() as draft:
        draft.path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not (source.parent / "out.txt").exists()
    assert not list(source.parent.glob(".out*"))


def _hold(path, ready):
    with lock(path):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """A living process that holds the lock of ``out.txt``."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "out.txt", ready))
    process.start()
    assert ready.wait(20)
    yield process
    process.kill()
    process.join()


def test_a_held_lock_names_its_owner_and_a_dead_owners_is_taken_over(source, holder):
    with pytest.raises(LockHeld, match=f"process {holder.pid} on "):
        make(artefact(source))
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (source.parent / "out.txt.lock").exists()
    make(artefact(source))
    assert artefact(source).freshness().state == "fresh"


def test_who_waits_for_a_lock_gets_it_when_its_owner_is_gone(tmp_path, holder):
    threading.Timer(0.3, holder.kill).start()
    with lock(tmp_path / "out.txt", wait=True):
        assert not holder.is_alive()


def test_journal_survives_a_torn_line_and_keeps_recipes_apart(tmp_path):
    path = tmp_path / "chunk_00000.partial.jsonl"
    journal = Journal(path, "recipe-a")
    journal.append([{"id": 1, "text": "line\u2028separator"}])
    with path.open("a") as file:
        file.write('{"id": 2, "te')
    again = Journal(path, "recipe-a")
    assert again.rows == [{"id": 1, "text": "line\u2028separator"}]
    again.append([{"id": 3}])
    assert [row["id"] for row in Journal(path, "recipe-a").rows] == [1, 3]
    assert Journal(path, "recipe-b").rows == []
    aside = [p for p in tmp_path.iterdir() if p != path]
    assert len(aside) == 1
    assert json.loads(aside[0].read_text().splitlines()[0]) == {"recipe": "recipe-a"}


def test_a_clock_set_back_changes_neither_freshness_nor_the_time_taken(source, monkeypatch):
    make(artefact(source))
    os.utime(source.parent / "out.txt", (4e9, 4e9))
    os.utime(source, (4e9, 4e9))
    assert artefact(source).freshness().state == "fresh"
    source.write_text("two")
    os.utime(source, (0, 0))
    assert artefact(source).freshness().reasons == ("input in changed",)
    clock = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr("emogap.artefacts.time.time", lambda: float(next(clock)))
    make(artefact(source))
    assert 0 <= artefact(source).manifest()["seconds"] < 60
