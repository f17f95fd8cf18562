"""Scores that were computed once, kept under the hash of the weights that gave them.

A file holds the scores of one group of sentences. Its name is the hash of their token ids and of all that shapes the
scores, its folder that of the weights as they were loaded: no model ever gets another's scores, whatever it is called
and wherever it lies. A run that was killed finds every group that it had finished.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emogap.paths import cache_dir

if TYPE_CHECKING:
    from emogap.evaluate.sentence_scores import Scored, SentenceScorer

FORM = 1
"""To be raised when the same ids and weights would be scored otherwise than before."""


class RememberingScorer:
    """A scorer in front of the cache."""

    def __init__(self, scorer: "SentenceScorer"):
        self.scorer = scorer
        self.folder = cache_dir() / "scores" / scorer.weights_sha256()[:32]

    def log_probabilities(self, scored: "Sequence[Scored]", on_done: Callable[[int], None]) -> np.ndarray:
        """As the scorer's: float64 of shape (len(scored),), from the cache where this very group is in it."""
        file = self.folder / f"{_name(scored)}.npy"
        if file.exists():
            on_done(len(set(scored)))
            return np.load(file, allow_pickle=False)
        found = self.scorer.log_probabilities(scored, on_done)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.stem}.tmp-{os.getpid()}.npy")
        np.save(temporary, found, allow_pickle=False)
        os.replace(temporary, file)
        return found


def _name(scored: "Sequence[Scored]") -> str:
    digest = hashlib.sha256(f"form {FORM}".encode())
    for ids, start in scored:
        digest.update(np.asarray([len(ids), start, *ids], dtype=np.int64).tobytes())
    return digest.hexdigest()
