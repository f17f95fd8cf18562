"""The 28 GoEmotions labels, their groups, and how a vector of 28 scores becomes labels.

Labels and their order: Demszky et al. 2020, "GoEmotions: A Dataset of Fine-Grained Emotions". ``scores`` columns of
every table are vectors in this order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emogap.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

LABELS: tuple[str, ...] = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
NEUTRAL = "neutral"
EMOTIONS: tuple[str, ...] = tuple(label for label in LABELS if label != NEUTRAL)
INDEX: dict[str, int] = {label: i for i, label in enumerate(LABELS)}

# The emotions that answers are rewritten towards.
REWRITE_EMOTIONS: tuple[str, ...] = (
    "admiration", "amusement", "approval", "caring", "curiosity", "desire", "excitement", "gratitude", "joy", "love",
    "optimism", "pride", "realization", "relief", "surprise",
)  # fmt: skip

# Two ways to fold the 28 into groups. "study" is the grouping behind the published sentiment tables (surprise counts
# as neutral there, curiosity and realization as positive, confusion as negative); "goemotions" is the data set's own.
GROUPINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "study": {
        "positive": (
            "admiration", "amusement", "approval", "caring", "curiosity", "desire", "excitement", "gratitude", "joy",
            "love", "optimism", "pride", "realization", "relief",
        ),
        "negative": (
            "anger", "annoyance", "confusion", "disappointment", "disapproval", "disgust", "embarrassment", "fear",
            "grief", "nervousness", "remorse", "sadness",
        ),
        "neutral": ("neutral", "surprise"),
    },
    "goemotions": {
        "positive": (
            "admiration", "amusement", "approval", "caring", "desire", "excitement", "gratitude", "joy", "love",
            "optimism", "pride", "relief",
        ),
        "negative": (
            "anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment", "fear", "grief",
            "nervousness", "remorse", "sadness",
        ),
        "ambiguous": ("confusion", "curiosity", "realization", "surprise"),
        "neutral": ("neutral",),
    },
}  # fmt: skip


def group_of(label: str, grouping: str = "study") -> str:
    """The group of one label; a name that is already a group of that grouping is returned as it is.

    Raises ``UsageError`` for a name that is neither.
    """
    groups = GROUPINGS[grouping]
    if label in groups:
        return label
    for group, members in groups.items():
        if label in members:
            return group
    raise UsageError(f"'{label}' is not one of the 28 emotions; choose among {', '.join(LABELS)}")


def groups_of(labels: "pd.Series", grouping: str = "study") -> "pd.Series":
    """The group of each label; missing where the label is missing, as for an empty answer, which shows no emotion."""
    return labels.map(lambda label: group_of(label, grouping), na_action="ignore")


def check_label(label: str, where: str) -> str:
    """``label`` itself if it is one of the 28, else a ``UsageError`` that names it and where it stood."""
    if label not in INDEX:
        raise UsageError(f"{where}: '{label}' is not one of the 28 emotions; choose among {', '.join(LABELS)}")
    return label


def labels_over(scores: np.ndarray, thresholds: float | Sequence[float] | np.ndarray) -> list[str]:
    """All labels of one vector of shape (28,) whose score passes its threshold, highest score first."""
    scores = np.asarray(scores)
    passing = np.flatnonzero(scores > np.asarray(thresholds))
    return [LABELS[i] for i in passing[np.argsort(-scores[passing], kind="stable")]]
