"""Intervals and tests over prompts, which are what the study draws at random.

A prompt's values are the mean over its samples and training seeds, so that answers to the same prompt are not counted
as independent.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
Z = 1.959964
"""Of the normal distribution, for that level."""
_BATCH_VALUES = 4_000_000
"""Numbers held at once while resampling."""


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile bootstrap interval (Efron 1979) of the mean over prompts.

    ``values``: float of shape (prompts, outcomes). Both ends have shape (outcomes,); they are NaN for fewer than two
    prompts, from which no interval can be had.
    """
    from scipy.stats import bootstrap

    if len(values) < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    result = bootstrap(
        (values,),
        np.mean,
        axis=0,
        n_resamples=resamples,
        confidence_level=LEVEL,
        method="percentile",
        batch=max(1, _BATCH_VALUES // values.size),
        rng=np.random.default_rng(seed),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def paired_p(before: np.ndarray, after: np.ndarray, resamples: int, seed: int) -> float:
    """Two-sided p that two models differ on the same prompts; both arrays have shape (prompts,).

    Yes-or-no values: McNemar's exact test (a sign test on the prompts that changed). Shares over several samples: a
    permutation test that exchanges the two models' values within prompts. A single prompt tells nothing: 1.
    """
    from scipy.stats import binomtest, permutation_test

    differences = after - before
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.isin(np.concatenate([before, after]), (0.0, 1.0)).all():
        gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
        return float(binomtest(gained, gained + lost).pvalue)
    result = permutation_test(
        (after, before),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927); it stays within 0 and 1 and is sane at 0 or all successes."""
    share = successes / trials
    middle = share + Z * Z / (2 * trials)
    spread = Z * np.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    return float((middle - spread) / scale), float((middle + spread) / scale)


def leader(low: "pd.Series", high: "pd.Series") -> str | None:
    """Who of several may be called the first: the one whose interval lies above those of all others.

    ``low`` and ``high``: the ends, both by name. None where intervals meet, as those of a tie do, where an end that it
    takes is missing, and of fewer than two.
    """
    ahead = [name for name in low.index if len(low) > 1 and (high.drop(name) < low[name]).all()]
    return ahead[0] if ahead else None


def holm_by(kinds: "pd.Series", p_values: "pd.Series") -> "pd.Series":
    """``holm`` among the p-values of each kind by itself; both are columns of one table."""
    return p_values.groupby(kinds).transform(holm)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(stepped)
    return corrected
