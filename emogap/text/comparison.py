"""Comparisons of groups on equal footing, and words that tell groups apart."""

import numpy as np
import pandas as pd

from emogap.text.statistics import Estimate, Z, mean


def compare(values: pd.DataFrame, measure: str, first: str, second: str) -> dict | None:
    """By how much ``measure`` of group ``second`` is above that of ``first``, like with like.

    ``values``: a row a text with ``group, source, line`` and the measure. Where both groups have texts from the same
    source lines, the mean of the differences line by line; else the differences within each source that both have,
    weighted by its number of texts. None where they share neither.
    """
    rows = values[values["group"].isin([first, second])]
    return _on_same_lines(rows, measure, first, second) or _by_source(rows, measure, first, second)


def _on_same_lines(rows: pd.DataFrame, measure: str, first: str, second: str) -> dict | None:
    known = rows[rows["line"] != ""]
    both = known.groupby(["line", "group"])[measure].mean().unstack("group").reindex(columns=[first, second]).dropna()
    if len(both) < 2:
        return None
    return _comparison(measure, first, second, "same lines", len(both), mean(both[second] - both[first]))


def _by_source(rows: pd.DataFrame, measure: str, first: str, second: str) -> dict | None:
    known = rows[rows["source"] != ""]
    cells = known.groupby(["source", "group"])[measure].agg(["mean", "var", "size"]).unstack("group").dropna()
    if cells.empty:
        return None
    sizes = cells["size"].sum(axis=1)
    weights = sizes / sizes.sum()
    difference = float((weights * (cells["mean"][second] - cells["mean"][first])).sum())
    variance = sum(cells["var"][group] / cells["size"][group] for group in (first, second))
    half = Z * float(np.sqrt((weights**2 * variance).sum()))
    basis = "weighted by source: " + ", ".join(cells.index)
    return _comparison(
        measure, first, second, basis, int(sizes.sum()), Estimate(difference, difference - half, difference + half)
    )


def _comparison(measure: str, first: str, second: str, basis: str, n: int, estimate: Estimate) -> dict:
    return {
        "measure": measure, "group": second, "minus": first, "basis": basis, "n": n,
        "difference": estimate.value, "low": estimate.low, "high": estimate.high,
    }  # fmt: skip


def log_odds(counts: np.ndarray, prior_words: float = 1000.0) -> np.ndarray:
    """z-scores of the log-odds ratio of each word, each class against all the others, shape (classes, vocabulary).

    ``counts``: how often each class has each word, same shape. With an informative Dirichlet prior (Monroe, Colaresi
    and Quinn 2008, section 3.3.1 and eq. 15-22): each word's prior is its share of all classes together, times
    ``prior_words`` words of such text. Words that no class has get 0.
    """
    counts = np.asarray(counts, float)
    pooled = counts.sum(axis=0)
    prior = prior_words * pooled / pooled.sum()
    here, rest = counts + prior, pooled - counts + prior
    all_here, all_rest = here.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(here / (all_here - here)) - np.log(rest / (all_rest - rest))
        z = difference / np.sqrt(1 / here + 1 / rest)
    return np.where(pooled > 0, z, 0.0)
