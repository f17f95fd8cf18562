"""Whether a model still writes varied, ordinary language: repetition in its answers, perplexity of plain text.

A model that always says something joyful scores well on sentiment and badly here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from emogap.config import Config
from emogap.lm import hub
from emogap.lm.corrections import PASSAGE, scores_rule
from emogap.lm.score_cache import open_scorer
from emogap.paths import from_root
from emogap.records import SCORES, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.pieces import Piece
from emogap.store.progress import progress
from emogap.text import reading
from emogap.text.reading import given_file, passages_rule
from emogap.text.words import MARKS, distinct_n, ngrams, plain
from emogap.train.models import StudyModel, recipe_parts, study_models, weights

_RUN = rf"\w+(?:[{MARKS}]+\w*)*"
_WORD = re.compile(rf"{_RUN}(?:'{_RUN})*")


def word_ngrams(text: str, width: int) -> list[tuple[str, ...]]:
    """All runs of ``width`` words, lower-cased, punctuation left out."""
    return ngrams(_WORD.findall(plain(text).lower()), width)


def distinct_share(texts: Sequence[str], width: int) -> float:
    """``distinct_n`` of the texts for runs of ``width`` words. It falls with the amount of text, so compare only models
    that answered the same prompts with the same limit of new tokens."""
    return distinct_n(word_ngrams(text, width) for text in texts)


def repeated_share(text: str, width: int) -> float:
    """The share of a text's n-grams that repeat an earlier one; NaN for a text too short to have an n-gram."""
    return 1 - distinct_n([word_ngrams(text, width)])


def read_passages(path: str | Path) -> list[str]:
    """The passages of a file of texts; in a plain text file each line that is not blank is one. Raises ``MissingInput``
    or ``InputError``."""
    file = given_file(from_root(path), "plain text", "give a file with --set sentiment.plain_text=FILE")
    return reading.read_passages(file)


def plain_text_pieces(config: Config) -> Iterator[Piece]:
    """``plain_text`` scores of every model."""
    file = from_root(config.sentiment.plain_text)
    for model in study_models(config):
        parts = recipe_parts(config, model)
        parts["inputs"]["plain text"] = file
        parts["identities"] |= scores_rule(weights(config, model), PASSAGE) | passages_rule(file)
        path = config.home.task_scores(model.key, "plain_text")
        yield Piece(path, Recipe("plain_text", **parts), make=partial(_make, config, model))


def _make(config: Config, model: StudyModel, draft: Draft) -> None:
    passages = read_passages(config.sentiment.plain_text)
    write_rows(draft.path, plain_text_scores(config, model, passages), SCORES)
    draft.counts["passages"] = len(passages)


def plain_text_scores(config: Config, model: StudyModel, passages: Sequence[str]) -> pd.DataFrame:
    """``SCORES`` rows of task ``plain_text``; the item is the passage's number. Metrics: ``nats`` (minus the passage's
    log-probability, scored like a sentence of a minimal pair), ``tokens`` and ``characters`` (their number)."""
    # The default options of the benchmarks: unless their settings differ, one open scorer serves all tasks.
    options = {"device": config.respond.device, "dtype": "fp32", "token_budget": 2048, "empty_context": "bos"}
    scorer = open_scorer(hub.study_model(config, model.key), **options)
    with progress(f"plain text, {model.key}", len(passages), "passages") as bar:
        nats = -scorer.scores(passages, bar.advance)
    tokens = [len(scorer.tokenizer(f" {passage}", add_special_tokens=False)["input_ids"]) for passage in passages]
    metrics = {"nats": nats, "tokens": tokens, "characters": [len(passage) for passage in passages]}
    keys = pd.DataFrame({"item": [f"{number:03d}" for number in range(len(passages))]}).assign(
        model=model.name, train_seed=model.train_seed, task="plain_text", sample=0, group="plain text"
    )
    return in_long_form(keys, metrics)


def in_long_form(keys: pd.DataFrame, metrics: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The keys repeated for each metric, with its values: rows with the columns of ``SCORES``."""
    tables = [keys.assign(metric=metric, value=np.asarray(values, dtype=float)) for metric, values in metrics.items()]
    return pd.concat(tables, ignore_index=True)
