"""A judge of another kind, which needs no training: the polarity of an English text by a word list and some rules.

VADER (Hutto & Gilbert 2014): words with the valence that people gave them, and rules for negation, degree, capitals and
punctuation. It knows no emotions, only positive, neutral and negative; and it reads English alone.
"""

from collections.abc import Sequence
from importlib import metadata

from emogap.errors import ModelError
from emogap.text.words import plain

VADER = "VADER"
"""What tables call this judge."""
CLEAR = 0.05
"""A compound score from this up is positive, one from minus this down negative: the bounds of the package's authors."""
PACKAGE = "vaderSentiment"


def lexicon_identity() -> str:
    """The lexicon's identity in recipes, found without loading it: package and version, or that it is not installed."""
    try:
        return f"{PACKAGE} {metadata.version(PACKAGE)}"
    except metadata.PackageNotFoundError:
        return f"{PACKAGE}, not installed"


def compound_scores(texts: Sequence[str]) -> list[float]:
    """VADER's compound score of each text: the valences of its words, summed and scaled into the range -1 to 1.

    The score of a long text lies further from 0. Texts are read in one spelling (``plain``), so that a curly apostrophe
    does not hide a negation. Raises ``ModelError`` if the package is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ModelError(
            f"sentiment.lexicon = 'vader' needs the package {PACKAGE}, which is not installed; "
            "pip install -r requirements.txt, or go on without it: sentiment.lexicon=none"
        ) from None

    analyzer = SentimentIntensityAnalyzer()
    return [analyzer.polarity_scores(plain(text))["compound"] for text in texts]


def polarity(compound: float) -> str:
    """``positive``, ``neutral`` or ``negative``."""
    return "positive" if compound >= CLEAR else "negative" if compound <= -CLEAR else "neutral"
