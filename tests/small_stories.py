"""Emotional lines and a writer's replies for tests: a few of them, told apart by their seeds."""

import numpy as np
import pandas as pd

from emogap.emotions import INDEX
from emogap.records import PROCESSED, STORIES, read_rows, write_rows
from emogap.store.artefacts import Artefact, Recipe

SIZES = ("big", "old", "red")
THINGS = ("the dog", "a hill", "his ball", "our tree", "and I", "a bird")
WORDS = [f"{size} {thing}" for size in SIZES for thing in THINGS]


def a_story(conversation) -> str:
    """A text that differs for every seed and passes the gates."""
    drawn = np.random.default_rng(conversation.seed).permutation(WORDS)
    return " ".join(drawn).capitalize() + "."


def line(number: int, emotion: str) -> dict:
    scores = np.full(28, 0.01, dtype=np.float32)
    scores[INDEX[emotion]], scores[INDEX["love"]] = 0.9, 0.6
    labels = list(dict.fromkeys([emotion, "love"]))
    text = f"here is line number {number} which has more than ten words in it, you see"
    return {"id": f"toy:{number}", "source": "toy", "text": text, "emotion": emotion, "score": 0.9,
            "scores": list(scores), "labels": labels}  # fmt: skip


def save_lines(config, emotions: list[str]) -> None:
    artefact = Artefact(config.home.filtered, Recipe("process", settings={"emotions": emotions}))
    with artefact.making() as draft:
        rows = [line(i, e) for i, e in enumerate(emotions)]
        write_rows(draft.path, pd.DataFrame(rows, columns=list(line(0, "joy"))), PROCESSED)


SMALL = ("augment.lines=0", "augment.order=file", "augment.chunk_size=4", "writer.batch_size=1")
"""Chunks of four lines, asked for four at a time."""


def chunk(config, method: str = "m1", number: int = 0) -> pd.DataFrame:
    return read_rows(config.home.chunk(method, number), STORIES)
