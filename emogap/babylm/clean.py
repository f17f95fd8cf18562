"""Cleaning lines of text: the rules are applied to blocks of many lines at once, and duplicates are dropped.

Memory is a few blocks, plus eight bytes for every kept line of the source being read (the hashes that duplicates are
found by; as many again while they are merged). Blocks are cleaned by several threads and put together in the order of
the files, so that the result does not depend on the number of threads.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emogap.babylm.raw import Source, blocks
from emogap.config import Process
from emogap.errors import InputError
from emogap.text.near_duplicates import text_key

if TYPE_CHECKING:
    import polars as pl

_BREAKS = b"\t\x0b\x0c"
# White space to Python and to readers, but not matched by \s of the regular expressions below.
_OTHER_SPACE = b"\x1c\x1d\x1e\x1f"
_SPACE_BEFORE_PUNCTUATION = r"\s+([.,!?;:])"

ODDITIES = {
    "bad_bytes": "bytes that are not UTF-8 (replaced by �)",
    "nul": "NUL bytes (removed)",
    "bom": "byte-order marks (removed)",
    "cr": "carriage returns (taken as line ends)",
    "empty_file": "empty files",
    "too_long": "lines over process.max_line_bytes (dropped)",
}
"""What may be odd about a file: counted per source, an error with ``process.strict``."""
DROPPED = ("blank", "short", "too_long", "duplicate")
"""Why a line is dropped."""


@dataclass
class Report:
    """What became of one source's lines: ``lines`` is the sum of ``kept`` and of all in ``dropped``."""

    source: str
    file: str
    lines: int = 0
    kept: int = 0
    words: int = 0
    """White-space-separated words of the kept lines."""
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED, 0))
    odd: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ODDITIES, 0))

    def flat(self) -> dict[str, str | int]:
        """One row of a table."""
        return {
            "source": self.source,
            "lines": self.lines,
            **self.dropped,
            "kept": self.kept,
            "words": self.words,
            **{f"odd_{kind}": count for kind, count in self.odd.items()},
        }


class Kept(NamedTuple):
    """Kept lines of one source, in its order."""

    source: str
    numbers: np.ndarray
    """Line numbers in the file, from 1."""
    texts: "pl.Series"


class _Cleaned(NamedTuple):
    """What a thread makes of a block: lines that pass all rules but the one on duplicates."""

    numbers: np.ndarray
    texts: "pl.Series"
    words: np.ndarray
    keys: np.ndarray
    lines: int
    dropped: dict[str, int]
    odd: list[tuple[str, int, int]]


def clean(
    sources: Iterable[Source], rules: Process, reports: list[Report], advance: Callable[[int], None] = lambda _: None
) -> Iterator[Kept]:
    """Read all sources and hand out their kept lines, in order, some thousands at a time.

    ``reports`` gets one entry a source, complete when the iterator has passed it. Raises ``InputError`` for a damaged
    archive and, with ``process.strict``, for the first oddity that is met.
    """
    threads = rules.workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, "clean") as pool:
        for source in sources:
            report = Report(source.name, str(source))
            reports.append(report)

            def finding(kind: str, count: int, line: int, report: Report = report) -> None:
                report.odd[kind] += count
                if rules.strict:
                    where = f", line {line}" if line else ""
                    raise InputError(f"{report.file}{where}: {ODDITIES[kind]}; mend the file or run without --strict")

            seen = SeenKeys()
            read = blocks(source, rules.max_line_bytes, finding, advance)
            for block in _in_order(pool, lambda item: _clean_block(*item, rules), read, window=2 * threads):
                for odd in block.odd:
                    finding(*odd)
                new = seen.add(block.keys) if rules.duplicates != "keep" else np.ones(len(block.keys), dtype=bool)
                report.lines += block.lines
                for reason, count in block.dropped.items():
                    report.dropped[reason] += count
                report.dropped["duplicate"] += int(len(new) - new.sum())
                report.kept += int(new.sum())
                report.words += int(block.words[new].sum())
                if new.any():
                    yield Kept(source.name, block.numbers[new], block.texts.filter(new))


