"""F1, its intervals, and thresholds, against scikit-learn, counts by hand and made-up cases."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tools.multilabel import bootstrap_f1, cross_fitted, tune_thresholds


@pytest.fixture
def made_up():
    """Scores that tell something of the targets: (600, 4) each, the last label rare."""
    random = np.random.default_rng(0)
    targets = random.random((600, 4)) < [0.5, 0.2, 0.1, 0.02]
    scores = 1 / (1 + np.exp(-(random.normal(size=(600, 4)) + 2.5 * targets - 2)))
    return scores, targets


def test_the_figure_is_all_rows_f1_and_its_interval_that_of_rows_drawn_again(made_up):
    scores, targets = made_up
    predicted = scores > 0.3
    random = np.random.default_rng(0)
    rows = [random.integers(600, size=600) for _ in range(1000)]
    for way, estimate in bootstrap_f1(predicted, targets, resamples=1000, seed=0).items():
        hits, all_ = (predicted & targets), predicted.sum(0) + targets.sum(0)
        by_hand = {"macro": np.mean(2 * hits.sum(0) / all_), "micro": 2 * hits.sum() / all_.sum()}
        assert estimate.value == pytest.approx(by_hand[way])
        drawn = [f1_score(targets[r], predicted[r], average=way, zero_division=0) for r in rows[:200]]
        assert np.mean(estimate.low < np.array(drawn)) == pytest.approx(0.975, abs=0.03)
        assert np.mean(estimate.high > np.array(drawn)) == pytest.approx(0.975, abs=0.03)


def test_label_never_given_nor_predicted_counts_zero():
    nothing = np.zeros((3, 1), dtype=bool)
    one = np.array([[True], [False], [False]])
    assert bootstrap_f1(np.hstack([nothing, one]), np.hstack([nothing, one]))["macro"].value == 0.5


def test_intervals_hold_the_figure_and_narrow_with_rows(made_up):
    scores, targets = made_up
    predicted = scores > 0.3
    few, many = bootstrap_f1(predicted[:100], targets[:100]), bootstrap_f1(predicted, targets)
    for estimate in (few["micro"], many["micro"], many["macro"]):
        assert estimate.low < estimate.value < estimate.high
    assert many["micro"].high - many["micro"].low < few["micro"].high - few["micro"].low


def test_tuned_thresholds_are_near_the_best(made_up):
    scores, targets = made_up
    thresholds = tune_thresholds(scores, targets, 0.2)
    assert thresholds.dtype == np.float32
    for column, given, threshold in zip(scores.T, targets.T, thresholds, strict=True):
        best = max(f1_score(given, column > cut) for cut in np.linspace(0.02, 0.95, 100))
        assert f1_score(given, column > threshold) > best - 0.06


def test_thresholds_between_two_separate_groups():
    scores = np.array([[0.01]] * 50 + [[0.6]] * 50)
    assert 0.01 < tune_thresholds(scores, scores > 0.5, 0.2)[0] < 0.6


def test_cross_fitting_is_less_flattering_than_tuning_on_the_same_rows():
    random = np.random.default_rng(0)
    targets, scores = random.random((200, 20)) < 0.05, random.random((200, 20))
    tuned = f1_score(targets, scores > tune_thresholds(scores, targets, 0.02), average="macro")
    assert f1_score(targets, cross_fitted(scores, targets, 0.02), average="macro") < tuned - 0.02
