"""Inside the models: the logit lens of a base model beside that of what was trained from it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from emogap.config import Config
from emogap.errors import InputError
from emogap.lens.emotion_words import WORDS
from emogap.lm.corrections import continuation_rule
from emogap.lm.hub import study_model
from emogap.paths import from_root
from emogap.records import LENS, read_rows, write_rows
from emogap.store.artefacts import Artefact, Draft, Recipe
from emogap.store.exhibits import Shown, drawing
from emogap.store.pieces import Piece, Summary, run
from emogap.text.forms import Label, Text, check
from emogap.text.reading import given_file, passages_rule, read_json, read_passages
from emogap.text.statistics import INTERVALS_RULE
from emogap.train.models import (
    StudyModel,
    check_known,
    comparisons,
    measurable,
    not_measured,
    recipe_parts,
    wanted_models,
    weights,
)

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
    lead, rules = "tables/by_layer", INTERVALS_RULE
    return [*readings, drawing(config.home.lens, "lens", lead, inputs, shown, settings, config.seed, rules=rules)]


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
    fewer = ("per_emotion",) if config.lens.per_emotion else ()
    return _piece(config, model, model.key + _OPENINGS, inputs, ("top_k", "words", *fewer))


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
    from emogap.lens.exhibits import lens_exhibits

    bases = compared_with(config)
    texts, known = sentences(config), list(config.bases)
    resamples, seed = config.lens.bootstrap, config.seed
    return lens_exhibits(readings(config), opening_readings(config), texts, bases, known, resamples, seed)


def compared_with(config: Config) -> dict[str, str]:
    """Model → the one that it is held against: its control where that is looked into too, else its base; itself for a
    base, and where neither is looked into."""
    models = [model.key for model in lens_models(config)]
    found = {model: model for model in models}
    for pair in reversed(comparisons(config, "key")):  # the first of a model's comparisons is the one that holds
        if pair.model in found and pair.other in found:
            found[pair.model] = pair.other
    return found


def load_sentences(path: str | Path) -> list[str]:
    """The sentences of a file of texts, such as the lines that are not blank. Raises ``MissingInput`` or
    ``InputError``."""
    return read_passages(given_file(from_root(path), "sentences", "name a text file with a sentence on each line"))


def sentences(config: Config) -> dict[str, str]:
    """``s<number>`` → sentence of the study."""
    return {f"s{number}": text for number, text in enumerate(load_sentences(config.lens.sentences))}


def load_openings(path: str | Path, per_emotion: int = 0) -> dict[str, str]:
    """``<emotion>/<place>`` → opening, from a JSON object emotion → list, the first so many of each; 0 is all.

    Raises ``MissingInput`` or ``InputError``.
    """
    file = given_file(from_root(path), "openings", "give a file with --set lens.prompts=FILE")
    groups = check(dict[Label, list[Text]], read_json(file), str(file), "openings are an object, emotion → list")
    openings = {
        f"{emotion}/{place:02d}": text.strip()
        for emotion, texts in groups.items()
        for place, text in enumerate(texts[: per_emotion or None])
    }
    if not openings:
        raise InputError(f"{file} has no opening; give an object, emotion → list of openings")
    return openings


def _make(config: Config, model: StudyModel, draft: Draft) -> None:
    from emogap.lens.logit_lens import LogitLens
    from emogap.lens.reader import TextReader

    is_openings = draft.artefact.path.stem.endswith(_OPENINGS)
    texts = load_openings(config.lens.prompts, config.lens.per_emotion) if is_openings else sentences(config)
    reader = TextReader(LogitLens(study_model(config, model.key)), config.lens.words, config.lens.top_k)
    label = f"logit lens, {model.key}"
    new_tokens = config.lens.new_tokens
    table = reader.read_ends(texts, label) if is_openings else reader.read_all(texts, label, new_tokens)
    write_rows(draft.path, table.assign(model=model.key), LENS)
    draft.counts |= {"openings" if is_openings else "sentences": len(texts), "readings": len(table)}
    draft.notes["listed_weight_in_vocabulary"] = reader.coverage


def readings(config: Config) -> pd.DataFrame:
    """All readings of the sentences in the home, one table. Raises ``MissingInput``."""
    return _tables(config, [_sentences_piece(config, model) for model in lens_models(config)])


def opening_readings(config: Config) -> pd.DataFrame:
    """All readings of the openings in the home, one table. Raises ``MissingInput``."""
    return _tables(config, [_openings_piece(config, model) for model in lens_models(config)])


def _tables(config: Config, artefacts: Sequence[Artefact]) -> pd.DataFrame:
    return pd.concat([read_rows(config.home.require(a.path), LENS) for a in artefacts], ignore_index=True)
