"""Token sequences laid out as prefix trees, so that a common beginning of several goes through a model once.

A row of a batch is a tree: its nodes are tokens, each of which attends to itself and to its ancestors; its position is
its depth in the tree. The last token of a sequence is only predicted, never read, so it is no node.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emogap.lm.own_numbers import shared_tokens

ROW_NODES = 128
"""A row has room for at least this many nodes. Longer rows share more but pay more for attention."""
ROW_TEXTS = 4
"""A row has room for at least this many texts as long as its first one."""


@dataclass
class Tree:
    """One row of a batch. Sequences are added in lexicographic order: a new one branches off from the one before."""

    limit: int
    """No further sequence is added if the row would then have more nodes."""
    tokens: list[int] = field(default_factory=list)
    """The token of each node, parents before their children."""
    parents: list[int] = field(default_factory=list)
    """The parent of each node; -1 for a root."""
    depths: list[int] = field(default_factory=list)
    edge_nodes: list[int] = field(default_factory=list)
    """What is predicted: from which node…"""
    edge_tokens: list[int] = field(default_factory=list)
    """… which token."""
    sequences: list[int] = field(default_factory=list)
    """Numbers of the sequences in this row."""
    paths: list[list[int]] = field(default_factory=list)
    """For each of them, the edges whose log-probabilities add up to its score."""
    last: Sequence[int] = ()
    """The sequence that was added last, and its nodes and edges."""
    last_nodes: list[int] = field(default_factory=list)
    last_edges: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens)

    def ancestors(self) -> np.ndarray:
        """Who attends to whom: bool of shape (nodes, nodes)."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen

    def has_room(self, ids: Sequence[int]) -> bool:
        new = len(ids) - 1 - min(shared_tokens(ids, self.last), len(self.last_nodes))
        return len(self) + new <= self.limit

    def add(self, number: int, ids: Sequence[int], start: int) -> None:
        shared = shared_tokens(ids, self.last)
        # The last token of the sequence before may be shared, but it is only the target of an edge, not a node.
        nodes, edges = self.last_nodes[:shared], self.last_edges[: max(shared - 1, 0)]
        for depth in range(len(nodes), len(ids) - 1):
            self.parents.append(nodes[-1] if nodes else -1)
            self.tokens.append(ids[depth])
            self.depths.append(depth)
            nodes.append(len(self) - 1)
        for depth in range(len(edges), len(ids) - 1):
            self.edge_nodes.append(nodes[depth])
            self.edge_tokens.append(ids[depth + 1])
            edges.append(len(self.edge_nodes) - 1)
        self.sequences.append(number)
        self.paths.append(edges[start - 1 : len(ids) - 1])
        self.last, self.last_nodes, self.last_edges = ids, nodes, edges


def grow_trees(
    sequences: Sequence[tuple[int, ...]], starts: Sequence[int], share: bool = True, limit: int | None = None
) -> list[Tree]:
    """Put every sequence into a tree. ``starts``: index of the first token of each that is scored, at least 1.

    ``share`` False gives each sequence a row of its own: plain scoring. ``limit``: the most nodes of a row that several
    sequences share.
    """
    trees: list[Tree] = []
    for number in sorted(range(len(sequences)), key=lambda number: sequences[number]):
        ids = sequences[number]
        if not (trees and share and trees[-1].has_room(ids)):
            size = max(ROW_NODES, ROW_TEXTS * len(ids))
            trees.append(Tree(size if limit is None else min(size, limit)))
        trees[-1].add(number, ids, starts[number])
    return trees


def batches(trees: Sequence[Tree], token_budget: int, bounds: Sequence[int] = ()) -> list[list[Tree]]:
    """Batches of trees of similar size, longest first, with at most ``token_budget`` nodes each, padding included.

    A larger tree is a batch of its own. ``bounds``: lengths; all trees of a batch lie on the same side of each.
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
