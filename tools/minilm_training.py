"""The embedded encoder in training: a low-rank adapter on each of its linear layers, dropout that is cheap to sample.

The adapter is LoRA (Hu et al. 2021). This module imports torch: import it inside functions.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from emogap.emotion.minilm import MeanPoolClassifier


class LowRank(nn.Module):
    """A parametrization of a frozen weight of shape (out, in): weight + B @ A, in bf16 where ``half``."""

    def __init__(self, weight: torch.Tensor, rank: int, half: bool):
        super().__init__()
        outputs, inputs = weight.shape
        self.A = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
        self.B = nn.Parameter(torch.zeros(outputs, rank))
        self.half = half

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        summed = weight + self.B @ self.A
        return summed.bfloat16() if self.half else summed


class RowDropout(nn.Dropout):
    """Dropout that drops the same channels at every token of a row: as good, and a mask per row is cheap to sample."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``states``: (rows, tokens, channels)."""
        mask = super().forward(torch.ones(states.shape[0], 1, states.shape[2]))
        return states * mask.to(states.dtype)


def share_dropout(model: MeanPoolClassifier) -> None:
    """Replaces the encoder's dropout after its embeddings and after every block by ``RowDropout``, in place."""
    embeddings = model.bert.embeddings
    outputs = [part.output for layer in model.bert.encoder.layer for part in (layer.attention, layer)]
    for module in [embeddings, *outputs]:
        module.dropout = RowDropout(module.dropout.p)


def add_adapter(model: MeanPoolClassifier, rank: int, half: bool) -> None:
    """Freezes the encoder and puts a ``LowRank`` update on each of its linear layers, in place.

    ``half``: the encoder computes in bf16; the sums weight + B @ A are still made in fp32, from fp32 weights.
    """
    model.bert.requires_grad_(False)
    linears = [module for module in model.bert.encoder.modules() if isinstance(module, nn.Linear)]
    originals = [module.weight.detach().clone() for module in linears]
    if half:
        model.bert.to(torch.bfloat16)
    for module, weight in zip(linears, originals, strict=True):
        module.weight = nn.Parameter(weight, requires_grad=False)
        # unsafe: skips a check that the parametrized weight has the dtype of the frozen one, which `half` changes.
        parametrize.register_parametrization(module, "weight", LowRank(weight, rank, half), unsafe=True)


def trained_parameters(model: MeanPoolClassifier) -> dict[str, nn.Parameter]:
    """What is trained, by its name in the committed files: ``<module>.A``, ``<module>.B``, and the head's two."""
    found = {f"head.{name}": parameter for name, parameter in model.classifier.named_parameters()}
    for name, module in model.bert.named_modules():
        if isinstance(module, LowRank):
            layer = name.removesuffix(".parametrizations.weight.0")
            found |= {f"{layer}.A": module.A, f"{layer}.B": module.B}
    return found


def mean_trained(fitted: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of what several fits from the same encoder learnt, named as by ``trained_parameters``.

    The mean of updates B @ A is one update whose rank is the sum of theirs.
    """
    mean = {}
    for name in fitted[0]:
        parts = [one[name] for one in fitted]
        if name.endswith(".A"):
            mean[name] = torch.cat(parts, dim=0)
        elif name.endswith(".B"):
            mean[name] = torch.cat(parts, dim=1) / len(parts)
        else:
            mean[name] = torch.stack(parts).mean(0)
    return mean
