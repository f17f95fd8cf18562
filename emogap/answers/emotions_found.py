"""The emotion that classifiers find in each answer: ``emotions.parquet``, and the scores made from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emogap.answers.fluency import distinct_share, in_long_form, repeated_share
from emogap.answers.respond import Condition, answer_files, conditions, read_responses, responses_path
from emogap.config import Config, HubModel
from emogap.emotion.classify import classifier_identity
from emogap.emotions import GROUPINGS, LABELS, NEUTRAL, groups_of
from emogap.records import EMOTIONS, SCORES, read_rows, write_rows
from emogap.store.artefacts import RULE, Draft, Recipe, remembered
from emogap.store.pieces import Piece
from emogap.store.progress import progress
from emogap.text.words import column_texts, spelling_rule
from emogap.train.models import StudyModel, study_models

ANSWER = ["model", "train_seed", "prompt_id", "sample"]
"""The columns that name an answer."""
_EMPTY = f"{RULE}empty answers"


def emotions_path(config: Config, condition: Condition) -> Path:
    """Where the emotions found in a condition's answers lie."""
    return config.home.evaluation / f"emotions{condition.suffix}.parquet"


def emotions_pieces(config: Config) -> Iterator[Piece]:
    """A table of emotions for every condition: all models, all classifiers."""
    judges = enumerate(config.sentiment.classifiers)
    identities = {f"classifier {place}": classifier_identity(model) for place, model in judges}
    for condition in conditions(config):
        recipe = Recipe("emotions", inputs=answer_files(config, condition), identities=identities)
        yield Piece(emotions_path(config, condition), recipe, make=partial(_make_emotions, config, condition))


def _make_emotions(config: Config, condition: Condition, draft: Draft) -> None:
    responses = read_responses(config, condition)
    tables = [_classified(responses, model) for model in config.sentiment.classifiers]
    write_rows(draft.path, pd.concat(tables, ignore_index=True), EMOTIONS)
    draft.counts |= {"answers classified": len(responses) * len(tables)}


def _classified(responses: pd.DataFrame, model: HubModel) -> pd.DataFrame:
    """One row per answer: the ``ANSWER`` columns, classifier, response_emotion, score, and ``scores`` (the 28 in the
    order of ``LABELS``).

    An empty answer is written as neutral without a score; ``read_answers`` makes its emotion missing instead.
    """
    texts = responses.loc[responses["response"] != "", "response"]
    scores = read_by(model, texts.tolist(), f"{model.name} reads")
    table = responses[ANSWER].assign(classifier=model.name, response_emotion=NEUTRAL, score=np.nan, scores=None)
    table.loc[texts.index, "response_emotion"] = [LABELS[i] for i in scores.argmax(axis=1)]
    table.loc[texts.index, "score"] = scores.max(axis=1)
    table.loc[texts.index, "scores"] = np.array([*scores, None], dtype=object)[:-1]
    return table


def read_by(judge: HubModel, texts: list[str], title: str) -> np.ndarray:
    """The classifier's scores of the texts, float32 of shape (texts, 28); without any text it is not loaded."""
    from emogap.emotion.classify import load

    if not texts:
        return np.empty((0, len(LABELS)), dtype=np.float32)
    with progress(title, len(texts), "answers") as bar:
        return load(judge).scores(texts, progress=bar.advance)


def read_answers(config: Config, condition: Condition) -> pd.DataFrame:
    """Answers with the emotion that each classifier found: one row per answer and classifier.

    An empty answer shows no emotion: its ``response_emotion`` is missing, as are its ``score`` and ``scores``.
    """
    emotions = read_rows(config.home.require(emotions_path(config, condition)), EMOTIONS)
    answers = emotions.merge(read_responses(config, condition), on=ANSWER, how="inner", validate="many_to_one")
    return answers.assign(response_emotion=answers["response_emotion"].where(answers["response"] != ""))


def empty_rule(tables: Iterable[Path]) -> dict[str, str]:
    """The recipe entry of tables and figures about answers if any answer is empty: corrections took empty ones out of
    the shares, and made prompts with empty answers count as much as others. ``tables``: files of ``emotions_path``.
    Raises ``InputError`` for one that cannot be read."""

    def has_one(path: Path) -> bool:
        return remembered("an answer without a score", path, lambda: None in column_texts(path, "score"))

    return (
        {_EMPTY: "3 (they are in no share and make no prompt count less)"}
        if any(map(has_one, filter(Path.is_file, tables)))
        else {}
    )


