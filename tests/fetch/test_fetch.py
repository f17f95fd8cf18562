"""Fetching from servers on the loopback interface that answer as the public homes do."""

import hashlib
import io
import json
import stat
import zipfile

import pytest
from public_home import PublicHome, serving

from emogap.errors import InputError, MissingInput, UsageError
from emogap.fetch import download as fetching
from emogap.fetch.download import Servers, fetch, unpack
from emogap.fetch.registry import DATA_SETS, DataSet, Repository, data_set
from emogap.store.artefacts import read_manifest

COMMIT = "abcdef0123456789abcdef0123456789abcdef01"


@pytest.fixture
def home(monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 5.0)
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    public = PublicHome("some/where", COMMIT, COMMIT[:8])
    with serving(public) as public.servers:
        yield public


EVERY_HOME = pytest.mark.parametrize("kind", ["github", "hub"])


def some_set(kind: str = "github", **changes) -> DataSet:
    fields = {
        "name": "some",
        "title": "Some texts",
        "licence": "CC0",
        "repository": Repository(kind, "some/where", COMMIT[:8]),
        "folder": "some",
        "files": {"data/*.txt": "{name}", "README": "about.txt"},
    }
    return DataSet(**(fields | changes))


@EVERY_HOME
def test_the_named_files_come_and_no_others(home, tmp_path, capsys, kind):
    home.files = {"data/a b.txt": b"first\n" * 1000, "data/deep/c.txt": b"", "README": b"about", "code.py": b"no"}
    home.behind_pointers = {"data/large.txt": b"large" * 5000}
    folder = fetch(some_set(kind), tmp_path / "some", home.servers)
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {
        "a b.txt": home.files["data/a b.txt"],
        "c.txt": b"",
        "about.txt": b"about",
        "large.txt": home.behind_pointers["data/large.txt"],
    }
    assert home.asked["code.py"] == 0
    manifest = read_manifest(folder)
    assert manifest["notes"]["commit"] == COMMIT
    assert manifest["notes"]["licence"] == "CC0"
    assert manifest["files"]["some"]["large.txt"] == hashlib.sha256(b"large" * 5000).hexdigest()
    assert "CC0" in capsys.readouterr().out
    assert not (tmp_path / ".downloads" / "some_where" / COMMIT).exists()


def test_what_is_there_is_held_against_its_manifest_without_the_network(home, tmp_path, capsys):
    home.files = {"data/a.txt": b"text", "README": b""}
    folder = fetch(some_set(), tmp_path / "some", home.servers)
    home.asked.clear()
    fetch(some_set(), folder, home.servers)
    assert not home.asked
    assert "already there" in capsys.readouterr().out
    (folder / "a.txt").write_bytes(b"Text")
    with pytest.raises(InputError, match="differs from its manifest"):
        fetch(some_set(), folder, home.servers)


@EVERY_HOME
def test_a_broken_download_goes_on_where_it_stopped(home, tmp_path, kind, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    content = bytes(range(256)) * 2000
    home.files = {"data/a.txt": content, "README": b""}
    home.breaks = {"a.txt": [100_000, 50_000]}
    folder = fetch(some_set(kind), tmp_path / "some", home.servers)
    assert (folder / "a.txt").read_bytes() == content
    assert home.starts == [100_000, 150_000]


def test_a_killed_fetch_goes_on_in_the_next(home, tmp_path):
    home.files = {"data/a.txt": b"a" * 3000, "data/b.txt": b"b" * 3000, "README": b"r" * 2000}
    home.breaks = {"b.txt": [1000] + [0] * fetching.TRIES}
    with pytest.raises(MissingInput, match=r"b\.txt broke off"):
        fetch(some_set(), tmp_path / "some", home.servers)
    assert not (tmp_path / "some").exists()
    home.breaks, home.starts = {}, []
    folder = fetch(some_set(), tmp_path / "some", home.servers)
    assert (folder / "b.txt").read_bytes() == b"b" * 3000
    assert home.starts == [1000]
    assert home.asked["a.txt"] == 1  # it was whole, and was not asked for again


def test_a_server_without_ranges_sends_everything_again(home, tmp_path):
    home.ranges = False
    home.files = {"data/a.txt": b"abc" * 5000, "README": b""}
    home.breaks = {"a.txt": [4000]}
    folder = fetch(some_set(), tmp_path / "some", home.servers)
    assert (folder / "a.txt").read_bytes() == b"abc" * 5000


@EVERY_HOME
def test_content_that_differs_from_what_git_says_is_thrown_away(home, tmp_path, kind):
    home.files = {"data/a.txt": b"x" * 2000, "README": b""}
    home.lies = {"data/a.txt": b"y" * 2000}
    with pytest.raises(InputError, match=r"a\.txt: its git_sha1 is"):
        fetch(some_set(kind), tmp_path / "some", home.servers)
    assert not (tmp_path / "some").exists()
    left = [path for path in (tmp_path / ".downloads").rglob("*") if path.is_file() and path.stat().st_size >= 2000]
    assert not left
    home.lies = {}
    assert fetch(some_set(kind), tmp_path / "some", home.servers).is_dir()


@EVERY_HOME
def test_a_hash_known_beforehand_binds(home, tmp_path, kind):
    home.files = {"data/a.txt": b"x" * 2000, "README": b""}
    right = {"data/a.txt": hashlib.sha256(b"x" * 2000).hexdigest()}
    with pytest.raises(InputError, match="its sha256 is"):
        fetch(some_set(kind, sha256={"data/a.txt": "0" * 64}), tmp_path / "some", home.servers)
    assert fetch(some_set(kind, sha256=right), tmp_path / "some", home.servers).is_dir()


def test_longer_than_said_is_not_taken(home, tmp_path, monkeypatch):
    home.files = {"data/a.txt": b"x" * 5000, "README": b""}
    listed = fetching._list

    def shortened(*arguments):
        commit, files = listed(*arguments)
        return commit, [fetching.RemoteFile(f.path, f.url, min(f.size, 2000), git_sha1=f.git_sha1) for f in files]

    monkeypatch.setattr(fetching, "_list", shortened)
    with pytest.raises(InputError, match="longer than the 2000 bytes"):
        fetch(some_set(), tmp_path / "some", home.servers)


@EVERY_HOME
def test_another_commit_than_the_pinned_one_is_refused(home, tmp_path, kind):
    home.files = {"README": b""}
    home.answer_before = home.answer
    other = json.dumps({"id": "some/where", "sha": "f" * 40}).encode()
    home.answer = lambda url: other if COMMIT[:8] in url else home.answer_before(url)
    with pytest.raises(InputError, match="answered with another commit"):
        fetch(some_set(kind), tmp_path / "some", home.servers)


@pytest.mark.parametrize("path", ["../out.txt", "/etc/x.txt", "data/../../x.txt", "data\\..\\x.txt"])
@EVERY_HOME
def test_paths_that_leave_the_folder_are_refused(home, tmp_path, kind, path):
    home.files = {path: b"x", "README": b""}
    with pytest.raises(InputError, match="would leave"):
        fetch(some_set(kind, files={"*": "{path}"}), tmp_path / "some", home.servers)


def test_links_in_a_repository_are_not_followed(home, tmp_path):
    home.files = {"data/a.txt": b"text", "data/link.txt": b"/etc/passwd", "README": b""}
    home.links = {"data/link.txt"}
    folder = fetch(some_set(), tmp_path / "some", home.servers)
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "about.txt"]


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def test_an_archive_is_unpacked_and_kept_for_the_next_data_set(home, tmp_path):
    home.behind_pointers = {"all.zip": archive(("x/10M/a.train", b"ten"), ("x/100M/a.train", b"hundred"), ("x/r", b""))}
    sizes = {
        size: some_set(files={"all.zip": "{name}"}, members={f"x/{size}/*.train": "{name}"}, unpacked_bytes=100)
        for size in ("10M", "100M")
    }
    small = fetch(sizes["10M"], tmp_path / "small", home.servers)
    large = fetch(sizes["100M"], tmp_path / "large", home.servers)
    assert [p.name for p in small.iterdir()] == ["a.train"]
    assert (small / "a.train").read_bytes() == b"ten" and (large / "a.train").read_bytes() == b"hundred"
    assert home.asked["all.zip"] == 3  # the pointer twice, the archive once


