"""The evaluation: answers and their emotion, minimal pairs, questions on emotions; and the tables of all of them."""

from collections.abc import Iterator

import pandas as pd

from emogap.answers.emotions_found import answer_scores_pieces, emotions_pieces
from emogap.answers.fluency import plain_text_pieces
from emogap.answers.judges import polarity_pieces
from emogap.answers.length import cut_piece
from emogap.answers.respond import conditions, respond_pieces, responses_path
from emogap.answers.sentiment_exhibits import sentiment_drawings
from emogap.config import Config
from emogap.device import check_device
from emogap.grammar.blimp import BLIMP
from emogap.grammar.blimp_tables import blimp_drawing
from emogap.grammar.emobench import EMOBENCH
from emogap.grammar.emobench_tables import emobench_drawing
from emogap.grammar.zero_shot import BABYLM
from emogap.grammar.zero_shot_tables import zero_shot_drawing
from emogap.lm.loading import one_model_at_a_time
from emogap.records import SCORES, read_rows, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.pieces import Piece, Summary, run
from emogap.study.effects import effects_drawings
from emogap.train.models import not_measured, study_models, wanted_models

TASKS = (BLIMP, EMOBENCH, BABYLM)
"""The benchmarks that every model of the study is scored on."""


def evaluate_pieces(config: Config) -> Iterator[Piece]:
    """Answers, emotions, scores by task, the one table of all scores, and the tables and figures drawn from them.

    Raises ``MissingInput`` for a missing model.
    """
    yield from respond_pieces(config)
    yield from _emotion_pieces(config)
    yield from sorted(_score_pieces(config), key=lambda piece: piece.path.parent.name)  # by model: each is loaded once
    yield scores_piece(config)
    yield from effects_drawings(config)
    yield from sentiment_drawings(config)
    yield blimp_drawing(config)
    yield emobench_drawing(config)
    if BABYLM.is_there(config):
        yield zero_shot_drawing(config)


def _emotion_pieces(config: Config) -> Iterator[Piece]:
    yield from emotions_pieces(config)
    yield from polarity_pieces(config)
    yield cut_piece(config)


def _score_pieces(config: Config) -> Iterator[Piece]:
    yield from answer_scores_pieces(config)
    yield from plain_text_pieces(config)
    for task in TASKS:
        yield from task.pieces(config)


def scores_piece(config: Config) -> Piece:
    """``scores.parquet``, made from all the scores by task.

    The settings that shape the tables are part of its recipe: when they change, the tables are drawn again.
    """
    inputs = {f"{a.path.parent.name} {a.path.stem}": a.path for a in _score_pieces(config)}
    recipe = Recipe(
        "scores", inputs=inputs, settings=config.flat("sentiment", "classifiers", "grouping", "bootstrap", "plain_text")
    )
    return Piece(config.home.scores, recipe, make=_combine)


def _combine(draft: Draft) -> None:
    tables = [read_rows(path, SCORES) for path in draft.artefact.recipe.inputs.values()]
    table = pd.concat(tables, ignore_index=True)
    write_rows(draft.path, table, SCORES)
    draft.counts["scores in all"] = len(table)


def evaluate(config: Config) -> Summary:
    """Make what is missing or stale, then draw the tables and figures."""
    check_device(config.respond.device, "respond.device")
    for task in TASKS:
        task.check_device(config)
    for line in not_measured(config, wanted_models(config)):
        print(line)
    with one_model_at_a_time():
        return run("evaluate", evaluate_pieces(config))


def measure_sentiment(config: Config) -> Summary:
    """The emotion of answers that are there already, and its tables. Raises ``MissingInput`` if they are not."""
    check_device(config.respond.device, "respond.device")
    for condition in conditions(config):
        for model in study_models(config):
            config.home.require(responses_path(config, condition, model))
    return run("sentiment", _sentiment_pieces(config))


def _sentiment_pieces(config: Config) -> Iterator[Piece]:
    yield from _emotion_pieces(config)
    yield from answer_scores_pieces(config)
    yield from plain_text_pieces(config)
    yield from sentiment_drawings(config)
