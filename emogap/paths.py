"""Where things lie: the repository's root, the home of a run, and the fixed folder names under it."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emogap.errors import DiskError, MissingInput, UsageError, one_line

ROOT = Path(__file__).resolve().parents[1]
LAST_CHUNK = 99_999
"""A chunk's number has five digits; files with other numbers are not read as chunks."""

# Which notebook or script fills which folder of a home; an error about a missing file names it.
MAKERS: dict[str, str] = {
    "processed_data": "process_pretrain_data.py",
    "babylm_augment": "pretrain_data_augment.ipynb",
    "babylm_pretrain_corpus": "pretrain_data_corpus.ipynb",
    "alpaca-instruction": "alpaca-instruction/emotion-alpaca.py",
    "models": "casual_lm.ipynb or fine-tune/sft_instruction.ipynb",
    "quantitative_analysis": "quantitative_analysis/quantitative_analysis.ipynb",
    "model_analysis": "model_analysis.ipynb",
    "prompt_analysis_babylm": "prompt_analysis_babylm.ipynb",
    "prompt_analysis": "prompt_analysis.ipynb",
    "report": "emogap report",
}


_TAKEN = ("figures", "tables", "captions", "captions.json", "superseded")
"""What a stage's folder holds beside its artefacts."""


def _not_taken(name: str, what: str) -> str:
    if name in _TAKEN:
        raise UsageError(f"a {what} cannot be called '{name}': its folder keeps other files there; call it otherwise")
    return name


def from_root(path: str | Path) -> Path:
    """A path from a setting: as given if absolute, else relative to the repository's root, not the working directory.

    Raises ``UsageError`` for what cannot be a path.
    """
    return ROOT / _expanded(path)


def given_path(path: str | Path) -> Path:
    """A path from an option or the environment: relative to the working directory, made absolute.

    Raises ``UsageError`` for what cannot be a path, such as an empty text.
    """
    if not str(path):
        raise UsageError("an empty path; name a file or folder, or leave the option out")
    try:
        return _in_utf8(_expanded(path).resolve())
    except (OSError, RuntimeError) as error:  # the working directory is gone, or links go round in a ring
        raise UsageError(f"{path} cannot be looked up from here ({one_line(error)}); give the whole path") from None


def folder_or_name(name: str) -> str:
    """A model as an option names it: the absolute path if it is a folder, any other name as it is."""
    return str(given_path(name)) if _expanded(name).is_dir() else name


def _expanded(path: str | Path) -> Path:
    """The path with ``~`` replaced by the user's home directory. Raises ``UsageError`` where that cannot be done."""
    if "\0" in str(path):
        raise UsageError(f"{str(path)!r} can be no path: it holds a NUL")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: it is not known what ~ stands for here (HOME); give the whole path") from None


def _in_utf8(path: Path) -> Path:
    """The path itself. Raises ``UsageError`` for one that manifests and notebooks, which are UTF-8, cannot name."""
    if not is_utf8(str(path)):
        raise UsageError(
            f"the name of {str(path)!r} is no UTF-8, or this locale (LC_ALL) is not; rename it, or set PYTHONUTF8=1"
        )
    return path


def is_utf8(name: str) -> bool:
    """Whether a name from the system is valid text: Python puts lone surrogates for bytes that it cannot decode."""
    return not re.search("[\ud800-\udfff]", name)


def cache_dir() -> Path:
    """The cache of unpacked models, scores and hashes: ``$EMOGAP_CACHE``, else ``emogap`` in ``$XDG_CACHE_HOME`` if
    that is absolute, else in ``~/.cache``; for a user without a home directory, in the repository's ``runs/.cache``."""
    if chosen := os.environ.get("EMOGAP_CACHE"):
        return given_path(chosen)
    places = (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"), str(ROOT / "runs" / ".cache"))
    return Path(next(place for place in places if os.path.isabs(place))) / "emogap"


def cache_folder(name: str) -> Path:
    """A folder of the cache, created if it is missing. Raises ``DiskError`` if it cannot be written."""
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        raise PermissionError("not allowed")
    except OSError as error:
        raise DiskError(
            f"the cache {folder} cannot be written ({error.strerror or error}); set EMOGAP_CACHE to a folder that can"
        ) from error


def choose_home(profile: str, home: str | Path | None = None) -> Path:
    """The home of a run: the one given, else ``$EMOGAP_HOME``, else ``runs/<profile>/`` in the repository's root.

    Raises ``UsageError`` if that cannot be a folder.
    """
    chosen = os.environ.get("EMOGAP_HOME") if home is None else home
    root = _in_utf8(ROOT / "runs" / profile) if home is None and not chosen else given_path(chosen)
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"the home {root} cannot be: {there} is a file; name a folder with --home")
    return root


