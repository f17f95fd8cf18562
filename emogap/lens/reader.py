"""Reads texts through the logit lens into long tables, and loads the word lists of the emotion lens: which words
indicate which of the 28 emotions, and how strongly.

``emogap emotion-words`` makes the lists (``tools/emotion_words.py``). A word's weight is the emotion's share of all
uses of the word, if all emotions were equally frequent: 1 for a word that occurs in no other emotion's texts, 1/28 for
one that says nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from emogap.emotions import LABELS
from emogap.errors import InputError
from emogap.store.progress import progress
from emogap.text.forms import Form, Label, Number, Text, check
from emogap.text.reading import given_file, read_json

if TYPE_CHECKING:
    import torch

    from emogap.lens.logit_lens import LogitLens, Reading, WordTokens

WORDS = Path(__file__).with_name("emotion_words.json")
"""The lists that the project ships."""


class _WordLists(Form):
    """The word lists as the file has them."""

    words: dict[Label, dict[Text, Annotated[Number, Field(ge=0, le=1)]]]


def load_emotion_words(path: Path = WORDS) -> dict[str, dict[str, float]]:
    """Emotion → word → weight in 0 … 1, the 28 labels in their order. Raises ``MissingInput`` or ``InputError``."""
    given_file(path, "word lists", "make them with `emogap emotion-words`")
    lists = check(_WordLists, read_json(path), str(path), "make the word lists anew").words
    for label in LABELS:
        if not lists.get(label):
            raise InputError(f"{path} has no word of {label}; make the lists from more text")
    return {label: lists[label] for label in LABELS}


MEASURES = ("entropy", "kl_to_final", "cross_entropy", "rank")
"""Measures with one number for each layer and position. The others are about what their row's ``token`` names:
``top_1`` … ``top_k`` (a token's probability), ``word_probability`` and ``word_rank``, ``emotion_mass``."""
TOKENS_AT_ONCE = 512
"""The most tokens in a batch, with padding; a longer text is a batch by itself."""


class TextReader:
    """Reads texts through one model into long tables: one row per layer, position and measure.

    The columns are those of ``records.LENS`` without ``model``, and: ``input`` and ``target``, the token at the
    position and the next one (empty where the text ends); ``end``, whether it is the last position of the text as
    given; ``generated``, whether it is that or a later position of a text that the model continued. ``token`` is the
    layer's likeliest next token, or the token, word or emotion that a row of ``top_k``, ``word_…`` or ``emotion_mass``
    is about. A value that does not exist has no row.
    """

    def __init__(self, opened: "LogitLens", words: Sequence[str], top_k: int = 5):
        self.opened = opened
        self.words = list(words)
        self.top_k = top_k
        self._word_ids = [opened.word_token(word) for word in words]
        self._lists: WordTokens = opened.word_tokens(load_emotion_words())

    @property
    def coverage(self) -> dict[str, float]:
        """Emotion → share of its list's weight on words that are a single token in this model's vocabulary."""
        return {name: round(share, 3) for name, share in zip(self._lists.names, self._lists.covered, strict=True)}

    def read_all(self, texts: dict[str, str], label: str, new_tokens: int = 0) -> pd.DataFrame:
        """Every position of each text and of up to ``new_tokens`` that the model adds. ``texts``: prompt id → text."""
        return self._read(texts, label, new_tokens, ends_only=False)

    def read_ends(self, texts: dict[str, str], label: str) -> pd.DataFrame:
        """Only the last position of each text, where the model predicts what comes next."""
        return self._read(texts, label, 0, ends_only=True)

    def _read(self, texts: dict[str, str], label: str, new_tokens: int, ends_only: bool) -> pd.DataFrame:
        tables = []
        with progress(label, len(texts), "texts") as bar:
            for batch in self._batches(texts, new_tokens):
                readings = self.opened.read(
                    [ids for _, ids, _ in batch],
                    starts=[end if ends_only else 0 for _, _, end in batch],
                    top_k=self.top_k,
                    words=self._word_ids,
                    lists=self._lists,
                )
                for (prompt_id, ids, end), reading in zip(batch, readings, strict=True):
                    written = self.opened.token_texts(ids.tolist())
                    tables.append(self._table(reading, written, end).assign(prompt_id=prompt_id))
                bar.advance(len(batch))
        return pd.concat(tables, ignore_index=True)

    def _batches(self, texts: dict[str, str], new_tokens: int) -> Iterator[list[tuple[str, "torch.Tensor", int]]]:
        """Prompt id, tokens, and the last position of the text as given, in batches of at most ``TOKENS_AT_ONCE``."""
        batch: list[tuple[str, torch.Tensor, int]] = []
        for prompt_id, text in texts.items():
            given = self.opened.encode(text)
            ids = self.opened.continued(given, new_tokens) if new_tokens else given
            longest = max([len(ids), *(len(other) for _, other, _ in batch)])
            if batch and longest * (len(batch) + 1) > TOKENS_AT_ONCE:
                yield batch
                batch = []
            batch.append((prompt_id, ids, len(given) - 1))
        yield batch

    def _table(self, reading: "Reading", texts: list[str], end: int) -> pd.DataFrame:
        layers, positions, k = reading.top_ids.shape
        known, places = np.unique(reading.top_ids, return_inverse=True)
        tops = np.array(self.opened.token_texts(known), dtype=object)[places.reshape(reading.top_ids.shape)]
        following = [*texts[1:], ""]
        place = pd.DataFrame(
            {
                "layer": np.repeat(np.arange(layers), positions),
                "position": np.tile(reading.positions, layers),
                "input": np.tile(np.array([texts[i] for i in reading.positions], dtype=object), layers),
                "target": np.tile(np.array([following[i] for i in reading.positions], dtype=object), layers),
            }
        )
        place["end"] = place["position"] == end
        place["generated"] = (place["position"] >= end) & (len(texts) - 1 > end)
        parts = [(measure, tops[..., 0], getattr(reading, measure)) for measure in MEASURES]
        parts += [(f"top_{i + 1}", tops[..., i], reading.top_probabilities[..., i]) for i in range(k)]
        for i, word in enumerate(self.words):
            parts += [("word_probability", word, reading.word_probability[..., i])]
            parts += [("word_rank", word, reading.word_rank[..., i])]
        parts += [("emotion_mass", name, reading.mass[..., i]) for i, name in enumerate(self._lists.names)]
        rows = [
            place.assign(measure=measure, token=token if isinstance(token, str) else token.ravel(), value=value.ravel())
            for measure, token, value in parts
        ]
        table = pd.concat(rows, ignore_index=True)
        return table[table["value"].notna()]
