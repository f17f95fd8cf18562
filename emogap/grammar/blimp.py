"""Grammar kept or lost: minimal pairs scored by models, those of the study or any others.

BLiMP: Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs for English". Its 67 paradigms belong
to 12 phenomena, named as in the BabyLM evaluation; one file per paradigm, ``<UID>.jsonl``, ``<UID>.jsonl.gz`` or the
hub's Parquet. A pair is decided rightly when the grammatical sentence is the likelier one; a tie counts one half. See
``sentence_scores`` for what a sentence's score is, ``tasks`` for how it is measured, ``blimp_tables`` for the tables
made of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from emogap.config import Config
from emogap.errors import InputError, MissingInput
from emogap.grammar.tasks import Case, Task
from emogap.lm.corrections import SENTENCE
from emogap.paths import from_root
from emogap.text.forms import Form, Text, Whole, check, read_forms
from emogap.text.reading import given_file, quoted, read_json

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
    Raises ``MissingInput`` if there is no paradigm file, ``InputError`` if a record is no minimal pair, if its paradigm
    belongs to no phenomenon, if a pair occurs twice, or if the subset leaves nothing.
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
        if not of_file:
            raise InputError(f"{file} has no minimal pair; take it away or fill it")
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
    form = "a list of items is an object, paradigm → list of pair ids"
    given_file(file, "list of items", "give a JSON file, paradigm → list of pair ids")
    listed = check(dict[str, list[Whole]], read_json(file), str(file), form)
    return {uid: set(ids) for uid, ids in listed.items()}


class _Given(Form):
    """A minimal pair as a file has it."""

    needs = "a minimal pair has sentence_good and sentence_bad"

    sentence_good: Text
    sentence_bad: Text
    uid: Text | None = Field(None, alias="UID")
    pair_id: Whole | None = None
    pair_number: Whole | None = Field(None, alias="pairID")
    """What BLiMP's own files call the id."""
    phenomenon: Text | None = None
    """Needed in a user's own set, for paradigms that are not BLiMP's."""


def _read(file: Path) -> Iterator[Pair]:
    """The pairs of a file. Without a paradigm or id, a pair gets the file's (or folder's) name or its place in it."""
    uid = file.parent.name if file.suffix == ".parquet" else file.name.split(".jsonl")[0]
    for place, (where, given) in enumerate(read_forms(file, _Given)):
        yield _pair(given, uid, place, where)


def _pair(given: _Given, uid: str, place: int, where: str) -> Pair:
    uid = given.uid or uid
    numbers = [number for number in (given.pair_id, given.pair_number) if number is not None]
    phenomenon = phenomena().get(uid) or given.phenomenon
    if phenomenon is None:
        raise InputError(f"{where}: paradigm {quoted(uid)} belongs to no phenomenon; give the record a 'phenomenon'")
    return Pair(uid, numbers[0] if numbers else place, phenomenon, given.sentence_good, given.sentence_bad)


# --- the task --------------------------------------------------------------------------------------------------------


def chosen_pairs(config: Config) -> list[Pair]:
    """The pairs that the settings ask for."""
    subset = read_subset(from_root(config.blimp.subset)) if config.blimp.subset else None
    return load_pairs(from_root(config.blimp.data), config.blimp.items, subset)


def pair_cases(pairs: Sequence[Pair]) -> list[list[Case]]:
    """One case per pair, in one group per paradigm."""
    paradigms = groupby(pairs, key=lambda pair: pair.uid)
    return [[Case(p.item, p.phenomenon, (p.good, p.bad), _decided) for p in paradigm] for _, paradigm in paradigms]


def _decided(sums: np.ndarray) -> dict[str, float]:
    """``correct`` (0, 0.5 for a tie, 1), ``logprob_good``, ``logprob_bad``."""
    good, bad = sums
    return {"correct": 0.5 if good == bad else float(good > bad), "logprob_good": good, "logprob_bad": bad}


def _files(config: Config) -> dict[str, Path]:
    files = {"pairs": config.blimp.data, "list of items": config.blimp.subset}
    return {name: from_root(file) for name, file in files.items() if file or name == "pairs"}


def _counts(table: pd.DataFrame) -> dict[str, int]:
    correct = table.loc[table["metric"] == "correct", "value"]
    return {"pairs": len(correct), "ties": int((correct == 0.5).sum())}


BLIMP = Task(
    name="blimp",
    title="minimal pairs",
    unit="sentences",
    shaping=("items", "empty_context", "dtype"),
    longest=SENTENCE,
    files=_files,
    cases=lambda config: pair_cases(chosen_pairs(config)),
    counts=_counts,
)
