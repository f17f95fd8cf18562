"""Sampling the next token of many rows at once, each row by its own stream of uniform numbers.

A row's token depends on its own logits and its own uniform number alone: neither on the rows beside it nor on where it
stands in the batch.
"""

import numpy as np
import torch

from emogap.config import Sampling

CANDIDATES = 1024
"""How many of the likeliest tokens are looked at first; sorting a whole vocabulary costs ten times as much."""


def uniforms(seed: int, count: int) -> np.ndarray:
    """``count`` numbers in [0, 1), the same ones for the same seed on every device. A longer call begins alike."""
    return np.random.Generator(np.random.PCG64(seed)).random(count)


def penalise(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make tokens that a row has seen less likely (Keskar et al. 2019, as ``transformers`` defines it).

    ``logits`` (rows, vocabulary) and ``seen`` (the same shape, bool; tokens of the prompt count too). A positive
    logit is divided by the penalty, a negative one multiplied.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def sample_tokens(
    logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling, candidates: int = CANDIDATES
) -> torch.Tensor:
    """The next token of each row.

    ``logits`` (rows, vocabulary) float32, the repetition penalty already applied; ``uniform`` (rows,) float64 in
    [0, 1). Order of the filters as in ``transformers``: temperature, top_k, top_p. The draw inverts the cumulative
    distribution in the order of the token ids, so that a rounding error in a logit moves it by no more than that.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    logits = logits / sampling.temperature
    if not sampling.top_k and sampling.top_p == 1:
        return _invert(logits.double().softmax(-1), uniform)
    vocabulary = logits.shape[-1]
    width = min(sampling.top_k or candidates, vocabulary)
    values, ids = logits.topk(width, dim=-1)
    whole = (values if sampling.top_k else logits).double().logsumexp(-1, keepdim=True)
    shares = (values.double() - whole).exp()
    before = shares.cumsum(-1) - shares
    ids, order = ids.sort(dim=-1)
    tokens = ids.gather(-1, _invert((shares * (before < sampling.top_p)).gather(-1, order), uniform)[:, None])[:, 0]
    reached = before[:, -1] + shares[:, -1] >= sampling.top_p
    if sampling.top_k or width == vocabulary or bool(reached.all()):
        return tokens
    wide = ~reached
    tokens[wide] = sample_tokens(
        logits[wide], uniform[wide], sampling.model_copy(update={"temperature": 1.0}), vocabulary
    )
    return tokens


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight passes ``uniform`` of the whole; (rows, n), (rows,) → (rows,)."""
    cumulative = weights.cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=weights.shape[-1] - 1)
