"""Intervals and tests: published examples, values by hand, and simulations that hold them to what they say."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binomtest, bootstrap, norm, t, ttest_1samp

from emogap.text.statistics import (
    by_prompt,
    centre,
    holm,
    leader,
    mean,
    mean_interval,
    mean_p,
    mean_paired_interval,
    mean_paired_p,
    mean_share_interval,
    paired_changes,
    paired_interval,
    paired_mean,
    paired_p,
    paired_spreads,
    parts_of_ratio,
    proportion,
    rank_correlation_interval,
    resampled_interval,
    share_interval,
    sign_flip_p,
    spreads,
    what_is_sampled,
    wilson_interval,
    without_spreads,
)


def answers(*rows):
    """One answer a prompt by one seed: shape (prompts, 1, 1)."""
    return np.array(rows, float)[:, None, None]


def table(both, first, second, neither):
    """Two models on the same prompts, by how many prompts each of them gets right."""
    counts = (both, first, second, neither)
    return answers(*np.repeat([1, 1, 0, 0], counts)), answers(*np.repeat([1, 0, 1, 0], counts))


# --- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_one_answer_a_prompt_has_the_published_score_interval(successes, trials, low, high):
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    assert share_interval(answers(*[1] * successes, *[0] * (trials - successes))) == pytest.approx(
        (low, high), abs=5e-5
    )


def test_one_case_has_no_interval_and_several_that_agree_have_one():
    assert np.isnan(share_interval(np.ones((1, 3, 2)))).all()
    assert np.isnan([proportion(1, 1).low, mean(np.array([2.0])).high]).all()
    for seeds, samples in itertools.product((1, 2, 5), (1, 4)):
        low, high = share_interval(np.ones((2, seeds, samples)))
        assert (low, high) == pytest.approx(wilson_interval(2, 2))
        low, high = share_interval(np.zeros((30, seeds, samples)))
        assert (low, high) == pytest.approx(wilson_interval(0, 30))


def test_samples_that_say_the_same_count_once_and_others_for_more():
    once = answers(*[1] * 6, *[0] * 14)
    assert share_interval(np.repeat(once, 10, axis=2)) == pytest.approx(share_interval(once))
    apart = np.tile([1, 0], (20, 1))[:, None]  # each prompt has a half
    assert share_interval(apart)[0] > wilson_interval(10, 20)[0]
    # No narrower than if all 40 answers were prompts of their own.
    assert share_interval(apart)[0] <= wilson_interval(20, 40)[0] + 1e-9


def test_spreads_are_the_components_of_variance():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 3, 1)) + rng.normal(size=(6, 1, 1)) + 2 * rng.normal(size=(1, 3, 1))
    cells = values[:, :, 0]
    # The sums of squares of the textbook.
    total, rows, columns = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    of_rows, of_columns = 3 * ((rows - total) ** 2).sum() / 5, 6 * ((columns - total) ** 2).sum() / 2
    rest = ((cells - rows[:, None] - columns + total) ** 2).sum() / 10
    expected = np.sqrt([max(of_rows - rest, 0) / 3, max(of_columns - rest, 0) / 6])
    assert spreads(values) == pytest.approx(expected)
    low, high = mean_interval(cells)
    half = np.sqrt(t.ppf(0.975, 5) ** 2 * max(of_rows - rest, 0) / 18 + t.ppf(0.975, 2) ** 2 * of_columns / 18)
    assert (low, high) == pytest.approx((total - half, total + half))
    assert np.isnan(spreads(values[:, :1])[1])
    told = pd.DataFrame({"model": ["a"], "sd_prompts": [1.0], "sd_seeds": [np.nan]})
    assert list(without_spreads(told)) == ["model"]
    assert "one model" in what_is_sampled(1) and "both sampled" in what_is_sampled(2)


def test_rounding_is_no_spread_and_no_correlation():
    # Fifths have no exact binary form, so that equal means differ in their last bits.
    one = np.array([[[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]] * 7)
    other = np.array([[[1.0, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1, 0, 1, 1, 0]]] * 7)
    assert spreads(one) == (0, 0) and paired_spreads(one, other) == (0, 0)
    low, high = paired_interval(one, other)
    (low_one, high_one), (low_other, high_other) = share_interval(one), share_interval(other)
    # Without a correlation: the square-and-add rule by hand.
    assert low == pytest.approx(-0.4 - np.hypot(0.2 - low_one, high_other - 0.6))
    assert high == pytest.approx(-0.4 + np.hypot(high_one - 0.2, 0.6 - low_other))
    assert np.isnan([spreads(one[:1])[0], paired_spreads(one[:1], other[:1])[0]]).all()
    both, single = (one, other), (one[:1], other[:1])
    assert np.isfinite(mean_paired_interval([both, single])).all() and np.isfinite(mean_paired_interval([single])).all()


def test_of_a_frame_prompts_are_rows_seeds_columns_and_what_is_missing_nan():
    frame = pd.DataFrame(
        [("b", 3, 0.0), ("a", 0, 1.0), ("a", 0, 0.5), ("a", 3, 1.0)], columns=["prompt", "train_seed", "x"]
    )
    (values,) = by_prompt(frame, ["x"], ["prompt"])
    assert values.shape == (2, 2, 2)
    np.testing.assert_array_equal(values, [[[np.nan, np.nan], [0, np.nan]], [[1, 0.5], [1, np.nan]]])
    only = pd.MultiIndex.from_tuples([("a",)], names=["prompt"])
    assert by_prompt(frame.drop(columns="train_seed"), ["x"], ["prompt"], only).tolist() == [[[[1, 0.5, 1]]]]


def test_means_of_groups_stay_inside_their_bounds():
    rng = np.random.default_rng(0)
    for seeds in (1, 2):
        groups = [rng.random((n, seeds, 1)).round() for n in (2, 2, 3)]
        low, high = mean_share_interval(groups)
        assert 0 <= low < np.mean([group.mean() for group in groups]) < high <= 1
        assert mean_share_interval([np.ones((2, seeds, 1))] * 3)[1] == 1
        pairs = [(np.ones((2, seeds, 1)), np.zeros((2, 1, 1)))] * 2
        low, high = mean_paired_interval(pairs)
        assert 0 < low < high == 1
    # Of one group it is nearly that group's own interval; of two alike it is that of twice as many answers.
    one = answers(*[1, 1, 0, 0, 1, 0, 1, 1] * 5)
    assert mean_share_interval([one]) == pytest.approx(share_interval(one), abs=2e-3)
    assert mean_share_interval([one, one]) == pytest.approx(share_interval(np.concatenate([one, one])), abs=2e-3)
    other = answers(*[1, 0, 0, 1, 1, 0, 0, 1] * 5)
    both = [np.concatenate([values, values]) for values in (one, other)]
    assert mean_paired_interval([(one, other)] * 2) == pytest.approx(paired_interval(*both), abs=8e-3)


# --- differences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen and Laake 2014, airways before and after transplantation
    ],
)
def test_paired_shares_have_the_published_intervals(counts, low, high):
    assert paired_interval(*table(*counts)) == pytest.approx((low, high), abs=5e-4)


def test_a_difference_does_not_collapse_where_no_prompt_changed_and_one_prompt_has_none():
    low, high = paired_interval(*table(20, 0, 0, 30))
    assert -high == low < -0.03
    low, high = paired_interval(np.ones((4, 3, 2)), np.ones((4, 1, 2)))
    assert -high == low < -0.3
    assert np.isnan(paired_interval(np.ones((1, 3, 2)), np.zeros((1, 1, 2)))).all()


def test_only_prompts_that_both_models_have_are_compared():
    after, before = table(3, 5, 1, 4)
    longer = np.concatenate([after, answers(1, 1, 1)])
    padded = np.concatenate([before, np.full((3, 1, 1), np.nan)])
    assert paired_interval(longer, padded) == pytest.approx(paired_interval(after, before))
    assert paired_p(longer, padded) == paired_p(after, before)


def test_where_a_model_says_nothing_is_no_difference():
    """Both are positive at the first prompt alone; one is silent there in two seeds, the other at the last prompt."""
    one, other = np.zeros((2, 3, 3, 2))
    one[0] = other[0] = 1
    one[0, 1:], other[2, :2] = np.nan, np.nan
    assert centre(one) == centre(other) == pytest.approx(1 / 3)
    low, high = paired_interval(one, other)
    assert low < 0 < high and paired_p(one, other) == 1
    assert paired_mean(one[..., 0], other[..., 0])["change"] == pytest.approx(0, abs=1e-12)


def test_where_every_vote_counts_the_share_of_the_votes_is_in_its_interval():
    """Nine raters choose one model at the same prompt, and one of them the other at nine prompts more."""
    votes = np.full((10, 9, 1), np.nan)
    votes[0], votes[1:, 0] = 1, 0
    assert centre(votes) == pytest.approx(0.1)
    low, high = share_interval(votes, by_cell=True)
    assert low < 0.5 < high
    low, high = share_interval(votes)
    assert low < 0.1 < high


def test_answers_are_missing_without_a_pattern():
    rng = np.random.default_rng(0)
    after, before = (np.where(rng.random((14, 5, 3)) < 0.6, rng.integers(0, 2, (14, 5, 3)), np.nan) for _ in range(2))
    with pytest.warns(RuntimeWarning, match="empty slice"):  # a seed that never answers a prompt
        change = np.nanmean(np.nanmean(after, axis=2), axis=1) - np.nanmean(np.nanmean(before, axis=2), axis=1)
    assert paired_changes(after, before)["change"] == pytest.approx(change.mean())
    assert paired_p(after, before) >= sign_flip_p(change) > 0


def test_signs_are_flipped_exactly():
    change = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    assert sign_flip_p(change) == pytest.approx(binomtest(9, 11).pvalue)
    thirds = np.array([1, 2 / 3, 1 / 3, 1 / 3, -1 / 6, 0.5, 0])
    sums = [abs(np.dot(signs, thirds)) for signs in itertools.product((-1, 1), repeat=7)]
    assert sign_flip_p(thirds) == pytest.approx(np.mean(np.array(sums) > thirds.sum() - 1e-9))
    assert sign_flip_p(np.zeros(5)) == sign_flip_p(np.array([1.0])) == 1
    many = np.linspace(-1, 1.2, 200)
    assert sign_flip_p(many) == pytest.approx(2 * norm.sf(many.sum() / np.sqrt((many**2).sum())))


def test_a_test_of_several_seeds_is_no_surer_than_its_seeds():
    after, before = table(0, 12, 0, 8)
    one = paired_p(after, before)
    assert one == pytest.approx(2 * 0.5**12)
    agreed = np.repeat(after, 3, axis=1)
    assert paired_p(agreed, before) == pytest.approx(one, rel=0.2)
    apart = np.concatenate([after, 0 * after, after], axis=1)
    assert paired_p(apart, before) > 0.05
    assert mean_paired_p([(apart, before)] * 2) > 0.05 > mean_paired_p([(after, before)] * 2)


# --- other numbers ---------------------------------------------------------------------------------------------------


def test_means_of_numbers_have_students_interval_and_test():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    known = ttest_1samp(values, 0)
    ends = known.confidence_interval(0.95)
    found = mean(values)
    assert (found.value, found.low, found.high) == pytest.approx((3.5, ends.low, ends.high))
    assert mean_p(values) == pytest.approx(known.pvalue)
    assert mean_p(np.array([2.0, 2.0, 2.0])) == 0.25  # all signs agree by chance in one of four draws
    assert mean_p(np.zeros(3)) == 1 and np.isnan(mean_p(np.array([2.0])))


def test_a_difference_of_means_takes_the_seeds_of_both_models_as_random():
    rng = np.random.default_rng(0)
    prompts = rng.normal(size=(6, 1))
    after = 1 + prompts + rng.normal(size=(6, 3)) + 2 * rng.normal(size=(1, 3))
    before = prompts + rng.normal(size=(6, 2)) + 2 * rng.normal(size=(1, 2))
    variances, rest = [], 0
    for cells in (after, before):
        rows, columns, total = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
        count, seeds = cells.shape
        variances.append((columns.var(ddof=1) / seeds, seeds - 1))
        rest += ((cells - rows[:, None] - columns + total) ** 2).sum() / (count - 1) / (seeds - 1) / cells.size
    change = after.mean(axis=1) - before.mean(axis=1)
    variances.append((max(change.var(ddof=1) / 6 - rest, 0), 5))
    half = np.sqrt(sum(t.ppf(0.975, freedom) ** 2 * variance for variance, freedom in variances))
    found = paired_mean(after, before)
    assert (found["change"], found["low"], found["high"]) == pytest.approx(
        (change.mean(), change.mean() - half, change.mean() + half)
    )
    assert (found["p"] < 0.05) == (found["low"] > 0)
    # With one seed each it is the test of the differences; a prompt that one model lacks is left out.
    known = ttest_1samp(after[:, 0] - before[:, 0], 0)
    ends = known.confidence_interval(0.95)
    nowhere = [[np.nan]]
    found = paired_mean(np.append(after[:, :1], nowhere, axis=0), np.append(before[:, :1], [[5.0]], axis=0))
    assert (found["low"], found["high"], found["p"]) == pytest.approx((ends.low, ends.high, known.pvalue))


def test_differences_of_means_are_covered_with_few_seeds():
    rng = np.random.default_rng(0)
    for of_prompts, of_seeds in ((1, 0), (1, 0.5), (0.2, 2)):
        hits = 0
        for _ in range(300):
            prompts = rng.normal(size=(30, 1)) * of_prompts
            after, before = (
                prompts + rng.normal(size=(30, seeds)) + of_seeds * rng.normal(size=(1, seeds)) for seeds in (3, 2)
            )
            found = paired_mean(after, before)
            hits += found["low"] <= 0 <= found["high"]
        assert hits / 300 >= 0.93


def test_the_parts_of_a_ratio_have_it_as_their_mean():
    above, below = np.array([2.0, 6.0]), np.array([1.0, 3.0])
    assert parts_of_ratio(above, below) == pytest.approx([2, 2])
    assert parts_of_ratio(above, np.array([2.0, 2.0])) == pytest.approx([1, 3])


def test_resamples_of_few_reach_further_and_of_too_few_nowhere():
    draws = np.random.default_rng(0).normal(size=100_000)
    assert resampled_interval(draws, 1_000_000) == pytest.approx((-1.96, 1.96), abs=0.03)
    # Of ten: Student's quantile of nine degrees of freedom times the root of 10 / 9.
    assert resampled_interval(draws, 10)[1] == pytest.approx(2.262 * np.sqrt(10 / 9), abs=0.06)
    assert np.isnan(resampled_interval(draws, 7)).all()


def test_the_first_is_named_only_where_its_interval_lies_above_all_others():
    def first(**ends):
        return leader(*(pd.Series({name: end[place] for name, end in ends.items()}) for place in (0, 1)))

    assert first(a=(0.1, 0.3), b=(0.4, 0.6), c=(0.0, 0.39)) == "b"
    assert first(a=(0.1, 0.4), b=(0.4, 0.6)) is None  # they meet
    assert first(a=(0.2, 0.5), b=(0.2, 0.5)) is None  # a tie
    assert first(a=(0.2, 0.5)) is None  # the first of one
    assert first(a=(0.1, np.nan), b=(0.4, 0.6)) is None  # a single text has no interval


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


# --- simulations -----------------------------------------------------------------------------------------------------

SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
PROMPTS = (2, 5, 14, 30, 100, 350)


def centred(share, spread):
    """The mean on the logit scale at which prompts and seeds of that spread have this share in the whole population."""
    drawn, low, high = spread * norm.ppf((np.arange(4000) + 0.5) / 4000), -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        above = (1 / (1 + np.exp(-middle - drawn))).mean() > share
        low, high = (low, middle) if above else (middle, high)
    return middle


def study(rng, share, prompts, seeds, samples, of_seeds, repeats):
    """Answers of a model in so many studies; ``prompts``: their places on the logit scale, (repeats, prompts, 1)."""
    spread = of_seeds if seeds > 1 else 0.0
    places = centred(share, np.hypot(1, spread)) + prompts + rng.normal(0, spread, (repeats, 1, seeds))
    return (rng.random((*places.shape, samples)) < (1 / (1 + np.exp(-places)))[..., None]).astype(float)


def covered(rng, interval, prompts, design, repeats, shares=SHARES):
    found = []
    for share in shares:
        low, high = interval(study(rng, share, rng.normal(size=(repeats, prompts, 1)), *design, repeats))
        found.append(np.mean((low <= share) & (share <= high)))
    return np.array(found)


def percentile_bootstrap(values):
    """What was done once: means over seeds and samples first, then prompts resampled."""
    found = [
        bootstrap((one,), np.mean, n_resamples=300, method="percentile", rng=0).confidence_interval
        for one in values.mean(axis=(2, 3))
    ]
    return np.array(found).T


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "most"),
    [
        ((1, 1, 0.0), 0.97),
        ((1, 2, 0.0), 0.97),
        ((1, 4, 0.0), 0.97),
        ((2, 1, 0.5), 1.0),
        ((2, 2, 0.5), 1.0),
        ((3, 1, 0.3), 1.0),
        ((3, 2, 0.5), 1.0),
        ((4, 2, 0.4), 0.985),
        ((5, 1, 0.3), 0.99),
        ((5, 2, 0.3), 0.98),
        ((5, 2, 0.5), 0.98),
    ],
    ids=str,
)
def test_intervals_of_shares_cover_what_they_say(design, most):
    """``design``: seeds, samples, spread of the seeds (logits; prompts have 1). Few seeds may be too wide."""
    rng = np.random.default_rng(1)
    for prompts in PROMPTS:
        repeats = 3000 if prompts <= 100 else 1200
        found = covered(rng, share_interval, prompts, design, repeats)
        noise = 2.5 * np.sqrt(0.05 * 0.95 / repeats)
        told = f"{prompts} prompts: {found.round(3)}"
        assert found.mean() > 0.94 - noise / np.sqrt(6) and found.min() > (0.92 if prompts >= 30 else 0.82) - noise, (
            told
        )
        assert found.mean() < (most if prompts > 2 else max(most, 0.975)) + noise / np.sqrt(6), told


@pytest.mark.slow
def test_the_percentile_bootstrap_covers_less_than_it_says():
    rng = np.random.default_rng(1)
    for prompts, design in ((5, (1, 2, 0.0)), (14, (1, 1, 0.0)), (100, (3, 2, 0.5))):
        assert covered(rng, percentile_bootstrap, prompts, design, 100, (0.05, 0.1)).mean() < 0.85


def two_models(rng, shares, prompts, designs, repeats, alike=0.8):
    """Answers of two models to the same prompts, whose places on the logit scale are correlated."""
    common = rng.normal(size=(repeats, prompts, 1))
    own = (alike * common + np.sqrt(1 - alike**2) * rng.normal(size=common.shape), common)
    return [
        study(rng, share, place, *design, repeats) for share, place, design in zip(shares, own, designs, strict=True)
    ]


PAIRED = [
    ((1, 1, 0.0), (1, 1, 0.0)),
    ((1, 2, 0.0), (1, 2, 0.0)),
    ((2, 1, 0.5), (1, 1, 0.0)),
    ((3, 2, 0.5), (1, 2, 0.0)),
    ((3, 2, 0.5), (3, 2, 0.5)),
    ((5, 2, 0.5), (1, 2, 0.0)),
]


@pytest.mark.slow
@pytest.mark.parametrize("designs", PAIRED, ids=str)
def test_intervals_of_differences_cover_what_they_say(designs):
    rng = np.random.default_rng(2)
    pairs = ((0.02, 0.02), (0.05, 0.1), (0.2, 0.2), (0.35, 0.2), (0.5, 0.35))
    for prompts in PROMPTS:
        repeats, found = (2000 if prompts <= 100 else 800), []
        for after, before in pairs:
            low, high = paired_interval(*two_models(rng, (after, before), prompts, designs, repeats))
            found.append(np.mean((low <= after - before) & (after - before <= high)))
        noise = 2.5 * np.sqrt(0.05 * 0.95 / repeats)
        assert np.mean(found) > 0.94 - noise / np.sqrt(5) and min(found) > (0.92 if prompts >= 30 else 0.82) - noise


@pytest.mark.slow
@pytest.mark.parametrize("designs", PAIRED, ids=str)
def test_tests_keep_their_level_where_nothing_differs(designs):
    rng = np.random.default_rng(3)
    for prompts, share in itertools.product((2, 5, 14, 30, 100), (0.1, 0.5)):
        models = two_models(rng, (share, share), prompts, designs, 250)
        told = np.mean([paired_p(after, before) <= 0.05 for after, before in zip(*models, strict=True)])
        assert told <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 250), (prompts, share, told)


WAYS = (1.5, -1.5)


@pytest.mark.slow
@pytest.mark.parametrize("designs", PAIRED, ids=str)
@pytest.mark.parametrize("prompts", [60, 140])
def test_models_that_are_silent_at_different_prompts_do_not_differ_by_that(prompts, designs):
    """One says something the more often the more positive the prompt is, the other the less often."""
    rng, covers, significant, changes = np.random.default_rng(5), [], [], []
    for _ in range(300):
        common = rng.normal(size=(1, prompts, 1))
        models = [study(rng, 0.4, common, *design, 1)[0] for design in designs]
        silent = (
            rng.random(one.shape) > expit(way * common[0])[..., None] for one, way in zip(models, WAYS, strict=True)
        )
        after, before = (np.where(empty, np.nan, one) for one, empty in zip(models, silent, strict=True))
        found = paired_changes(after, before)
        changes.append(found["change"])
        covers.append(found["low"] <= 0 <= found["high"])
        significant.append(paired_p(after, before) <= 0.05)
    assert abs(np.mean(changes)) < 3 * np.std(changes) / np.sqrt(300)
    noise = 2.5 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(covers) > 0.94 - noise and np.mean(significant) < 0.05 + noise


PLACES = ((0.0, 0.7, 1.4, 2.1), (2.0, 2.5, 3.0, 3.5))
"""Of four groups on the logit scale: shares of 0.5 to 0.9, and of 0.88 to 0.97."""


@pytest.mark.slow
@pytest.mark.parametrize("design", [(1, 1, 0.0), (3, 1, 0.3), (5, 1, 0.3)], ids=str)
def test_means_of_groups_cover_what_they_say(design):
    rng = np.random.default_rng(4)
    seeds, samples, spread = design
    for places, prompts in itertools.product(PLACES, (3, 10, 40)):
        found, changed = [], []
        truth = [share_of(place, spread if seeds > 1 else 0) for place in places]
        for _ in range(600):
            shift = rng.normal(0, spread if seeds > 1 else 0, seeds)  # a seed is good or bad at all groups
            groups = [(rng.random((prompts, seeds, samples)) < expit(place + shift)[:, None]) * 1.0 for place in places]
            before = [(rng.random((prompts, 1, 1)) < expit(place)) * 1.0 for place in places]
            low, high = mean_share_interval(groups)
            found.append(low <= np.mean(truth) <= high)
            low, high = mean_paired_interval(list(zip(groups, before, strict=True)))
            changed.append(low <= np.mean(truth) - expit(np.array(places)).mean() <= high)
        assert min(np.mean(found), np.mean(changed)) > 0.93, (places, prompts, np.mean(found), np.mean(changed))


def share_of(place, spread):
    return expit(place + spread * norm.ppf((np.arange(4000) + 0.5) / 4000)).mean()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("cases", [10, 50])
def test_a_rank_correlation_lies_in_its_interval_as_often_as_it_says(correlation, cases):
    random = np.random.default_rng(7)
    true = 6 / np.pi * np.arcsin(correlation / 2)  # of normal pairs with that correlation (Pearson 1907)
    pairs = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], (2000, cases))
    ranks = pairs.argsort(1).argsort(1)
    found = 1 - 6 * np.square(ranks[..., 0] - ranks[..., 1]).sum(1) / (cases * (cases**2 - 1))
    ends = np.array([rank_correlation_interval(one, cases) for one in found])
    assert 0.93 < np.mean((ends[:, 0] <= true) & (true <= ends[:, 1])) < 0.975


def test_a_rank_correlation_of_three_or_without_an_exchange_has_no_interval():
    assert np.isnan(rank_correlation_interval(0.5, 3)).all() and np.isnan(rank_correlation_interval(-1.0, 30)).all()
