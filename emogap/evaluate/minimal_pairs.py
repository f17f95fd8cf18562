"""Minimal pairs in BLiMP's form: one JSON-lines file a paradigm, ``<UID>.jsonl`` or ``<UID>.jsonl.gz``.

BLiMP: Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs for English". Its 67 paradigms belong
to 12 phenomena, named as in the BabyLM evaluation.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from emogap.errors import InputError, MissingInput


@dataclass(frozen=True)
class Pair:
    """One grammatical and one ungrammatical sentence that differ minimally."""

    uid: str
    """The paradigm."""
    pair_id: int
    phenomenon: str
    good: str
    bad: str

    @property
    def item(self) -> str:
        return f"{self.uid}/{self.pair_id}"


@lru_cache
def phenomena() -> dict[str, str]:
    """Paradigm → phenomenon, for BLiMP's 67 paradigms."""
    file = Path(__file__).with_name("blimp_phenomena.json")
    grouped = json.loads(file.read_text(encoding="utf-8"))
    return {uid: phenomenon for phenomenon, uids in grouped.items() for uid in uids}


def load_pairs(folder: Path, items: int = 0) -> list[Pair]:
    """All pairs of a folder, paradigms in the order of their names; the first ``items`` of each (0: all).

    Raises ``MissingInput`` if there is no paradigm file, ``InputError`` if a line is no minimal pair or its paradigm
    belongs to no phenomenon.
    """
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")])
    if not files:
        raise MissingInput(f"no minimal pairs (<UID>.jsonl) found in {folder}; name their folder by blimp.data")
    pairs: list[Pair] = []
    for file in files:
        of_paradigm = list(_read(file))
        pairs += of_paradigm[:items] if items else of_paradigm
    return pairs


def _read(file: Path) -> Iterator[Pair]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _parse(line, f"{file}, line {number}")


def _parse(line: str, where: str) -> Pair:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    for key in ("sentence_good", "sentence_bad", "UID", "pair_id"):
        if key not in record:
            raise InputError(f"{where}: no '{key}'; a minimal pair has sentence_good, sentence_bad, UID and pair_id")
    good, bad, uid = record["sentence_good"], record["sentence_bad"], record["UID"]
    if not good.strip() or not bad.strip():
        raise InputError(f"{where}: an empty sentence; correct the file or leave the pair out")
    # The BabyLM supplement and people's own sets name their phenomenon themselves.
    phenomenon = phenomena().get(uid) or record.get("phenomenon")
    if phenomenon is None:
        raise InputError(f"{where}: paradigm '{uid}' belongs to no phenomenon; give the record a 'phenomenon'")
    return Pair(uid, int(record["pair_id"]), phenomenon, good, bad)