def test_archives_with_bad_intentions(tmp_path):
    link = zipfile.ZipInfo("data/link.train")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    cases = {
        "would leave": archive(("data/../../out.train", b"x")),
        "is a link": archive((link, b"/etc/passwd")),
        "unpacks to more than": archive(("data/bomb.train", b"\0" * 5_000_000)),
        "has no member": archive(("data/a.txt", b"x")),
        "is damaged": archive(("data/a.train", b"text" * 1000))[:-30],
    }
    for message, content in cases.items():
        path = tmp_path / "a.zip"
        path.write_bytes(content)
        (tmp_path / "out").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=message):
            unpack(path, tmp_path / "out", {"*.train": "{path}"}, 1_000_000)
    assert not (tmp_path / "out.train").exists()
    unpack(path_of(tmp_path, archive(("data/a.train", b"text"))), tmp_path / "out", {"*.train": "{name}"}, 4)
    assert (tmp_path / "out/a.train").read_bytes() == b"text"


def path_of(folder, content: bytes):
    path = folder / "good.zip"
    path.write_bytes(content)
    return path


@EVERY_HOME
def test_without_a_network_it_says_what_to_put_where(tmp_path, kind):
    nowhere = Servers(*["http://127.0.0.1:9"] * 4)
    with pytest.raises(MissingInput) as error:
        fetch(some_set(kind), tmp_path / "some", nowhere)
    message = str(error.value)
    assert "\n" not in message
    for part in ("data/*.txt", some_set(kind).repository.page, COMMIT[:8], str(tmp_path / "some"), "about.txt"):
        assert part in message
    assert not (tmp_path / "some").exists()


@EVERY_HOME
def test_a_home_that_has_moved_is_an_error_not_a_network_failure(home, tmp_path, kind):
    missing = some_set(repository=Repository(kind, "some/where", "0" * 8))
    with pytest.raises(InputError, match="correct the registry"):
        fetch(missing, tmp_path / "some", home.servers)


def test_a_folder_of_ones_own_is_left_alone(home, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="was not made by"):
        fetch(some_set(), tmp_path / "some", home.servers)
    assert (tmp_path / "some/mine.txt").read_text() == "mine"


def test_the_registry_names_what_users_can_ask_for():
    named = ["babylm-10m", "babylm-100m", "babylm-2026-10m", "alpaca", "blimp", "blimp-hub"]
    assert list(DATA_SETS) == [*named, "goemotions", "emobench", "published"]
    with pytest.raises(UsageError, match="unknown data set 'bblm'; choose among babylm-10m"):
        data_set("bblm")
    folders = [known.folder for known in DATA_SETS.values()]
    assert len(set(folders)) == len(folders)
    for known in DATA_SETS.values():
        assert set(known.repository.revision) <= set("0123456789abcdef"), "a commit, not a branch"
        assert not known.members or known.unpacked_bytes


def test_hashes_in_the_registry_are_those_of_the_real_files(real_data):
    for name, folder in (("goemotions", "goemotions"), ("emobench", "emobench")):
        for path, expected in DATA_SETS[name].sha256.items():
            content = (real_data / folder / path.rsplit("/", 1)[-1]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == expected