def _in_order(pool: ThreadPoolExecutor, work: Callable, items: Iterable, window: int) -> Iterator:
    """``work`` of every item, in the items' order, at most ``window`` of them at work or waiting."""
    running: deque[Future] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) >= window:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _clean_block(first_line: int, block: bytes, rules: Process) -> _Cleaned:
    """Apply every rule that looks at one line alone. What costs most is done last, on the few lines still there."""
    import polars as pl

    odd = []
    block = _without_breaks(block, rules)
    try:
        raw = pl.read_lines(block).to_series()
    except pl.exceptions.ComputeError:
        block, bad, first_bad = _repaired(block)
        odd.append(("bad_bytes", bad, first_line + first_bad))
        raw = pl.read_lines(block).to_series()

    stripped = raw.str.strip_chars()
    lengths = stripped.str.len_bytes().to_numpy()
    too_long = raw.str.len_bytes().to_numpy() > rules.max_line_bytes
    if too_long.any():
        odd.append(("too_long", int(too_long.sum()), first_line + int(too_long.argmax())))
    blank = ~too_long & (lengths == 0)
    # n words and the spaces between them take at least 2 n - 1 bytes: most short lines are found without counting.
    candidates = np.flatnonzero((lengths > 2 * rules.min_words) & ~too_long & ~blank)

    texts = (stripped if rules.strip else raw).gather(candidates)
    if rules.space_before_punctuation == "remove":
        texts = texts.str.replace_all(_SPACE_BEFORE_PUNCTUATION, "$1")
    words = count_words(texts)
    enough = words > rules.min_words
    texts, words = texts.filter(enough), words[enough]
    dropped = {"blank": int(blank.sum()), "too_long": int(too_long.sum())}
    dropped["short"] = len(raw) - len(texts) - sum(dropped.values())
    return _Cleaned(
        numbers=first_line + candidates[enough],
        texts=texts,
        words=words,
        keys=_keys(texts, rules),
        lines=len(raw),
        dropped=dropped,
        odd=odd,
    )


def _without_breaks(block: bytes, rules: Process) -> bytes:
    if rules.tabs == "remove":
        block = block.replace(b"\t", b"")
    return block.translate(bytes.maketrans(_BREAKS + _OTHER_SPACE, b" " * len(_BREAKS + _OTHER_SPACE)))


def _repaired(block: bytes) -> tuple[bytes, int, int]:
    """The block with each malformed sequence replaced by U+FFFD, their number, and the lines before the first one."""
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        lines_before = block.count(b"\n", 0, error.start)
    repaired = block.decode("utf-8", errors="replace").encode()
    mark = "\ufffd".encode()
    return repaired, repaired.count(mark) - block.count(mark), lines_before


def count_words(texts: "pl.Series") -> np.ndarray:
    """White-space-separated words of each text, int64."""
    stripped = texts.str.strip_chars()
    words = stripped.str.count_matches(" ", literal=True).to_numpy().astype(np.int64) + 1
    # Counting single spaces is ten times as fast as counting words, and the same where there is no other white space.
    irregular = stripped.str.contains(r"\s\s|[^\S ]|^$").to_numpy()
    if irregular.any():
        words[irregular] = stripped.filter(irregular).str.count_matches(r"\S+").to_numpy()
    return words


def _keys(texts: "pl.Series", rules: Process) -> np.ndarray:
    """64-bit hashes, uint64; equal for lines that count as the same.

    Among ten million different lines, two have equal hashes with a probability of three in a million.
    """
    if rules.duplicates == "near":
        import polars as pl

        texts = pl.Series([text_key(text) for text in texts], dtype=pl.String)
    return texts.hash().to_numpy()


class SeenKeys:
    """A growing set of 64-bit keys at eight bytes each: sorted runs, merged when they are of similar length."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> np.ndarray:
        """A mask over ``keys``: True at the first occurrence of one that was never added before."""
        unique, first = np.unique(keys, return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            places = np.searchsorted(run, unique)
            fresh &= run[np.minimum(places, len(run) - 1)] != unique
        mask = np.zeros(len(keys), dtype=bool)
        mask[first[fresh]] = True
        if fresh.any():
            self._runs.append(unique[fresh])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort()
            self._runs.append(merged)
        return mask
