"""Inside the models: the logit lens of a base model beside that of what was trained from it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emogap.config import Config
from emogap.errors import InputError
from emogap.evaluate.emotion_words import WORDS, load_emotion_words
from emogap.evaluate.models import (
    StudyModel,
    check_known,
    measurable,
    not_measured,
    recipe_parts,
    wanted_models,
    weights,
)
from emogap.hub import study_model
from emogap.lm.corrections import continuation_rule
from emogap.paths import from_root
from emogap.records import LENS, read_rows, write_rows
from emogap.store.artefacts import Artefact, Draft, Recipe
from emogap.store.exhibits import Shown, drawing
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.text.forms import Label, Text, check
from emogap.text.reading import given_file, passages_rule, read_json, read_passages

if TYPE_CHECKING:
    import torch

    from emogap.evaluate.logit_lens import LogitLens, Reading, WordTokens

MEASURES = ("entropy", "kl_to_final", "cross_entropy", "rank")
"""One number for each layer and position. Beside them stand ``top_1`` … ``top_k`` (probability of the token in the
row), ``word_probability`` and ``word_rank`` (of the word in the row), ``emotion_mass`` (of the emotion in the row)."""
TOKENS_AT_ONCE = 512
"""Padded tokens that go through a model together; a longer text goes alone."""
_OPENINGS = ".openings"


def lens_pieces(config: Config) -> list[Piece]:
    """For each model that the settings name, a table of readings of the sentences and one of the openings; and what is
    seen of them."""
    readings = [
        piece
        for model in lens_models(config)
        for piece in (_sentences_piece(config, model), _openings_piece(config, model))
    ]
    inputs = {piece.path.stem: piece.path for piece in readings}
    settings, shown = config.flat("lens", "bootstrap"), partial(_exhibits, config)
    return [*readings, drawing(config.home.lens, "lens", "tables/by_layer", inputs, shown, settings, config.seed)]


def lens_models(config: Config) -> list[StudyModel]:
    """The models to look into, in the order of the settings, without those for which there was nothing to train on.

    Raises ``UsageError`` for one that is not of the study.
    """
    return measurable(config, wanted_lens_models(config))


def wanted_lens_models(config: Config) -> list[StudyModel]:
    """All that the settings name."""
    known = {model.key: model for model in wanted_models(config)}
    for name in config.lens.models:
        check_known(name, known, "lens.models: ")
    return [known[name] for name in config.lens.models]


def _sentences_piece(config: Config, model: StudyModel) -> Piece:
    file = from_root(config.lens.sentences)
    rules = passages_rule(file)
    if config.lens.new_tokens:
        rules = rules | continuation_rule(weights(config, model))
    return _piece(config, model, model.key, {"sentences": file}, ("new_tokens", "top_k", "words"), rules)


def _openings_piece(config: Config, model: StudyModel) -> Piece:
    inputs = {"openings": from_root(config.lens.prompts)}
    return _piece(config, model, model.key + _OPENINGS, inputs, ("top_k", "words"))


def _piece(
    config: Config,
    model: StudyModel,
    name: str,
    inputs: dict[str, Path],
    keys: Sequence[str],
    rules: dict[str, str] | None = None,
) -> Piece:
    parts = recipe_parts(config, model)
    recipe = Recipe(
        "lens",
        inputs=parts["inputs"] | inputs | {"emotion words": WORDS},
        settings=config.flat("lens", *keys),
        identities=parts["identities"] | (rules or {}),
    )
    return Piece(config.home.lens_readings(name), recipe, make=partial(_make, config, model))


def lens(config: Config) -> Summary:
    """Read every sentence with its continuation, and the end of every opening, through each model; draw the pictures.

    Raises ``MissingInput``, ``InputError``, ``ModelError`` or ``UsageError``.
    """
    for line in not_measured(config, wanted_lens_models(config)):
        print(line)
    return run("lens", lens_pieces(config))


def _exhibits(config: Config) -> "Iterator[Shown]":
    from emogap.evaluate.lens_exhibits import lens_exhibits

    return lens_exhibits(config)


def load_sentences(path: str | Path) -> list[str]:
    """The sentences of a file of texts, such as the lines that are not blank. Raises ``MissingInput`` or
    ``InputError``."""
    return read_passages(given_file(from_root(path), "sentences", "name a text file with a sentence on each line"))


def load_openings(path: str | Path) -> dict[str, str]:
    """``<emotion>/<place>`` → opening, from a JSON object emotion → list. Raises ``MissingInput`` or ``InputError``."""
    file = given_file(from_root(path), "openings", "give a file with --set lens.prompts=FILE")
    groups = check(dict[Label, list[Text]], read_json(file), str(file), "openings are an object, emotion → list")
    openings = {
        f"{emotion}/{place:02d}": text.strip() for emotion, texts in groups.items() for place, text in enumerate(texts)
    }
    if not openings:
        raise InputError(f"{file} has no opening; give an object, emotion → list of openings")
    return openings


def _make(config: Config, model: StudyModel, draft: Draft) -> None:
    from emogap.evaluate.logit_lens import LogitLens

    is_openings = draft.artefact.path.stem.endswith(_OPENINGS)
    if is_openings:
        texts = load_openings(config.lens.prompts)
    else:
        texts = {f"s{number}": text for number, text in enumerate(load_sentences(config.lens.sentences))}
    reader = TextReader(LogitLens(study_model(config, model.key)), config.lens.words, config.lens.top_k)
    label = f"logit lens, {model.key}"
    new_tokens = config.lens.new_tokens
    table = reader.read_ends(texts, label) if is_openings else reader.read_all(texts, label, new_tokens)
    write_rows(draft.path, table.assign(model=model.key), LENS)
    draft.counts |= {"openings" if is_openings else "sentences": len(texts), "readings": len(table)}
    draft.notes["listed_weight_in_vocabulary"] = reader.coverage


class TextReader:
    """Reads texts through one model into long tables: a row a layer, position and measure.

    Columns beside those of ``records.LENS`` but ``model``: ``input`` and ``target`` say what stands at the position and
    what comes next (empty where the text ends), ``end`` marks the last position of the text as given, ``generated``
    it and the later ones where the model went on by itself. ``token`` is the layer's likeliest next token, or the
    token, word or emotion that a row of ``top_k``, ``word_…`` or ``emotion_mass`` is about. What cannot be told is no
    row.
    """

    def __init__(self, opened: "LogitLens", words: Sequence[str], top_k: int = 5):
        self.opened = opened
        self.words = list(words)
        self.top_k = top_k
        self._word_ids = [opened.word_token(word) for word in words]
        self._lists: WordTokens = opened.word_tokens(load_emotion_words())

    @property
    def coverage(self) -> dict[str, float]:
        """Emotion → share of its list's weight whose words are one token in this model's vocabulary."""
        return {name: round(share, 3) for name, share in zip(self._lists.names, self._lists.covered, strict=True)}

    def read_all(self, texts: dict[str, str], label: str, new_tokens: int = 0) -> "pd.DataFrame":
        """Every position of each text and of as many tokens as the model shall add. ``texts``: prompt id → text."""
        return self._read(texts, label, new_tokens, ends_only=False)

    def read_ends(self, texts: dict[str, str], label: str) -> "pd.DataFrame":
        """The last position of each text: what would come next."""
        return self._read(texts, label, 0, ends_only=True)

    def _read(self, texts: dict[str, str], label: str, new_tokens: int, ends_only: bool) -> "pd.DataFrame":
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
        """Prompt id, tokens, and the last position of the text as given, in batches of ``TOKENS_AT_ONCE``."""
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

    def _table(self, reading: "Reading", texts: list[str], end: int) -> "pd.DataFrame":
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


def readings(config: Config) -> "pd.DataFrame":
    """All readings of the sentences in the home, one table. Raises ``MissingInput``."""
    return _tables(config, [_sentences_piece(config, model) for model in lens_models(config)])


def opening_readings(config: Config) -> "pd.DataFrame":
    """All readings of the openings in the home, one table. Raises ``MissingInput``."""
    return _tables(config, [_openings_piece(config, model) for model in lens_models(config)])


def _tables(config: Config, artefacts: Sequence[Artefact]) -> "pd.DataFrame":
    return pd.concat([read_rows(config.home.require(a.path), LENS) for a in artefacts], ignore_index=True)


def mean_by_layer(table: "pd.DataFrame") -> "pd.DataFrame":
    """model, layer, and the mean over positions of each measure (the median for the rank, which is heavy-tailed)."""
    wide = table[table["measure"].isin(MEASURES)].pivot_table(
        index=["model", "prompt_id", "layer", "position"], columns="measure", values="value", sort=False
    )
    how = {measure: "median" if measure == "rank" else "mean" for measure in MEASURES}
    return wide.groupby(["model", "layer"], sort=False).agg(how).round(3).reset_index()
