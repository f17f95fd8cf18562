"""All that is counted of texts, as tidy tables."""

from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from emogap.store.artefacts import write_text
from emogap.store.exhibits import read_table

TABLE_COLUMNS = {
    "lengths": ("group", "unit", "low", "high", "texts"),
    "growth": ("group", "words", "distinct"),
    "comparisons": ("measure", "group", "minus", "basis", "n", "difference", "low", "high"),
    "openings": ("group", "words", "opening", "texts", "share"),
    "names": ("group", "name", "texts", "share"),
    "emotion_words": ("emotion", "rank", "word", "count", "z"),
    "confusion": ("group", "asked", "found", "texts"),
    "counts": ("group", "source", "emotion", "texts"),
}
"""The columns of each table beside ``statistics``."""


@dataclass(frozen=True)
class Statistics:
    """All that was counted, as tidy tables; a table without rows says that there was nothing to count."""

    statistics: pd.DataFrame
    """group, preset, measure, value."""
    lengths: pd.DataFrame
    """Histograms with equal bins for all groups; the units are words, sentences and tokens."""
    growth: pd.DataFrame
    """Distinct words among the first so many."""
    comparisons: pd.DataFrame
    """Differences between two groups, on equal footing."""
    openings: pd.DataFrame
    """The commonest first words of texts, 3 or 8 of them."""
    names: pd.DataFrame
    """The commonest names."""
    emotion_words: pd.DataFrame
    """The words that set the texts of an emotion apart from all others'."""
    confusion: pd.DataFrame
    """How many texts of an emotion were found to have which."""
    counts: pd.DataFrame
    """How many texts there are, of those whose emotion is known."""

    def write(self, folder: Path) -> None:
        """A file ``<name>.csv`` for each."""
        for name, table in vars(self).items():
            write_text(folder / f"{name}.csv", table.to_csv(index=False))

    @classmethod
    def read(cls, folder: Path) -> "Statistics":
        """What ``write`` wrote; a table without rows may have been taken away."""
        files = {field.name: folder / f"{field.name}.csv" for field in fields(cls)}
        found = {name: read_table(file) for name, file in files.items() if file.exists()}
        return cls(**{name: pd.DataFrame(columns=columns) for name, columns in TABLE_COLUMNS.items()} | found)
