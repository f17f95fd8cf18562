"""The evaluation: answers and their emotion, minimal pairs, questions on emotions; and the tables of all of them."""

import time
from collections.abc import Callable, Iterable

import pandas as pd

from emogap.config import Config
from emogap.device import check_device
from emogap.evaluate.blimp import BLIMP
from emogap.evaluate.blimp_exhibits import blimp_exhibits
from emogap.evaluate.emobench import EMOBENCH
from emogap.evaluate.emobench_exhibits import emobench_exhibits
from emogap.evaluate.emotions_found import (
    answer_scores_artefacts,
    emotions_artefacts,
    find_emotions,
    score_answers,
)
from emogap.evaluate.fluency import plain_text_artefacts, score_plain_text
from emogap.evaluate.models import not_measured, study_models, wanted_models
from emogap.evaluate.respond import conditions, respond, respond_artefacts, responses_path
from emogap.evaluate.sentiment_exhibits import sentiment_exhibits
from emogap.records import SCORES, read_rows, write_rows
from emogap.stages import run
from emogap.store.artefacts import Draft, Piece, Recipe, Summary

TASKS = (BLIMP, EMOBENCH)
"""The benchmarks that every model of the study is scored on."""


def evaluate_artefacts(config: Config) -> list[Piece]:
    """Answers, emotions, scores by task, and the one table of scores. Raises ``MissingInput`` for a missing model."""
    return [
        *respond_artefacts(config),
        *emotions_artefacts(config),
        *_score_artefacts(config),
        scores_artefact(config),
    ]


def _score_artefacts(config: Config) -> list[Piece]:
    of_tasks = [artefact for task in TASKS for artefact in task.artefacts(config)]
    return [*answer_scores_artefacts(config), *plain_text_artefacts(config), *of_tasks]


def scores_artefact(config: Config) -> Piece:
    """``scores.parquet``, made from all the scores by task.

    The settings that shape the tables are part of its recipe: when they change, the tables are drawn again.
    """
    inputs = {f"{a.path.parent.name} {a.path.stem}": a.path for a in _score_artefacts(config)}
    recipe = Recipe("scores", inputs=inputs, settings=config.flat("sentiment"))
    return Piece(config.home.scores, recipe, make=_combine)


def combine_scores(config: Config) -> Summary:
    """Put the scores of all models and tasks into one long table."""
    return run("scores", [scores_artefact(config)])


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
    tasks = [task.measure for task in TASKS]
    parts = (respond, find_emotions, score_answers, score_plain_text, *tasks, combine_scores)
    summary = _run("evaluate", parts, config)
    sentiment_exhibits(config)
    blimp_exhibits(config)
    emobench_exhibits(config)
    return summary


def measure_sentiment(config: Config) -> Summary:
    """The emotion of answers that are there already, and its tables. Raises ``MissingInput`` if they are not."""
    check_device(config.respond.device, "respond.device")
    for condition in conditions(config):
        for model in study_models(config):
            config.home.require(responses_path(config, condition, model))
    summary = _run("sentiment", (find_emotions, score_answers, score_plain_text), config)
    sentiment_exhibits(config)
    return summary


def _run(name: str, parts: Iterable[Callable[[Config], Summary]], config: Config) -> Summary:
    started = time.monotonic()
    summary = Summary(name)
    for part in parts:
        done = part(config)
        summary.made += done.made
        summary.fresh += done.fresh
        summary.counts |= done.counts
    summary.seconds = time.monotonic() - started
    return summary
