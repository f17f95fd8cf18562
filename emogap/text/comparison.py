"""Comparisons of groups on equal footing, and words that tell groups apart."""

import numpy as np
import pandas as pd

from emogap.text.statistics import Estimate, by_prompt, mean, paired_interval, proportion


def compare(values: pd.DataFrame, measure: str, first: str, second: str, is_share: bool = False) -> dict | None:
    """By how much ``measure`` of group ``second`` is above that of ``first``, like with like.

    ``values``: a row a text with ``group, source, line`` and the measure, 0 or 1 where it ``is_share``. Where both
    groups have texts from the same source lines, the mean of the differences line by line; else the differences within
    each source that both have, weighted by its number of texts. None where they share neither.
    """
    rows = values[values["group"].isin([first, second])]
    found = _on_same_lines(rows, measure, first, second, is_share) or _by_source(rows, measure, first, second, is_share)
    return {"measure": measure, "group": second, "minus": first} | found if found else None


def _on_same_lines(rows: pd.DataFrame, measure: str, first: str, second: str, is_share: bool) -> dict | None:
    known = rows[rows["line"] != ""]
    both = known.groupby(["line", "group"])[measure].mean().unstack("group").reindex(columns=[first, second]).dropna()
    if len(both) < 2:
        return None
    found = mean(both[second] - both[first])
    if is_share:
        lines = pd.MultiIndex.from_arrays([both.index], names=["line"])
        after, before = (
            by_prompt(known[known["group"] == group], [measure], ["line"], lines)[0] for group in (second, first)
        )
        found = Estimate(found.value, *map(float, paired_interval(after, before)))
    return _comparison("same lines", len(both), found)


def _by_source(rows: pd.DataFrame, measure: str, first: str, second: str, is_share: bool) -> dict | None:
    """The ends of every cell's interval are joined by the square-and-add rule (Howe 1974; Newcombe 1998)."""
    of_cell = {key: part[measure] for key, part in rows[rows["source"] != ""].groupby(["source", "group"])}
    sizes = {
        source: sum(len(of_cell[source, group]) for group in (first, second))
        for source in dict.fromkeys(source for source, _ in of_cell)
        # One text of a source does not say how much texts of that source differ.
        if all(len(of_cell.get((source, group), ())) > 1 for group in (first, second))
    }
    if not sizes:
        return None
    difference = below = above = 0.0
    for source, size in sizes.items():
        weight = size / sum(sizes.values())
        one, other = (_estimate(of_cell[source, group], is_share) for group in (first, second))
        difference += weight * (other.value - one.value)
        below += weight**2 * ((other.value - other.low) ** 2 + (one.high - one.value) ** 2)
        above += weight**2 * ((other.high - other.value) ** 2 + (one.value - one.low) ** 2)
    basis = "weighted by source: " + ", ".join(sizes)
    found = Estimate(difference, difference - float(np.sqrt(below)), difference + float(np.sqrt(above)))
    return _comparison(basis, sum(sizes.values()), found)


def _estimate(values: pd.Series, is_share: bool) -> Estimate:
    return proportion(values.sum(), len(values)) if is_share else mean(values)


def _comparison(basis: str, n: int, estimate: Estimate) -> dict:
    return {"basis": basis, "n": n, "difference": estimate.value, "low": estimate.low, "high": estimate.high}


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
