"""Texts as cards: what is asked and what every model, method or version made of it, side by side, with the scores.

Cards show the first rows of their files, none is chosen for what it says. Raw replies and the texts that were read out
of them are shown separately.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.answers.emotions_found import ANSWER
from emogap.config import Config
from emogap.emotions import LABELS, group_of
from emogap.errors import InputError
from emogap.paths import from_root
from emogap.records import EMOTIONS, RESPONSES, REWRITES, STORIES, RowType, read_rows
from emogap.store.style import METHOD_COLOURS, model_colours
from emogap.stories.rows import SAME, raw_beside
from emogap.text.reading import read_text
from emogap.train.models import study_models

CARDS = 28
"""Cards of a deck at most; a reader needs some twenty examples to trust what they show."""
EMPTY = "empty"


@dataclass(frozen=True)
class Reply:
    """What one model, method or version made of what a card asks."""

    by: str
    text: str
    raw: str = ""
    """The model's raw reply, where it differs from ``text``."""
    verdict: str = ""
    """``kept`` or ``rejected``; for an answer, the group of the emotion that the first judge found, or ``empty``."""
    remarks: tuple[str, ...] = ()
    """Scores, reasons of a rejection, whether it was cut."""


@dataclass(frozen=True)
class Card:
    """What was asked, and the replies to it."""

    asked: str
    emotion: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True)
class Deck:
    """Cards that are filtered together."""

    by: str
    """What replies differ in: ``model``, ``method`` or ``version``."""
    cards: tuple[Card, ...]
    said: str
    """Which texts these are and how they were chosen; without cards, what is wrong with their files."""
    open: int = 2
    """How many cards are seen before anything is clicked."""


def decks(config: Config) -> dict[str, Deck]:
    """Anchor of a place → its deck, left out where there are no texts. For a damaged file, the deck only says so."""
    found = {}
    for anchor, make in {"table-5": _answers, "methods": _stories, "versions": _rewrites}.items():
        try:
            deck = make(config)
        except InputError as error:
            found[anchor] = Deck("", (), f"The texts cannot be shown: {error}.")
        else:
            found |= {anchor: deck} if deck.cards else {}
    return found


def templates(config: Config) -> dict[str, list[tuple[str, str, str]]]:
    """Anchor of a place → (method or version, file, text) of each prompt's template that is there to be read."""
    files = {
        "methods": {name: config.augment.templates[name] for name in config.augment.methods},
        "versions": {name: config.rewrite.templates[name] for name in config.rewrite.versions},
    }
    return {
        anchor: [(name, file, read_text(from_root(file))) for name, file in named.items() if from_root(file).is_file()]
        for anchor, named in files.items()
    }


def _answers(config: Config) -> Deck:
    said = "The first prompt of each emotion and what every model answered: its first training, its first answer."
    home = config.home
    models = {model.name: model for model in reversed(study_models(config)) if home.responses(model.key).exists()}
    if not models or not home.emotions.exists():
        return Deck("model", (), said)
    rows = pd.concat([read_rows(home.responses(model.key), RESPONSES) for model in reversed(models.values())])
    rows = rows[rows["sample"] == rows["sample"].min()].drop_duplicates(["model", "prompt_id"])
    prompts = rows.groupby("instruction_emotion")["prompt_id"].min().reindex(LABELS).dropna()
    emotions = read_rows(home.emotions, EMOTIONS, [*ANSWER, "classifier", "response_emotion", "score"])
    judged = dict(list(emotions[emotions["prompt_id"].isin(prompts)].groupby(ANSWER)))
    cards = []
    for emotion, prompt in prompts[:CARDS].items():
        answers = _rows(rows[rows["prompt_id"] == prompt])
        replies = tuple(_answer(config, row, judged.get(tuple(row[name] for name in ANSWER))) for row in answers)
        cards.append(Card(f"{answers[0]['instruction']}\n{answers[0]['input']}".strip(), emotion, replies))
    return Deck("model", tuple(cards), said)


def _answer(config: Config, row: dict[str, Any], judged: pd.DataFrame | None) -> Reply:
    cut = () if row["finished"] else ("cut at the limit",)
    if not row["response"]:
        return Reply(row["model"], "", "", EMPTY, cut)
    if judged is None:
        return Reply(row["model"], row["response"], "", "", cut)
    scores = tuple(f"{r.response_emotion} {r.score:.2f} ({r.classifier})" for r in judged.itertuples())
    group = group_of(judged["response_emotion"].iloc[0], config.sentiment.grouping)
    return Reply(row["model"], row["response"], "", group, (*scores, *cut))


def _stories(config: Config) -> Deck:
    home, said = config.home, "The first lines of each method's first chunk and every story that was written of them."
    files = [next(iter(home.chunks(method).values()), None) for method in config.augment.methods]
    return Deck("method", _written(files, STORIES, "line_id", "text", "story", "method"), said)


def _rewrites(config: Config) -> Deck:
    said = "The first records, their answers, and every rewrite of these."
    files = [config.home.rewrite_rows(version) for version in config.rewrite.versions]
    return Deck("version", _written(files, REWRITES, "record_id", "original_output", "output", "version"), said)


def _written(
    files: Iterable[Path | None], kind: RowType, item: str, context: str, text: str, by: str
) -> tuple[Card, ...]:
    """One card per item; rejected texts stand among the kept ones."""
    tables = [read_rows(file, kind) for file in files if file is not None and file.exists()]
    tables = [table for table in tables if len(table)]
    if not tables:
        return ()
    rows = pd.concat(tables)
    cards = []
    for _, part in list(rows.groupby(item if item in rows else "id", sort=False))[:CARDS]:
        own = _rows(part)
        above = f"{own[0]['instruction']}\n{own[0]['input']}".strip() + "\n\n" if "instruction" in own[0] else ""
        replies = tuple(_reply(row, text, by) for row in own)
        cards.append(Card(above + own[0][context], own[0].get("emotion", ""), replies))
    return tuple(cards)


def _reply(row: dict[str, Any], text: str, by: str) -> Reply:
    raw = raw_beside(row["reply"], row[text])
    scores = [f"{row['emotion']} {row['emotion_score']:.2f}"] if "emotion_score" in row else []
    found = list(zip(row.get("found", ()), row.get("found_scores", ()), strict=False))[:1]
    scores += [f"found {label} {score:.2f}" for label, score in found]
    reasons = row.get("reasons", [row["reason"]] if "reason" in row else [])
    return Reply(row[by], row[text], "" if raw == SAME else raw, row["status"], (*scores, *reasons))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as a dictionary without its missing values."""
    rows = table.to_dict("records")
    missing = lambda value: value is None or (isinstance(value, float) and math.isnan(value))  # noqa: E731
    return [{name: value for name, value in row.items() if not missing(value)} for row in rows]


def colours(config: Config) -> dict[str, str]:
    """Model, method or version → its colour in every figure."""
    return METHOD_COLOURS | model_colours([model.name for model in study_models(config)], config.bases)
