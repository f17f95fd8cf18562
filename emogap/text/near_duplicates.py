"""Near-duplicates: texts that are equal but for case and punctuation, or that share most of their word sequences."""

import re
from collections.abc import Iterable, Iterator

_NOT_WORD = re.compile(r"[^\w\s]|_")


def normalised(text: str) -> str:
    """Lower-cased, without punctuation, white space folded: equal keys mean equal texts to a reader."""
    return " ".join(_NOT_WORD.sub(" ", text.lower()).split())


def shingles(text: str, width: int = 5) -> set[str]:
    """All runs of ``width`` words of the normalised text; a shorter text is one shingle, an empty one has none."""
    words = normalised(text).split()
    if not words:
        return set()
    return {" ".join(words[i : i + width]) for i in range(max(1, len(words) - width + 1))}


def contained_share(part: str, whole: str, width: int = 5) -> float:
    """Which share of the shingles of ``part`` stand in ``whole`` too (containment, Broder 1997); 0 if it has none."""
    wanted = shingles(part, width)
    return len(wanted & shingles(whole, width)) / len(wanted) if wanted else 0.0


def near_duplicates(
    texts: Iterable[tuple[str, str]], threshold: float = 0.8, permutations: int = 128
) -> Iterator[tuple[str, str]]:
    """(id, id of an earlier text it repeats) for every text whose 5-word shingles overlap an earlier one's.

    MinHash with locality-sensitive hashing (Broder 1997; Leskovec et al., "Mining of Massive Datasets", ch. 3):
    pairs whose Jaccard similarity is over ``threshold`` are found with high probability. A repeat is not itself kept
    for comparison, so that a chain of small changes is measured against its first member.
    """
    from datasketch import MinHash, MinHashLSH

    shape = MinHashLSH(threshold=threshold, num_perm=permutations)
    # Of a sketch only a hash of each band is kept: some hundred bytes a text instead of eleven thousand.
    bands: list[dict[int, str]] = [{} for _ in range(shape.b)]
    for identifier, text in texts:
        sketch = MinHash(num_perm=permutations)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        keys = [hash(sketch.hashvalues[i * shape.r : (i + 1) * shape.r].tobytes()) for i in range(shape.b)]
        earlier = sorted({band[key] for band, key in zip(bands, keys, strict=True) if key in band})
        if earlier:
            yield identifier, earlier[0]
        else:
            for band, key in zip(bands, keys, strict=True):
                band[key] = identifier
