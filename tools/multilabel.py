"""Multi-label scores: macro and micro F1 with bootstrap intervals, and thresholds tuned for F1.

Arrays: ``scores`` float (rows, labels) between 0 and 1, ``targets`` and ``predicted`` bool (rows, labels). A label is
predicted where its score is greater than its threshold. A label that is neither given nor predicted has F1 0.
"""

import numpy as np
from sklearn.metrics import f1_score

from emogap.text.statistics import Estimate

_GRID = np.linspace(-6, 3, 181)
"""Thresholds tried, as logits: 0.0025 to 0.95."""


def bootstrap_f1(
    predicted: np.ndarray, targets: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """``macro`` and ``micro`` F1 with percentile bootstrap intervals, rows sampled with replacement."""
    random = np.random.default_rng(seed)
    rows = len(targets)
    hits, given = (predicted & targets).astype(np.float32), (predicted.astype(np.float32) + targets)
    macros, micros = [], []
    for _ in range(resamples):
        weights = np.bincount(random.integers(rows, size=rows), minlength=rows).astype(np.float32)
        hit, all_ = weights @ hits, weights @ given
        macros.append(np.mean(2 * hit / np.maximum(1, all_)))
        micros.append(2 * hit.sum() / max(1, all_.sum()))
    return {
        way: Estimate(
            float(f1_score(targets, predicted, average=way, zero_division=0)),
            *np.percentile(values, [2.5, 97.5]).tolist(),
        )
        for way, values in (("macro", macros), ("micro", micros))
    }


def tune_thresholds(scores: np.ndarray, targets: np.ndarray, width: float) -> np.ndarray:
    """For every label the threshold with the best smoothed F1: float32 (labels,).

    A label with a dozen cases has a ragged F1 curve, whose highest point is luck. So each case is spread out: a score
    counts as over a threshold with a probability that rises over ``width`` (in logits) instead of at one point.
    """
    logits = np.log(scores.clip(1e-6, 1 - 1e-6)) - np.log1p(-scores.clip(1e-6, 1 - 1e-6))
    tuned = []
    for column, given in zip(logits.T, targets.T, strict=True):
        over = 0.5 + 0.5 * np.tanh((column[:, None] - _GRID) / (2 * width))  # the logistic function
        f1 = 2 * over[given].sum(0) / (over.sum(0) + given.sum())
        tuned.append(_GRID[np.argmax(f1)])
    return (1 / (1 + np.exp(-np.array(tuned)))).astype(np.float32)


def cross_fitted(scores: np.ndarray, targets: np.ndarray, width: float, *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """Predictions with thresholds tuned on the other folds: what tuned thresholds are worth on rows not tuned on."""
    fold = np.random.default_rng(seed).permutation(len(scores)) % folds
    predicted = np.zeros(targets.shape, dtype=bool)
    for one in range(folds):
        held = fold == one
        predicted[held] = scores[held] > tune_thresholds(scores[~held], targets[~held], width)
    return predicted
