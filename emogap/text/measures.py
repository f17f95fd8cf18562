"""What texts are like beyond their length: richness, sameness, openings; and by how much groups of texts differ.

Works on words as numbers, not on strings.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emogap.text.statistics import Estimate, by_prompt, mean, paired_interval, proportion
from emogap.text.word_counts import STOP_WORDS
from emogap.text.words import distinct_n, is_rare, ngrams, plain, plain_words

BLOCK_WORDS = 5000
"""Distinct-n falls as text grows, so it is measured on blocks of equally many words."""
_BLOCKS = 40
_SIMILARITY_TEXTS = 5000


@dataclass
class Encoded:
    """All texts as word numbers (preset ``words``, lower case)."""

    vocabulary: list[str]
    ids: np.ndarray
    """Shape (words of all texts,), int32, text after text."""
    starts: np.ndarray
    """Shape (texts + 1,): text t is ``ids[starts[t]:starts[t + 1]]``."""

    def lengths(self) -> np.ndarray:
        """Words of each text, shape (texts,)."""
        return np.diff(self.starts)

    def text_of_word(self) -> np.ndarray:
        """For each word the number of its text, shape (words,)."""
        return np.repeat(np.arange(len(self.starts) - 1), self.lengths())

    def of(self, members: np.ndarray) -> np.ndarray:
        """The words of the texts at these positions, in that order, shape (their words,)."""
        return np.concatenate([self.ids[self.starts[t] : self.starts[t + 1]] for t in members])

    def stop_words(self) -> np.ndarray:
        """Shape (vocabulary,), bool."""
        return np.fromiter((word in STOP_WORDS for word in self.vocabulary), bool, len(self.vocabulary))


def encode(texts: Iterable[str]) -> Encoded:
    """Number the words of all texts."""
    numbers: dict[str, int] = {}
    pieces, ends = [np.empty(0, np.int32)], [0]
    for text in texts:
        words = [numbers.setdefault(word, len(numbers)) for word in plain_words(plain(text).lower())]
        pieces.append(np.asarray(words, np.int32))
        ends.append(ends[-1] + len(words))
    return Encoded(list(numbers), np.concatenate(pieces), np.asarray(ends))


def distinct_ngrams(encoded: Encoded, members: np.ndarray, length: int, block: int = BLOCK_WORDS) -> np.ndarray:
    """``distinct_n`` of each of up to 40 blocks of ``block`` words, shape (blocks,).

    The texts are concatenated in the given order; n-grams that would cross from text to text do not count, nor does
    what is left after the last whole block.
    """
    ids = encoded.of(members)
    text = np.repeat(np.arange(len(members)), encoded.lengths()[members])
    blocks = []
    for start in range(0, min(_BLOCKS, len(ids) // block) * block, block):
        part = slice(start, start + block)
        of_texts = np.split(ids[part], np.flatnonzero(np.diff(text[part])) + 1)
        blocks.append(distinct_n(ngrams(words.tolist(), length) for words in of_texts))
    blocks = np.asarray(blocks, float)
    return blocks[~np.isnan(blocks)]  # a block of texts that are too short has no n-gram


def vocabulary_growth(encoded: Encoded, members: np.ndarray, points: int = 40) -> pd.DataFrame:
    """How many distinct words there are among the first words of the texts, in the order given: ``words, distinct``."""
    ids = encoded.of(members)
    if not len(ids):
        return pd.DataFrame(columns=["words", "distinct"], dtype=int)
    _, first = np.unique(ids, return_index=True)
    at = np.unique(np.geomspace(min(100, len(ids)), len(ids), points).astype(int))
    return pd.DataFrame({"words": at, "distinct": np.searchsorted(np.sort(first), at)})


def self_similarity(encoded: Encoded, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each of up to 5,000 texts its mean cosine with all the others, shape (texts,), by tf-idf vectors.

    ``weights``: inverse document frequencies, shape (vocabulary,). All pairs are counted, none is sampled.
    """
    vectors = unit_vectors(encoded, members[:_SIMILARITY_TEXTS], weights)
    total = np.asarray(vectors.sum(axis=0)).ravel()
    own = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    return (vectors @ total - own) / (vectors.shape[0] - 1)


def unit_vectors(encoded: Encoded, members: np.ndarray, weights: np.ndarray):
    """The texts' tf-idf vectors, of length 1 (0 for a text without words), sparse of shape (texts, vocabulary)."""
    from scipy.sparse import csr_matrix, diags
    from sklearn.preprocessing import normalize

    lengths = encoded.lengths()[members]
    rows = np.repeat(np.arange(len(members)), lengths)
    shape = (len(members), len(encoded.vocabulary))
    return normalize(csr_matrix((np.ones(len(rows)), (rows, encoded.of(members))), shape) @ diags(weights))


def inverse_document_frequencies(encoded: Encoded) -> np.ndarray:
    """ln((1 + texts) / (1 + texts with the word)) + 1 for each word, shape (vocabulary,)."""
    texts = len(encoded.starts) - 1
    pairs = np.unique(encoded.text_of_word().astype(np.int64) * len(encoded.vocabulary) + encoded.ids)
    having = np.bincount(pairs % len(encoded.vocabulary), minlength=len(encoded.vocabulary))
    return np.log((1 + texts) / (1 + having)) + 1


