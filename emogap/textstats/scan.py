"""One pass over all texts, in several processes: counts and measures that need each text by itself."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from emogap.errors import ModelError
from emogap.store.progress import progress
from emogap.text.word_counts import WordCount, count_words, sentence_splitter
from emogap.text.words import plain

_BATCH = 250
_WORTH_PROCESSES = 8
"""With fewer batches, starting processes takes longer than the work."""
_CAPITAL = re.compile(r"\b[A-Z][a-z]+\b")
_CAPITAL_INSIDE = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+\b")
_LOWER = re.compile(r"\b[a-z]+\b")


@dataclass(frozen=True)
class Job:
    """What to compute for every text."""

    presets: tuple[str, ...]
    tokenizer: Path | None = None
    """Folder of the model whose tokenizer counts tokens; None leaves tokens, sentences, readability and names out."""


@dataclass
class Capitals:
    """Word → how many texts have it with a capital, with a capital inside a sentence, and in small letters."""

    anywhere: Counter = field(default_factory=Counter)
    inside: Counter = field(default_factory=Counter)
    small: Counter = field(default_factory=Counter)

    def add(self, text: str) -> None:
        text = plain(text)
        self.anywhere.update(set(_CAPITAL.findall(text)))
        self.inside.update(set(_CAPITAL_INSIDE.findall(text)))
        self.small.update(set(_LOWER.findall(text)))

    def merge(self, other: "Capitals") -> None:
        for mine, theirs in ((self.anywhere, other.anywhere), (self.inside, other.inside), (self.small, other.small)):
            mine.update(theirs)

    def names(self) -> list[tuple[str, int]]:
        """(name, number of texts that have it), commonest first. A name is a word that has a capital inside a sentence
        and is written without one in at most a tenth as many texts."""
        within = [(word, n) for word, n in self.anywhere.items() if self.inside[word]]
        found = [(word, n) for word, n in within if self.small[word.lower()] <= 0.1 * n]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))


@dataclass
class Scan:
    """What the pass found."""

    counts: dict[str, dict[str, WordCount]]
    """Group → preset → counts."""
    numbers: pd.DataFrame
    """One row per text, in the order of the texts: sentences, tokens, flesch_reading_ease, flesch_kincaid_grade."""
    capitals: dict[str, Capitals]
    """Group → its capitals."""


def scan(texts: pd.DataFrame, job: Job, workers: int = 0) -> Scan:
    """Go over all texts (columns ``group`` and ``text``); ``workers``: processes; 0 means one per core."""
    batches = list(_batches(texts))
    result = Scan({group: {} for group in texts["group"].unique()}, pd.DataFrame(), {})
    numbers = []
    with progress("texts", len(texts), "texts") as bar:
        for (group, part), (counts, frame, capitals) in zip(batches, _run(batches, job, workers), strict=True):
            for preset, count in counts.items():
                result.counts[group].setdefault(preset, WordCount()).merge(count)
            result.capitals.setdefault(group, Capitals()).merge(capitals)
            numbers.append(frame)
            bar.advance(len(part))
    result.numbers = pd.concat(numbers).sort_index()
    return result


def _batches(texts: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    for group, rows in texts.groupby("group", sort=False):
        for start in range(0, len(rows), _BATCH):
            yield group, rows["text"].iloc[start : start + _BATCH]


def _run(batches: Sequence[tuple[str, pd.Series]], job: Job, workers: int) -> Iterator[tuple]:
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(batches) < _WORTH_PROCESSES:
        yield from (scan_batch(part, job) for _, part in batches)
        return
    # Spawned, not forked: a notebook's kernel has threads, and a fork of those may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(scan_batch, [part for _, part in batches], [job] * len(batches))


def scan_batch(texts: pd.Series, job: Job) -> tuple[dict[str, WordCount], pd.DataFrame, Capitals]:
    """``scan`` of a batch of texts of one group."""
    counts, capitals = count_words(texts, job.presets), Capitals()
    if job.tokenizer is None:
        return counts, pd.DataFrame(index=texts.index), capitals
    for text in texts:
        capitals.add(text)
    return counts, _numbers(texts, job.tokenizer), capitals


def _numbers(texts: pd.Series, tokenizer: Path) -> pd.DataFrame:
    import textstat

    split, plainly = sentence_splitter(), [plain(text) for text in texts]
    return pd.DataFrame(
        {
            "sentences": [len(split(text)) for text in plainly],
            "tokens": [len(encoding.ids) for encoding in _tokenizer(tokenizer).encode_batch(list(texts))],
            "flesch_reading_ease": [textstat.flesch_reading_ease(text) for text in plainly],
            "flesch_kincaid_grade": [textstat.flesch_kincaid_grade(text) for text in plainly],
        },
        index=texts.index,
    )


@cache
def _tokenizer(folder: Path):
    from tokenizers import Tokenizer

    # One thread: the processes share the cores already.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    file = folder / "tokenizer.json"
    if not file.exists():
        raise ModelError(f"{folder} has no tokenizer.json; name another base model in stats.tokenizer")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
