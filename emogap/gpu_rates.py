"""Tables of how fast cards are: a CSV file a card under ``results/gpu``, a rate a row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from emogap.errors import InputError
from emogap.paths import ROOT

FOLDER = ROOT / "results" / "gpu"
COLUMNS = ("card", "work", "model", "rate", "unit")
"""``work`` as ``emogap.plan.KINDS`` calls it, ``model`` as a profile names it, ``unit`` such as ``tokens/s``. Further
columns are settings (``writer.batch_size``) that the rate holds for; an empty cell is any value."""


def tables(source: Path) -> list[Path]:
    """The file itself, or the tables of a folder; none, if it is something else."""
    return [source] if source.suffix == ".csv" else sorted(source.glob("*.csv"))


def read_rates(files: Sequence[Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    """File and row for each rate. Raises ``InputError`` naming a line without one, or whose rate is not over 0."""
    for file in files:
        for number, row in enumerate(csv.DictReader(file.read_text(encoding="utf-8").splitlines()), start=2):
            missing = [column for column in COLUMNS if not row.get(column)]
            if missing:
                raise InputError(f"{file}, line {number}: no {', '.join(missing)}; a row needs {', '.join(COLUMNS)}")
            if not _is_over_zero(row["rate"]):
                raise InputError(f"{file}, line {number}: the rate is '{row['rate']}'; give a number over 0")
            yield file, row


def _is_over_zero(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
