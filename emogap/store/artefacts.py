"""Artefacts: files that exist only when complete, each with a manifest of what shaped it.

An artefact is a file (or a folder of files) with ``<name>.manifest.json`` beside it. It is written under a temporary
name, flushed, renamed, and the manifest is written last. Whether it is fresh is a question of its recipe: the inputs'
hashes, the settings that shape it, the identities of prompts and models, and the seed.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from emogap.device import machine
from emogap.errors import DiskError, InputError, MissingInput
from emogap.paths import ROOT, Home, cache_dir
from emogap.store.locks import lock

VERSIONED_PACKAGES = (
    "torch", "transformers", "datasets", "accelerate", "trl", "peft", "vllm", "pandas", "polars", "numpy", "nltk",
    "scikit-learn",
)  # fmt: skip

_MANIFEST: dict[str, type | tuple[type, ...]] = {
    "artefact": str, "stage": str, "inputs": dict, "settings": dict, "identities": dict, "seed": int, "files": dict,
    "counts": dict, "notes": dict, "seconds": (int, float),
}  # fmt: skip
"""The keys of a manifest that are read again, with the types of their values."""

RULE = "rule "
"""Prefix of the name of an entry of ``identities`` that stands for a rule in the code; its value is the revision, in
words. If a correction of the rule changes what is written, the recipe names the new revision, and artefacts made before
are stale for that reason. A rule that is not named is at its first revision."""
FIRST_REVISION = "1"

_LONG_HASH = re.compile(r"([0-9a-f]{10})[0-9a-f]{54}")


@dataclass(frozen=True)
class Recipe:
    """All that shapes an artefact. Two artefacts of equal recipes are interchangeable."""

    stage: str
    inputs: dict[str, Path] = field(default_factory=dict)
    """Name → file or folder; compared by content, never by path."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Flat ``section.key`` → value, JSON-able."""
    identities: dict[str, str] = field(default_factory=dict)
    """Hashes and revisions of prompts and models."""
    seed: int = 0

    def resolved(self) -> dict[str, Any]:
        """The recipe with each input replaced by its fingerprint. Raises ``MissingInput`` if one is not there."""
        return {
            "stage": self.stage,
            "inputs": {name: {"path": portable(p), "sha256": fingerprint(p)} for name, p in self.inputs.items()},
            "settings": json.loads(json.dumps(self.settings)),
            "identities": dict(self.identities),
            "seed": self.seed,
        }

    def sha256(self) -> str:
        """One hash of the recipe, without the inputs' paths; parts of unfinished work are bound to it."""
        resolved = self.resolved()
        for entry in resolved["inputs"].values():
            del entry["path"]
        return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Freshness:
    """``missing``, ``fresh``, or ``stale`` with one reason per key that changed."""

    state: Literal["missing", "fresh", "stale"]
    reasons: tuple[str, ...] = ()


@dataclass
class Draft:
    """What a stage fills in while it makes an artefact."""

    path: Path
    """Write here: a temporary name (for a folder artefact an empty folder) beside the final one."""
    artefact: "Artefact"
    """The artefact that the draft becomes."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows read, kept and rejected, by name."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping in the manifest (resolved device, revisions learned on loading, …)."""
    companions: dict[str, Path] = field(default_factory=dict)
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    """Called once it is published, for example to remove the parts of unfinished work."""

    def companion(self, name: str) -> Path:
        """A temporary path for a further file ``name`` beside the artefact, published together with it."""
        self.companions[name] = self.path.with_name(f".{name}.tmp-{os.getpid()}")
        return self.companions[name]


