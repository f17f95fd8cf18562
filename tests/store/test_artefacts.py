import errno
import json
import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from emogap.errors import DiskError, InputError, LockHeld, MissingInput
from emogap.store.artefacts import Artefact, Recipe, fingerprint, manifest_path, verify
from emogap.store.locks import lock
from emogap.store.parts import Arrays, Rows, clear
from emogap.store.pieces import Piece, run


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


def test_a_revised_rule_makes_stale_what_was_made_before_it(source):
    make(artefact(source))
    inputs = artefact(source).recipe.inputs
    settings = artefact(source).recipe.settings
    revised = Recipe("test", inputs, settings, {"rule of counting": "2 (the first is left out)"})
    stale = Artefact(source.parent / "out.txt", revised)
    assert stale.freshness().reasons == ('rule of counting "1" → "2 (the first is left out)"',)


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


def test_the_manifest_of_a_deleted_file_never_vouches_for_the_next_one(source, monkeypatch):
    """Whoever makes it again may be killed before the new manifest is written."""
    make(artefact(source))
    artefact(source).path.unlink()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("emogap.store.artefacts.machine", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        make(artefact(source), "other")
    assert artefact(source).path.read_text() == "other" and artefact(source).freshness().state == "missing"


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
    killing = threading.Event()

    def kill() -> None:
        killing.set()
        holder.kill()

    threading.Timer(0.3, kill).start()
    with lock(tmp_path / "out.txt", wait=True):
        assert killing.is_set()


def test_journal_survives_a_torn_line_and_keeps_recipes_apart(tmp_path):
    path = tmp_path / "chunk_00000.partial.jsonl"
    journal = Rows(path, "recipe-a")
    journal.append([{"id": 1, "text": "line\u2028separator"}])
    with path.open("a") as file:
        file.write('{"id": 2, "te')
    again = Rows(path, "recipe-a")
    assert again.rows == [{"id": 1, "text": "line\u2028separator"}]
    again.append([{"id": 3}])
    assert [row["id"] for row in Rows(path, "recipe-a").rows] == [1, 3]
    assert Rows(path, "recipe-b").rows == []
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
    monkeypatch.setattr("emogap.store.artefacts.time.time", lambda: float(next(clock)))
    make(artefact(source))
    assert 0 <= artefact(source).manifest()["seconds"] < 60


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest.pop("seed"),
        lambda manifest: manifest.update(seconds=manifest.pop("seconds"), counst=manifest.pop("counts")),
        lambda manifest: manifest.update(settings=[1]),
        lambda manifest: manifest.update(artefact="other.txt"),
        lambda manifest: manifest.update(files={"../out.txt": {"": "0"}}),
    ],
)
def test_a_damaged_key_of_a_manifest_is_an_error_that_names_it(source, damage):
    make(artefact(source))
    file = manifest_path(source.parent / "out.txt")
    manifest = json.loads(file.read_text())
    damage(manifest)
    file.write_text(json.dumps(manifest))
    for read in (artefact(source).freshness, lambda: verify(file.with_name("out.txt"))):
        with pytest.raises(InputError, match=r"out.txt.manifest.json is damaged \(.*\); delete it and rerun"):
            read()
    file.write_text("[]")
    with pytest.raises(InputError, match="is damaged"):
        artefact(source).freshness()


