"""How many words texts have, by definitions that have names: the published ones, exactly, and sensible ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emogap.evaluate.nltk_words import Release, word_tokenizer
from emogap.evaluate.stop_words import STOP_WORDS
from emogap.text.words import plain_words


@dataclass(frozen=True)
class Preset:
    """A definition of what a word is, which words count, and when two are the same."""

    tokens: Callable[[str], list[str]]
    alphabetic: bool = False
    """Only tokens all of whose characters are letters count."""
    without_stop_words: bool = True
    """A token whose lower case is a stop word does not count."""
    fold_case: bool = True
    """Words that differ in case alone are one."""
    meaning: str = ""

    def words(self, text: str) -> list[str]:
        """The words of a text that count, as they are compared."""
        tokens = self.tokens(text)
        if self.alphabetic:
            tokens = [token for token in tokens if token.isalpha()]
        if self.without_stop_words:
            tokens = [token for token in tokens if token.lower() not in STOP_WORDS]
        return [token.lower() for token in tokens] if self.fold_case else tokens


def _nltk(release: Release) -> Callable[[str], list[str]]:
    return lambda text: word_tokenizer(release)(text)


PRESETS: dict[str, Preset] = {
    "published-stories": Preset(
        _nltk("3.8.1"), meaning="nltk 3.8.1 tokens, punctuation included, without stop words; unique in lower case"
    ),
    "published-stories-installed-nltk": Preset(
        _nltk("installed"), meaning="the same with the tokenizer of the nltk that is installed"
    ),
    "published-rewrites": Preset(
        _nltk("3.8.1"), alphabetic=True, fold_case=False,
        meaning="nltk 3.8.1 tokens, alphabetic ones only, without stop words; unique as written",
    ),
    "published-rewrites-installed-nltk": Preset(
        _nltk("installed"), alphabetic=True, fold_case=False,
        meaning="the same with the tokenizer of the nltk that is installed",
    ),
    "words": Preset(
        plain_words, without_stop_words=False, meaning="runs of letters and digits, all of them; unique in lower case"
    ),
    "content-words": Preset(plain_words, meaning="the same without stop words"),
}  # fmt: skip
STORY_PRESETS = ("published-stories", "published-stories-installed-nltk", "words", "content-words")
REWRITE_PRESETS = ("published-rewrites", "published-rewrites-installed-nltk", "words", "content-words")


@dataclass
class WordCount:
    """The counts of one group under one preset."""

    texts: int = 0
    total: int = 0
    squares: int = 0
    """Sum over the texts of their words squared: what the spread of the average takes."""
    distinct: set[str] = field(default_factory=set)

    def add(self, words: Sequence[str]) -> None:
        self.texts += 1
        self.total += len(words)
        self.squares += len(words) ** 2
        self.distinct.update(words)

    def merge(self, other: "WordCount") -> None:
        self.texts += other.texts
        self.total += other.total
        self.squares += other.squares
        self.distinct |= other.distinct

    def rows(self, group: str, preset: str) -> list[dict]:
        measures = {
            "texts": self.texts,
            "total_words": self.total,
            "unique_words": len(self.distinct),
            "average_words": self.total / self.texts,
            **self._interval(),
        }
        return [{"group": group, "preset": preset, "measure": name, "value": value} for name, value in measures.items()]

    def _interval(self) -> dict[str, float]:
        """The ends of the average's 95 % interval (Student's t); none of a single text."""
        from scipy.stats import t

        if self.texts < 2:
            return {}
        average = self.total / self.texts
        variance = (self.squares - self.texts * average**2) / (self.texts - 1)
        half = float(t.ppf(0.975, self.texts - 1)) * math.sqrt(max(variance, 0) / self.texts)
        return {"average_words_low": average - half, "average_words_high": average + half}


def count_words(texts: Sequence[str], presets: Sequence[str]) -> dict[str, WordCount]:
    """Preset → counts of the texts."""
    counts = {preset: WordCount() for preset in presets}
    for text in texts:
        for preset in presets:
            counts[preset].add(PRESETS[preset].words(text))
    return counts
