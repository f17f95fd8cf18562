"""The data sets that a study needs and the project does not ship: where their public homes are, at which revision,
under which licence, and where their files go."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emogap.errors import UsageError
from emogap.paths import ROOT

RAW = ROOT / "data" / "raw"


@dataclass(frozen=True)
class Repository:
    """A public repository at a revision: a commit, or the beginning of one that names it."""

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
    """The same for what is taken out of the ``.zip`` among the files; the archive itself is then not kept there."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Path → hash, where it is known beforehand. All other files are held against what their home says of them at
    the revision (git's own hash), and every hash stands in the manifest afterwards."""
    unpacked_bytes: int = 0
    """An archive that unpacks to more than this is refused."""

    @property
    def destination(self) -> Path:
        return RAW / self.folder


_BABYLM = Repository("github", "babylm/babylm.github.io", "bb498d27e2b5bc8bea7709c879d9a5c22db2d963")
_BABYLM_LICENCE = "that of each source (CHILDES: TalkBank rules; BNC: fair dealing; Wikipedia: CC BY-SA; others open)"
_BABYLM_ARCHIVE = {"babylm_data.zip": "1337771192c61fa38c7eca2ef535f568c19270789b114fe7c60fe23e4314ab57"}


def _babylm(size: str) -> DataSet:
    return DataSet(
        name=f"babylm-{size.lower()}",
        title=f"BabyLM 2023, {size} words: what the study read",
        licence=_BABYLM_LICENCE,
        repository=_BABYLM,
        folder=f"babylm_{size}",
        files={"babylm_data.zip": "{name}"},
        members={f"babylm_data/babylm_{size}/*.train": "{name}"},
        sha256=_BABYLM_ARCHIVE,
        unpacked_bytes=1 << 30,
    )


_ALL = (
    _babylm("10M"),
    _babylm("100M"),
    DataSet(
        name="babylm-2026-10m",
        title="BabyLM 2026, 10M words (strict-small), six sources, toxic lines taken out",
        licence="that of each source, as the release of 2024 names them (CHILDES: TalkBank rules; BNC: fair dealing; "
        "OpenSubtitles: open source; Gutenberg, Wikipedia, Switchboard: their own)",
        repository=Repository(
            "hub", "BabyLM-community/BabyLM-2026-Strict-Small", "c92ab16b4f08858304b0815706065b3354d8fc0a"
        ),
        folder="babylm_2026_10M",
        files={"*.train.txt": "{name}"},
    ),
    DataSet(
        name="alpaca",
        title="Alpaca, cleaned: instruction, input, output",
        licence="CC BY 4.0 by its page (texts written by an OpenAI model, whose terms apply)",
        repository=Repository("hub", "yahma/alpaca-cleaned", "12567cabf869d7c92e573c7c783905fc160e9639"),
        folder="alpaca",
        files={"alpaca_data_cleaned.json": "alpaca_cleaned.json"},
    ),
    DataSet(
        name="blimp",
        title="BLiMP: 67 paradigms of 1,000 minimal pairs",
        licence="CC BY 4.0",
        repository=Repository("github", "alexwarstadt/blimp", "3e56b06fcabca9b30822fc66435fca6b1aa40bb1"),
        folder="blimp",
        files={"data/*.jsonl": "{name}"},
    ),
    DataSet(
        name="blimp-hub",
        title="BLiMP as the model hub has it: 67 paradigms of 1,000 minimal pairs, in Parquet",
        licence="CC BY 4.0",
        repository=Repository("hub", "nyu-mll/blimp", "877fba0801ffb7cbd8c39c1ff314a46f053f6036"),
        folder="blimp_hub",
        files={"*/train-*.parquet": "{path}"},
    ),
    DataSet(
        name="goemotions",
        title="GoEmotions: comments with 28 emotion labels (train, dev, test)",
        licence="Apache-2.0",
        repository=Repository("github", "monologg/GoEmotions-pytorch", "47f5afbbd1b49401e3204c8b1f228e21bfbd6ee0"),
        folder="goemotions",
        files={"data/original/*.tsv": "{name}", "data/original/labels.txt": "emotions.txt"},
        sha256={
            "data/original/train.tsv": "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5",
            "data/original/dev.tsv": "575489c079c9de1097062a01738f998590d6b7ead66dd1c9fd1d2ba01fd8bc62",
        },
    ),
    DataSet(
        name="emobench",
        title="EmoBench: emotional application (EA) and understanding (EU), English and Chinese",
        licence="MIT",
        repository=Repository("github", "Sahandfer/EmoBench", "3b4f84312541f8469e909965e1fff3691ef85c62"),
        folder="emobench",
        files={"data/EA.jsonl": "{name}", "data/EU.jsonl": "{name}"},
        sha256={
            "data/EA.jsonl": "344c84913ed4adc9f26261a03cc4ddbecceeef4fcb8f77ab0405f8a63e8a4628",
            "data/EU.jsonl": "60140a7617779bdb496cd50dcebaf33037c39c65821ae300a6a24a72fd7c7037",
        },
    ),
    DataSet(
        name="published",
        title="The study's own repository: its stories, rewrites, prompts, evaluation results and report",
        licence="MIT (texts derived from BabyLM and Alpaca keep their terms)",
        repository=Repository("github", "chantomkit/COMP0087_SNLP", "d489df5d"),
        folder="published",
        files={
            "quantitative_analysis/emotion_prompts.json": "{name}",
            "quantitative_analysis/*results.json": "{path}",
            "babylm_augment/*": "{path}",
            "babylm_pretrain_corpus/*.txt": "{path}",
            "alpaca-instruction/*.json": "{path}",
            "alpaca-instruction/*.txt": "{path}",
            "babylm_evaluate/*.json": "{path}",
            "*blimp_results.csv": "{path}",
            "LICENSE": "{path}",
            "report.pdf": "{path}",
        },
    ),
)

DATA_SETS: dict[str, DataSet] = {data_set.name: data_set for data_set in _ALL}


def data_set(name: str) -> DataSet:
    """The data set of that name. Raises ``UsageError`` if there is none."""
    if name not in DATA_SETS:
        raise UsageError(f"unknown data set '{name}'; choose among {', '.join(DATA_SETS)}")
    return DATA_SETS[name]
