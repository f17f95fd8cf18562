"""How many words texts have, by definitions that have names: the published ones, exactly, and sensible ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emogap.text.nltk_words import Release, word_tokenizer
from emogap.text.words import plain_words

_LIST = """
i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself yourselves he him his
himself she she's her hers herself it it's its itself they them their theirs themselves what which who whom this
that that'll these those am is are was were be been being have has had having do does did doing a an the and but
if or because as until while of at by for with about against between into through during before after above
below to from up down in out on off over under again further then once here there when where why how all any
both each few more most other some such no nor not only own same so than too very s t can will just don don't
should should've now d ll m o re ve y ain aren aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn
hasn't haven haven't isn isn't ma mightn mightn't mustn mustn't needn needn't shan shan't shouldn shouldn't wasn
wasn't weren weren't won won't wouldn wouldn't
"""
STOP_WORDS: frozenset[str] = frozenset(_LIST.split())
"""The 179 English stop words that the published word counts leave out: the list of nltk's data package before it grew
to 198 words, which goes back to M. F. Porter's Snowball list."""


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

    lengths: list[int] = field(default_factory=list)
    """Words of each text."""
    distinct: set[str] = field(default_factory=set)

    @property
    def texts(self) -> int:
        return len(self.lengths)

    @property
    def total(self) -> int:
        return sum(self.lengths)

    def add(self, words: Sequence[str]) -> None:
        self.lengths.append(len(words))
        self.distinct.update(words)

    def merge(self, other: "WordCount") -> None:
        self.lengths += other.lengths
        self.distinct |= other.distinct


def count_words(texts: Sequence[str], presets: Sequence[str]) -> dict[str, WordCount]:
    """Preset → counts of the texts."""
    counts = {preset: WordCount() for preset in presets}
    for text in texts:
        for preset in presets:
            counts[preset].add(PRESETS[preset].words(text))
    return counts
