"""Rows of replies → rows with a text, a status and a reason: the gates applied to whole tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from emogap.config import Gates, HubModel
from emogap.emotions import INDEX, LABELS
from emogap.generate.quality import Candidate, Gate, clean, duplicates, ends_well, failures, trim_to_sentence
from emogap.generate.similarity import similarities
from emogap.generate.writing import Row
from emogap.records import KEPT, REJECTED
from emogap.store.artefacts import RULE

ENGINE_ERROR = "engine_error"
JUDGING_RULE = {f"{RULE}judging": "2 (reasoning taken out; likeness counted; one spelling)"}
"""The entry of the recipes of judged rows, beside what shapes their replies."""


@dataclass(frozen=True)
class Judging:
    """How the rows of one kind are judged."""

    text: str
    """The column that the text of the reply goes into."""
    context: str
    """The column of what the text was made from."""
    gates: tuple[Gate, ...]
    bounds: Gates
    classifier: HubModel
    """It gives the score of the wanted emotion."""
    similar: bool = False
    """Whether the text must mean what the context means: its similarity is measured."""


def read_reply(reply: str, finish: str | None, context: str, truncated: str) -> tuple[str, list[str], bool]:
    """The text of a reply, notes on what was taken from it, and whether it is cut at the token limit.

    ``finish`` None: how the model ended is not known; then a text without an end of a sentence counts as cut.
    ``truncated``: ``trim`` takes a cut text back to its last full sentence, if it has one.
    """
    text, notes = clean(reply, context)
    cut = not ends_well(text) if finish is None else finish == "length"
    trimmed = trim_to_sentence(text) if cut and truncated == "trim" else ""
    if trimmed:
        return trimmed, [*notes, "trimmed to its last full sentence"], False
    return text, notes, cut


def judge(rows: Sequence[Row], earlier: Sequence[Row], shown: Mapping[str, str], judging: Judging) -> list[Row]:
    """The rows with their text, ``status``, ``reason`` (the first), ``reasons`` (all of them), ``notes`` and ``words``.

    ``earlier``: rows judged before; a text that repeats a kept one of theirs is a duplicate. Also ``emotion_score``
    and, where it is measured, ``similarity``. ``shown``: id of an ask → template and examples that the model saw.
    """
    judged = [_judge_alone(row, shown.get(row["ask"], ""), judging) for row in _measured(rows, judging)]
    passed = {row["id"]: row[judging.text] for row in [*earlier, *judged] if not row["reasons"]}
    for identifier, (reason, repeated) in duplicates(passed, judging.bounds).items():
        row = next(row for row in judged if row["id"] == identifier)
        row["reasons"] = [reason]
        row["notes"] = [*row["notes"], f"repeats {repeated}"]
    for row in judged:
        row["status"] = REJECTED if row["reasons"] else KEPT
        row["reason"] = row["reasons"][0] if row["reasons"] else None
    return judged


def _measured(rows: Sequence[Row], judging: Judging) -> list[Row]:
    """The rows with their text read out of the reply and with what models say of it."""
    read = [read_reply(r["reply"], r["finish"], r[judging.context], judging.bounds.truncated) for r in rows]
    texts = [text for text, _, _ in read]
    scores = classifier(judging.classifier).scores(texts) if texts else []
    alike = similarities(texts, [row[judging.context] for row in rows]) if judging.similar else [None] * len(rows)
    return [
        {
            **row,
            judging.text: text,
            "words": len(text.split()),
            "notes": notes,
            "cut": cut,
            "emotion_score": float(vector[INDEX[row["emotion"]]]),
            **_found(vector),
            "similarity": similarity,
        }
        for row, (text, notes, cut), vector, similarity in zip(rows, read, scores, alike, strict=True)
    ]


_FOUND = 3
"""How many of the strongest emotions are written down."""


def _found(vector: np.ndarray) -> Row:
    """The strongest emotions of a text, the strongest first, and their scores."""
    strongest = np.argsort(-vector, kind="stable")[:_FOUND]
    return {"found": [LABELS[i] for i in strongest], "found_scores": [float(vector[i]) for i in strongest]}


def _judge_alone(row: Row, shown: str, judging: Judging) -> Row:
    candidate = Candidate(
        row[judging.text], row[judging.context], shown, row["cut"], row["emotion_score"], row["similarity"]
    )
    reasons = failures(candidate, judging.bounds, judging.gates)
    return {**row, "reasons": [ENGINE_ERROR] if row["finish"] == "error" else reasons}


@lru_cache(maxsize=1)
def classifier(model: HubModel):
    """The emotion classifier, loaded once in this process."""
    from emogap.data.classify import load

    return load(model)
