"""Grammar kept or lost: minimal pairs scored by models, those of the study or any others.

A pair is decided rightly when the grammatical sentence is the likelier one; a tie counts one half. See
``sentence_scores`` for what a sentence's score is, ``minimal_pairs`` for the data, ``tasks`` for how it is measured,
``blimp_tables`` for the statistics.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from emogap.config import Config
from emogap.grammar.minimal_pairs import Pair, load_pairs, read_subset
from emogap.grammar.tasks import Case, Task
from emogap.lm.corrections import SENTENCE
from emogap.paths import from_root


def chosen_pairs(config: Config) -> list[Pair]:
    """The pairs that the settings ask for."""
    subset = read_subset(from_root(config.blimp.subset)) if config.blimp.subset else None
    return load_pairs(from_root(config.blimp.data), config.blimp.items, subset)


def pair_cases(pairs: Sequence[Pair]) -> list[list[Case]]:
    """A case a pair, paradigm by paradigm."""
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