def openings(encoded: Encoded, members: Sequence[int], words: int) -> Counter:
    """First ``words`` words → how many texts open with them; shorter texts count whole."""
    starts = encoded.starts
    found = Counter(tuple(encoded.ids[starts[t] : min(starts[t] + words, starts[t + 1])].tolist()) for t in members)
    return Counter({" ".join(encoded.vocabulary[i] for i in opening): n for opening, n in found.items()})


def states_emotion(encoded: Encoded, emotions: Sequence[str]) -> np.ndarray:
    """Whether each text has the word of its emotion in it, shape (texts,), bool; ``emotions``: one for each text."""
    numbers = {word: i for i, word in enumerate(encoded.vocabulary)}
    wanted = np.fromiter((numbers.get(emotion, -1) for emotion in emotions), np.int64, len(emotions))
    hits = encoded.ids == np.repeat(wanted, encoded.lengths())
    return np.bincount(encoded.text_of_word(), weights=hits, minlength=len(emotions)) > 0


def rare_shares(encoded: Encoded) -> np.ndarray:
    """Rare words of each text over all its words but those with digits, shape (texts,); NaN where it has none."""
    rare = np.asarray([np.nan if (is_one := is_rare(word)) is None else is_one for word in encoded.vocabulary], float)
    of_word = pd.Series(rare[encoded.ids]).groupby(encoded.text_of_word())
    return of_word.mean().reindex(range(len(encoded.starts) - 1)).to_numpy()


# --- groups of texts -------------------------------------------------------------------------------------------------


def compare(values: pd.DataFrame, measure: str, first: str, second: str, is_share: bool = False) -> dict | None:
    """By how much ``measure`` of group ``second`` is above that of ``first``, like with like.

    ``values``: one row for each text, with ``group, source, line`` and the measure, 0 or 1 if it ``is_share``. If both
    groups have texts from the same source lines, the mean of the differences line by line; else the differences within
    each source that both have, weighted by its number of texts. None if they share neither.
    """
    rows = values[values["group"].isin([first, second])]
    found = _on_same_lines(rows, measure, first, second, is_share) or _by_source(rows, measure, first, second, is_share)
    if found is None:
        return None
    basis, n, difference = found
    return {"measure": measure, "group": second, "minus": first, "basis": basis, "n": n,
            "difference": difference.value, "low": difference.low, "high": difference.high}  # fmt: skip


_Compared = tuple[str, int, Estimate]
"""On what basis groups are compared, over how many lines or texts, and the difference."""


def _on_same_lines(rows: pd.DataFrame, measure: str, first: str, second: str, is_share: bool) -> _Compared | None:
    known = rows[rows["line"] != ""]
    both = known.groupby(["line", "group"])[measure].mean().unstack("group").reindex(columns=[first, second]).dropna()
    if len(both) < 2:
        return None
    found = mean(both[second] - both[first])
    if is_share:
        lines = pd.MultiIndex.from_arrays([both.index], names=["line"])
        after, before = (
            by_prompt(known[known["group"] == group], [measure], ["line"], lines)[0] for group in (second, first)
        )
        found = Estimate(found.value, *map(float, paired_interval(after, before)))
    return "same lines", len(both), found


def _by_source(rows: pd.DataFrame, measure: str, first: str, second: str, is_share: bool) -> _Compared | None:
    """The ends of every cell's interval are joined by the square-and-add rule (Howe 1974; Newcombe 1998)."""
    of_cell = {key: part[measure] for key, part in rows[rows["source"] != ""].groupby(["source", "group"])}
    sizes = {
        source: sum(len(of_cell[source, group]) for group in (first, second))
        for source in dict.fromkeys(source for source, _ in of_cell)
        # One text of a source does not say how much texts of that source differ.
        if all(len(of_cell.get((source, group), ())) > 1 for group in (first, second))
    }
    if not sizes:
        return None
    difference = below = above = 0.0
    for source, size in sizes.items():
        weight = size / sum(sizes.values())
        cells = (of_cell[source, group] for group in (first, second))
        one, other = (proportion(cell.sum(), len(cell)) if is_share else mean(cell) for cell in cells)
        difference += weight * (other.value - one.value)
        below += weight**2 * ((other.value - other.low) ** 2 + (one.high - one.value) ** 2)
        above += weight**2 * ((other.high - other.value) ** 2 + (one.value - one.low) ** 2)
    found = Estimate(difference, difference - float(np.sqrt(below)), difference + float(np.sqrt(above)))
    return "weighted by source: " + ", ".join(sizes), sum(sizes.values()), found


def log_odds(counts: np.ndarray, prior_words: float = 1000.0) -> np.ndarray:
    """z-scores of the log-odds ratio of each word, each class against all the others, shape (classes, vocabulary).

    ``counts``: how often each class has each word, same shape. With an informative Dirichlet prior (Monroe, Colaresi
    and Quinn 2008, section 3.3.1 and eq. 15-22): each word's prior is its share of all classes together, times
    ``prior_words`` words of such text. Words that no class has get 0.
    """
    counts = np.asarray(counts, float)
    pooled = counts.sum(axis=0)
    prior = prior_words * pooled / pooled.sum()
    here, rest = counts + prior, pooled - counts + prior
    all_here, all_rest = here.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(here / (all_here - here)) - np.log(rest / (all_rest - rest))
        z = difference / np.sqrt(1 / here + 1 / rest)
    return np.where(pooled > 0, z, 0.0)
