"""Which documents go into a corpus, and on which side of its split. Works on a catalogue, never on texts.

A catalogue is a frame with one row for each document: ``id, kind, source, method, emotion, words, group``. ``group`` is
a number for the source line of a story, or for the article.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from emogap.config import CorpusShares
from emogap.errors import UsageError
from emogap.records import row_seed

STORY, LINE, FACTUAL = "story", "line", "factual"
TRAIN, VALIDATION = "train", "validation"
DIMENSIONS = ("kind", "source", "method", "emotion")


@dataclass(frozen=True)
class Pool:
    """Documents that share a part of the word budget."""

    dimension: str
    name: str | None
    """A value of the dimension; None for all values that no share names."""
    share: float
    """The pool's share of all words."""
    members: np.ndarray
    """Shape (documents,), bool."""


def seeded_order(catalogue: pd.DataFrame, run_seed: int) -> np.ndarray:
    """Positions of the documents in the shuffled order of this run, which depends on its seed and the ids alone."""
    keys = [row_seed(run_seed, identifier, "corpus order") for identifier in catalogue["id"]]
    return np.argsort(np.asarray(keys, dtype=np.int64), kind="stable")


def pools(
    catalogue: pd.DataFrame, shares: CorpusShares, may_lack: Mapping[str, Collection[str]] = MappingProxyType({})
) -> list[Pool]:
    """The pools that the shares ask for. Raises ``UsageError`` for a share of a name of which there is no text.

    ``may_lack``: dimension → names that may be without text; then their share stays unfilled. Shares of methods and
    emotions are shares of the stories' words; if these are asked for, but none of a ``kind`` is, each kind gets the
    share that it has of all available text.
    """
    asked = {dimension: dict(getattr(shares, dimension)) for dimension in DIMENSIONS}
    if not asked["kind"] and (asked["method"] or asked["emotion"]):
        supply = catalogue.groupby("kind")["words"].sum()
        asked["kind"] = (supply / supply.sum()).to_dict()
    stories = catalogue["kind"].eq(STORY).to_numpy()
    of_stories = asked["kind"].get(STORY, 1 - sum(asked["kind"].values()))
    found = []
    for dimension, named in asked.items():
        values, base, among = catalogue[dimension], 1.0, np.ones(len(catalogue), dtype=bool)
        if dimension in ("method", "emotion"):
            base, among = of_stories, stories
        for name, share in named.items():
            members = among & values.eq(name).to_numpy()
            if share and not members.any() and name not in may_lack.get(dimension, ()):
                known = ", ".join(sorted(values[among].unique())) or "nothing else"
                raise UsageError(
                    f"corpus.shares.{dimension}: there is no text of '{name}' to fill {share}; there is {known}: name "
                    "one of these, or take the share out"
                )
            found.append(Pool(dimension, name, share * base, members))
        rest = among & ~values.isin(list(named)).to_numpy()
        if named and rest.any():
            found.append(Pool(dimension, None, max(0.0, 1 - sum(named.values())) * base, rest))
    return found


def word_budget(catalogue: pd.DataFrame, wanted: int, shares: list[Pool]) -> int:
    """How many words the corpus may have: the number wanted, or for 0 the largest number at which every share can be
    filled, shares without any text aside."""
    if wanted:
        return wanted
    words = catalogue["words"].to_numpy()
    fillable = [words[pool.members].sum() / pool.share for pool in shares if pool.share > 0 and pool.members.any()]
    return int(min([words.sum(), *fillable]))


def take(catalogue: pd.DataFrame, order: np.ndarray, budget: int, shares: list[Pool]) -> np.ndarray:
    """Positions of the documents that go in, in the given order.

    Going through the documents in that order, each is taken that fits whole into what is left of the budget and of
    every pool it belongs to. So the corpus never has more words than the budget, and nothing left out would still fit.
    """
    words = catalogue["words"].tolist()
    # The budget itself is one more pool, to which every document belongs.
    left = [float(budget), *(pool.share * budget + 1e-6 for pool in shares)]
    members = np.array([pool.members for pool in shares], bool).reshape(len(shares), len(catalogue))
    belongs = [[0, *(np.flatnonzero(pools_of_one) + 1).tolist()] for pools_of_one in members.T]
    taken = []
    for position in order.tolist():
        size, mine = words[position], belongs[position]
        if all(left[pool] >= size for pool in mine):
            for pool in mine:
                left[pool] -= size
            taken.append(position)
    return np.asarray(taken, dtype=np.int64)


def pools_as(catalogue: pd.DataFrame, model: pd.DataFrame) -> tuple[int, list[Pool]]:
    """The words of another corpus (``model``: ``kind, words``) as a budget, and pools as large as its parts: factual
    text, and all else."""
    budget, factual = int(model["words"].sum()), int(model.loc[model["kind"] == FACTUAL, "words"].sum())
    is_factual = catalogue["kind"].eq(FACTUAL).to_numpy()
    parts = [(FACTUAL, factual, is_factual)]
    parts += [(kind, budget - factual, catalogue["kind"].eq(kind).to_numpy()) for kind in (STORY, LINE)]
    return budget, [
        Pool("kind", kind, words / budget if budget else 0.0, members)
        for kind, words, members in parts
        if members.any() or (kind == FACTUAL and words)
    ]


def order_as(catalogue: pd.DataFrame, model: pd.DataFrame, run_seed: int) -> np.ndarray:
    """The seeded order, but with the documents of another corpus (``model``) first, so that both corpora have them."""
    order = seeded_order(catalogue, run_seed)
    is_shared = catalogue["id"].isin(model["id"]).to_numpy()[order]
    return np.concatenate([order[is_shared], order[~is_shared]])


def split_as(catalogue: pd.DataFrame, model: pd.DataFrame, share: float, run_seed: int) -> np.ndarray:
    """Like ``split``, but lines and articles of another corpus (``model``: ``line_id, split``) stay on their side."""
    known = catalogue["line_id"].map(model.drop_duplicates("line_id").set_index("line_id")["split"])
    sides = known.groupby(catalogue["group"]).transform("first").astype(object)
    is_new = sides.isna().to_numpy()
    sides[is_new] = split(catalogue[is_new], share, run_seed)
    return sides.to_numpy()


def split(catalogue: pd.DataFrame, share: float, run_seed: int) -> np.ndarray:
    """``train`` or ``validation`` for every document, shape (documents,); documents of one group are on one side.

    The groups are sorted by kind and source, shuffled within, and held out at even steps, so that every kind and
    source has its part in both sides and the share of groups held out is exact to one group.
    """
    groups = catalogue.drop_duplicates("group")[["group", "kind", "source", "id"]]
    keys = [row_seed(run_seed, identifier, "split") for identifier in groups["id"]]
    ordered = groups.assign(key=keys).sort_values(["kind", "source", "key"])["group"].to_numpy()
    steps = np.floor(np.arange(len(ordered) + 1) * share + 0.5)
    held_out = ordered[np.diff(steps) > 0]
    return np.where(catalogue["group"].isin(held_out), VALIDATION, TRAIN)
