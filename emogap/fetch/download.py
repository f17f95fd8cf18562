"""Downloading a data set from its home, a public repository: only the files that the registry names, at its revision,
each checked; a broken-off download is continued.

The repository is first asked for the full commit and for its list of files with sizes and hashes at that commit. Files
are downloaded beside the data set's folder, in ``.downloads`` (those of the model hub by its own library), and each is
checked against its size and hash; the folder appears, with a manifest of all hashes, when everything is there.
"""

import hashlib
import os
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from emogap.errors import InputError, MissingInput, one_line
from emogap.fetch.registry import DataSet, Repository
from emogap.store.artefacts import Artefact, Recipe, content_hashes, verify
from emogap.store.progress import Progress, progress

TIMEOUT = 30.0
TRIES = 5
"""After so many attempts in a row that brought no new byte, a download is given up."""
PIECE = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_BYTES = 1024


@dataclass(frozen=True)
class Servers:
    """Base URLs of the servers; tests use others, and ``$HF_ENDPOINT`` sets that of the hub."""

    github_api: str = "https://api.github.com"
    github_raw: str = "https://raw.githubusercontent.com"
    github_lfs: str = "https://media.githubusercontent.com/media"
    hub: str = "https://huggingface.co"

    @classmethod
    def public(cls) -> "Servers":
        return cls(hub=os.environ.get("HF_ENDPOINT", cls.hub).rstrip("/"))


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at a commit, with the size and the hash that the repository gives for it."""

    path: str
    url: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Git's hash of the content (of a "blob"): what the commit itself is built from."""


class Unreachable(Exception):
    """A server did not answer; the user is told what to do without it."""


def fetch(data_set: DataSet, folder: Path | None = None, servers: Servers | None = None) -> Path:
    """Download a data set into its folder (or the one given), unless it is there already. Returns the folder.

    Raises ``MissingInput`` where there is no network (its message says which files to put where), ``InputError`` if a
    file is not what its repository or the registry says, or if the folder holds something else.
    """
    folder = (folder or data_set.destination).absolute()
    artefact = Artefact(folder, _recipe(data_set), is_folder=True)
    print(f"{data_set.title}\n  licence: {data_set.licence}\n  from:    {data_set.repository}\n  to:      {folder}")
    if artefact.freshness().state == "fresh":
        verify(folder)
        print(f"  already there, every file as its manifest says ({folder.name}.manifest.json)")
        return folder
    if folder.exists() and not artefact.manifest_path.exists():
        raise InputError(f"{folder} is there, but was not made by `emogap fetch`; move it away or give --to DIR")
    try:
        _make(data_set, artefact, servers or Servers.public())
    except Unreachable as error:
        raise MissingInput(_by_hand(data_set, folder, error)) from error
    return folder


def _recipe(data_set: DataSet) -> Recipe:
    where = {"home": str(data_set.repository), "files": data_set.files, "members": data_set.members}
    return Recipe("fetch", settings=where)


def _by_hand(data_set: DataSet, folder: Path, error: Exception) -> str:
    wanted = ", ".join(data_set.files)
    unpack = f" (of it, {', '.join(data_set.members)})" if data_set.members else ""
    places = {pattern.rsplit("/", 1)[-1]: place for pattern, place in data_set.files.items() if "{" not in place}
    renamed = "".join(f", {name} as {place}" for name, place in places.items())
    return (
        f"{data_set.name} cannot be fetched: {error}; where there is a network, get {wanted}{unpack} from "
        f"{data_set.repository}, and put it into {folder}{renamed} here"
    )


def _make(data_set: DataSet, artefact: Artefact, servers: Servers) -> None:
    repository = data_set.repository
    downloads = artefact.path.parent / ".downloads" / repository.name.replace("/", "_")
    with artefact.making() as draft:
        commit, listed = _list(repository, servers)
        wanted = _wanted(data_set, listed)
        files = {path: _behind_pointer(repository, commit, file, servers) for path, file in wanted.items()}
        total = sum(file.size for file in files.values())
        with progress(f"fetching {data_set.name}", total >> 10, "KiB") as bar:
            for file in files.values():
                known = data_set.sha256.get(file.path)
                if repository.site == "hub":
                    download_from_hub(file, repository, downloads / commit, commit, servers, known)
                    bar.advance(file.size >> 10)
                else:
                    download(file, downloads / commit / file.path, bar, known)
        for place, file in files.items():
            here = downloads / commit / file.path
            if data_set.members and here.suffix == ".zip":
                # The archive stays among the downloads: another data set may be in it too.
                unpack(here, draft.path, data_set.members, data_set.unpacked_bytes)
            else:
                target = draft.path / place
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(here, target)
        draft.notes |= {"commit": commit, "licence": data_set.licence, "page": repository.page}
        draft.notes["from"] = {place: file.url for place, file in files.items()}
        draft.counts |= {"files": len(content_hashes(draft.path)), "bytes fetched": total}
    if not data_set.members:
        shutil.rmtree(downloads / commit, ignore_errors=True)