def is_name(name: str) -> bool:
    """Whether a file or folder in a home can have this name: one path component, not hidden, printable characters."""
    return name.isprintable() and name == name.strip() and not re.search(r"[/\\]|^\.|^$", name)


def _checked_name(name: str) -> str:
    """``name`` itself if it passes ``is_name``, else ``UsageError``: a path must not lead out of its folder."""
    if not is_name(name):
        raise UsageError(
            f"{name!r} cannot name a method, version, corpus or model, whose files are called by it; choose a name "
            "without / and \\, without white space around it, that does not begin with a dot"
        )
    return name


def _at(*parts: str) -> property:
    """A path that lies at the same place in every home."""
    return property(lambda home: home.root.joinpath(*parts))


@dataclass(frozen=True)
class Home:
    """One run's folder. Every path of an artefact is made here and nowhere else.

    A name that becomes part of a path is checked: ``UsageError`` for one that would lead elsewhere.
    """

    root: Path

    lines = _at("processed_data", "lines.parquet")
    processed = _at("processed_data", "babylm.parquet")
    filtered = _at("processed_data", "babylm_filtered.parquet")
    stories = _at("babylm_augment")
    tried_stories = _at("babylm_augment", "tried.jsonl")
    story_grid = _at("babylm_augment", "grid", "replies.parquet")
    alpaca = _at("alpaca-instruction")
    tried_rewrites = _at("alpaca-instruction", "tried.jsonl")
    rewrite_grid = _at("alpaca-instruction", "grid", "replies.parquet")
    models = _at("models")
    evaluation = _at("quantitative_analysis")
    emotions = _at("quantitative_analysis", "emotions.parquet")
    scores = _at("quantitative_analysis", "scores.parquet")
    lens = _at("model_analysis")
    story_stats = _at("prompt_analysis_babylm")
    rewrite_stats = _at("prompt_analysis")
    report = _at("report", "index.html")
    notebooks = _at("notebooks")

    def chunk(self, method: str, number: int) -> Path:
        """A chunk of a method's stories. Raises ``UsageError`` for a number outside 0 … ``LAST_CHUNK``."""
        if not 0 <= number <= LAST_CHUNK:
            raise UsageError(
                f"there is no chunk {number}; chunks are numbered from 0 to {LAST_CHUNK}; make larger ones"
            )
        return self.stories / _checked_name(method) / f"chunk_{number:05d}.parquet"

    def chunks(self, method: str) -> dict[int, Path]:
        """Number → file of the chunks of a method that are there, in order."""
        files = sorted((self.stories / _checked_name(method)).glob("chunk_*.parquet"))
        return {int(file.stem[6:]): file for file in files if re.fullmatch(r"chunk_[0-9]{5}", file.stem)}

    def corpus(self, name: str) -> Path:
        return self.root / "babylm_pretrain_corpus" / f"{_not_taken(_checked_name(name), 'corpus')}.parquet"

    def rewrites(self, version: str) -> Path:
        return self.alpaca / f"emotion_alpaca_{_checked_name(version)}.json"

    def rewrite_rows(self, version: str) -> Path:
        return self.alpaca / f"emotion_alpaca_{_checked_name(version)}.rows.parquet"

    def model(self, name: str) -> Path:
        return self.models / _not_taken(_checked_name(name), "model")

    def responses(self, model: str, condition: str = "") -> Path:
        """A model's answers. ``condition``: ``_greedy`` or ``_empty`` for another way of asking than the study's."""
        return self.evaluation / f"responses{condition}" / f"{_checked_name(model)}.parquet"

    def task_scores(self, model: str, task: str) -> Path:
        return self.evaluation / "scores" / _checked_name(model) / f"{task}.parquet"

    def lens_readings(self, name: str) -> Path:
        return self.lens / f"{_checked_name(name)}.parquet"

    def relative(self, path: Path) -> str:
        """``path`` as people read it: from the home when it lies there, else as it is."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def require(self, path: Path) -> Path:
        """``path`` itself if it exists, else ``MissingInput`` naming the file and what makes it."""
        if not path.exists():
            folder = path.relative_to(self.root).parts[0]
            raise MissingInput(f"{self.relative(path)} not found under {self.root}; run {MAKERS[folder]}")
        return path


def chunk_numbers(text: str, setting: str, every: Iterable[int]) -> list[int]:
    """A setting's text → chunk numbers, in order. ``all`` means ``every``; else numbers and ranges such as ``0-9,33``.

    Raises ``UsageError``, which names the setting. The caller must check that those chunks exist.
    """
    if text.strip() == "all":
        return sorted(every)
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise UsageError(f"{setting} = '{text}': give all, or numbers and ranges such as 0-9,33")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{setting} = '{text}': {part.strip()} ends before it begins")
        if last > LAST_CHUNK:
            raise UsageError(f"{setting} = '{text}': there is no chunk {last}; the last there can be is {LAST_CHUNK}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)
