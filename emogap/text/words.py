"""Words: one spelling for what readers take for the same letters, what a word is, and runs of words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from emogap.errors import reading_parquet
from emogap.store.artefacts import RULE, remembered

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
"""Accents that stand behind their letter, inside a character class: those left have no letter made with them."""
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
    """The text, ``plain``, up to the end of so many of its words; all of it where it has no more."""
    text = plain(text)
    ends = [word.end() for word in islice(_WORD.finditer(text), count + 1)]
    return text if len(ends) <= count else text[: ends[count - 1] if count else 0]


def runs(text: str) -> list[str]:
    """Runs of letters and digits alone: what apostrophes and hyphens join is parted."""
    return _RUN.findall(plain(text))


def ngrams(words: Sequence[T], length: int) -> list[tuple[T, ...]]:
    """All runs of so many words, or numbers that stand for words, in order."""
    return list(zip(*(words[start:] for start in range(length)), strict=False))


def distinct_n(ngrams_of_texts: Iterable[Iterable[tuple]]) -> float:
    """Different n-grams over all n-grams of the texts together (distinct-n, Li et al. 2016); NaN if they have none."""
    found = [ngram for of_text in ngrams_of_texts for ngram in of_text]
    return len(set(found)) / len(found) if found else float("nan")


def spelling_rule(tables: Iterable[Path], column: str, **where) -> dict[str, str]:
    """The entry that a recipe of numbers about words has where a text of the tables is not ``plain``, else none.

    ``where``: what ``pyarrow.parquet.read_table`` takes to leave rows out. A table that is not there has no text.
    Raises ``InputError`` for one that cannot be read.
    """

    def is_odd(path: Path) -> bool:
        return any(plain(text) != text for text in column_texts(path, column, **where) if text is not None)

    question = f"a text of {column} that is not plain: {where}, {_SPELLING}"
    odd = any(remembered(question, path, partial(is_odd, path)) for path in tables if path.is_file())
    return {SPELLING: _SPELLING} if odd else {}


def column_texts(path: Path, column: str, **where) -> list[str | None]:
    """One column of a Parquet table. ``where``: as of ``spelling_rule``."""
    import pyarrow.parquet as pq

    with reading_parquet(path):
        return pq.read_table(path, columns=[column], **where)[column].to_pylist()