def _wanted(data_set: DataSet, listed: list[RemoteFile]) -> dict[str, RemoteFile]:
    """Place in the folder → file, for all files that a pattern matches."""
    wanted: dict[str, RemoteFile] = {}
    for pattern, place in data_set.files.items():
        matching = [file for file in listed if fnmatchcase(file.path, pattern)]
        if not matching and "*" not in pattern:
            raise InputError(f"{data_set.repository} has no file {pattern}; correct the registry")
        for file in matching:
            wanted[place.format(path=file.path, name=PurePosixPath(file.path).name)] = file
    if not wanted:
        raise InputError(f"{data_set.repository} has none of {', '.join(data_set.files)}; correct the registry")
    return dict(sorted(wanted.items()))


# --- which files a repository has ------------------------------------------------------------------------------------


def _list(repository: Repository, servers: Servers) -> tuple[str, list[RemoteFile]]:
    """The full commit of the repository's revision, and all its files there."""
    return (_list_github if repository.site == "github" else _list_hub)(repository, servers)


def _list_github(repository: Repository, servers: Servers) -> tuple[str, list[RemoteFile]]:
    api = f"{servers.github_api}/repos/{repository.name}"
    commit = _commit_of(repository, _json(f"{api}/commits/{repository.revision}")["sha"])
    tree = _json(f"{api}/git/trees/{commit}?recursive=1")
    if tree["truncated"]:
        raise InputError(f"{repository}: its list of files is too long to be had in one piece")
    raw = f"{servers.github_raw}/{repository.name}/{commit}"
    blobs = [entry for entry in tree["tree"] if entry["type"] == "blob" and not stat.S_ISLNK(int(entry["mode"], 8))]
    return commit, [
        RemoteFile(_safe(e["path"]), f"{raw}/{quote(e['path'])}", e["size"], git_sha1=e["sha"]) for e in blobs
    ]


def _list_hub(repository: Repository, servers: Servers) -> tuple[str, list[RemoteFile]]:
    from huggingface_hub import HfApi

    with _asking_hub(repository):
        api = HfApi(endpoint=servers.hub)
        found = api.dataset_info(repository.name, revision=repository.revision, files_metadata=True)
    commit = _commit_of(repository, found.sha)
    resolve = f"{servers.hub}/datasets/{repository.name}/resolve/{commit}"
    files = []
    for entry in found.siblings:
        hashes = {"sha256": entry.lfs.sha256} if entry.lfs else {"git_sha1": entry.blob_id}
        path = _safe(entry.rfilename)
        files.append(RemoteFile(path, f"{resolve}/{quote(path)}", entry.size, **hashes))
    return commit, files


@contextmanager
def _asking_hub(repository: Repository) -> Iterator[None]:
    """Raises ``InputError`` for what the hub does not have, ``Unreachable`` for every other error of its library."""
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError) as error:
        raise InputError(
            f"{repository} is not there, or not for everybody ({one_line(error)}); correct the registry, or set "
            "HF_TOKEN"
        ) from error
    except Exception as error:  # a dozen types: the library's own and those of its HTTP client
        raise Unreachable(f"{repository} cannot be reached ({one_line(error)})") from error


def _commit_of(repository: Repository, commit: str) -> str:
    if not commit.startswith(repository.revision):
        raise InputError(f"{repository}: the home answered with another commit, {commit}")
    return commit


def _behind_pointer(repository: Repository, commit: str, file: RemoteFile, servers: Servers) -> RemoteFile:
    """The file itself or, where git holds only a pointer to large-file storage, the file that it points to."""
    if repository.site != "github" or file.size > _POINTER_BYTES:
        return file
    with _open(file.url) as answer:
        content = answer.read()
    if not content.startswith(_POINTER):
        return file
    lines = dict(line.split(" ", 1) for line in content.decode().splitlines())
    url = f"{servers.github_lfs}/{repository.name}/{commit}/{quote(file.path)}"
    return RemoteFile(file.path, url, int(lines["size"]), sha256=lines["oid"].removeprefix("sha256:"))


