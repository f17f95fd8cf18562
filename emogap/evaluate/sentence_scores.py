"""The log-probability of sentences, and of continuations of a text, under a causal language model.

A score is the sum of tokens' natural-log probabilities, each given all tokens before it, computed in float32 from the
logits. The first token of a sentence is predicted from the empty context: by default the tokenizer's BOS token, or EOS
where it has no BOS (GPT-2's are both ``<|endoftext|>``, and its tokenizer adds neither by itself). A space is put
before a sentence. Both are what EleutherAI's lm-evaluation-harness does, so that its scores are the same.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from emogap.device import pick_device, pick_dtype
from emogap.errors import InputError, ModelError
from emogap.evaluate.prefix_trees import Tree, batches, grow_trees
from emogap.hub import LocalModel
from emogap.lm.loading import context_length, load_causal

if TYPE_CHECKING:
    import numpy as np
    import torch

EmptyContext = Literal["bos", "eos", "none"]

POSITIONS_AT_ONCE = 256
"""Rows of the vocabulary-wide logits that are in memory at one time."""
_PROBE = ("The cat that the dog saw sleeps.", "The cat that the dog saw sleep.", "The cat is here now.")
_PROBE_TOLERANCE = {"float32": 1e-3, "float16": 0.25, "bfloat16": 2.0}
"""How far the two ways may lie apart, in nats a sentence: rounding, not another sentence's words."""


class Scored(NamedTuple):
    """Token ids, and the index of the first one that counts."""

    ids: tuple[int, ...]
    start: int


