"""Answers → rows with a text, a status and a reason: the gates applied to whole tables, and the scores they need."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from emogap.config import Config, Gates, HubModel
from emogap.emotion.classify import classifier_identity
from emogap.emotions import INDEX, LABELS
from emogap.lm.hub import resolve
from emogap.store.artefacts import RULE
from emogap.stories.gates import (
    Candidate,
    Gate,
    clean,
    duplicates,
    ends_well,
    failures,
    trim_to_sentence,
    unsuitable,
)  # fmt: skip
from emogap.stories.rows import Answer, Request, Row, Verdict
from emogap.text.words import unsuitable_release, unsuitable_words

ENGINE_ERROR = "engine_error"
GATING_RULE = {f"{RULE}judging": "2 (reasoning taken out; likeness counted; one spelling)"}
"""The entry of recipes for the revision of the rule by which replies are read and checked."""
_FIRST_GATES = frozenset((
    "empty", "control_characters", "assistant_talk", "prompt_leak", "markup", "other_language", "unsuitable",
    "too_short", "too_long", "truncated", "repeated_sentence", "copied_example", "copied_context", "unchanged",
    "facts_lost", "meaning_lost", "emotion_missing",
))  # fmt: skip
"""Those that recipes do not name; any other is named, so that rows of before it go through the gates again."""


def gating_recipe(config: Config, stage: str, gates: Iterable[Gate]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and identities that the gates add to the recipes of their rows, beside those that shape the replies.

    There is no entry for unsuitable words where they are allowed: recipes made before that gate existed have none.
    """
    added = {f"{RULE}gate {name}": "there" for name in sorted({gate.__name__ for gate in gates} - _FIRST_GATES)}
    settings, listed = config.flat(stage, "gates"), f"{stage}.gates.unsuitable"
    lists = {"unsuitable words": unsuitable_release()} if settings[listed] else {}
    if not lists:
        del settings[listed]
    shared = {"process.classifier": classifier_identity(config.process.classifier), **GATING_RULE}
    return settings, shared | added | lists


@dataclass(frozen=True)
class Gating:
    """The gates that rows of one kind must pass, and what these need."""

    gates: tuple[Gate, ...]
    bounds: Gates
    classifier: HubModel
    """Gives the score of the wanted emotion."""
    similar: bool = False
    """Whether the text must keep the meaning of what it is made from: then their similarity is measured."""


def read_reply(reply: str, finish: str | None, context: str, truncated: str) -> tuple[str, list[str], bool]:
    """The text of a reply, notes on what was removed from it, and whether it is cut at the token limit.

    ``finish`` None: it is not known how the reply ended; then a text that does not end with a sentence counts as cut.
    ``truncated``: ``trim`` shortens a cut text to its last full sentence, if it has one.
    """
    text, notes = clean(reply, context)
    cut = not ends_well(text) if finish is None else finish == "length"
    trimmed = trim_to_sentence(text) if cut and truncated == "trim" else ""
    if trimmed:
        return trimmed, [*notes, "trimmed to its last full sentence"], False
    return text, notes, cut


def through_gates(answered: Sequence[tuple[Request, Answer]], earlier: Sequence[Row], gating: Gating) -> list[Row]:
    """The rows of these answers, in their order.

    ``earlier``: rows that were made before; a text that repeats the text of a kept row among them is a duplicate.
    """
    contexts = [request.asked.context for request, _ in answered]
    read = [
        read_reply(answer.reply, answer.finish, context, gating.bounds.truncated)
        for (_, answer), context in zip(answered, contexts, strict=True)
    ]
    texts = [text for text, _, _ in read]
    scores = classifier(gating.classifier).scores(texts) if texts else []
    alike = similarities(texts, contexts) if gating.similar else [None] * len(texts)
    rows = [
        Row(request.asked, answer, _verdict(request, answer, gating, *measured))
        for (request, answer), *measured in zip(answered, read, scores, alike, strict=True)
    ]
    passed = {row.id: row.verdict.text for row in [*earlier, *rows] if row.is_kept}
    repeated = duplicates(passed, gating.bounds)
    return [_repeating(row, *repeated[row.id]) if row.id in repeated else row for row in rows]


_FOUND = 3
"""How many of the strongest emotions are written down."""


def _verdict(
    request: Request,
    answer: Answer,
    gating: Gating,
    read: tuple[str, list[str], bool],
    scores: np.ndarray,
    similarity: float | None,
) -> Verdict:
    """The verdict on an answer by itself, before duplicates are looked for."""
    text, notes, cut = read
    score = float(scores[INDEX[request.asked.emotion]])
    wanted = score if request.asks_emotion else None
    candidate = Candidate(text, request.asked.context, request.prompt, cut, wanted, similarity)
    reasons = failures(candidate, gating.bounds, gating.gates)
    if unsuitable.__name__ in reasons:
        notes = [*notes, f"unsuitable: {', '.join(unsuitable_words(text))}"]
    strongest = np.argsort(-scores, kind="stable")[:_FOUND]
    return Verdict(
        text,
        len(text.split()),
        notes,
        cut,
        score,
        [LABELS[i] for i in strongest],
        [float(scores[i]) for i in strongest],
        similarity,
        [ENGINE_ERROR] if answer.finish == "error" else reasons,
    )


def _repeating(row: Row, reason: str, repeated: str) -> Row:
    notes = [*row.verdict.notes, f"repeats {repeated}"]
    return replace(row, verdict=replace(row.verdict, reasons=[reason], notes=notes))


@lru_cache(maxsize=1)
def classifier(model: HubModel):
    """The emotion classifier, loaded once in this process."""
    from emogap.emotion.classify import load

    return load(model)


ENCODER = HubModel(name="embedded:minilm")
_MAX_TOKENS = 256
_BATCH = 64


def similarities(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Cosine similarity of each text to the one at the same place in ``others``, -1 … 1.

    Sentence vectors are those of all-MiniLM-L6-v2 (mean pooling; Reimers and Gurevych 2019, "Sentence-BERT").
    """
    return [float(value) for value in (embed(texts) * embed(others)).sum(axis=1)]


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, float32 of shape (len(texts), 384); only a text's first 256 tokens count."""
    import torch

    model, tokenizer = _encoder()
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            tokens = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
            )
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return vectors


@lru_cache(maxsize=1)
def _encoder():
    from emogap.lm.loading import load_encoder

    return load_encoder(resolve(ENCODER).path)
