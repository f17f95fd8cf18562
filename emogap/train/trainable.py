"""Which trainings have something to learn from; of the others, why not.

What is not there yet is missing, and the stage that makes it is named by others; here is told what is there and holds
too little. Nothing is loaded but the columns that tell it.
"""

from pathlib import Path

from emogap.config import Config, Strategy, Task
from emogap.data.alpaca import load_records
from emogap.paths import from_root
from emogap.records import CORPUS, KEPT, REWRITES, read_rows
from emogap.text.reading import RECORD_ENDINGS
from emogap.train.strategies import Run, runs

_BOTH = "training and validation need one each"
_LARGE = 1 << 16
"""A file of records of so many bytes has two of them."""


def trainable(config: Config, stage: Task) -> list[Run]:
    """The trainings of a stage, without those for which there is nothing to train on."""
    without = untrained(config)
    return [run for run in runs(config, stage) if run.name not in without]


def untrained(config: Config) -> dict[str, str]:
    """Model → why it cannot be trained: its data, or its parent's, are made and hold too little."""
    found: dict[str, str] = {}
    for stage in ("clm", "sft"):
        for run in runs(config, stage):
            why = f"{run.parent} is not trained" if run.parent in found else _too_little(config, run.strategy)
            if why:
                found[run.name] = why
    return found


def nothing_to_train(config: Config, stage: Task) -> list[str]:
    """A line for each training of a stage that cannot be made."""
    without = untrained(config)
    return [f"nothing to train: {run.name} ({without[run.name]})" for run in runs(config, stage) if run.name in without]


def _too_little(config: Config, strategy: Strategy) -> str:
    home, data = config.home, strategy.data
    if strategy.task == "clm":
        return _documents(home.corpus(data), data, config.corpus.validation_share) if home.corpus(data).exists() else ""
    if not data.endswith(RECORD_ENDINGS):
        return _rewrites(home.rewrite_rows(data), data) if home.rewrite_rows(data).exists() else ""
    file = from_root(data)
    return _records(file) if file.is_file() and file.stat().st_size < _LARGE else ""


def _documents(path: Path, name: str, share: float) -> str:
    """A corpus of so few lines and articles that its share of them holds none out, or all.

    One that has no validation for another reason is not empty but wrong, and is refused where it is read.
    """
    splits = read_rows(path, CORPUS, ["split"])["split"]
    if splits.empty:
        return f"the corpus {name} has no document"
    if splits.nunique() > 1 or not share:
        return ""
    lines = read_rows(path, CORPUS, ["line_id"])["line_id"].nunique()
    held_out = int(lines * share + 0.5)
    return f"lines and articles in the corpus {name}: {lines}; {_BOTH}" if held_out in (0, lines) else ""


def _rewrites(path: Path, version: str) -> str:
    rows = read_rows(path, REWRITES, ["id", "status"])
    return _of_records(rows.loc[rows["status"] == KEPT, "id"].nunique(), f"of the rewrites {version}", "were kept")


def _records(path: Path) -> str:
    return _of_records(len({record.id for record in load_records(str(path))}), f"of the records in {path}", "are there")


def _of_records(different: int, which: str, how: str) -> str:
    return "" if different > 1 else f"{different} {which} {how}; {_BOTH}"
