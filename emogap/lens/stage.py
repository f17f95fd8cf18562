"""The stage that reads texts through the logit lens of base models and of the models that were trained from them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from emogap.config import Config
from emogap.emotions import check_label
from emogap.errors import InputError, UsageError
from emogap.lens.emotion_lens import shift_statements
from emogap.lens.reader import WORDS, TextReader
from emogap.lm import hub
from emogap.lm.corrections import continuation_rule
from emogap.lm.hub import study_model
from emogap.paths import from_root
from emogap.records import LENS, read_rows, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.exhibits import Shown, drawing, show
from emogap.store.pieces import Piece, Summary, run
from emogap.text.forms import Label, Text, check
from emogap.text.reading import given_file, passages_rule, read_json, read_passages
from emogap.text.statistics import INTERVALS_RULE
from emogap.train.models import (
    StudyModel,
    check_known,
    comparisons,
    measurable,
    named_models,
    not_measured,
    recipe_parts,
    wanted_models,
    weights,
)

_OPENINGS = ".openings"


def lens_pieces(config: Config) -> list[Piece]:
    """For each model that the settings name, a table of readings of the sentences and one of the openings; and the
    piece with all tables and figures drawn from them."""
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
    """All models that the settings name."""
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
    """Read every sentence with its continuation, and the end of every opening, through each model; draw the figures.

    Raises ``MissingInput``, ``InputError``, ``ModelError`` or ``UsageError``.
    """
    for line in not_measured(config, wanted_lens_models(config)):
        print(line)
    return run("lens", lens_pieces(config))


def _exhibits(config: Config) -> Iterator[Shown]:
    from emogap.lens.exhibits import emotion_depths, lens_exhibits  # with matplotlib, which most commands do without

    bases, openings = compared_with(config), opening_readings(config)
    depths = emotion_depths(openings, bases, config.lens.bootstrap, config.seed)
    return lens_exhibits(readings(config), openings, depths, sentences(config), bases, list(config.bases))


def compared_with(config: Config) -> dict[str, str]:
    """Model → the model that it is compared with: its control if that is read too, else its base; itself for a base,
    and if neither is read."""
    models = [model.key for model in lens_models(config)]
    found = {model: model for model in models}
    for pair in reversed(comparisons(config, "key")):  # so that a model's first comparison overwrites the later ones
        if pair.model in found and pair.other in found:
            found[pair.model] = pair.other
    return found


def load_sentences(path: str | Path) -> list[str]:
    """The sentences of a file of texts; in a plain text file each line that is not blank is one. Raises
    ``MissingInput`` or ``InputError``."""
    return read_passages(given_file(from_root(path), "sentences", "name a text file with a sentence on each line"))


def sentences(config: Config) -> dict[str, str]:
    """``s<number>`` → sentence of the study."""
    return {f"s{number}": text for number, text in enumerate(load_sentences(config.lens.sentences))}


def load_openings(path: str | Path, per_emotion: int = 0) -> dict[str, str]:
    """``<emotion>/<place>`` → opening, from a JSON object emotion → list; the first ``per_emotion`` of each (0: all).

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
    return _tables(config, _sentences_piece)


def opening_readings(config: Config) -> pd.DataFrame:
    """All readings of the openings in the home, one table. Raises ``MissingInput``."""
    return _tables(config, _openings_piece)


def _tables(config: Config, piece_of: Callable[[Config, StudyModel], Piece]) -> pd.DataFrame:
    paths = [config.home.require(piece_of(config, model).path) for model in lens_models(config)]
    return pd.concat([read_rows(path, LENS) for path in paths], ignore_index=True)


# --- any texts and any models: what ``emogap lens --model … --text …`` does -------------------------------------------


READINGS = "readings.parquet"
_STRONGEST = 3


def read_models(
    models: dict[str, hub.LocalModel], texts: dict[str, str], words: Sequence[str], top_k: int, new_tokens: int
) -> pd.DataFrame:
    """Readings of all texts through each model, one after the other, in long form (``records.LENS``)."""
    from emogap.lens.logit_lens import LogitLens

    tables = []
    for name, local in models.items():
        reader = TextReader(LogitLens(local), words, top_k)
        tables.append(reader.read_all(texts, f"logit lens, {name}", new_tokens).assign(model=name))
    return pd.concat(tables, ignore_index=True)


def lens_of_texts(
    config: Config,
    names: Sequence[str],
    texts: dict[str, str],
    out: Path,
    measure: str = "rank",
    positions: int = 28,
) -> list[str]:
    """Read the texts and write ``readings.parquet``, tables and figures to ``out``; returns the findings, line by line.

    ``names``: the first is the base, with which each of the others is compared. ``measure``: the colour of the heat
    maps. ``positions``: how many of a text's last positions are drawn. Raises what opening and reading raise.
    """
    from emogap.lens.exhibits import emotion_depths, given, lens_exhibits

    _check_measure(measure, config.lens.words)
    models = {label: hub.resolve(model) for label, model in named_models(config, names).items()}
    settings = config.lens
    table = read_models(models, texts, settings.words, settings.top_k, settings.new_tokens)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / READINGS, table, LENS)
    bases = dict.fromkeys(models, next(iter(models)))
    depths = emotion_depths(table, bases, settings.bootstrap, config.seed)
    show(out, lens_exhibits(table, table, depths, texts, bases, list(models)[:1], measure, positions))
    inside, lines = given(table), []
    for prompt_id in texts:
        count = inside.loc[inside["prompt_id"] == prompt_id, "position"].nunique()
        if count > positions:
            lines.append(f"{prompt_id}: the last {positions} of {count} positions are drawn; --positions N draws more")
        lines += [f"{prompt_id} {model}: {what_follows(table, prompt_id, model)}" for model in models]
    return [*lines, *shift_statements(depths), f"{out}: {READINGS}, tables/ and figures/ written"]


def _check_measure(measure: str, words: Sequence[str]) -> None:
    from emogap.lens.figures import CELL_MEASURES

    kind, _, name = measure.partition(":")
    if kind == "emotion":
        check_label(name, "--measure")
    elif measure not in CELL_MEASURES and not (kind == "word" and name in words):
        known = [*CELL_MEASURES, "emotion:<label>", *(f"word:{word}" for word in words)]
        raise UsageError(f"--measure '{measure}' is unknown; choose among {', '.join(known)}")


def what_follows(table: pd.DataFrame, prompt_id: str, model: str) -> str:
    """A line: the likeliest next tokens at the end of a text, and the emotions whose words have the most mass there."""
    end = table[(table["prompt_id"] == prompt_id) & (table["model"] == model) & table["end"]]
    end = end[end["layer"] == end["layer"].max()]
    tops = end[end["measure"].str.startswith("top_")].sort_values("value", ascending=False)
    masses = end[end["measure"] == "emotion_mass"].sort_values("value", ascending=False).head(_STRONGEST)
    likely = ", ".join(f"{token!r} {value:.1%}" for token, value in zip(tops["token"], tops["value"], strict=True))
    felt = ", ".join(f"{token} {value:.2%}" for token, value in zip(masses["token"], masses["value"], strict=True))
    return f"next {likely}; mass on the words of {felt}"
