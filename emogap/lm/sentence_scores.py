"""The log-probability of sentences, and of continuations of a text, under a causal language model.

A score is the sum of tokens' natural-log probabilities, each given all tokens before it, computed in float32 from the
logits. The first token of a sentence is predicted from the empty context: by default the tokenizer's BOS token, or EOS
where it has no BOS (GPT-2's are both ``<|endoftext|>``, and its tokenizer adds neither by itself). A space is put
before a sentence. Both are what EleutherAI's lm-evaluation-harness does, so that its scores are the same.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch

from emogap.device import pick_device, pick_dtype, read_one_behind
from emogap.errors import InputError, ModelError, one_line
from emogap.lm.attention_reach import bounds, context_length
from emogap.lm.hub import LocalModel
from emogap.lm.loading import load_causal
from emogap.lm.own_numbers import forward, holds, negligible, probe_texts, reads_head_alone, references, spread
from emogap.lm.prefix_trees import ROW_NODES, ROW_TEXTS, Tree, batches, grow_trees

EmptyContext = Literal["bos", "eos", "none"]

POSITIONS_AT_ONCE = 256
"""Rows of the vocabulary-wide logits that are in memory at one time, where the head can be read apart from the body."""
LOGITS_AT_ONCE = 1 << 26
"""Where it cannot: logits in memory at one time (256 MiB in float32), unless a single text has more."""


class Scored(NamedTuple):
    """Token ids, and the index of the first one that counts."""

    ids: tuple[int, ...]
    start: int


class SentenceScorer:
    """A causal language model that scores sentences. Raises ``ModelError`` if there is no tokenizer or no model, or if
    the model's logits depend on later tokens.

    Sentences that begin alike go through the model as one tree (``prefix_trees``), rows of different lengths are
    batched, and the head reads the body's hidden states in slices. Each mode is tried on a few texts when the model is
    opened, and not used where the log-probabilities are not the model's own; at the slowest, each sentence goes through
    the model by itself.
    """

    def __init__(
        self,
        local: LocalModel,
        *,
        device: str = "auto",
        dtype: str = "fp32",
        token_budget: int = 2048,
        empty_context: EmptyContext = "bos",
        share: bool = True,
        temperature: float = 1.0,
    ):
        self.device = pick_device(device)
        self.model, self.tokenizer = load_causal(local.path, device=self.device, dtype=pick_dtype(self.device, dtype))
        self.prefix = self._prefix(empty_context, local)
        self.bounds = bounds(self.model.config.get_text_config().to_dict())
        """Lengths at which attention changes: rows on different sides of one are never batched together, and rows that
        several sentences share are not longer than the smallest of them."""
        self.token_budget = token_budget
        self.temperature = 1.0
        self.reads_head = self.together = True
        self.shares = share and "position_ids" in inspect.signature(self.model.forward).parameters
        self._choose_modes(local)
        self.temperature = temperature
        """What logits are divided by; 1 while the modes are tried above."""

    def _choose_modes(self, local: LocalModel) -> None:
        """Keep those of the faster modes that give the model's own log-probabilities of the probes."""
        texts = [[*self.prefix, *ids] for ids in probe_texts(self.model, self.tokenizer)]
        probes = [Scored(tuple(ids), 1) for ids in texts]
        may_share = self.shares
        with torch.inference_mode():
            for own in references(self.model, texts, local.path):
                self.reads_head = self.reads_head and holds(lambda: reads_head_alone(self.model, texts[-1]))
                self.together = self.together and holds(partial(self._gives, own, probes, share=False))
                # One by one, texts go through the model's own forward pass, head included.
                self.reads_head &= self.together
                self.shares = self.shares and self.together and holds(partial(self._gives, own, probes, share=True))
        self.unshared = may_share and not self.shares

    def _gives(self, own: list[torch.Tensor], probes: list[Scored], share: bool) -> bool:
        """Whether the probes, in one batch, get the log-probabilities of the model's own logits, token by token."""
        batch = grow_trees([probe.ids for probe in probes], [1] * len(probes), share)
        edges = self._edges(batch).cpu()
        paths = zip((number for tree in batch for number in tree.sequences), self._paths(batch), strict=True)
        for number, path in paths:
            logits, ids = own[number][:-1].cpu(), torch.tensor(probes[number].ids[1:])
            expected = logits.log_softmax(dim=-1).gather(1, ids[:, None])[:, 0]
            if not negligible((edges[path] - expected).abs() / spread(logits), self.model.dtype):
                return False
        return True

    def scores(self, sentences: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Log-probability of each sentence: float64 of shape (len(sentences),). A repeated sentence is scored once.

        ``on_done`` is called after each batch with the number of distinct sentences in it.
        """
        return self.log_probabilities([self.encode(sentence) for sentence in sentences], on_done)

    def encode(self, sentence: str) -> Scored:
        """A sentence after the empty context. Raises ``InputError`` if nothing of it is left to be scored."""
        ids = tuple(self.tokenizer(" " + sentence, add_special_tokens=False)["input_ids"])
        if self.prefix and ids[:1] != self.prefix:
            ids = self.prefix + ids
        return self.checked(Scored(ids, 1), sentence)

    def encode_after(self, context: str, continuation: str) -> Scored:
        """A continuation after a text: only its own tokens count."""
        before = self.tokenizer(context, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
        return self.checked(Scored((*self.prefix, *ids), len(self.prefix) + len(before)), context + continuation)

    def log_probabilities(
        self, scored: Sequence[Scored], on_done: Callable[[int], None] = lambda count: None
    ) -> np.ndarray:
        """Sum of the log-probabilities of the tokens that count: float64 of shape (len(scored),)."""
        distinct = list(dict.fromkeys(scored))
        found = np.full(len(distinct), np.nan)
        for batch, scores in read_one_behind(self._launch, self._read, self._batches(distinct)):
            numbers = [number for tree in batch for number in tree.sequences]
            found[numbers] = scores
            on_done(len(numbers))
        place = {one: number for number, one in enumerate(distinct)}
        return found[[place[one] for one in scored]]

    def scoring_mode(self, longest: int) -> str:
        """How texts of up to ``longest`` tokens are scored, in words; empty for the usual mode: in trees if the model
        takes positions, several rows together, read from the head alone. Part of the names of cached scores."""
        parts = {"own logits": not self.reads_head, "one by one": not self.together, "not shared": self.unshared}
        parts[f"temperature {self.temperature}"] = self.temperature != 1
        parts[f"parted at {self.bounds}"] = bool(self.bounds) and max(ROW_NODES, ROW_TEXTS * longest) > self.bounds[0]
        return ", ".join(part for part, holds_here in parts.items() if holds_here)

    def weights_sha256(self) -> str:
        """Hash of the weights as they are loaded, with their number format, and of the model's shape."""
        digest = hashlib.sha256()
        config = self.model.config.to_diff_dict()
        for key in ("_name_or_path", "transformers_version", "dtype"):
            config.pop(key, None)
        digest.update(repr(sorted(config.items(), key=lambda entry: entry[0])).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
        return digest.hexdigest()

    def _prefix(self, empty_context: EmptyContext, local: LocalModel) -> tuple[int, ...]:
        """The tokens of the empty context: one, or none."""
        if empty_context == "none":
            return ()
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        token = eos if empty_context == "eos" or bos is None else bos
        if token is None:
            raise ModelError(f"the tokenizer in {local.path} has neither BOS nor EOS; give empty_context=none")
        return (token,)

    def checked(self, scored: Scored, text: str) -> Scored:
        """``scored`` itself. Raises ``InputError`` if it has no token to be scored, or too many for the model."""
        if len(scored.ids) <= scored.start:
            raise InputError(f"'{text}' has no token left to be scored; leave it out, or give empty_context=bos")
        longest = context_length(self.model.config)
        if longest is not None and len(scored.ids) - 1 > longest:
            raise InputError(f"'{text[:60]}…' has {len(scored.ids)} tokens; this model takes {longest} at most")
        return scored

    def _batches(self, scored: Sequence[Scored]) -> list[list[Tree]]:
        """The batches that go through the model one after the other."""
        budget = self.token_budget
        if not self.reads_head:
            budget = min(budget, LOGITS_AT_ONCE // self.model.get_input_embeddings().weight.shape[0])
        limit = self.bounds[0] if self.bounds else None
        trees = grow_trees([one.ids for one in scored], [one.start for one in scored], self.shares, limit)
        return batches(trees, budget if self.together else 0, self.bounds)

    def _launch(self, batch: list[Tree]) -> tuple[list[Tree], torch.Tensor]:
        """A batch and its edges' log-probabilities, which a GPU may still be computing."""
        with torch.inference_mode(), self._telling_which(batch):
            return batch, self._edges(batch)

    def _read(self, launched: tuple[list[Tree], torch.Tensor]) -> tuple[list[Tree], np.ndarray]:
        """A batch and the score of every sequence of it, row by row, each in its row's order."""
        batch, edges = launched
        with torch.inference_mode(), self._telling_which(batch):
            edges = edges.cpu().double()
        paths = self._paths(batch)
        owner = torch.repeat_interleave(torch.arange(len(paths)), torch.tensor([len(path) for path in paths]))
        sums = torch.zeros(len(paths), dtype=torch.float64)
        return batch, sums.index_add_(0, owner, edges[torch.cat(paths)]).numpy()

    @contextmanager
    def _telling_which(self, batch: list[Tree]) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a dozen kinds, all of which mean: the model does not read these texts
            raise ModelError(
                f"a {type(self.model).__name__} fails on a text of {len(batch[0])} tokens ({one_line(error)}); "
                "leave it out, or with too little memory lower the token_budget"
            ) from error

    def _paths(self, batch: list[Tree]) -> list[torch.Tensor]:
        """For every sequence of a batch, the indices of its edges in the result of ``_edges``."""
        paths, first = [], 0
        for tree in batch:
            paths += [torch.tensor(path) + first for path in tree.paths]
            first += len(tree.edge_nodes)
        return paths

    def _edges(self, batch: list[Tree]) -> torch.Tensor:
        """Log-probability of every edge of a batch, row by row: float32 of shape (edges,), on the model's device."""
        predicting = [(row, node) for row, tree in enumerate(batch) for node in sorted(set(tree.edge_nodes))]
        place = {position: number for number, position in enumerate(predicting)}
        sources = torch.tensor([place[row, node] for row, tree in enumerate(batch) for node in tree.edge_nodes])
        targets = torch.tensor([token for tree in batch for token in tree.edge_tokens])
        sources, order = sources.sort(stable=True)
        ends = torch.bincount(sources, minlength=len(predicting)).cumsum(0).tolist()
        # Copied to the device before the model is launched: a later copy would wait for the GPU to finish.
        indices = (sources, targets[order], order, *torch.tensor(predicting).T)
        sources, targets, order, rows, nodes = (one.to(self.device) for one in indices)
        found = self._edge_logprobs(self._states(batch)[rows, nodes], sources, targets, ends)
        return torch.empty_like(found).index_copy_(0, order, found)

    def _states(self, batch: list[Tree]) -> torch.Tensor:
        """What the next tokens are read from: last hidden states of shape (rows, longest row, width), or the model's
        own logits (rows, longest row, vocabulary) where its head cannot be applied separately."""
        width = max(len(tree) for tree in batch)
        # Padding stands on the right, where nothing attends to it, so its id does not matter.
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        for row, tree in enumerate(batch):
            ids[row, : len(tree)] = torch.tensor(tree.tokens)
        layout = self._layout(batch, width) if any(len(tree.sequences) > 1 for tree in batch) else {}
        if self.reads_head:
            return forward(self.model.base_model, ids.to(self.device), **layout).last_hidden_state
        return forward(self.model, ids.to(self.device), **layout).logits

    def _layout(self, batch: list[Tree], width: int) -> dict[str, torch.Tensor]:
        """Positions by depth, and an additive attention mask by which a node sees itself and its ancestors alone."""
        positions = torch.zeros((len(batch), width), dtype=torch.long)
        sees = torch.eye(width, dtype=torch.bool).repeat(len(batch), 1, 1)
        for row, tree in enumerate(batch):
            positions[row, : len(tree)] = torch.tensor(tree.depths)
            sees[row, : len(tree), : len(tree)] = torch.from_numpy(tree.ancestors())
        lowest, sees = torch.finfo(self.model.dtype).min, sees.to(self.device)
        mask = torch.zeros(sees.shape, dtype=self.model.dtype, device=self.device).masked_fill_(~sees, lowest)
        return {"position_ids": positions.to(self.device), "attention_mask": mask[:, None]}

    def _edge_logprobs(
        self, states: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor, ends: Sequence[int]
    ) -> torch.Tensor:
        """Log-probability of each edge: states (positions, width), sources and targets (edges,) → float32 (edges,).

        ``sources``: the index of the position that each edge is predicted from, ascending; ``ends``: for each position
        how many edges there are up to and including its own.
        """
        head = self.model.get_output_embeddings() if self.reads_head else torch.nn.Identity()
        found = []
        for begin in range(0, len(states), POSITIONS_AT_ONCE):
            logits = head(states[begin : begin + POSITIONS_AT_ONCE]).float()
            logits = logits if self.temperature == 1 else logits / self.temperature
            edges = slice(ends[begin - 1] if begin else 0, ends[begin + len(logits) - 1])
            local = sources[edges] - begin
            found.append(logits[local, targets[edges]] - logits.logsumexp(dim=1)[local])
        return torch.cat(found)


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The memory of a tensor, whatever its number format."""
    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