def judged(config: Config, answers: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first classifier, which is the one whose judgement the tables show."""
    return answers[answers["classifier"] == config.sentiment.classifiers[0].name].reset_index(drop=True)


def judgements(answers: pd.DataFrame, grouping: str) -> pd.DataFrame:
    """Answers to read, one row each: model, asked (the emotion), prompt, response, the emotion that each classifier
    found with its score (``joy 0.91``), and the group of the first one's emotion; an empty answer has neither.

    ``answers``: what ``read_answers`` gives.
    """
    judges = list(dict.fromkeys(answers["classifier"]))
    scores = answers["score"].map(lambda score: "" if np.isnan(score) else f" {score:.2f}")
    found = answers.assign(found=answers["response_emotion"] + scores)
    found = found.pivot(index=ANSWER, columns="classifier", values="found")[judges]
    first = answers[answers["classifier"] == judges[0]]
    table = first[[*ANSWER, "response"]].assign(
        asked=first["instruction_emotion"],
        prompt=(first["instruction"] + "\n" + first["input"]).str.strip(),
        group=groups_of(first["response_emotion"], grouping),
    )
    return table.merge(found, on=ANSWER)[["model", "asked", "prompt", "response", *judges, "group"]]


def answer_scores_pieces(config: Config) -> list[Piece]:
    """``sentiment`` and ``answers`` scores of every model, made from the study's own answers."""
    own = conditions(config)[0]
    read = cache(lambda: judged(config, read_answers(config, own)))
    models = study_models(config)
    return [_scores_piece(config, own, model, task, read) for model in models for task in ("sentiment", "answers")]


def _scores_piece(
    config: Config, condition: Condition, model: StudyModel, task: str, read: Callable[[], pd.DataFrame]
) -> Piece:
    inputs = {"responses": responses_path(config, condition, model)}
    settings: dict[str, Any] = {}
    if task == "sentiment":
        inputs["emotions"] = emotions_path(config, condition)
        settings = config.flat("sentiment", "grouping")
    rule = spelling_rule(inputs.values(), "response") if task == "answers" else {}
    path = config.home.task_scores(model.key, task)
    return Piece(path, Recipe(task, inputs, settings, rule), make=partial(_make_scores, config, model, task, read))


def _make_scores(config: Config, model: StudyModel, task: str, read: Callable[[], pd.DataFrame], draft: Draft) -> None:
    table = read()
    own = table[(table["model"] == model.name) & (table["train_seed"] == model.train_seed)]
    scores = sentiment_scores(own, config.sentiment.grouping) if task == "sentiment" else text_scores(own)
    write_rows(draft.path, scores, SCORES)
    draft.counts["scores"] = len(scores)


def sentiment_scores(answers: pd.DataFrame, grouping: str) -> pd.DataFrame:
    """``SCORES`` rows of task ``sentiment``: 0 or 1 for each group of the grouping, and whether the emotion asked for
    is the top one (``top1``) or among the first three (``top3``).

    These rows still count an empty answer as neutral; the rows of task ``answers`` say which answers are empty."""
    groups = groups_of(answers["response_emotion"].fillna(NEUTRAL), grouping)
    metrics = {group: (groups == group).astype(float) for group in GROUPINGS[grouping]}
    metrics |= {f"top{n}": asked_is_among_first(answers, n).astype(float) for n in (1, 3)}
    return _long(answers, "sentiment", metrics)


def asked_is_among_first(answers: pd.DataFrame, count: int) -> np.ndarray:
    """For each answer, whether the emotion asked for is among its ``count`` highest-scored ones; an empty answer has
    neutral alone."""
    found = [
        {NEUTRAL} if scores is None else {LABELS[i] for i in np.argsort(-np.asarray(scores), kind="stable")[:count]}
        for scores in answers["scores"]
    ]
    return np.array([asked in labels for asked, labels in zip(answers["instruction_emotion"], found, strict=True)])


def text_scores(answers: pd.DataFrame) -> pd.DataFrame:
    """``SCORES`` rows of task ``answers``: words, whether finished, whether empty, share of repeated word triples; and
    over all answers of the model together (item ``all``) the share of different words and word pairs."""
    texts = answers["response"]
    metrics = {
        "words": texts.map(lambda text: len(text.split())).astype(float),
        "finished": answers["finished"].astype(float),
        "empty": (texts == "").astype(float),
        "repeated_3": texts.map(lambda text: repeated_share(text, 3)),
    }
    rows = _long(answers, "answers", metrics).dropna(subset="value")
    return pd.concat([rows, _over_all(answers, texts.tolist())], ignore_index=True)


def _over_all(answers: pd.DataFrame, texts: Sequence[str]) -> pd.DataFrame:
    first = answers.iloc[0]
    shared = {"model": first["model"], "train_seed": first["train_seed"], "task": "answers", "item": "all", "sample": 0}
    rows = [shared | {"group": "all", "metric": f"distinct_{n}", "value": distinct_share(texts, n)} for n in (1, 2)]
    return pd.DataFrame(rows).dropna(subset="value")


def _long(answers: pd.DataFrame, task: str, metrics: dict[str, Any]) -> pd.DataFrame:
    """One row per answer and metric, with the columns of ``SCORES``."""
    keys = answers[["model", "train_seed", "sample"]].assign(
        task=task, item=answers["prompt_id"], group=answers["instruction_emotion"]
    )
    return in_long_form(keys, metrics)
