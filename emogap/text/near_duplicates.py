"""Near-duplicates: texts that are equal but for case and punctuation, or that share most of their word sequences."""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emogap.store.artefacts import RULE
from emogap.text.words import plain, runs

LIKENESS_RULE = {f"{RULE}near-duplicates": "2 (likeness is counted, not guessed)"}
"""The entry of recipes whose artefacts ``near_duplicates`` shapes."""
EQUALITY_RULE = {f"{RULE}equal texts": "2 (by their signs where no word is; accents composed)"}
"""The entry of recipes whose artefacts ``text_key`` shapes."""
_PARTS = 16
_ROUNDING = 1e-9
"""The error that rounding can make in a threshold times a number of shingles."""


def normalised(text: str) -> str:
    """Lower-cased, in one spelling, without punctuation, white space folded; empty for a text without a word."""
    return " ".join(runs(plain(text).lower()))


def text_key(text: str) -> str:
    """A key that is equal for texts that are equal to a reader: the normalised text, or, for a text without a word, its
    characters as they are with white space folded."""
    return normalised(text) or " ".join(plain(text).split())


def shingles(text: str, width: int = 5) -> set[str]:
    """All runs of ``width`` words of the normalised text; a shorter text is one shingle, an empty one has none."""
    words = normalised(text).split()
    if not words:
        return set()
    return {" ".join(words[i : i + width]) for i in range(max(1, len(words) - width + 1))}


def contained_share(part: str, whole: str, width: int = 5) -> float:
    """The share of the shingles of ``part`` that ``whole`` has too (containment, Broder 1997); 0 if it has none."""
    wanted = shingles(part, width)
    return len(wanted & shingles(whole, width)) / len(wanted) if wanted else 0.0


def near_duplicates(texts: Iterable[tuple[str, str]], threshold: float = 0.8) -> Iterator[tuple[str, str]]:
    """(id, id of the earlier text that it repeats) for every text like an earlier one, in their order.

    Two texts are alike when the Jaccard similarity of their sets of 5-word shingles is ``threshold`` or more; for a
    threshold of 1, when their ``text_key`` is equal; for 0, when they share a shingle. A text shorter than five words,
    or without any, is one shingle, so that only its equals are like it. Of several earlier ones the most similar is
    named, of equally similar ones the first. A repeat is not itself compared with later texts, so that a chain of small
    changes is measured against its first member.

    All pairs that reach the threshold are found, and no others: candidates are found by their rarest shingles (prefix
    filtering; Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search"), and the similarity of each is
    counted exactly. A shingle is eight bytes in memory; all texts are read before the first pair comes.
    """
    read = _Hashed.of(texts, threshold)
    shared, rank = _shared(read.hashes)
    ranks: dict[int, np.ndarray] = {}  # kept text → the ranks of those of its shingles that other texts have too
    beginning_with: dict[int, list[int]] = {}
    for place, identifier in enumerate(read.ids):
        own = _ranks(read.of_text(place), shared, rank)
        # Texts that are alike share at least ``needed`` shingles, so one of a text's first ``len(own) - needed + 1`` is
        # among them, whichever the others are; the rarest stand first.
        needed = max(1, math.ceil(threshold * read.size(place) - _ROUNDING))
        rarest = own[: max(0, len(own) - needed + 1)].tolist()
        candidates = sorted({earlier for shingle in rarest for earlier in beginning_with.get(shingle, ())})
        alike = [_jaccard(own, ranks[earlier], read.size(place), read.size(earlier)) for earlier in candidates]
        best = max(alike, default=-1.0)
        if best >= threshold:
            yield identifier, read.ids[candidates[alike.index(best)]]
        elif rarest:
            ranks[place] = own
            for shingle in rarest:
                beginning_with.setdefault(shingle, []).append(place)


@dataclass
class _Hashed:
    """Texts as sets of hashes, one behind the other."""

    ids: list[str]
    hashes: np.ndarray
    """uint64."""
    ends: array

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]], threshold: float) -> "_Hashed":
        ids, hashes, ends = [], array("Q"), array("q", [0])
        for identifier, text in texts:
            key = text_key(text)
            # Equal sets of shingles may be those of different texts: at a bound of 1 the whole text is the shingle.
            own = _hashes({key} if threshold >= 1 else shingles(key) or {key})
            hashes.frombytes(own.tobytes())
            ids.append(identifier)
            ends.append(len(hashes))
        return cls(ids, np.frombuffer(hashes, np.uint64), ends)

    def size(self, place: int) -> int:
        """How many shingles a text has."""
        return self.ends[place + 1] - self.ends[place]

    def of_text(self, place: int) -> np.ndarray:
        return self.hashes[self.ends[place] : self.ends[place + 1]]


def _hashes(of: set[str]) -> np.ndarray:
    """64-bit hashes, the same at every run; of ten billion pairs of different shingles one has equal ones by chance
    with a probability of one in a billion."""
    from pandas.util import hash_array

    values = np.array([shingle.encode("utf-8", "surrogatepass") for shingle in of], dtype=object)
    return np.unique(hash_array(values, categorize=False))


def _shared(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes that two texts or more have, in order, and the rank of each: the rarest is the lowest."""
    found, counts = [], []
    width = 2**64 // _PARTS
    for low in range(0, 2**64, width):  # part by part, so that never all are sorted at once
        part = hashes[(hashes >= np.uint64(low)) & (hashes <= np.uint64(low + width - 1))]
        values, times = np.unique(part, return_counts=True)
        found.append(values[times > 1])
        counts.append(times[times > 1])
    shared = np.concatenate(found)
    rank = np.empty(len(shared), np.int32)
    rank[np.argsort(np.concatenate(counts), kind="stable")] = np.arange(len(shared), dtype=np.int32)
    return shared, rank


def _ranks(hashes: np.ndarray, shared: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The ranks of those of a text's hashes that other texts have too, the rarest first."""
    if not len(shared):
        return np.empty(0, np.int32)
    places = np.minimum(np.searchsorted(shared, hashes), len(shared) - 1)
    return np.sort(rank[places[shared[places] == hashes]])


def _jaccard(one: np.ndarray, other: np.ndarray, size: int, other_size: int) -> float:
    """The Jaccard similarity of two texts, from their numbers of shingles and the ranks of the shared ones."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (size + other_size - common)
