"""The log-probability of whole sentences under a causal language model.

A sentence's score is the sum of its tokens' natural-log probabilities, each given all tokens before it, in float32.
The first token is predicted from the empty context: the tokenizer's BOS token, or EOS where it has no BOS (GPT-2's has
neither as a token of its own: both are ``<|endoftext|>``). A space is put before the sentence, as EleutherAI's
lm-evaluation-harness does between an empty context and a continuation, so that its scores are the same.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emogap.device import pick_device, pick_dtype
from emogap.errors import ModelError
from emogap.hub import LocalModel

if TYPE_CHECKING:
    import numpy as np
    import torch

POSITIONS_AT_ONCE = 256
"""Rows of the vocabulary-wide logits that are in memory at one time."""


class SentenceScorer:
    """A causal language model that scores sentences. Raises ``ModelError`` if it has no tokenizer or no model."""

    def __init__(self, local: LocalModel, *, device: str = "auto", dtype: str = "fp32", token_budget: int = 2048):
        self.token_budget = token_budget
        self.device = pick_device(device)
        self.tokenizer, self.model = _load(local, self.device, dtype)
        prefix = self.tokenizer.bos_token_id
        self.prefix_id: int = self.tokenizer.eos_token_id if prefix is None else prefix

    def scores(self, sentences: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> "np.ndarray":
        """Log-probability of each sentence: float64 of shape (len(sentences),). A repeated sentence is scored once.

        ``on_done`` hears of the number of distinct sentences that each batch finished.
        """
        import numpy as np

        distinct = list(dict.fromkeys(sentences))
        encoded = [self._encode(sentence) for sentence in distinct]
        found = np.full(len(distinct), np.nan)
        for batch in _batches([len(ids) for ids in encoded], self.token_budget):
            found[batch] = self._score_batch([encoded[i] for i in batch])
            on_done(len(batch))
        place = {sentence: i for i, sentence in enumerate(distinct)}
        return found[[place[sentence] for sentence in sentences]]

    def _encode(self, sentence: str) -> list[int]:
        """Token ids with the empty context in front."""
        ids = self.tokenizer(" " + sentence, add_special_tokens=False)["input_ids"]
        return ids if ids[0] == self.prefix_id else [self.prefix_id, *ids]

    def _score_batch(self, batch: list[list[int]]) -> "np.ndarray":
        import torch

        lengths = torch.tensor([len(ids) for ids in batch])
        width = int(lengths.max())
        # Padding stands on the right, where causal attention keeps it from every real token; its id is no matter.
        ids = torch.full((len(batch), width), self.prefix_id)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        is_target = torch.arange(1, width) < lengths[:, None]
        ids, is_target = ids.to(self.device), is_target.to(self.device)
        with torch.inference_mode():
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
            logprobs = self._target_logprobs(hidden[is_target], ids[:, 1:][is_target])
        sums = torch.zeros(len(batch), dtype=torch.float64, device=self.device)
        rows = is_target.nonzero()[:, 0]
        return sums.index_add_(0, rows, logprobs.double()).cpu().numpy()

    def _target_logprobs(self, hidden: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Log-probability of each target: hidden (n, width), targets (n,) → float32 (n,)."""
        import torch

        head = self.model.get_output_embeddings()
        parts = []
        for states, wanted in zip(hidden.split(POSITIONS_AT_ONCE), targets.split(POSITIONS_AT_ONCE), strict=True):
            logits = head(states).float()
            parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(dim=1))
        return torch.cat(parts)


def _load(local: LocalModel, device: str, dtype: str) -> tuple:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(local.path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{local.path} has no tokenizer that loads; save the model's tokenizer beside it") from error
    try:
        model = AutoModelForCausalLM.from_pretrained(local.path, dtype=pick_dtype(device, dtype))
    except (OSError, ValueError) as error:
        raise ModelError(f"{local.path} is no causal language model that loads ({error})") from error
    return tokenizer, model.to(device).eval()


def _batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices in batches of similar length, longest first, each of at most ``token_budget`` tokens with its padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= token_budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
