"""Intervals and tests over what the study samples: prompts, and training seeds where there are several.

**Input.** Numbers of one model are an array of shape (prompts, training seeds, samples), NaN for what is missing;
``by_prompt`` makes it from a frame. Everything is computed separately along any axes before these three. The mean is
that of the prompts' own means: every prompt counts the same, in both models of a difference, whatever is missing.

**Shares.** One answer a prompt: the score interval of Wilson (1927). Otherwise the same interval at the effective
number of prompts, p (1 - p) / variance (Korn and Graubard 1998; Dean and Pagano 2015). The variance is that between
prompts, moved a little towards p (1 - p) / prompts, so that the interval does not collapse where all prompts agree.

**Seeds.** With two seeds or more, prompts and seeds are both random and crossed: every seed answers every prompt. The
mean squares of that two-way design (Cornfield and Tukey 1956; Searle, Casella and McCulloch 1992, chapter 4) give two
variances of the mean: that of the prompts, and that of the seeds' own means, which has seeds - 1 degrees of freedom.
Each is multiplied by the square of its own quantile, normal or Student's, and the two are added (Howe 1974).

**Differences.** Two models on the same prompts: the ends of both shares are joined by the square-and-add rule with the
correlation over the prompts, as in method 10 of Newcombe (1998), to which it is equal where each prompt has one answer
(MOVER: Zou and Donner 2008). The seeds of two models are independent, as their trainings are.

**Other numbers** (words, nats, layers): the interval of Student's t over prompts, with seeds as above; for statistics
other than means, prompts are resampled. One prompt has no interval: both ends are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emogap.store.artefacts import RULE

if TYPE_CHECKING:
    import pandas as pd

INTERVALS_RULE = {f"{RULE}intervals": "3 (score intervals, rounding is no difference)"}
"""The entry of recipes of tables and figures whose intervals or tests were once computed differently."""
LEVEL = 0.95
Z = 1.959964
"""The two-sided quantile of the normal distribution for that level."""
FEWEST_RESAMPLED = 8
"""Resamples of fewer prompts than this repeat each other too much to show how uncertain a number is."""
_FINEST = 5040
"""The most steps into which an exact test divides a share; divisible by all counts of answers up to 10."""
_MANY = 50
"""With more different sizes of change than this, signs are flipped by the normal approximation."""
_SMALLEST_LOG_P = -300.0
_ROUNDING = 1e-12
"""A difference is rounding where it is at most this part of what it is taken from."""

Ends = tuple[np.ndarray, np.ndarray]
"""Both ends of intervals; numbers where there are no axes before the prompts."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; ``low`` and ``high`` are NaN where there is too little to tell."""

    value: float
    low: float
    high: float


def by_prompt(
    frame: "pd.DataFrame",
    columns: Sequence[str],
    prompt: Sequence[str],
    prompts: "pd.MultiIndex | None" = None,
    repeated: str = "train_seed",
) -> np.ndarray:
    """One row for each answer → float64 of shape (columns, prompts, training seeds, samples), NaN for missing values.

    ``prompt``: the columns that identify a prompt; ``prompts``: which to take, in that order (default: all).
    ``repeated``: the column that identifies the seed (or whatever else answers every prompt); without it there is one.
    """
    import pandas as pd

    keys = pd.MultiIndex.from_frame(frame[list(prompt)])
    place = (keys.unique() if prompts is None else prompts).get_indexer(keys)
    frame, place = frame[place >= 0], place[place >= 0]
    seed = pd.factorize(frame[repeated], sort=True)[0] if repeated in frame else np.zeros(len(frame), int)
    sample = frame.groupby([place, seed], sort=False).cumcount().to_numpy()
    count = len(keys.unique() if prompts is None else prompts)
    values = np.full((len(columns), count, seed.max(initial=0) + 1, sample.max(initial=0) + 1), np.nan)
    values[:, place, seed, sample] = frame[list(columns)].to_numpy(float).T
    return values