@dataclass(frozen=True)
class Artefact:
    """A file or folder of a home together with its recipe."""

    path: Path
    recipe: Recipe
    is_folder: bool = False
    keep_superseded: bool = False
    """Whether the old file is set aside, not overwritten, when the recipe changes: for rows that cost hours."""
    is_drawing: ClassVar[bool] = False
    """Whether it is a set of tables and figures; summaries do not count these."""

    @property
    def manifest_path(self) -> Path:
        return manifest_path(self.path)

    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.path)

    def freshness(self) -> Freshness:
        """Compare the manifest on disk with the recipe.

        Raises ``MissingInput`` if the artefact is there but one of its inputs is not.
        """
        if not (self.path.exists() and self.manifest_path.exists()):
            return Freshness("missing")
        reasons = tuple(_differences(self.manifest(), self.recipe.resolved()))
        return Freshness("stale", reasons) if reasons else Freshness("fresh")

    @contextmanager
    def making(self) -> Iterator[Draft]:
        """Lock the artefact, hand out a draft, and publish it if the block ends without an error.

        Raises ``LockHeld``, ``InputError`` (an input's bytes differ from its own manifest) and ``DiskError``.
        """
        with _disk_errors(self.path), lock(self.path):
            self._verify_inputs()
            self._sweep()
            resolved = self.recipe.resolved()
            started, begun = time.time(), time.monotonic()  # a duration must not depend on a clock that may be set
            draft = Draft(self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}"), self)
            if self.is_folder:
                draft.path.mkdir()
            try:
                yield draft
                self._publish(draft, resolved, started, begun)
            except BaseException:
                for leftover in (draft.path, *draft.companions.values()):
                    _remove(leftover)
                raise
            for clear_away in draft.afterwards:
                clear_away()

    def _verify_inputs(self) -> None:
        for path in self.recipe.inputs.values():
            if manifest_path(path).exists():
                verify(path)

    def _sweep(self) -> None:
        """Remove temporary files of a killed process: whoever holds the lock knows that no other process is writing."""
        for leftover in self.path.parent.glob(f".{self.path.name}.tmp-*"):
            _remove(leftover)

    def _publish(self, draft: Draft, resolved: dict[str, Any], started: float, begun: float) -> None:
        files = {self.path.name: draft.path, **draft.companions}
        hashes = {name: content_hashes(path) for name, path in files.items()}
        for path in files.values():
            _flush(path)
        self.retire()
        for name, path in files.items():
            os.replace(path, self.path.with_name(name))
        manifest = {
            "artefact": self.path.name,
            **resolved,
            "files": hashes,
            "counts": draft.counts,
            "notes": draft.notes,
            "started": datetime.fromtimestamp(started, UTC).isoformat("T", "seconds"),
            "seconds": round(time.monotonic() - begun, 3),
            "machine": machine(),
            "python": sys.version.split()[0],
            "packages": package_versions(),
            "git_commit": git_commit(),
        }
        write_json(self.manifest_path, manifest)

    def retire(self) -> None:
        """Remove the old artefact, its manifest before the rest, so that a mixture of old and new never looks complete.
        Where a user has deleted the file, its manifest may still be there."""
        if self.keep_superseded and self.path.exists() and self.manifest_path.exists():
            set_aside(self.path)
        else:
            self.manifest_path.unlink(missing_ok=True)
            if self.is_folder:
                _remove(self.path)


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".manifest.json")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest beside the artefact at ``path``. Raises ``InputError`` if it is damaged or cannot be read."""
    file = manifest_path(path)
    try:
        manifest = json.loads(_read(file))
        problem = _problem_of(manifest)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InputError(f"{file} is damaged ({problem}); delete it and rerun the stage that makes {path.name}")
    return manifest


def counted(path: Path, *names: str) -> int:
    """The artefact's count under the first of these names that its manifest has; 0 if there is none."""
    counts = read_manifest(path)["counts"] if manifest_path(path).exists() else {}
    return next((counts[name] for name in names if name in counts), 0)


def _problem_of(manifest: Any) -> str:
    """What is wrong with a manifest; empty if it can be relied on."""
    if not isinstance(manifest, dict):
        return f"a {type(manifest).__name__}, not an object"
    for key, kind in _MANIFEST.items():
        if not isinstance(manifest.get(key), kind):
            return f"'{key}' is {_brief(manifest[key]) if key in manifest else 'not there'}"
    if manifest["artefact"] not in manifest["files"]:
        return f"'files' lacks {manifest['artefact']}"
    for name, hashes in manifest["files"].items():
        if Path(name).name != name or not isinstance(hashes, dict):
            return f"'files' names {_brief(name)}"
    if not all(isinstance(entry, dict) for entry in manifest["inputs"].values()):
        return "'inputs' is not one of files"
    return ""


def home_manifests(home: Home) -> dict[Path, dict[str, Any]]:
    """Artefact → its manifest, for all artefacts of a home but drawings, the report itself and what was superseded."""
    suffix = ".manifest.json"
    files = sorted(home.root.rglob(f"*{suffix}"))
    files = [file for file in files if not file.name.startswith(".") and "superseded" not in file.parts]
    wanted = [file for file in files if not file.is_relative_to(home.report.parent)]
    paths = [file.with_name(file.name.removesuffix(suffix)) for file in wanted]
    return {path: read_manifest(path) for path in paths}


HASH_CHARACTERS = 16
"""How many characters of a hash are shown."""


def read_from_outside(home: Home) -> list[tuple[str, str]]:
    """(file, beginning of its hash) for every input of a home's artefacts that is not itself one of these artefacts."""
    manifests = home_manifests(home)
    own = {made_fingerprint(manifest) for manifest in manifests.values()}
    entries = [entry for manifest in manifests.values() for entry in manifest["inputs"].values()]
    return sorted({e["path"]: e["sha256"][:HASH_CHARACTERS] for e in entries if e["sha256"] not in own}.items())


def verify(path: Path) -> None:
    """Hash the artefact at ``path`` again. Raises ``InputError`` if a file is gone or differs from the manifest."""
    for name, expected in read_manifest(path)["files"].items():
        file = path.with_name(name)
        if not file.exists():
            raise MissingInput(f"{file} is gone though its manifest is there; rerun the stage that makes it")
        if content_hashes(file) != expected:
            raise InputError(f"{file} differs from its manifest: its bytes were changed; delete it and rerun its stage")


