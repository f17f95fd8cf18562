"""Scoring many texts with the 28 emotions: in shards that outlive a kill, from files of any common form.

A shard is a fixed run of texts. Which texts are batched together is a function of the shard alone, so that a run that
was killed and went on ends with the same scores as one that was not.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogap.artefacts import fingerprint, write_json
from emogap.config import Dtype, HubModel
from emogap.emotions import LABELS
from emogap.errors import UsageError
from emogap.hub import identify
from emogap.paths import from_root

if TYPE_CHECKING:
    from emogap.data.emotion_model import EmotionClassifier

SHARD_LINES = 8192
"""Texts scored between two writes: half a minute on two cores. Changing it changes bf16 scores a little."""

_TORCH_NAMES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def classifier_identity(model: HubModel) -> str:
    """What a recipe says of a classifier, without loading it: the hash of its files, or a hub name and revision."""
    from emogap.data.emotion_model import MINILM, MODELS, TFIDF

    if model.name in (MINILM, TFIDF):
        return f"{model.name}@sha256:{fingerprint(MODELS / model.name)}"
    return identify(model)


def load(model: HubModel, device: str = "auto", dtype: Dtype = "auto") -> "EmotionClassifier":
    """The classifier that a setting names. Raises ``ModelError``: which, where it was looked for, what to do."""
    from emogap.data.emotion_model import load_classifier

    folder = from_root(model.name)
    name = str(folder) if folder.is_dir() else model.name
    return load_classifier(name, revision=model.revision, device=device, dtype=_TORCH_NAMES[dtype])


def loaded_as(classifier: "EmotionClassifier") -> dict[str, str | list[float] | None]:
    """What a manifest notes of a loaded classifier: the commit that a revision led to, hash, device, number format."""
    model = getattr(classifier, "model", None)  # the second judge is no torch model
    return {
        "name": classifier.name,
        "revision": classifier.revision,
        "sha256": classifier.sha256,
        "thresholds": None if classifier.thresholds is None else [round(float(t), 6) for t in classifier.thresholds],
        "device": str(model.device) if model is not None else "cpu",
        "dtype": str(model.dtype).removeprefix("torch.") if model is not None else "float64",
    }


def shards_folder(artefact: Path) -> Path:
    return artefact.with_name(artefact.name + ".partial")


def discard_shards(artefact: Path) -> None:
    """Remove what is left of the shards of an artefact that is published."""
    shutil.rmtree(shards_folder(artefact), ignore_errors=True)


class Shards:
    """Finished scores beside an artefact that is being made: ``<name>.partial/00000.npy``, float32 (texts, 28) each.

    Bound to whatever shapes the scores: a folder bound to something else is emptied, never mixed in.
    """

    def __init__(self, artefact: Path, binding: dict):
        self.folder = shards_folder(artefact)
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(json.dumps(binding, sort_keys=True).encode()).hexdigest()
        bound = self.folder / "binding.json"
        if not bound.exists() or json.loads(bound.read_text(encoding="utf-8"))["sha256"] != digest:
            for file in self.folder.iterdir():
                file.unlink()
            write_json(bound, {"sha256": digest, **binding})

    def get_or_make(self, number: int, make: Callable[[], np.ndarray]) -> tuple[np.ndarray, bool]:
        """The scores of a shard and whether they were there already."""
        file = self.folder / f"{number:05d}.npy"
        if file.exists():
            return np.load(file, allow_pickle=False), True
        scores = make()
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as handle:
            np.save(handle, scores, allow_pickle=False)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
        return scores, False


def score_shards(
    texts: Iterable[Sequence[str]],
    classifier: "EmotionClassifier",
    shards: Shards,
    token_budget: int,
    advance: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """float32 (texts, 28) for every shard of texts, in order; those that a killed run finished are read back.

    ``token_budget``: padded tokens of a batch; 0 is what suits the device. ``advance`` is told of every text done.
    """
    for number, shard in enumerate(texts):
        scores, was_there = shards.get_or_make(
            number,
            lambda shard=shard: classifier.scores(shard, token_budget=token_budget or None, progress=advance),
        )
        if was_there:
            advance(len(shard))
        yield scores


def thresholds_of(threshold: float | str, tuned: Sequence[float] | None, classifier: str) -> np.ndarray:
    """float32 (28,): one number for all labels, or a classifier's own (``tuned``).

    Raises ``UsageError`` if the classifier has none of its own.
    """
    if threshold != "tuned":
        return np.full(len(LABELS), threshold, dtype=np.float32)
    if tuned is None:
        raise UsageError(f"classifier '{classifier}' has no tuned thresholds; give a number, such as --threshold 0.5")
    return np.asarray(tuned, dtype=np.float32)


def top_labels(scores: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The arg-max of every row of (rows, 28) as a label, and its score, float32 (rows,)."""
    best = scores.argmax(axis=1)
    return [LABELS[i] for i in best], scores[np.arange(len(scores)), best]
