"""Understanding of emotions: EmoBench's questions answered by the likelihood of their choices.

Every question is asked with its choices listed, in several orders, and once without a list. The answer is the choice
with the highest log-probability after the question, or with the highest per character. See ``emobench_questions`` for
the data, ``sentence_scores`` for what a log-probability is.
"""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogap import hub
from emogap.artefacts import Artefact, Recipe, Summary
from emogap.config import Config, HubModel
from emogap.device import check_device
from emogap.evaluate.emobench_questions import (
    Question,
    Wording,
    listing,
    load_questions,
    load_wording,
    question_files,
    wording_file,
)
from emogap.evaluate.models import StudyModel, recipe_parts, study_models, weights
from emogap.hub import LocalModel
from emogap.lm.corrections import PASSAGE, scores_rule
from emogap.paths import from_root
from emogap.progress import progress
from emogap.records import SCORES, write_rows
from emogap.stages import make_each

if TYPE_CHECKING:
    import pandas as pd

    from emogap.evaluate.sentence_scores import Scored, SentenceScorer

TASK = "emobench"
_SHAPING = ("language", "items", "orders", "empty_context", "dtype")
_RECORDS_AT_ONCE = 20
"""Records whose scores are kept together: what a killed run has to do again at most."""


def is_there(config: Config) -> bool:
    """Whether there are questions to ask; a study without them is measured all the same."""
    return bool(question_files(from_root(config.emobench.data)))


def emobench_artefacts(config: Config) -> list[Artefact]:
    """One table of scores for each model of the study; none where there are no questions."""
    return [_artefact(config, model) for model in study_models(config)] if is_there(config) else []


def _artefact(config: Config, model: StudyModel) -> Artefact:
    parts = recipe_parts(config, model)
    identities = parts["identities"] | scores_rule(weights(config, model), PASSAGE)
    return Artefact(config.home.task_scores(model.key, TASK), _recipe(config, parts["inputs"], identities))


def _recipe(config: Config, inputs: Mapping[str, Path], identities: Mapping[str, str]) -> Recipe:
    questions = {file.stem: file for file in question_files(from_root(config.emobench.data))}
    return Recipe(
        TASK,
        inputs={**inputs, **questions, "wording": wording_file(config.emobench.language)},
        settings=config.flat("emobench", *_SHAPING),
        identities=dict(identities),
    )


def emobench(config: Config) -> Summary:
    """Ask every model of the study whose answers are missing or stale."""
    check_device(config.emobench.device, "emobench.device")
    models = {config.home.task_scores(model.key, TASK): model for model in study_models(config)}

    def make(artefact: Artefact) -> None:
        model = models[artefact.path]
        with artefact.making() as draft:
            table = score_model(config, hub.study_model(config, model.key), model.key)
            write_rows(draft.path, table.assign(model=model.name, train_seed=model.train_seed), SCORES)
            draft.counts["questions"] = table["item"].nunique()

    return make_each(TASK, emobench_artefacts(config), make)


def scores_file(config: Config, models: Mapping[str, HubModel], out: Path) -> Artefact:
    """Ask models by name, into one table at ``out``."""
    check_device(config.emobench.device, "emobench.device")
    identities = {label: hub.identify(model) for label, model in models.items()}
    for model in models.values():
        identities |= scores_rule(model, PASSAGE)
    artefact = Artefact(out, _recipe(config, {}, identities))

    def make(artefact: Artefact) -> None:
        with artefact.making() as draft:
            table = score_models(config, models)
            write_rows(draft.path, table, SCORES)
            draft.counts["questions"] = table["item"].nunique()

    make_each(TASK, [artefact], make)
    return artefact


def score_models(config: Config, models: Mapping[str, HubModel]) -> "pd.DataFrame":
    """One long table of scores of all these models."""
    import pandas as pd

    check_device(config.emobench.device, "emobench.device")
    tables = [
        score_model(config, hub.resolve(model), label).assign(model=label, train_seed=0)
        for label, model in models.items()
    ]
    return pd.concat(tables, ignore_index=True)