def without_privileges(work):
    """Run ``work`` in a child that is nobody; what it raised, as text."""
    if os.getuid() != 0:
        try:
            work()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setuid(65534)
            work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder():
    """A folder that everybody may enter and write, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def test_a_file_that_may_not_be_read_is_said_to_be_unreadable_not_unwritable(open_folder):
    source = open_folder / "in.txt"
    source.write_text("one")
    source.chmod(0)
    unreadable = r"InputError: \S+/in.txt cannot be read \(Permission denied\); .*"
    said = without_privileges(lambda: make(artefact(source)))
    assert re.fullmatch(unreadable, said), said

    def read_inside():
        with Artefact(open_folder / "out.txt", Recipe("test")).making():
            source.read_text()

    said = without_privileges(read_inside)
    assert re.fullmatch(unreadable, said), said


def test_a_folder_that_may_not_be_written_is_said_so(open_folder):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o755)
    (open_folder / "in.txt").write_text("one")
    closed.chmod(0o555)
    said = without_privileges(lambda: make(Artefact(closed / "out.txt", Recipe("test"))))
    assert re.fullmatch(r"DiskError: \S+ cannot be written \(Permission denied\); use --home DIR", said), said


def test_a_folder_in_place_of_a_finished_file_is_found(source):
    make(artefact(source))
    (source.parent / "out.txt").unlink()
    (source.parent / "out.txt").mkdir()
    with pytest.raises(InputError, match=r"out.txt differs from its manifest"):
        verify(source.parent / "out.txt")


def test_a_flipped_byte_is_found_though_the_time_of_change_was_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("emogap.store.artefacts.LARGE_BYTES", 2)
    large = tmp_path / "large.bin"
    large.write_bytes(b"good")
    before, good = large.stat(), fingerprint(large)
    assert list((tmp_path / "cache" / "hashes").iterdir())
    large.write_bytes(b"goot")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert large.stat().st_mtime_ns == before.st_mtime_ns and large.stat().st_ino == before.st_ino
    assert fingerprint(large) != good


def test_verify_reads_the_bytes_whatever_is_remembered(source, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(source.parent / "cache"))
    monkeypatch.setattr("emogap.store.artefacts.LARGE_BYTES", 1)
    make(artefact(source))
    out = source.parent / "out.txt"
    before = out.stat()
    fingerprint(out)
    out.write_text("d0ne")
    os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
    monkeypatch.setattr(
        "emogap.store.artefacts._remembered_hash", lambda path: pytest.fail("trusted what it remembered")
    )
    with pytest.raises(InputError, match="differs from its manifest"):
        verify(out)


@pytest.mark.parametrize("line", ['{"id": 2, "te', '{"id": 2}}', "7", "\udcff"])
def test_a_damaged_line_inside_a_journal_is_named_with_its_number(tmp_path, line):
    path = tmp_path / "chunk_00000.partial.jsonl"
    Rows(path, "recipe-a").append([{"id": 1}, {"id": 2}, {"id": 3}])
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"{path}, line 3, is damaged \(.*\); delete that line") as error:
        Rows(path, "recipe-a")
    assert "\n" not in str(error.value)
    path.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    assert [row["id"] for row in Rows(path, "recipe-a").rows] == [1, 3]


@pytest.mark.parametrize("head", ["{", "[]", "{}"])
def test_a_damaged_head_of_a_journal_is_named(tmp_path, head):
    path = tmp_path / "chunk_00000.partial.jsonl"
    Rows(path, "recipe-a").append([{"id": 1}])
    path.write_text("\n".join([head, *path.read_text().splitlines()[1:]]) + "\n")
    with pytest.raises(InputError, match=r"line 1, is damaged .* delete the file"):
        Rows(path, "recipe-a")


def test_parts_left_by_a_kill_after_publishing_are_cleared_and_those_of_other_settings_stay(tmp_path):
    def piece(text: str) -> Piece:
        recipe = Recipe("stage", settings={"text": text})

        def make(draft):
            Rows(draft.artefact.parts, recipe.sha256()).append([{"id": text}])
            draft.path.write_text(text)

        return Piece(tmp_path / "out.txt", recipe, make=make, parts=tmp_path / "out.partial.jsonl")

    one, other = piece("one"), piece("other")
    run("stage", [one])
    assert not one.parts.exists(), "cleared once it is published"
    for left, stays in ((one, False), (other, True)):
        Rows(one.parts, left.recipe.sha256()).append([{"id": 1}])
        assert run("stage", [one]).made == []
        assert one.parts.exists() == stays
    Arrays(tmp_path / "shards", {"recipe": "a"}).put("0", np.zeros(2))
    clear(tmp_path / "shards", "b")
    assert (tmp_path / "shards").exists()
    clear(tmp_path / "shards", "a")
    assert not (tmp_path / "shards").exists()
