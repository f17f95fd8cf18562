"""Minimal pairs in BLiMP's form: one file a paradigm, ``<UID>.jsonl``, ``<UID>.jsonl.gz`` or the hub's Parquet.

BLiMP: Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs for English". Its 67 paradigms belong
to 12 phenomena, named as in the BabyLM evaluation.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from emogap.errors import InputError, MissingInput
from emogap.evaluate.json_lines import read_json_lines

PATTERNS = ("*.jsonl", "*.jsonl.gz", "*/*.parquet")
SUPPLEMENT = ("hypernym", "qa_congruence_easy", "qa_congruence_tricky", "subject_aux_inversion", "turn_taking")
"""The paradigms of BabyLM's supplement to BLiMP (Warstadt et al. 2023), each reported as a phenomenon of its own."""


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
    """Paradigm → phenomenon, for BLiMP's 67 paradigms and the supplement's."""
    file = Path(__file__).with_name("blimp_phenomena.json")
    grouped = json.loads(file.read_text(encoding="utf-8"))
    known = {uid: phenomenon for phenomenon, uids in grouped.items() for uid in uids}
    return known | {uid: uid for uid in SUPPLEMENT}


def load_pairs(folder: Path, items: int = 0, subset: Mapping[str, set[int]] | None = None) -> list[Pair]:
    """All pairs of a folder, paradigms in the order of their names; the first ``items`` of each (0: all).

    ``subset``: paradigm → ids of the pairs that are wanted; what it does not name is left out.
    Raises ``MissingInput`` if there is no paradigm file, ``InputError`` if a line is no minimal pair, if its paradigm
    belongs to no phenomenon, if a pair stands twice, or if the subset leaves nothing.
    """
    files = sorted(file for pattern in PATTERNS for file in folder.glob(pattern))
    if not files:
        raise MissingInput(
            f"no minimal pairs (<UID>.jsonl, .jsonl.gz) found in {folder}; name their folder by --data or blimp.data, "
            "or bring BLiMP with `emogap fetch blimp`"
        )
    pairs: dict[str, Pair] = {}
    for file in files:
        of_file = list(_read(file))
        if subset is not None:
            of_file = [pair for pair in of_file if pair.pair_id in subset.get(pair.uid, ())]
        for pair in of_file[:items] if items else of_file:
            if pair.item in pairs:
                raise InputError(f"{file}: pair {pair.pair_id} of {pair.uid} stands twice; remove one of the two")
            pairs[pair.item] = pair
    if not pairs:
        raise InputError(f"none of the pairs in {folder} is on the list of items; compare the list's paradigms and ids")
    return list(pairs.values())


def read_subset(file: Path) -> dict[str, set[int]]:
    """A list of items: a JSON object, paradigm → ids of its pairs. Raises ``MissingInput`` or ``InputError``."""
    if not file.is_file():
        raise MissingInput(f"list of items {file} not found; give a JSON file, paradigm → list of pair ids")
    form = "it must hold an object, paradigm → list of pair ids"
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); {form}") from error
    if not isinstance(listed, dict) or not all(_are_ids(ids) for ids in listed.values()):
        raise InputError(f"{file} is no list of items; {form}")
    return {uid: {int(number) for number in ids} for uid, ids in listed.items()}


def _are_ids(ids: Any) -> bool:
    return isinstance(ids, list) and all(isinstance(i, int) or (isinstance(i, str) and i.isdecimal()) for i in ids)


def _read(file: Path) -> Iterator[Pair]:
    if file.suffix == ".parquet":
        uid, records = file.parent.name, _parquet_records(file)
    else:
        uid, records = file.name.split(".jsonl")[0], (record for _, record in read_json_lines(file))
    for number, record in enumerate(records):
        yield _pair(record, uid, number, f"{file}, pair {number + 1}")


def _parquet_records(file: Path) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} cannot be read as Parquet ({error}); bring it again") from error


def _pair(record: Any, uid: str, number: int, where: str) -> Pair:
    """A record as a pair. A record that does not name its paradigm or number has its file's name and its place."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: no object; a minimal pair is an object with sentence_good and sentence_bad")
    for key in ("sentence_good", "sentence_bad"):
        if key not in record:
            raise InputError(f"{where}: no '{key}'; a minimal pair has sentence_good and sentence_bad")
        if not isinstance(record[key], str) or not record[key].strip():
            raise InputError(f"{where}: '{key}' is an empty sentence; correct the file or leave the pair out")
    uid = str(record.get("UID", uid))
    named = record.get("pair_id", record.get("pairID", number))  # BLiMP's own files say pairID
    try:
        pair_id = int(named)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: pair_id {named!r} is no number; correct it") from error
    # People's own sets name their phenomenon themselves.
    phenomenon = phenomena().get(uid) or record.get("phenomenon")
    if phenomenon is None:
        raise InputError(f"{where}: paradigm '{uid}' belongs to no phenomenon; give the record a 'phenomenon'")
    return Pair(uid, pair_id, str(phenomenon), record["sentence_good"], record["sentence_bad"])
