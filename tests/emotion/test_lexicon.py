"""The polarity lexicon: its scores are those that its authors print, its bounds those of the paper."""

import sys

import pytest

from emogap.emotion.lexicon import compound_scores, lexicon_identity, polarity
from emogap.errors import ModelError

# What the authors' own list of examples says of these sentences.
PRINTED = {
    "VADER is smart, handsome, and funny.": 0.8316,
    "VADER is smart, handsome, and funny!": 0.8439,
    "VADER is very smart, handsome, and funny.": 0.8545,
    "VADER is VERY SMART, handsome, and FUNNY.": 0.9227,
    "VADER is not smart, handsome, nor funny.": -0.7424,
    "The book was good.": 0.4404,
    "At least it isn't a horrible book.": 0.431,
    "Today SUX!": -0.5461,
}


def test_scores_are_those_that_its_authors_print():
    assert compound_scores(list(PRINTED)) == list(PRINTED.values())


def test_a_score_is_the_valences_brought_between_minus_one_and_one():
    # "good" has the valence 1.9: 1.9 / sqrt(1.9² + 15) = 0.4404.
    assert compound_scores(["The book was good."]) == [round(1.9 / (1.9**2 + 15) ** 0.5, 4)]
    assert compound_scores(["The chair stands by the door.", "…"]) == [0, 0]


def test_a_curly_apostrophe_hides_no_negation():
    assert compound_scores(["It isn’t good."]) == compound_scores(["It isn't good."]) == [-0.3412]


@pytest.mark.parametrize(
    ("compound", "group"),
    [(0.05, "positive"), (0.0499, "neutral"), (0, "neutral"), (-0.0499, "neutral"), (-0.05, "negative")],
)
def test_bounds_belong_to_positive_and_negative(compound, group):
    assert polarity(compound) == group


def test_without_the_package_the_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(
        ModelError, match=r"sentiment\.lexicon = 'vader' needs .* pip install .* sentiment\.lexicon=none"
    ):
        compound_scores(["good"])
    assert lexicon_identity().startswith("vaderSentiment 3.")
