"""Token sequences laid out as prefix trees, so that what several of them begin with goes through a model once.

A row of a batch is a tree: its nodes are tokens, each of which attends to itself and to its ancestors and stands at the
position of its depth. The last token of a sequence is only ever predicted, so it is no node.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emogap.lm.own_numbers import shared_tokens

ROW_NODES = 128
"""Nodes of a row. Longer rows share more but pay more for attention."""
ROW_TEXTS = 4
"""A row has room for as many texts of the first one's length."""


@dataclass
class Tree:
    """One row of a batch."""

    limit: int
    """Nodes after which no further sequence is taken in."""
    tokens: list[int] = field(default_factory=list)
    """The token of each node, parents before their children."""
    parents: list[int] = field(default_factory=list)
    """The node before each node; -1 for a first one."""
    depths: list[int] = field(default_factory=list)
    edge_nodes: list[int] = field(default_factory=list)
    """What is predicted: from which node…"""
    edge_tokens: list[int] = field(default_factory=list)
    """… which token."""
    sequences: list[int] = field(default_factory=list)
    """Numbers of the sequences in this row."""
    paths: list[list[int]] = field(default_factory=list)
    """For each of them, the edges whose log-probabilities add up to its score."""

    def __len__(self) -> int:
        return len(self.tokens)

    def ancestors(self) -> np.ndarray:
        """Who attends to whom: bool of shape (nodes, nodes)."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


class _Grower:
    """Adds sequences, in lexicographic order, to a tree: a new one branches off from the one before."""

    def __init__(self, first: Sequence[int], limit: int | None):
        size = max(ROW_NODES, ROW_TEXTS * len(first))
        self.tree = Tree(size if limit is None else min(size, limit))
        self._ids: Sequence[int] = ()
        self._nodes: list[int] = []
        self._edges: list[int] = []

    def has_room(self, ids: Sequence[int]) -> bool:
        new = len(ids) - 1 - min(shared_tokens(ids, self._ids), len(self._nodes))
        return not self.tree.sequences or len(self.tree) + new <= self.tree.limit

    def add(self, number: int, ids: Sequence[int], start: int) -> None:
        shared, tree = shared_tokens(ids, self._ids), self.tree
        # The last token of the sequence before may be shared, but it was made an edge and no node.
        self._nodes = self._nodes[:shared]
        self._edges = self._edges[: max(shared - 1, 0)]
        for depth in range(len(self._nodes), len(ids) - 1):
            tree.parents.append(self._nodes[-1] if self._nodes else -1)
            tree.tokens.append(ids[depth])
            tree.depths.append(depth)
            self._nodes.append(len(tree) - 1)
        for depth in range(len(self._edges), len(ids) - 1):
            tree.edge_nodes.append(self._nodes[depth])
            tree.edge_tokens.append(ids[depth + 1])
            self._edges.append(len(tree.edge_nodes) - 1)
        tree.sequences.append(number)
        tree.paths.append(self._edges[start - 1 : len(ids) - 1])
        self._ids = ids


def grow_trees(
    sequences: Sequence[tuple[int, ...]], starts: Sequence[int], share: bool = True, limit: int | None = None
) -> list[Tree]:
    """Put every sequence into a tree. ``starts``: index of the first token of each that is scored, at least 1.

    ``share`` False gives each sequence a row of its own: plain scoring. ``limit``: nodes at most of a row that several
    sequences share.
    """
    trees: list[Tree] = []
    grower: _Grower | None = None
    for number in sorted(range(len(sequences)), key=lambda number: sequences[number]):
        ids = sequences[number]
        if grower is None or not share or not grower.has_room(ids):
            grower = _Grower(ids, limit)
            trees.append(grower.tree)
        grower.add(number, ids, starts[number])
    return trees


def batches(trees: Sequence[Tree], token_budget: int, bounds: Sequence[int] = ()) -> list[list[Tree]]:
    """Trees of similar size together, longest first, each batch of at most ``token_budget`` nodes with its padding.

    ``bounds``: lengths; all trees of a batch lie on the same side of each.
    """
    found: list[list[Tree]] = []
    for tree in sorted(trees, key=len, reverse=True):
        fits = found and (len(found[-1]) + 1) * len(found[-1][0]) <= token_budget
        if fits and _beyond(found[-1][0], bounds) == _beyond(tree, bounds):
            found[-1].append(tree)
        else:
            found.append([tree])
    return found


def _beyond(tree: Tree, bounds: Sequence[int]) -> int:
    return sum(len(tree) > bound for bound in bounds)
