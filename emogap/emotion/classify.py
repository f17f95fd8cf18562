"""Scoring many texts with the 28 emotions: in shards that survive a kill, from files of any common form.

A shard is a fixed sequence of texts. Which texts share a batch is a function of the shard alone, so that a run that
was killed and resumed ends with the same scores as one that was not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogap.config import Dtype, HubModel, Scale
from emogap.device import check_device
from emogap.emotion.classifier import EmotionClassifier, identify_classifier, load_classifier
from emogap.emotions import LABELS, labels_over
from emogap.errors import UsageError
from emogap.store.artefacts import Artefact, Draft, Recipe
from emogap.store.cluster import Advance, unheard, workers
from emogap.store.parts import Arrays
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.text.reading import count_texts, read_texts, texts_rule

if TYPE_CHECKING:
    import pyarrow as pa

HERE = Scale()
SHARD_LINES = 8192
"""Texts scored between two writes: half a minute on two cores. Changing it changes bf16 scores a little."""


def classifier_identity(model: HubModel) -> str:
    """A classifier's identity in recipes, found without loading it: the hash of its files, or hub name and revision."""
    return identify_classifier(model.name, model.revision)


def load(model: HubModel, device: str = "auto", dtype: Dtype = "auto") -> EmotionClassifier:
    """The classifier that a setting names. Raises ``ModelError``, which says where it was looked for and what to do."""
    return load_classifier(model.name, revision=model.revision, device=device, dtype=dtype)


def loaded_as(classifier: EmotionClassifier) -> dict[str, str | list[float] | None]:
    """What a manifest notes about a loaded classifier: its name, commit, hash, thresholds, device, number format."""
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
    """Where the finished shards of an artefact lie while it is made: ``00000.npy`` …, float32 (texts, 28) each."""
    return artefact.with_name(artefact.name + ".partial")


@dataclass(frozen=True)
class Scoring:
    """How texts are scored, and where: in this process or by the workers of a cluster."""

    classifier: HubModel
    device: str
    dtype: Dtype
    token_budget: int
    scale: Scale

    def begin(
        self, artefact: Artefact, texts: Callable[[], Iterable[Sequence[str]]], advance: Callable[[int], None]
    ) -> tuple[dict, Iterator[np.ndarray]]:
        """The loaded classifier's description (``loaded_as``), and the scores of every shard of ``texts()``, in order.

        Finished shards are kept beside the artefact that is being made.
        """
        sizes: list[int] = []
        with workers(self.scale, partial(open_scorer, self), advance, lambda piece, _: len(piece[1])) as scorers:

            @cache
            def shards() -> Arrays:
                # Also bound to commit, device and number format, which are known only when the classifier is loaded.
                binding = {"recipe": artefact.recipe.sha256(), "classifier": scorers.description()}
                return Arrays(shards_folder(artefact.path), binding)

            def missing() -> Iterator[tuple[int, Sequence[str]]]:
                for number, shard in enumerate(texts()):
                    sizes.append(len(shard))
                    if shards().has(_key(number)):
                        advance(len(shard))
                    else:
                        yield number, shard

            scorers.run(missing(), lambda piece, scores: shards().put(_key(piece[0]), scores))
            return scorers.description(), map(shards().read, map(_key, range(len(sizes))))


def _key(shard: int) -> str:
    return f"{shard:05d}"


def open_scorer(
    scoring: Scoring, advance: Advance = unheard
) -> tuple[Callable[[tuple[int, Sequence[str]]], np.ndarray], Callable[[], dict]]:
    """A function that scores a numbered shard, and one that describes the loaded classifier (``loaded_as``)."""
    classifier = load(scoring.classifier, scoring.device, scoring.dtype)

    def score(piece: tuple[int, Sequence[str]]) -> np.ndarray:
        return classifier.scores(piece[1], token_budget=scoring.token_budget or None, progress=advance)

    return score, partial(loaded_as, classifier)


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


def classify_file(
    source: Path,
    out: Path,
    *,
    column: str | None = None,
    threshold: float | str = 0.5,
    model: HubModel,
    device: str = "auto",
    dtype: Dtype = "auto",
    token_budget: int = 0,
    scale: Scale = HERE,
) -> Summary:
    """Classify every text of a file into a Parquet table: ``text, emotion, score, scores, labels``, in its order.

    ``emotion`` is the arg-max of the 28, ``labels`` all that pass the threshold, highest first. Resumes after a kill,
    and does nothing if ``out`` was already made of the same texts in the same way. Raises ``UsageError``, and what
    ``read_texts`` and ``load`` raise.
    """
    if out.suffix != ".parquet" or out.resolve() == source.resolve():
        raise UsageError(f"--out {out}: give the name of a .parquet file other than the one that is read")
    if scale.executor == "plain":
        check_device(device, "--device")
    total = count_texts(source, column)
    recipe = Recipe(
        "classify",
        inputs={"texts": source},
        settings={
            "column": column, "threshold": threshold, "dtype": dtype, "token_budget": token_budget,
            "shard_lines": SHARD_LINES,
        },
        identities={"classifier": classifier_identity(model)} | texts_rule(source, column, total),
    )  # fmt: skip

    def make(draft: Draft) -> None:
        import pyarrow as pa

        def blocks() -> Iterator[pa.Table]:
            return (pa.table({"text": block}) for block in read_texts(source, column, SHARD_LINES))

        kinds = {"text": pa.string(), "emotion": pa.string(), "score": pa.float32(), "scores": pa.list_(pa.float32())}
        schema = pa.schema(kinds | {"labels": pa.list_(pa.string())})
        scoring = Scoring(model, device, dtype, token_budget, scale)
        write_scored(draft, scoring, blocks, total, "texts", schema, threshold)

    return run("classify", [Piece(out, recipe, make=make, parts=shards_folder(out))])


def write_scored(
    draft: Draft,
    scoring: Scoring,
    shards: Callable[[], Iterable["pa.Table"]],
    total: int,
    what: str,
    schema: "pa.Schema",
    threshold: float | str | None = None,
) -> None:
    """Score the column ``text`` of every shard and write the shards with the columns ``emotion, score, scores`` and,
    if a ``threshold`` is given, ``labels``. ``total``: number of texts; ``what``: what the progress bar calls them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def texts() -> Iterator[list[str]]:
        return (shard["text"].to_pylist() for shard in shards())

    with progress(f"emotions of {what}", total, what) as bar:
        loaded, scored = scoring.begin(draft.artefact, texts, bar.advance)
        draft.notes["classifier"] = loaded
        if threshold is not None:
            thresholds = thresholds_of(threshold, loaded["thresholds"], loaded["name"])
            draft.notes["thresholds"] = dict(zip(LABELS, np.round(thresholds, 6).tolist(), strict=True))
        with pq.ParquetWriter(draft.path, schema, compression="zstd") as writer:
            for shard, scores in zip(shards(), scored, strict=True):
                emotions, best = top_labels(scores)
                offsets = np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32)
                rows = {"emotion": emotions, "score": best, "scores": pa.ListArray.from_arrays(offsets, scores.ravel())}
                if threshold is not None:
                    rows["labels"] = [labels_over(row, thresholds) for row in scores]
                for name, values in rows.items():
                    shard = shard.append_column(name, pa.array(values))
                writer.write_table(shard.cast(schema))
    draft.counts["classified"] = total
