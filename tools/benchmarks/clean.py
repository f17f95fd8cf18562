"""``emogap bench clean``: cleaning a file, against a plain Python loop with the same rules on the same file."""

import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emogap.babylm.clean import Report, clean
from emogap.babylm.raw import Source
from emogap.commands import Parser, a_path
from emogap.config import Process
from emogap.paths import ROOT
from emogap.text.near_duplicates import text_key
from tools.bench import print_timings, ratio, time_in_turn

_BREAKS = str.maketrans("\t\x0b\x0c\x1c\x1d\x1e\x1f", " " * 7)
_SPACE_BEFORE_PUNCTUATION = re.compile(r"\s+([.,!?;:])")


def clean_line(line: str, rules: Process) -> str | None:
    """A line cleaned by the rules, None if it is dropped: in plain Python, what the package does to whole blocks."""
    line = line.removesuffix("\n")
    if len(line.encode()) > rules.max_line_bytes:
        return None
    if rules.tabs == "remove":
        line = line.replace("\t", "")
    line = line.translate(_BREAKS)
    if rules.space_before_punctuation == "remove":
        line = _SPACE_BEFORE_PUNCTUATION.sub(r"\1", line)
    if rules.strip:
        line = line.strip()
    return line if len(line.split()) > rules.min_words else None


def plain_loop(path: Path, rules: Process) -> Iterator[tuple[int, str]]:
    """(line number, text) of the kept lines of a well-formed file, by a loop over its lines and a set of texts."""
    seen: set[str] = set()
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            text = clean_line(line, rules)
            if text is None:
                continue
            key = text_key(text) if rules.duplicates == "near" else text
            if rules.duplicates == "keep" or key not in seen:
                seen.add(key)
                yield number, text


def make_text(path: Path, size: int, seed: int = 0) -> None:
    """Write ``size`` bytes of lines of the shipped sample's words, as long as its lines are; one in 20 a repeat."""
    chance = random.Random(seed)
    sample = [
        line.split()
        for file in sorted((ROOT / "data/sample/babylm").glob("*.train"))
        for line in file.open(encoding="utf-8")
    ]
    words = [word for line in sample for word in line]
    lines: list[str] = []
    written = 0
    with path.open("w", encoding="utf-8") as out:
        while written < size:
            if lines and chance.random() < 0.05:
                line = chance.choice(lines)
            else:
                line = " ".join(chance.choices(words, k=len(chance.choice(sample)))) + " .\n"
                lines = [*lines[-999:], line]
            written += out.write(line)


def run(words: list[str]) -> None:
    """Time both ways in turn; print rates and the ratio."""
    parser = Parser(prog="emogap bench clean", description=__doc__)
    parser.add_argument("--file", type=a_path, help="a text file (else one is made of the shipped sample's words)")
    parser.add_argument("--megabytes", type=int, default=32, help="how large a file is made (32)")
    parser.add_argument("--workers", type=int, default=0, help="threads; 0 is one a core")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "made.train"
        if arguments.file is None:
            make_text(path, arguments.megabytes << 20)
        compare(path, arguments.workers)


def compare(path: Path, workers: int = 0, rounds: int = 3) -> float:
    """How many times as fast as the plain loop the package is. Both must keep the same number of lines."""
    rules, megabytes = Process(workers=workers), path.stat().st_size / 1e6
    kept: dict[str, int] = {}

    def loop() -> float:
        kept["plain loop"] = len(list(plain_loop(path, rules)))
        return megabytes

    def blocks() -> float:
        reports: list[Report] = []
        parts = list(clean([Source("made", path)], rules, reports))
        kept["emogap"] = sum(len(part.texts) for part in parts)
        return megabytes

    timings = time_in_turn({"plain loop": loop, "emogap": blocks}, rounds)
    print(f"{path.name}: {megabytes:.1f} MB, {kept['emogap']:,} lines kept")
    assert kept["plain loop"] == kept["emogap"], kept
    print_timings(timings, "MB", "plain loop")
    return ratio(timings, "emogap", "plain loop")