def _safe(path: str) -> str:
    """A path that stays below the folder it is put in. Raises ``InputError``."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or ":" in parts[0]:
        raise InputError(f"'{path}' would leave the data set's folder; it is not taken")
    return path


# --- one download ----------------------------------------------------------------------------------------------------


def download(file: RemoteFile, target: Path, bar: Progress, sha256: str | None = None) -> None:
    """Download one file to ``target``, continuing ``<target>.part``; nothing is done if it is there in its full size.

    ``sha256``: the hash in the registry, if any. Raises ``Unreachable``, or ``InputError`` if size or hash differ.
    """
    if target.exists() and target.stat().st_size == file.size:
        bar.advance(file.size >> 10)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.touch()
    if part.stat().st_size > file.size:
        os.truncate(part, 0)
    fruitless = 0
    while (before := part.stat().st_size) < file.size:
        try:
            _continue(file, part, before, bar)
        except Unreachable as error:
            fruitless = 0 if part.stat().st_size > before else fruitless + 1
            if fruitless == TRIES:
                raise Unreachable(f"{file.url} broke off {TRIES} times ({error})") from error
            time.sleep(min(0.1 * 2**fruitless, 5))
    _check(file, part, sha256)
    os.replace(part, target)


def download_from_hub(
    file: RemoteFile, repository: Repository, folder: Path, commit: str, servers: Servers, sha256: str | None = None
) -> None:
    """Download one file of a data set to its path under ``folder`` by the hub's own library. Raises as ``download``."""
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    where = {"repo_type": "dataset", "revision": commit, "endpoint": servers.hub, "local_dir": folder}
    with _asking_hub(repository):  # without a bar for this file: the whole fetch has one
        found = hf_hub_download(repository.name, file.path, tqdm_class=partial(tqdm, disable=True), **where)
    _check(file, Path(found), sha256)


def _continue(file: RemoteFile, part: Path, start: int, bar: Progress) -> None:
    """Append the bytes from ``start`` on to ``part``; write all of them anew if the server does not support ranges."""
    with _open(file.url, start) as answer:
        goes_on = answer.status_code == 206 and answer.headers["Content-Range"].startswith(f"bytes {start}-")
        with part.open("ab" if goes_on else "wb") as out:
            for piece in answer.iter_raw():
                before = out.tell() >> 10
                out.write(piece)
                bar.advance((out.tell() >> 10) - before)
                if out.tell() > file.size:
                    part.unlink()
                    raise InputError(f"{file.url} is longer than the {file.size} bytes that its home says; not taken")
            out.flush()
            os.fsync(out.fileno())
            if out.tell() < file.size:
                raise Unreachable("the server closed the connection early")


def _check(file: RemoteFile, part: Path, sha256: str | None) -> None:
    found = {"sha256": hashlib.sha256()}
    if file.git_sha1:
        found["git_sha1"] = hashlib.sha1(f"blob {file.size}\0".encode())
    with part.open("rb") as content:
        while piece := content.read(PIECE):
            for digest in found.values():
                digest.update(piece)
    for expected, kind in ((file.sha256, "sha256"), (sha256, "sha256"), (file.git_sha1, "git_sha1")):
        if expected and found[kind].hexdigest() != expected:
            part.unlink()
            raise InputError(
                f"{file.url}: its {kind} is {found[kind].hexdigest()}, not {expected}; it was thrown away, try again"
            )


@contextmanager
def _open(url: str, start: int = 0) -> Iterator[httpx.Response]:
    """A response to be read in the block. Raises ``Unreachable``, also where it breaks off, or ``InputError``."""
    headers = {"User-Agent": "emogap", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as answer:
            code = answer.status_code
            if code in (404, 410):
                raise InputError(f"{url} is not there (HTTP {code}); its home has moved, correct the registry")
            if answer.is_error:
                raise Unreachable(f"{url} answered HTTP {code} {answer.reason_phrase}")
            yield answer
    except httpx.HTTPError as error:
        raise Unreachable(f"{url} cannot be reached ({one_line(error)})") from error


def _json(url: str) -> Any:
    with _open(url) as answer:
        answer.read()
    try:
        return answer.json()
    except ValueError as error:
        raise Unreachable(f"{url} did not answer in JSON ({error})") from error


# --- archives --------------------------------------------------------------------------------------------------------


def unpack(archive: Path, folder: Path, members: dict[str, str], most_bytes: int) -> None:
    """Take the members that a pattern matches out of a ``.zip``.

    Raises ``InputError`` for a damaged archive, a path that leaves the folder, a link, or more than ``most_bytes``
    (counted while unpacking: what an archive says of its own sizes is not trusted).
    """
    left = most_bytes
    try:
        with zipfile.ZipFile(archive) as opened:
            chosen = list(_members(opened, members))
            if not chosen:
                raise InputError(f"{archive} has no member {', '.join(members)}; correct the registry")
            for info, place in chosen:
                target = folder / _safe(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as content, target.open("wb") as out:
                    while piece := content.read(PIECE):
                        left -= len(piece)
                        if left < 0:
                            raise InputError(f"{archive} unpacks to more than {most_bytes:,} bytes; it is not taken")
                        out.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{archive} is damaged ({error}); delete it and fetch again") from error


def _members(archive: zipfile.ZipFile, members: dict[str, str]) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    for info in archive.infolist():
        for pattern, place in members.items():
            if not info.is_dir() and fnmatchcase(info.filename, pattern):
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise InputError(f"{archive.filename}: {info.filename} is a link; it is not taken")
                _safe(info.filename)
                yield info, place.format(path=info.filename, name=PurePosixPath(info.filename).name)