@dataclass(frozen=True)
class _Crossed:
    """Mean squares of values that prompts and seeds both shape; every field has the shape of the axes before these."""

    mean: np.ndarray
    prompts: np.ndarray
    seeds: np.ndarray
    samples: np.ndarray
    """The largest number of samples that a prompt has by one seed."""
    answers: np.ndarray
    """The number of all answers."""
    there: np.ndarray
    """Which prompts have an answer, shape (…, prompts)."""
    rows: np.ndarray
    """By how much each prompt's mean is above ``mean``, shape (…, prompts)."""
    of_rows: np.ndarray
    """Variance of the mean, estimated from the prompts' means; contains ``of_error``."""
    of_seeds: np.ndarray
    """Variance of the mean, estimated from the seeds' means; contains ``of_error``; 0 for one seed."""
    of_error: np.ndarray
    """The part of the variance of the mean that comes neither from prompts nor from seeds; 0 for one seed."""

    @property
    def of_prompts(self) -> np.ndarray:
        return _without(self.of_rows, self.of_error)


def _crossed(values: np.ndarray, by_cell: bool = False) -> _Crossed:
    there = ~np.isnan(values)
    samples = there.sum(axis=-1)
    known = samples > 0
    prompts, seeds = known.any(axis=-1).sum(axis=-1), known.any(axis=-2).sum(axis=-1)
    cells = known.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(there, values, 0).sum(axis=-1) / samples
        by_prompt = np.where(known, means, 0).sum(axis=-1) / known.sum(axis=-1)
        counts = known.sum(axis=-1) if by_cell else known.any(axis=-1)
        mean = np.nansum(counts * by_prompt, axis=-1) / counts.sum(axis=-1)
        of_prompt = counts / counts.sum(axis=-1)[..., None]
        weight = np.where(known, (of_prompt / known.sum(axis=-1))[..., None], 0)
        off = np.where(known, means - mean[..., None, None], 0)
        row = np.nan_to_num(by_prompt - mean[..., None])
        rows = _unless_rounding(row * of_prompt * prompts[..., None], mean[..., None])
        # Sums, so that a seed with fewer cells counts for less.
        columns = _unless_rounding((weight * off).sum(axis=-2) * seeds[..., None], mean[..., None])
        column = np.nan_to_num(off.sum(axis=-2) / known.sum(axis=-2))
        rest = np.where(known, off - row[..., None] - column[..., None, :], 0)
        rest = _unless_rounding(rest, mean[..., None, None])
        of_rows = (rows**2).sum(axis=-1) / (prompts - 1) / prompts
        of_seeds = (columns**2).sum(axis=-1) / (seeds - 1) / seeds
        # At least 1: where one seed alone answered each prompt, no degree of freedom is left for the rest.
        freedom = np.maximum(cells - prompts - seeds + 1, 1)
        of_error = (rest**2).sum(axis=(-2, -1)) / freedom * (weight**2).sum(axis=(-2, -1))
    several = seeds > 1
    return _Crossed(
        mean, prompts, seeds, samples.max(axis=(-2, -1), initial=0), samples.sum(axis=(-2, -1)), known.any(axis=-1),
        rows, of_rows, np.where(several, of_seeds, 0), np.where(several, of_error, 0),
    )  # fmt: skip


