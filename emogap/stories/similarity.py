"""How alike two texts are in meaning: the cosine of their sentence vectors."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from emogap.config import HubModel
from emogap.lm.hub import resolve

ENCODER = HubModel(name="embedded:minilm")
_MAX_TOKENS = 256
_BATCH = 64


def similarities(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Cosine similarity of each text to the other one of the same place, -1 … 1.

    Sentence vectors are those of all-MiniLM-L6-v2 (mean pooling; Reimers and Gurevych 2019, "Sentence-BERT").
    """
    return [float(value) for value in (embed(texts) * embed(others)).sum(axis=1)]


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, float32 of shape (len(texts), 384); only a text's first 256 tokens count."""
    import torch

    model, tokenizer = _encoder()
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            tokens = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
            )
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return vectors


@lru_cache
def _encoder():
    from emogap.lm.loading import load_encoder

    return load_encoder(resolve(ENCODER).path)