def set_aside(path: Path) -> Path:
    """Move an artefact and its manifest into ``superseded/<hash of the manifest>/`` beside it. Returns that folder."""
    manifest = read_manifest(path)
    tag = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:8]
    folder = path.parent / "superseded" / tag
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(manifest_path(path), folder / manifest_path(path).name)
    for name in manifest["files"]:
        if path.with_name(name).exists():
            os.replace(path.with_name(name), folder / name)
    return folder


def fingerprint(path: Path) -> str:
    """The content hash of a file or folder; that of an artefact is read from its manifest.

    A folder's is the hash of its files' names and hashes. Raises ``MissingInput`` if there is nothing at ``path``.
    """
    if manifest_path(path).exists() and path.exists():
        return made_fingerprint(read_manifest(path))
    if not path.exists():
        raise MissingInput(f"{path} not found")
    if path.is_file() and path.stat().st_size >= LARGE_BYTES:
        return _remembered_hash(path)
    return _combined(content_hashes(path))


def made_fingerprint(manifest: dict[str, Any]) -> str:
    """The fingerprint of the artefact that a manifest describes, whether or not its bytes are still there."""
    return _combined(manifest["files"][manifest["artefact"]])


LARGE_BYTES = 16 << 20
"""Files of at least this size are not hashed again while their size and times of change stay the same: a corpus of some
gigabytes would take seconds at every `emogap status`. ``verify`` always hashes them."""


def _remembered_hash(path: Path) -> str:
    found = path.stat()
    # The kernel sets ctime at every change of a file, also when a program puts its mtime back to an earlier time.
    key = f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}\0{found.st_ino}"
    return _remembered("hashes", key, lambda: _sha256_of_file(path))


def remembered(question: str, path: Path, answer: Callable[[], bool]) -> bool:
    """The answer to a question about a file's content, cached. ``question``: the rule in words, part of the key."""
    return _remembered("answers", f"{question}\0{fingerprint(path)}", lambda: "yes" if answer() else "no") == "yes"


def _remembered(folder: str, key: str, make: Callable[[], str]) -> str:
    memory = cache_dir() / folder / sha256_text(key)
    with suppress(OSError):
        return memory.read_text(encoding="utf-8")
    text = make()
    with suppress(OSError):  # without a writable cache it is made again next time
        write_text(memory, text)
    return text


def content_hashes(path: Path) -> dict[str, str]:
    """Relative name → sha256 for every file at or under ``path``; hidden files and locks of a folder are left out."""
    if path.is_file():
        return {"": _sha256_of_file(path)}
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".") and p.suffix != ".lock")
    return {p.relative_to(path).as_posix(): _sha256_of_file(p) for p in files}


def _combined(hashes: dict[str, str]) -> str:
    if set(hashes) == {""}:
        return hashes[""]
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _sha256_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path | str, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}); let this user read it, or put it there again")


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def portable(path: Path) -> str:
    """A path as manifests keep it: relative to the repository's root if it lies there, else absolute."""
    path = Path(path).absolute()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, flush, rename."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text under a temporary name, flush, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    _flush(temporary)
    os.replace(temporary, path)


def _differences(manifest: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for name, entry in wanted["inputs"].items():
        if manifest["inputs"].get(name, {}).get("sha256") != entry["sha256"]:
            yield f"input {name} changed"
    for name in manifest["inputs"].keys() - wanted["inputs"].keys():
        yield f"input {name} is no longer read"
    for part in ("settings", "identities"):
        before, after = manifest[part], wanted[part]
        for key in sorted(before.keys() | after.keys()):
            first = FIRST_REVISION if key.startswith(RULE) else None
            if before.get(key, first) != after.get(key, first):
                yield f"{key} {_brief(before.get(key, first))} → {_brief(after.get(key, first))}"
    if manifest["seed"] != wanted["seed"]:
        yield f"seed {manifest['seed']} → {wanted['seed']}"


def _brief(value: Any) -> str:
    text = _LONG_HASH.sub(r"\1…", json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else text[:57] + "…"


def _flush(path: Path) -> None:
    """Bring the bytes of a file, or of all files of a folder, to the disk before a rename makes them visible."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(path) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            if error.filename and os.path.isfile(error.filename) and not os.access(error.filename, os.R_OK):
                raise _unreadable(error.filename, error) from error
            raise DiskError(f"{error.filename or path} cannot be written ({error.strerror}); use --home DIR") from error
        raise
    except Exception as error:  # safetensors reports a full disk with an error class of its own
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise _full(path) from error


def _full(path: Path) -> DiskError:
    return DiskError(f"no space left on the disk while writing {path}; free some or use --home DIR")


@lru_cache
def package_versions() -> dict[str, str]:
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: installed[name] for name in VERSIONED_PACKAGES if name in installed}


@lru_cache
def git_commit() -> str | None:
    """The commit of the repository the code runs from, with ``+`` for uncommitted changes; None outside git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=True
    ).stdout.strip()