class SentenceScorer:
    """A causal language model that scores sentences. Raises ``ModelError`` if it has no tokenizer or no model.

    Sentences that begin alike go through the model as one tree (``prefix_trees``); a model that cannot take one (no
    positions, no mask of its own) is found out on a few sentences and scores each sentence by itself.
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
    ):
        self.token_budget = token_budget
        self.device = pick_device(device)
        self.model, self.tokenizer = load_causal(local.path, device=self.device, dtype=pick_dtype(self.device, dtype))
        self.prefix = self._prefix(empty_context, local)
        self.shares = share and self._can_share()

    def scores(self, sentences: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> "np.ndarray":
        """Log-probability of each sentence: float64 of shape (len(sentences),). A repeated sentence is scored once.

        ``on_done`` hears of the number of distinct sentences that each batch finished.
        """
        return self.log_probabilities([self.encode(sentence) for sentence in sentences], on_done)

    def encode(self, sentence: str) -> Scored:
        """A sentence after the empty context. Raises ``InputError`` if nothing of it is left to be scored."""
        ids = tuple(self.tokenizer(" " + sentence, add_special_tokens=False)["input_ids"])
        if self.prefix and ids[:1] != self.prefix:
            ids = self.prefix + ids
        return self._checked(Scored(ids, 1), sentence)

    def encode_after(self, context: str, continuation: str) -> Scored:
        """A continuation after a text: only its own tokens count."""
        before = self.tokenizer(context, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
        return self._checked(Scored((*self.prefix, *ids), len(self.prefix) + len(before)), context + continuation)

    def log_probabilities(
        self, scored: Sequence[Scored], on_done: Callable[[int], None] = lambda count: None
    ) -> "np.ndarray":
        """Sum of the log-probabilities of the tokens that count: float64 of shape (len(scored),)."""
        import numpy as np

        distinct = list(dict.fromkeys(scored))
        found = np.full(len(distinct), np.nan)
        trees = grow_trees([s.ids for s in distinct], [s.start for s in distinct], self.shares)
        for batch in batches(trees, self.token_budget):
            numbers = [number for tree in batch for number in tree.sequences]
            found[numbers] = self._score(batch)
            on_done(len(numbers))
        place = {one: number for number, one in enumerate(distinct)}
        return found[[place[one] for one in scored]]

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

    def _checked(self, scored: Scored, text: str) -> Scored:
        if len(scored.ids) <= scored.start:
            raise InputError(f"'{text}' has no token left to be scored; leave it out, or give empty_context=bos")
        longest = context_length(self.model.config)
        if longest is not None and len(scored.ids) - 1 > longest:
            raise InputError(f"'{text[:60]}…' has {len(scored.ids)} tokens; this model takes {longest} at most")
        return scored

    def _can_share(self) -> bool:
        """Whether the model gives the same scores for a tree as for its sentences one by one."""
        import numpy as np

        if "position_ids" not in inspect.signature(self.model.forward).parameters:
            return False
        probe = [self.encode(sentence) for sentence in _PROBE]
        self.shares = False
        one_by_one = self.log_probabilities(probe)
        self.shares = True
        tolerance = _PROBE_TOLERANCE[str(self.model.dtype).removeprefix("torch.")]
        return bool(np.allclose(one_by_one, self.log_probabilities(probe), rtol=0, atol=tolerance))

    def _score(self, batch: list[Tree]) -> "np.ndarray":
        """Score of every sequence of a batch, row by row, each in its row's order."""
        import torch

        with torch.inference_mode():
            hidden = self._hidden(batch)
            predicting = [(row, node) for row, tree in enumerate(batch) for node in sorted(set(tree.edge_nodes))]
            place = {position: number for number, position in enumerate(predicting)}
            rows, nodes = torch.tensor(predicting, device=self.device).T
            states = torch.tensor([place[row, node] for row, tree in enumerate(batch) for node in tree.edge_nodes])
            targets = torch.tensor([token for tree in batch for token in tree.edge_tokens])
            edges = self._edge_logprobs(hidden[rows, nodes], states.to(self.device), targets.to(self.device))
        edges = edges.double().cpu()
        paths, first = [], 0
        for tree in batch:
            paths += [torch.tensor(path) + first for path in tree.paths]
            first += len(tree.edge_nodes)
        owner = torch.repeat_interleave(torch.arange(len(paths)), torch.tensor([len(path) for path in paths]))
        sums = torch.zeros(len(paths), dtype=torch.float64)
        return sums.index_add_(0, owner, edges[torch.cat(paths)]).numpy()

    def _hidden(self, batch: list[Tree]) -> "torch.Tensor":
        """Last hidden states of shape (rows, longest row, width)."""
        import torch

        width = max(len(tree) for tree in batch)
        # Padding stands on the right, where nothing attends to it; its id is no matter.
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        for row, tree in enumerate(batch):
            ids[row, : len(tree)] = torch.tensor(tree.tokens)
        inputs = {"input_ids": ids.to(self.device), "use_cache": False}
        if any(len(tree.sequences) > 1 for tree in batch):
            inputs |= self._layout(batch, width)
        return self.model.base_model(**inputs).last_hidden_state

    def _layout(self, batch: list[Tree], width: int) -> dict[str, "torch.Tensor"]:
        """Positions by depth, and the mask that lets a node see its ancestors: what is added to attention's scores."""
        import torch

        positions = torch.zeros((len(batch), width), dtype=torch.long)
        sees = torch.eye(width, dtype=torch.bool).repeat(len(batch), 1, 1)
        for row, tree in enumerate(batch):
            positions[row, : len(tree)] = torch.tensor(tree.depths)
            sees[row, : len(tree), : len(tree)] = torch.from_numpy(tree.ancestors())
        lowest = torch.finfo(self.model.dtype).min
        mask = torch.zeros(sees.shape, dtype=self.model.dtype).masked_fill_(~sees, lowest)
        return {"position_ids": positions.to(self.device), "attention_mask": mask[:, None].to(self.device)}

    def _edge_logprobs(self, hidden: "torch.Tensor", states: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Log-probability of each edge: hidden (positions, width), states and targets (edges,) → float32 (edges,).

        ``states`` rises: the index of the position that each edge is predicted from.
        """
        import torch

        head = self.model.get_output_embeddings()
        order = torch.argsort(states, stable=True)
        counts = torch.bincount(states, minlength=len(hidden)).cumsum(0).tolist()
        found = torch.empty(len(targets), dtype=torch.float32, device=self.device)
        for begin in range(0, len(hidden), POSITIONS_AT_ONCE):
            logits = head(hidden[begin : begin + POSITIONS_AT_ONCE]).float()
            end = begin + len(logits)
            edges = order[counts[begin - 1] if begin else 0 : counts[end - 1]]
            local = states[edges] - begin
            found[edges] = logits[local, targets[edges]] - logits.logsumexp(dim=1)[local]
        return found


def _bytes(tensor: "torch.Tensor") -> memoryview:
    """The memory of a tensor, whatever its number format."""
    import torch

    return memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
