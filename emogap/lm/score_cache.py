"""Scores that were computed once, kept under the hash of the weights that gave them.

A file holds the scores of one group of sentences. Its name is the hash of their token ids and of all that shapes the
scores, its folder that of the weights as they were loaded: no model ever gets another's scores, whatever it is called
and wherever it lies. A run that was killed finds every group that it had finished.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from emogap.lm.loading import kept_open
from emogap.paths import cache_dir, cache_folder
from emogap.store.parts import Arrays

if TYPE_CHECKING:
    from emogap.lm.hub import LocalModel
    from emogap.lm.sentence_scores import Scored, SentenceScorer

FORM = 1
"""Version of the scoring: to be increased when the same ids and weights get other scores than before."""


BATCHES_AT_ONCE = 4
"""Small groups are scored together, as many as fill this number of batches; a batch that is not full is slow."""

OnDone = Callable[[int], None]


def scored_in_groups(
    scorer: "SentenceScorer", groups: "Sequence[Sequence[Scored]]", on_done: OnDone
) -> Iterator[np.ndarray]:
    """Scores of each group in turn: float64 of shape (len(group),)."""
    for batch in _batches(groups, BATCHES_AT_ONCE * scorer.token_budget):
        found = scorer.log_probabilities([one for group in batch for one in group], on_done)
        yield from np.split(found, np.cumsum([len(group) for group in batch])[:-1])


def remembered_scores(
    scorer: "SentenceScorer", groups: "Sequence[Sequence[Scored]]", on_done: OnDone
) -> list[np.ndarray]:
    """Like ``scored_in_groups``, but from the cache where it has a group; the others are scored and put there."""
    place = f"scores/{scorer.weights_sha256()[:32]}"
    kept = Arrays(cache_dir() / place)
    keys = [_name(group, _mode(scorer, group)) for group in groups]
    missing = {key: group for key, group in zip(keys, groups, strict=True) if not kept.has(key)}
    if missing:
        cache_folder(place)
    on_done(len({one for group in groups for one in group} - {one for group in missing.values() for one in group}))
    for key, found in zip(missing, scored_in_groups(scorer, list(missing.values()), on_done), strict=True):
        kept.put(key, found)
    return [kept.read(key) for key in keys]


def _batches(groups: "Sequence[Sequence[Scored]]", tokens: int) -> "Iterator[list[Sequence[Scored]]]":
    """Successive groups together, until they have at least ``tokens`` tokens."""
    batch: list[Sequence[Scored]] = []
    for group in groups:
        batch.append(group)
        if sum(len(scored.ids) for one in batch for scored in one) >= tokens:
            yield batch
            batch = []
    if batch:
        yield batch


def _mode(scorer: "SentenceScorer", group: "Sequence[Scored]") -> str:
    return scorer.scoring_mode(max(len(scored.ids) for scored in group))


def _name(scored: "Sequence[Scored]", mode: str) -> str:
    digest = hashlib.sha256(f"form {FORM}{mode and f' {mode}'}".encode())
    for ids, start in scored:
        digest.update(np.asarray([len(ids), start, *ids], dtype=np.int64).tobytes())
    return digest.hexdigest()


def open_scorer(local: "LocalModel", **options: Any) -> "SentenceScorer":
    """The scorer of a model, kept open by ``kept_open``. ``options`` and errors: those of ``SentenceScorer``."""
    from emogap.lm.sentence_scores import SentenceScorer

    return kept_open(("scorer", local, *sorted(options.items())), partial(SentenceScorer, local, **options))
