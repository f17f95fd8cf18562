"""Tables of how fast cards are: a CSV file a card under ``results/gpu``, a rate a row. `make test-gpu` writes them."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from emogap.errors import InputError
from emogap.paths import ROOT
from emogap.store.artefacts import write_text

FOLDER = ROOT / "results" / "gpu"
COLUMNS = ("card", "work", "model", "rate", "unit")
"""``work`` as ``emogap.plan.KINDS`` calls it, ``model`` as a profile names it, ``unit`` such as ``tokens/s``. Further
columns are settings (``writer.batch_size``) that the rate holds for; an empty cell is any value."""
MEASURED = ("floor", "GB", "versions")
"""Also not settings: the rate that the card's peak operations and bandwidth allow, empty for a card whose peaks are not
known; the most memory that was held; what was measured with."""


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


def write_rates(file: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write a card's table anew: the columns that every row has, then the settings that any has."""
    settings = {key for row in rows for key in row} - {*COLUMNS, *MEASURED}
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, *MEASURED, *sorted(settings)], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(file, text.getvalue())


def markdown(file: Path) -> str:
    """The table as a document shows it, with each rate's share of its floor."""
    lines = ["| work | model | settings | rate | of the floor | GB |", "|---|---|---|---|---|---|"]
    for _, row in read_rates([file]):
        settings = [f"{key} {value}" for key, value in row.items() if value and key not in (*COLUMNS, *MEASURED)]
        share = f"{float(row['rate']) / float(row['floor']):.0%}" if row.get("floor") else "–"
        rate, gigabytes = f"{float(row['rate']):,.0f} {row['unit']}", row.get("GB") or "–"
        lines.append(f"| {row['work']} | {row['model']} | {', '.join(settings)} | {rate} | {share} | {gigabytes} |")
    return "\n".join(lines)


def _is_over_zero(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
