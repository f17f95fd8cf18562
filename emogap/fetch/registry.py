"""The data sets that a study needs and the project does not ship: what ``data_sets.toml`` says of each."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emogap.errors import UsageError
from emogap.paths import ROOT

RAW = ROOT / "data" / "raw"


@dataclass(frozen=True)
class Repository:
    """A public repository at a revision: a full commit hash, or the beginning of one."""

    site: Literal["github", "hub"]
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.page} at {self.revision}"

    @property
    def page(self) -> str:
        return ("https://github.com/" if self.site == "github" else "https://huggingface.co/datasets/") + self.name


@dataclass(frozen=True)
class DataSet:
    """One data set. Paths are those in the repository; patterns are shell patterns whose ``*`` crosses ``/``."""

    name: str
    title: str
    licence: str
    repository: Repository
    folder: str
    """Its folder under ``data/raw/``."""
    files: dict[str, str]
    """Pattern of paths → where they go in the folder: ``{path}``, ``{name}`` (the path's last part) or a new name."""
    members: dict[str, str] = field(default_factory=dict)
    """The same for the members taken out of the ``.zip`` among the files; the archive itself is then not kept there."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Path → hash, where it is known beforehand. All other files are checked against the hash that their repository
    gives at the revision (mostly git's own), and every hash stands in the manifest afterwards."""
    unpacked_bytes: int = 0
    """An archive that unpacks to more than this is refused."""

    @property
    def destination(self) -> Path:
        return RAW / self.folder


def _read() -> dict[str, DataSet]:
    entries = tomllib.loads(Path(__file__).with_name("data_sets.toml").read_text(encoding="utf-8"))
    places = {name: Repository(*map(entry.pop, ("site", "repository", "revision"))) for name, entry in entries.items()}
    return {name: DataSet(name=name, repository=places[name], **entry) for name, entry in entries.items()}


DATA_SETS = _read()


def data_set(name: str) -> DataSet:
    """The data set of that name. Raises ``UsageError`` if there is none."""
    if name not in DATA_SETS:
        raise UsageError(f"unknown data set '{name}'; choose among {', '.join(DATA_SETS)}")
    return DATA_SETS[name]