def score_model(config: Config, local: LocalModel, label: str) -> "pd.DataFrame":
    """Scores of one model: task, item, sample, group, metric, value (see ``_rows``)."""
    from emogap.evaluate.sentence_scores import SentenceScorer

    settings = config.emobench
    questions = load_questions(from_root(settings.data), settings.language, settings.items)
    scorer = SentenceScorer(
        local,
        device=settings.device,
        dtype=settings.dtype,
        token_budget=settings.token_budget,
        empty_context=settings.empty_context,
    )
    return score_questions(scorer, questions, load_wording(settings.language), settings.orders, label)


def score_questions(
    scorer: "SentenceScorer", questions: list[Question], wording: Wording, orders: int, label: str
) -> "pd.DataFrame":
    """Scores of the questions. ``orders``: in how many orders the choices are listed; 0: as many as there are choices.

    ``sample`` is the order's number; what was asked without a list has sample 0.
    """
    import pandas as pd

    from emogap.evaluate.score_cache import remembered_scores

    groups = [[(question, order) for question in group for order in _orders(question, orders)]
              for group in _groups(questions)]  # fmt: skip
    encoded = [[one for case in group for one in _scored(scorer, wording, *case)] for group in groups]
    with progress(f"EmoBench, {label}", len({one for group in encoded for one in group}), "answers") as bar:
        found = np.concatenate(remembered_scores(scorer, encoded, bar.advance))
    cases = [case for group in groups for case in group]
    ends = np.cumsum([len(question.choices) for question, _ in cases])
    rows = [row for case, sums in zip(cases, np.split(found, ends[:-1]), strict=True) for row in _rows(*case, sums)]
    return pd.DataFrame(rows).assign(task=TASK)


def _groups(questions: list[Question]) -> list[list[Question]]:
    """The questions of so many records of a file at a time; both of a record, which share its scenario, together."""
    by_record = sorted(questions, key=lambda question: question.task.split("-")[0])
    records = [list(group) for _, group in groupby(by_record, key=lambda q: (q.task.split("-")[0], q.qid))]
    starts = range(0, len(records), _RECORDS_AT_ONCE)
    return [[question for record in records[at : at + _RECORDS_AT_ONCE] for question in record] for at in starts]


def _orders(question: Question, orders: int) -> list[int | None]:
    count = len(question.choices)
    return [None, *range(min(orders or count, count))]


def _scored(encoder: "SentenceScorer", wording: Wording, question: Question, order: int | None) -> "list[Scored]":
    context = wording.ask(question, order)
    return [encoder.encode_after(context, answer) for answer in wording.answers(question)]


def _rows(question: Question, order: int | None, sums: np.ndarray) -> list[dict[str, Any]]:
    """``correct`` and ``correct_normalised`` (by the log-probability, and by that per character), the place in the
    list of the choice that was taken (from 1), and ``choices``, how many there are; without a list
    ``correct_unlisted``, ``correct_unlisted_normalised``."""
    per_character = sums / [len(choice) for choice in question.choices]
    values = {}
    for ending, scores in (("", sums), ("_normalised", per_character)):
        if order is None:
            values[f"correct_unlisted{ending}"] = _credit(scores, question.right)
        else:
            values[f"correct{ending}"] = _credit(scores, question.right)
            values[f"position{ending}"] = 1 + listing(question, order).index(int(scores.argmax()))
    if order is not None:
        values["choices"] = len(question.choices)
    keys = {"item": question.item, "sample": order or 0, "group": question.category}
    return [{**keys, "metric": metric, "value": float(value)} for metric, value in values.items()]


def _credit(scores: np.ndarray, right: int) -> float:
    """1 if the right choice is the likeliest; choices that tie for it share the point."""
    best = scores == scores.max()
    return float(best[right] / best.sum())