def _unless_rounding(differences: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Differences from a mean, 0 where they come from rounding alone: two models' roundings would be correlated, and
    divided by the degrees of freedom of one prompt they would be infinite."""
    return np.where(np.abs(differences) <= _ROUNDING * np.abs(mean), 0, differences)


def _without(variance: np.ndarray, part: np.ndarray) -> np.ndarray:
    """What is left of a variance without a part of it, at least 0; NaN stays NaN."""
    rest = variance - part
    return np.where(rest <= _ROUNDING * variance, 0, rest)


def _student(seeds: np.ndarray) -> np.ndarray:
    """The two-sided quantile of Student's t for so many seeds or prompts; 0 for one, whose variance is not known."""
    from scipy.stats import t

    return np.where(seeds > 1, t.ppf((1 + LEVEL) / 2, np.maximum(seeds - 1, 1)), 0)


def centre(values: np.ndarray) -> np.ndarray:
    """The mean of the prompts' means over the seeds that have them: (…, prompts, seeds, samples) → (…)."""
    return _crossed(np.asarray(values, float)).mean


def spreads(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations between prompts and between training seeds, each without what the other and chance add.

    Variance components of the crossed design; NaN where there is one prompt, or one seed.
    """
    found = _crossed(np.asarray(values, float))
    of_seeds = np.where(found.seeds > 1, _without(found.of_seeds, found.of_error), np.nan)
    return np.sqrt(found.prompts * found.of_prompts), np.sqrt(found.seeds * of_seeds)


def paired_spreads(after: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Like ``spreads``, of differences: between prompts, and between pairs of seeds, one of each model."""
    after, before = _in_both(after, before)
    up, down = _crossed(after), _crossed(before)
    with np.errstate(invalid="ignore"):
        of_rows = ((up.rows - down.rows) ** 2).sum(axis=-1) / (up.prompts - 1)
    of_prompts = _without(of_rows, up.prompts * (up.of_error + down.of_error))
    of_seeds = np.stack([spreads(values)[1] for values in (after, before)]) ** 2
    of_seeds = np.where(np.isnan(of_seeds).all(axis=0), np.nan, np.nansum(of_seeds, axis=0))
    return np.sqrt(of_prompts), np.sqrt(of_seeds)


def paired_changes(after: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
    """change, low, high, sd_prompts, sd_seeds of a difference of two shares over the same prompts."""
    after, before = _in_both(after, before)
    low, high = paired_interval(after, before)
    of_prompts, of_seeds = paired_spreads(after, before)
    change = centre(after) - centre(before)
    return {"change": change, "low": low, "high": high, "sd_prompts": of_prompts, "sd_seeds": of_seeds}


def without_spreads(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table without its columns ``sd_prompts`` and ``sd_seeds`` where no model has several seeds."""
    names = [name for name in table if name.endswith(("sd_prompts", "sd_seeds"))]
    several = any(table[name].notna().any() for name in names if name.endswith("sd_seeds"))
    return table if several else table.drop(columns=names)


def what_is_sampled(seeds: int, unit: str = "prompts") -> str:
    """What a caption says about intervals of models with at most ``seeds`` training seeds."""
    if seeds > 1:
        return f"over {unit} and training seeds, both sampled (models with one seed: over {unit} alone)"
    return f"over {unit}; each model has one training seed, so a number holds for that one model"


def _of_shares(found: _Crossed) -> tuple[_Crossed, np.ndarray]:
    """``found`` for shares: ``of_rows`` is moved towards the binomial variance. Also the least that it can be."""
    binomial = found.mean * (1 - found.mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        most, least = binomial / found.prompts, binomial / found.answers
        # The binomial variance weighs as much as 1 / (samples × seeds) of a prompt: less, the more answers there are.
        weight, own = 1 / (found.samples * found.seeds), found.prompts - 1
        of_rows = np.where(own > 0, np.minimum(found.of_rows, most) * own, 0)
        moved = (of_rows + weight * most) / (own + weight)
        one_answer = (found.seeds == 1) & (found.samples == 1)
        of_rows = np.where(one_answer, most, np.maximum(moved, least))
    return _Crossed(**{**vars(found), "of_rows": of_rows}), least


def _score_ends(share: np.ndarray, trials: np.ndarray, squared: np.ndarray) -> Ends:
    """Wilson's interval of a share of so many trials; ``squared``: the square of the quantile."""
    middle = share + squared / (2 * trials)
    spread = np.sqrt(squared * (share * (1 - share) / trials + squared / (4 * trials**2)))
    scale = 1 + squared / trials
    return np.clip((middle - spread) / scale, 0, share), np.clip((middle + spread) / scale, share, 1)


@dataclass(frozen=True)
class _Share:
    """A share, or the unweighted mean of groups' shares, with its interval and what a difference needs of it."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reach: np.ndarray
    """Half the width that a symmetric interval would have: standard error times quantile."""
    groups: list[_Crossed]


def _share(values: np.ndarray, by_cell: bool = False) -> _Share:
    found, least = _of_shares(_crossed(np.asarray(values, float), by_cell))
    variance = np.maximum(found.of_prompts + found.of_seeds, least)
    squared = np.maximum(Z**2 * found.of_prompts + _student(found.seeds) ** 2 * found.of_seeds, Z**2 * least)
    with np.errstate(invalid="ignore", divide="ignore"):
        trials = np.where(variance > 0, found.mean * (1 - found.mean) / variance, found.prompts)
        low, high = _score_ends(found.mean, trials, np.where(variance > 0, squared / variance, Z**2))
    low, high = (np.where(found.prompts < 2, np.nan, end) for end in (low, high))
    return _Share(found.mean, low, high, np.sqrt(squared), [found])


def share_interval(values: np.ndarray, by_cell: bool = False) -> Ends:
    """95 % interval of a share. ``values``: 0 to 1, shape (…, prompts, seeds, samples).

    ``by_cell``: not every prompt counts the same, but every prompt of a seed, as each vote of a rater does.
    """
    share = _share(values, by_cell)
    return share.low[()], share.high[()]


def _in_both(after: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays, with NaN for the prompts that the other one lacks."""
    after, before = np.asarray(after, float), np.asarray(before, float)
    here, there = ((~np.isnan(values)).any(axis=(-2, -1))[..., None, None] for values in (after, before))
    return np.where(there, after, np.nan), np.where(here, before, np.nan)


def paired_interval(after: np.ndarray, before: np.ndarray) -> Ends:
    """95 % interval of a difference of two shares over the same prompts.

    Both: 0 to 1, shape (…, prompts, seeds, samples); seeds and samples may differ in number.
    """
    one, other = map(_share, _in_both(after, before))
    (up,), (down,) = one.groups, other.groups
    with np.errstate(invalid="ignore", divide="ignore"):
        together = (up.rows * down.rows).sum(axis=-1) / up.prompts
        # Newcombe's correction for continuity, by half an answer.
        step = 0.5 / up.prompts / np.sqrt(up.samples * up.seeds * down.samples * down.seeds)
        together = np.where(together > 0, np.maximum(together - step, 0), together)
        spread = np.sqrt(
            (up.rows**2).mean(axis=-1) * (down.rows**2).mean(axis=-1) * (up.rows.shape[-1] / up.prompts) ** 2
        )
        shared = Z**2 * np.sqrt(up.of_rows * down.of_rows) / (one.reach * other.reach)
        correlation = np.nan_to_num(np.clip(np.clip(together / spread, -1, 1) * shared, -1, 1))
    low, high = _difference(one, other, correlation)
    return low[()], high[()]


def _difference(one: _Share, other: _Share, correlation: np.ndarray) -> Ends:
    """Both ends of a difference of two shares, by the square-and-add rule."""

    def joined(up: np.ndarray, down: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(up**2 + down**2 - 2 * correlation * up * down, 0))

    below = joined(one.value - one.low, other.high - other.value)
    above = joined(one.high - one.value, other.value - other.low)
    return one.value - other.value - below, one.value - other.value + above


def mean_share_interval(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % interval of the unweighted mean of groups' shares, each of its own prompts by the same seeds, in 0 to 1.

    Each group: shape (prompts, seeds, samples). The score interval at the effective number of answers that the groups'
    variances give, as for strata (Yan and Su 2010). A group's variance is computed with one more answer of either kind,
    because it would be 0 for a few answers that agree. The seeds are the same in all groups: their variance is that of
    their means over the groups.
    """
    mean = _mean_share(groups)
    return float(mean.low), float(mean.high)


def mean_paired_interval(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """95 % interval of the unweighted mean of groups' differences (after, before), in -1 to 1: the intervals of both
    models' means (``mean_share_interval``), joined with the correlation over the prompts as in ``paired_interval``."""
    pairs = [_in_both(after, before) for after, before in pairs]
    one, other = map(_mean_share, zip(*pairs, strict=True))
    shared = [_covariance(up, down) for up, down in zip(one.groups, other.groups, strict=True)]
    correlation = np.clip(Z**2 * np.sum(shared) / len(pairs) ** 2 / (one.reach * other.reach), -1, 1)
    low, high = _difference(one, other, correlation)
    return float(low), float(high)


def _mean_share(groups: Sequence[np.ndarray]) -> _Share:
    shares = [_of_shares(_crossed(np.asarray(values, float)))[0] for values in groups]
    mean = float(np.mean([share.mean for share in shares]))
    of_prompts = sum(_never_none(share) for share in shares) / len(shares) ** 2
    of_seeds, seeds = _seeds_of_mean(groups)
    variance, squared = of_prompts + of_seeds, Z**2 * of_prompts + _student(seeds) ** 2 * of_seeds
    trials = mean * (1 - mean) / variance if 0 < mean < 1 else sum(int(share.prompts) for share in shares)
    low, high = _score_ends(np.asarray(mean), np.asarray(trials), np.asarray(squared / variance))
    return _Share(np.asarray(mean), low, high, np.sqrt(squared), shares)


def _never_none(share: _Crossed) -> float:
    """The variance of a group's share between prompts, with one more answer of either kind, so that it is never 0."""
    trials = share.mean * (1 - share.mean) / share.of_rows if share.of_rows > 0 else share.prompts
    smooth = (share.mean * trials + 1) / (trials + 2)
    return float(smooth * (1 - smooth) / trials)


def _covariance(up: _Crossed, down: _Crossed) -> float:
    """The covariance of two models' shares over the same prompts."""
    spread = np.sqrt((up.rows**2).sum() * (down.rows**2).sum())
    together = float((up.rows * down.rows).sum() / spread) if spread > 0 else 0.0
    return together * float(np.sqrt(up.of_rows * down.of_rows))


def _seeds_of_mean(groups: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """Variance of the mean over groups, estimated from the seeds' means, and the number of seeds."""
    means = np.mean([np.nanmean(values, axis=(0, 2)) for values in groups], axis=0)
    return (float(means.var(ddof=1)) / len(means) if len(means) > 1 else 0.0), np.asarray(len(means))


def mean_interval(values: np.ndarray) -> Ends:
    """95 % interval of a mean of numbers that are not shares. ``values``: shape (…, prompts, seeds)."""
    found = _crossed(np.asarray(values, float)[..., None])
    of_prompts, of_seeds = found.of_prompts, found.of_seeds
    half = np.sqrt(_student(found.prompts) ** 2 * of_prompts + _student(found.seeds) ** 2 * of_seeds)
    half = np.where(found.prompts < 2, np.nan, half)
    return (found.mean - half)[()], (found.mean + half)[()]


def paired_mean(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """change, low, high, p: the difference of two means over the same prompts, of numbers that are no shares.

    Both: shape (prompts, seeds); each model has seeds of its own, so that the variances of both count. p is ``mean_p``
    of the prompts' differences, and, where a model has several seeds, at least the level that the interval reaches.
    """
    from scipy.stats import t

    up, down = map(_crossed, _in_both(after[..., None], before[..., None]))
    change = _changes(up, down)
    if len(change) < 2:
        return {"change": float(change.mean()), "low": np.nan, "high": np.nan, "p": np.nan}
    variances = _variances(up, down, change)
    half = np.sqrt(sum(t.ppf((1 + LEVEL) / 2, freedom) ** 2 * variance for variance, freedom in variances))
    p = mean_p(change)
    if max(up.seeds, down.seeds) > 1:
        p = max(p, _level_reached(change.mean(), variances))
    return {"change": change.mean(), "low": change.mean() - half, "high": change.mean() + half, "p": p}


def parts_of_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Numbers whose mean is the ratio of two sums and whose variance is that of the ratio: its linear part in each
    prompt (and seed), shape as both have it (Cochran 1977, section 2.11)."""
    ratio = above.sum() / below.sum()
    return ratio + (above - ratio * below) / below.mean()


def mean(values: np.ndarray) -> Estimate:
    """The mean of one number for each prompt, shape (prompts,), with ``mean_interval``."""
    values = np.asarray(values, float)
    low, high = mean_interval(values[:, None])
    return Estimate(float(np.mean(values)), float(low), float(high))


def resampled_interval(resamples: np.ndarray, prompts: int) -> tuple[float, float]:
    """95 % interval of a statistic other than a mean, from its values on resampled prompts, shape (resamples,).

    The percentile bootstrap is too narrow: it uses the normal quantile, not Student's, and divides by prompts, not by
    prompts - 1. Percentiles further out correct both (Hesterberg 2015, section 3.3.4). NaN below ``FEWEST_RESAMPLED``.
    """
    from scipy.stats import norm

    if prompts < FEWEST_RESAMPLED:
        return np.nan, np.nan
    outside = norm.sf(np.sqrt(prompts / (prompts - 1)) * _student(np.asarray(prompts)))
    low, high = np.quantile(resamples, [outside, 1 - outside])
    return float(low), float(high)


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a share of independent cases (Wilson 1927); it is sane at 0 or all successes."""
    low, high = _score_ends(np.asarray(successes / trials), np.asarray(float(trials)), np.asarray(Z**2))
    return float(low), float(high)


def proportion(successes: float, trials: int) -> Estimate:
    """A share of independent cases with its ``wilson_interval``; a single case has none."""
    low, high = wilson_interval(successes, trials) if trials > 1 else (np.nan, np.nan)
    return Estimate(successes / trials, low, high)


def rank_correlation_interval(correlation: float, cases: int) -> tuple[float, float]:
    """95 % interval of Spearman's correlation: Fisher's z with the variance of Bonett and Wright (2000). NaN for fewer
    than four cases, and for a correlation of 1 or -1, whose z is infinite."""
    if cases < 4 or abs(correlation) >= 1:
        return np.nan, np.nan
    half = Z * np.sqrt((1 + correlation**2 / 2) / (cases - 3))
    low, high = np.tanh(np.arctanh(correlation) + half * np.array([-1, 1]))
    return float(low), float(high)


def paired_p(after: np.ndarray, before: np.ndarray) -> float:
    """Two-sided p that two models differ on the same prompts; both of shape (prompts, seeds, samples).

    An exact test that flips the sign of each prompt's difference at random (``sign_flip_p``); with one yes or no for
    each prompt it is McNemar's test. It treats seeds as fixed; so, where a model has several, p is at least the level
    at which half the interval from the crossed variances of prompts and seeds is as large as the difference. A single
    prompt gives 1.
    """
    up, down = map(_crossed, _in_both(after, before))
    change = _changes(up, down)
    p = sign_flip_p(change)
    if max(up.seeds, down.seeds) < 2 or p == 1:
        return p
    return max(p, _level_reached(change.mean(), _variances(up, down, change)))


def _changes(up: _Crossed, down: _Crossed) -> np.ndarray:
    """The differences of the prompts that both have, shape (prompts,)."""
    change = up.rows + up.mean - down.rows - down.mean
    return change[up.there & down.there]


def _variances(up: _Crossed, down: _Crossed, change: np.ndarray) -> list[tuple[float, float]]:
    """Variances of a mean difference, of the prompts and of each model's seeds, with their degrees of freedom."""
    of_rows = change.var(ddof=1) / len(change)
    of_prompts = float(_without(of_rows, up.of_error + down.of_error))
    return [(of_prompts, len(change) - 1), *_of_seeds(up), *_of_seeds(down)]


def _of_seeds(found: _Crossed) -> list[tuple[float, float]]:
    return [(float(found.of_seeds), float(found.seeds - 1))] if found.seeds > 1 else []


def mean_paired_p(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Like ``paired_p``, of the unweighted mean of groups' differences; sign flips by the normal approximation."""
    from scipy.stats import norm

    pairs = [_in_both(after, before) for after, before in pairs]
    changes = [_changes(*map(_crossed, pair)) for pair in pairs]
    centre = np.mean([change.mean() for change in changes])
    flipped = np.sqrt(sum((change**2).sum() / len(change) ** 2 for change in changes)) / len(changes)
    p = 2 * float(norm.sf(abs(centre) / flipped)) if flipped else 1.0
    seeds = [_seeds_of_mean(groups) for groups in zip(*pairs, strict=True)]
    of_seeds = [(variance, float(count - 1)) for variance, count in seeds if count > 1]
    return max(p, _level_reached(centre, [(flipped**2, np.inf), *of_seeds])) if of_seeds else p


def _level_reached(difference: float, variances: Sequence[tuple[float, float]]) -> float:
    """The p at which half the interval is as large as the difference. ``variances``: (variance, degrees of freedom)."""
    from scipy.optimize import brentq
    from scipy.stats import t

    kept = [pair for pair in variances if pair[0] > 0]
    if not kept:
        return float(difference == 0)
    sizes, freedoms = np.asarray(kept).T

    def beyond(log_p: float) -> float:
        return float((t.isf(np.exp(log_p) / 2, freedoms) ** 2 * sizes).sum() - difference**2)

    return float(np.exp(brentq(beyond, _SMALLEST_LOG_P, 0))) if beyond(_SMALLEST_LOG_P) > 0 else 0.0


def sign_flip_p(change: np.ndarray) -> float:
    """Two-sided p of a sum of changes, shape (prompts,), if the sign of each is flipped at random: exact, all ways.

    Changes are expressed in the coarsest step of which all are multiples; there is one, as they come from counts of
    answers. With more than fifty different sizes of change, the normal approximation is used.
    """
    from scipy.stats import binom, norm

    sizes, counts = np.unique(np.abs(change[np.abs(change) > 1e-9]).round(9), return_counts=True)
    if not len(sizes) or len(change) < 2:
        return 1.0
    if len(sizes) > _MANY:
        return 2 * float(norm.sf(abs(change.sum()) / np.sqrt((change**2).sum())))
    step = next(
        (n for n in range(1, _FINEST) if np.allclose(sizes * n, np.rint(sizes * n), rtol=0, atol=1e-5)), _FINEST
    )
    steps = np.rint(sizes * step).astype(int)
    chances = np.ones(1)
    # The sum in units of two steps above the lowest: each change adds its size or nothing.
    for size, count in zip(steps, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = _convolved(chances, own)
    total = int((steps * counts).sum())
    reached = abs(2 * int(np.rint(np.rint(change * step)[change > 0].sum())) - total)
    sums = np.abs(2 * np.arange(len(chances)) - total)
    return float(np.clip(chances[sums >= reached].sum(), 0, 1))


def _convolved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from scipy.signal import fftconvolve

    return np.convolve(one, other) if min(len(one), len(other)) <= 1000 else np.maximum(fftconvolve(one, other), 0)


def mean_p(change: np.ndarray) -> float:
    """Two-sided p that a mean of numbers, shape (prompts,), is not 0: Student's t; NaN for fewer than two.

    If all are equal, so that the variance cannot be estimated, p is the chance that all signs agree.
    """
    from scipy.stats import t

    count = len(change)
    if count < 2:
        return np.nan
    spread = change.std(ddof=1) / np.sqrt(count)
    if spread < 1e-12 * np.abs(change).max():
        return 2.0 ** (1 - count)
    return float(2 * t.sf(abs(change.mean()) / spread, count - 1)) if change.any() else 1.0


def leader(low: "pd.Series", high: "pd.Series") -> str | None:
    """Which of several may be called the first: the one whose interval lies above those of all others.

    ``low`` and ``high``: the ends of the intervals, by name. None if there is no such interval, as in a tie, if an end
    needed for it is missing, and for fewer than two.
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
