"""Makes the word lists that the emotion lens reads by: which words speak for which of the 28 emotions, how strongly.

Made from GoEmotions' human labels and, if given, from stories whose lines have labels: counts of texts, never text. A
word is listed under an emotion when it stands in that emotion's texts clearly more often than in all the others'
(log-odds with a prior, Monroe, Colaresi and Quinn 2008; z-scores of two sources are added by Stouffer's method). Its
weight is the share of the emotion in the word's use, were all emotions equally frequent: 1 would be a word that no
other emotion's texts have, and 1/28 says nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogap.commands import Parser, a_path
from emogap.emotions import LABELS
from emogap.errors import MissingInput
from emogap.lens.reader import WORDS
from emogap.store.artefacts import fingerprint, write_json
from emogap.text.measures import log_odds
from emogap.text.word_counts import PRESETS
from emogap.textstats.sources import STORY_COLUMNS, read_texts
from tools.goemotions import read_goemotions

LISTED = 40
"""Words of an emotion at most, the highest z-scores first."""
MIN_Z = 3.0
MIN_Z_EACH = 0.5
"""Least z-score in each source by itself, so that no word is listed only for the topics of one kind of text."""
MIN_WEIGHT = 0.12
"""More than three times the weight of a word that says nothing (1 / 28)."""
MIN_TEXTS = 4
"""Texts of the emotion, in both sources together, that must have the word."""
PRIOR_WORDS = 1000.0
"""Size of the prior of a weight: so many words, distributed as in the texts of all emotions together."""
_LETTERS = re.compile(r"[a-z]{2,}")
_PLACEHOLDER = re.compile(r"\[(?:NAME|RELIGION)\]")
"""What GoEmotions has in place of names."""


@dataclass(frozen=True)
class Usage:
    """In how many texts of each emotion each word stands."""

    vocabulary: tuple[str, ...]
    counts: np.ndarray
    """float64 of shape (28, vocabulary)."""


def make_emotion_words(goemotions: Path, stories: Path | None, out: Path) -> dict[str, dict[str, float]]:
    """Write the word lists as JSON and return them.

    ``goemotions``: a folder with ``train.tsv``. ``stories``: a folder of Parquet files whose rows have a story and the
    emotions of its line; with it, a word must occur in both sources. Raises ``MissingInput`` or ``InputError``.
    """
    sources = {"goemotions": _goemotions(goemotions / "train.tsv")}
    files = {"goemotions": [goemotions / "train.tsv"]}
    if stories is not None:
        files["stories"] = sorted(stories.glob("*.parquet"))
        sources["stories"] = _stories(stories, files["stories"])
    words = emotion_words(list(sources.values()))
    made_from = {name: {path.name: fingerprint(path) for path in paths} for name, paths in files.items()}
    write_json(out, {"made_from": made_from, "words": words})
    return words


def _goemotions(path: Path) -> Usage:
    split = read_goemotions(path)
    labels = [[LABELS[i] for i in np.flatnonzero(row)] for row in split.targets]
    return usage([_PLACEHOLDER.sub(" ", text) for text in split.texts], labels)


def _stories(folder: Path, paths: Sequence[Path]) -> Usage:
    if not paths:
        raise MissingInput(f"no Parquet file in {folder}; name a folder of stories, or leave --stories out")
    texts = read_texts(paths, STORY_COLUMNS)
    return usage(texts["text"].tolist(), [[emotion] if emotion else [] for emotion in texts["emotion"]])


def usage(texts: Sequence[str], labels: Sequence[Sequence[str]]) -> Usage:
    """Count the texts that have each word (runs of letters, in lower case, stop words left out), emotion by emotion.

    A text with several labels counts for each of them.
    """
    found: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for text, own in zip(texts, labels, strict=True):
        words = {word for word in PRESETS["content-words"].words(text) if _LETTERS.fullmatch(word)}
        for label in own:
            found[label].update(words)
    vocabulary = tuple(sorted(set().union(*found.values())))
    counts = np.array([[found[label][word] for word in vocabulary] for label in LABELS], dtype=float)
    return Usage(vocabulary, counts)


def emotion_words(sources: Sequence[Usage]) -> dict[str, dict[str, float]]:
    """Emotion → word → weight, strongest evidence first. Only words that all sources have are looked at.

    An emotion that a source has no text of is judged by the other sources.
    """
    shared = sorted(set.intersection(*(set(source.vocabulary) for source in sources)))
    z, share, known = [], [], []
    texts = np.zeros((len(LABELS), len(shared)))
    for source in sources:
        places = np.searchsorted(source.vocabulary, shared)
        z.append(log_odds(source.counts)[:, places])
        share.append(_shares(source.counts)[:, places])
        known.append(source.counts.any(axis=1))
        texts += source.counts[:, places]
    has = np.array(known, dtype=float)[:, :, None]
    each = np.array(z)
    sources_with_it = np.maximum(1, has.sum(axis=0))
    evidence = (each * has).sum(axis=0) / np.sqrt(sources_with_it)
    weight = (np.array(share) * has).sum(axis=0) / sources_with_it
    agreed = np.where(has > 0, each >= MIN_Z_EACH, True).all(axis=0)
    listed = agreed & (evidence >= MIN_Z) & (weight >= MIN_WEIGHT) & (texts >= MIN_TEXTS)
    return {
        label: {shared[i]: round(float(weight[row, i]), 3) for i in _strongest(evidence[row], listed[row])}
        for row, label in enumerate(LABELS)
    }


def _strongest(evidence: np.ndarray, listed: np.ndarray) -> list[int]:
    order = np.argsort(-evidence, kind="stable")
    return [int(i) for i in order if listed[i]][:LISTED]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Share of each emotion in a word's use, if all were equally frequent: shape (28, vocabulary), columns sum to 1.

    An emotion without texts has share 0. ``PRIOR_WORDS`` shrinks an emotion's rate towards the rate in all texts, so
    that a rare word of a rare emotion does not seem to be all its own.
    """
    pooled = counts.sum(axis=0) / counts.sum()
    own = counts.sum(axis=1, keepdims=True)
    rates = (counts + PRIOR_WORDS * pooled) / (own + PRIOR_WORDS) * (own > 0)
    return rates / rates.sum(axis=0)


def main(words: list[str]) -> None:
    """``emogap emotion-words``."""
    arguments = options().parse_args(words)
    made = make_emotion_words(arguments.goemotions, arguments.stories, arguments.out)
    for emotion, found in made.items():
        print(f"{emotion:<15}{len(found):>3}  {' '.join(list(found)[:8])}")
    print(f"{arguments.out}: {sum(map(len, made.values()))} words of {len(made)} emotions")


def options() -> Parser:
    parser = Parser(
        prog="emogap emotion-words",
        description="Make the weighted word lists of the 28 emotions from GoEmotions and labelled stories. "
        "Words and weights are written, no text.",
    )
    parser.add_argument("--goemotions", required=True, type=a_path, metavar="DIR", help="holds GoEmotions' train.tsv")
    parser.add_argument("--stories", type=a_path, metavar="DIR", help="Parquet files of stories with their emotions")
    parser.add_argument(
        "--out", type=a_path, default=WORDS, metavar="FILE.json", help="where (the package's own lists)"
    )
    return parser
