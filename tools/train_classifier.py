"""Training of the project's own two emotion classifiers on GoEmotions: ``emotion-minilm`` and ``emotion-tfidf``.

The embedded classifier's weights are the mean of two fits ("model soup", Wortsman et al. 2022), which is as fast as
one. The fits differ in their seeds and in how much the cases of rare labels count. Within a fit, weights are averaged
over the last steps (exponential moving average). Thresholds are tuned on the dev split only, with the F1 curve
smoothed, because the rarest labels have a dozen dev cases.

Everything measured is written to ``scores.json`` and from there to the model card, ``README.md``. A killed training
goes on at the last finished epoch and ends with the same weights.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import f1_score

from emogap.commands import Parser, a_path
from emogap.device import cpu_has_bf16
from emogap.emotion.classifier import (
    MINILM,
    MODELS,
    TFIDF,
    EmotionClassifier,
    TfidfClassifier,
    load_minilm,
    pad,
    tfidf_vectorizer,
)
from emogap.emotions import EMOTIONS, INDEX, LABELS
from emogap.errors import MissingInput, UsageError
from emogap.store.artefacts import write_json
from emogap.text.forms import Form, Label, Text, check, read_forms
from tools.goemotions import GoEmotions, read_goemotions
from tools.model_card import write_card
from tools.multilabel import bootstrap_f1, cross_fitted, tune_thresholds

if TYPE_CHECKING:
    import torch

Log = Callable[[str], None]

THRESHOLD_WIDTH = 0.3
"""Smoothing of the F1 curves that thresholds are tuned on, in logits."""
RARITY_POWERS = (0.0, 0.5)
"""One for each fit, see ``case_weights``. Two adapters of rank 16 take 2.7 MB together in half precision."""
TFIDF_FEATURES = 28_000
"""As many as fit in 3 MB with their half-precision coefficients."""
TFIDF_INVERSE_PENALTY = 3.0


@dataclass(frozen=True)
class FitSettings:
    """How one adapter and head are fitted."""

    epochs: int
    rank: int
    rarity_power: float = 0.0
    """How much more the cases of rare labels count, see ``case_weights``; 0: all alike."""
    batch_size: int = 32
    learning_rate: float = 8e-4
    """Of the adapter; AdamW, warmed up linearly, then falling to zero along a cosine."""
    head_learning_rate: float = 3e-3
    warmup_steps: int = 200
    dropout: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    average_decay: float = 0.998
    """Of the moving average of the weights, per step."""


def train_classifier(
    data: Path,
    out: Path = MODELS,
    *,
    seed: int = 0,
    epochs: int = 4,
    rank: int = 16,
    stories: Path | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Trains both classifiers and writes them with their cards to ``out/emotion-minilm`` and ``out/emotion-tfidf``.

    The defaults are those of the committed ones. ``data``: folder with GoEmotions' ``train.tsv`` and ``dev.tsv``.
    ``epochs`` and ``rank`` are those of each fit. ``stories``: folder of published stories (Parquet), to report the
    agreement with the labels of their lines. Returns the measured scores of both. Raises ``InputError``,
    ``ModelError``, and ``UsageError`` if a training begun with other settings lies in ``out``.
    """
    from tools.minilm_training import mean_trained

    train, dev = read_goemotions(data / "train.tsv"), read_goemotions(data / "dev.tsv")
    recipe = {"seed": seed, "epochs": epochs, "rank": rank, "rarity_powers": list(RARITY_POWERS)}
    tfidf = train_tfidf(train, dev, out / TFIDF)
    log(f"{TFIDF}: {_brief(tfidf)}")

    folder = out / MINILM
    work = begin(folder / "training", recipe, len(train))
    started = time.monotonic()
    fits = [FitSettings(epochs, rank, power) for power in RARITY_POWERS]
    weights = mean_trained(fit_each(train, fits, seed, work, log))
    log(f"{MINILM}: trained in {time.monotonic() - started:.0f} s")
    sizes = {"train_rows": len(train), "dev_rows": len(dev)}
    scores = publish_minilm(weights, dev, folder, sizes | recipe, tfidf, stories)
    log(f"{MINILM}: {_brief(scores)}")
    shutil.rmtree(work)
    return {MINILM: scores, TFIDF: tfidf}


def publish_minilm(
    weights: "dict[str, torch.Tensor]",
    dev: GoEmotions,
    folder: Path,
    recipe: dict[str, Any],
    tfidf: dict[str, Any],
    stories: Path | None,
) -> dict[str, Any]:
    """Writes the embedded classifier to ``folder``, measures what was written, and writes its card."""
    save_minilm(weights, dev, folder, recipe)
    scores = recipe | measure(load_minilm(folder, "cpu", "fp32"), dev)
    if stories:
        scores["agreement"] = teacher_agreement(stories, load_minilm(folder, "cpu", "auto"))
    write_json(folder / "scores.json", scores)
    write_card(folder, scores, tfidf)
    return scores


def begin(work: Path, recipe: dict[str, Any], rows: int) -> Path:
    """Make the folder of checkpoints, or find it again. Raises ``UsageError`` if it belongs to another recipe."""
    begun, wanted = work / "recipe.json", recipe | {"rows": rows}
    if begun.exists() and (found := json.loads(begun.read_text("utf-8"))) != wanted:
        changed = ", ".join(
            f"{key} {found.get(key)} → {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
        )
        raise UsageError(f"{work} holds a training begun with other settings ({changed}); delete it or use those")
    write_json(begun, wanted)
    return work


def fit_each(
    train: GoEmotions, fits: Sequence[FitSettings], seed: int, work: Path, log: Log = print
) -> "list[dict[str, torch.Tensor]]":
    """What each fit learnt from the human labels. Fit k has seed ``seed + k`` and resumes from ``work``."""
    from emogap.emotion import minilm

    _, tokenizer = minilm.load_encoder()
    tokens = tokenizer([minilm.spell_out_symbols(text) for text in train.texts], truncation=True)["input_ids"]
    learnt = []
    for number, settings in enumerate(fits):
        checkpoint = work / f"fit{number}.safetensors"
        learnt.append(fit(tokens, train.targets, settings, seed + number, checkpoint, log))
        log(f"fit {number + 1} of {len(fits)} done")
    return learnt


def fit(
    tokens: list[list[int]], targets: np.ndarray, settings: FitSettings, seed: int, checkpoint: Path, log: Log = print
) -> "dict[str, torch.Tensor]":
    """Fits an adapter and a head to ``targets`` (float (rows, 28), between 0 and 1); returns their averaged weights.

    ``checkpoint`` is written after every epoch and read at the start: a killed fit goes on from there. Batches and
    dropout are sampled from the seed and the epoch, so that the result is the same.
    """
    import torch

    from emogap.emotion import minilm

    torch.manual_seed(seed)
    model, tokenizer = minilm.load_encoder(settings.dropout, attention="eager")
    run = _Run(model, settings, seed, targets)
    first = run.resume(checkpoint)
    batches_per_epoch = math.ceil(len(tokens) / settings.batch_size)
    steps = settings.epochs * batches_per_epoch
    for epoch in range(first, settings.epochs):
        started, loss = time.monotonic(), 0.0
        run.begin_epoch(epoch)
        order = training_batches([len(ids) for ids in tokens], settings.batch_size, seed, epoch)
        for number, rows in enumerate(order):
            ids, mask = pad([tokens[row] for row in rows], tokenizer.pad_token_id)
            step = epoch * batches_per_epoch + number
            loss += run.step(ids, mask, targets[rows], step, steps) * len(rows) / len(tokens)
        run.save(checkpoint, epoch + 1)
        log(f"epoch {epoch + 1} of {settings.epochs}: loss {loss:.4f}, {time.monotonic() - started:.0f} s")
    return run.average


class _Run:
    """One fit under way: the model in training, its optimizer, and the moving average of what is trained."""

    def __init__(self, model, settings: FitSettings, seed: int, targets: np.ndarray):
        import torch

        from tools.minilm_training import add_adapter, share_dropout, trained_parameters

        self.model, self.settings, self.seed = model.train(), settings, seed
        share_dropout(model)
        add_adapter(model, settings.rank, half=cpu_has_bf16())
        shares = torch.from_numpy(targets).mean(0).clamp(1e-4, 1 - 1e-4)
        self.case_weights = torch.from_numpy(case_weights(shares.numpy(), settings.rarity_power))
        with torch.no_grad():  # begin at the labels' frequencies
            model.classifier.bias.copy_(torch.logit(shares))
            model.classifier.weight.zero_()
        self.parameters = trained_parameters(model)
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        head = [value for name, value in self.parameters.items() if name.startswith("head.")]
        adapter = [value for name, value in self.parameters.items() if not name.startswith("head.")]
        groups = [
            {"params": adapter, "lr": settings.learning_rate, "peak": settings.learning_rate},
            {"params": head, "lr": settings.head_learning_rate, "peak": settings.head_learning_rate},
        ]
        self.trained = adapter + head
        self.optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)

    def begin_epoch(self, epoch: int) -> None:
        import torch

        torch.manual_seed(self.seed * 1000 + epoch)

    def step(self, ids: np.ndarray, mask: np.ndarray, targets: np.ndarray, step: int, steps: int) -> float:
        """One batch; returns its mean loss."""
        import torch

        logits = self.model(torch.from_numpy(ids), torch.from_numpy(mask)).logits
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(targets), pos_weight=self.case_weights
        )
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor(step, steps, self.settings.warmup_steps)
        self.optimizer.step()
        # The average forgets faster at first, so that it does not remember the untrained weights.
        decay = min(self.settings.average_decay, (step + 2) / (step + 11))
        with torch.no_grad():
            for name, value in self.parameters.items():
                self.average[name].lerp_(value, 1 - decay)
        return loss.item()

    def save(self, checkpoint: Path, epochs_done: int) -> None:
        from safetensors.torch import save_file

        tensors = {}
        for name, value in self.parameters.items():
            state = self.optimizer.state[value]
            tensors |= {f"value/{name}": value, f"average/{name}": self.average[name]}
            tensors |= {f"{key}/{name}": state[key] for key in ("step", "exp_avg", "exp_avg_sq")}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = checkpoint.with_suffix(".tmp")
        save_file({n: t.detach().contiguous() for n, t in tensors.items()}, temporary, {"epochs": str(epochs_done)})
        os.replace(temporary, checkpoint)

    def resume(self, checkpoint: Path) -> int:
        """Loads the checkpoint if there is one; returns the number of epochs done."""
        import torch
        from safetensors import safe_open

        if not checkpoint.exists():
            return 0
        with safe_open(checkpoint, "pt") as tensors, torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(tensors.get_tensor(f"value/{name}"))
                self.average[name] = tensors.get_tensor(f"average/{name}")
                keys = ("step", "exp_avg", "exp_avg_sq")
                self.optimizer.state[value] = {key: tensors.get_tensor(f"{key}/{name}") for key in keys}
            return int(tensors.metadata()["epochs"])


def rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """What the peak learning rate is multiplied by: a linear rise, times half a cosine down to zero."""
    return min(1.0, (step + 1) / warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def case_weights(shares: np.ndarray, power: float) -> np.ndarray:
    """What a given label's loss is multiplied by: 1 for a label of the median frequency or above, more for rarer ones.

    ``shares``: the labels' frequencies, float32 (labels,), above 0. A label r times rarer than the median has
    r ** ``power``. With 1 the rarest would count as much as the median label, and its noise too.
    """
    return np.maximum(1, np.median(shares) / shares) ** np.float32(power)


def training_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Row numbers of one epoch in batches of ``size``, in a random order, each of rows of similar length.

    Rows are shuffled, sorted by length within blocks of 50 batches, and the batches shuffled again.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    lengths = np.asarray(lengths)
    block = 50 * size
    blocks = [order[i : i + block] for i in range(0, len(order), block)]
    order = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in blocks])
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def save_minilm(weights: "dict[str, torch.Tensor]", dev: GoEmotions, folder: Path, recipe: dict[str, Any]) -> None:
    """Writes adapter (fp16) and head (fp32), tunes thresholds with what was written, writes ``config.json``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in weights.items() if name.startswith("head.")}
    adapter = {name: value.half() for name, value in weights.items() if not name.startswith("head.")}
    save_file(adapter, folder / "adapter.safetensors")
    save_file(head, folder / "head.safetensors")
    write_config(folder, np.full(len(LABELS), 0.5), recipe)
    scores = load_minilm(folder, "cpu", "fp32").scores(dev.texts)
    write_config(folder, tune_thresholds(scores, dev.targets > 0, THRESHOLD_WIDTH), recipe)


def train_tfidf(train: GoEmotions, dev: GoEmotions, folder: Path) -> dict[str, Any]:
    """Trains the second judge, one logistic regression per label, writes it to ``folder`` and returns its scores."""
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression

    vectorizer = tfidf_vectorizer(max_features=TFIDF_FEATURES)
    features = vectorizer.fit_transform(train.texts)
    coefficients, intercepts = [], []
    for given in train.targets.T:
        model = LogisticRegression(C=TFIDF_INVERSE_PENALTY, solver="liblinear").fit(features, given)
        coefficients.append(model.coef_[0])
        intercepts.append(model.intercept_[0])
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    save_file(
        {
            "coefficients": np.array(coefficients, dtype=np.float16),
            "intercepts": np.array(intercepts, dtype=np.float32),
            "idf": vectorizer.idf_.astype(np.float32),
        },
        folder / "weights.safetensors",
    )
    recipe = {"features": len(vocabulary), "inverse_penalty": TFIDF_INVERSE_PENALTY}
    write_config(folder, np.full(len(LABELS), 0.5), recipe)
    scores = TfidfClassifier(folder).scores(dev.texts)
    write_config(folder, tune_thresholds(scores, dev.targets > 0, THRESHOLD_WIDTH), recipe)
    measured = recipe | measure(TfidfClassifier(folder), dev)
    write_json(folder / "scores.json", measured)
    return measured


def write_config(folder: Path, thresholds: np.ndarray, recipe: dict[str, Any]) -> None:
    """``config.json``: labels, thresholds, and how the classifier was trained."""
    rounded = [round(float(threshold), 4) for threshold in thresholds]
    write_json(folder / "config.json", {"labels": list(LABELS), "thresholds": rounded, "training": recipe})


def measure(classifier: EmotionClassifier, dev: GoEmotions) -> dict[str, Any]:
    """Scores on dev: macro and micro F1 at 0.5, at the tuned thresholds, and cross-fitted, each with its interval.

    ``tuned`` is measured on the rows that the thresholds were tuned on and therefore flattering; ``cross_fitted`` tunes
    on four fifths and measures on the rest, five times: what new rows may expect.
    """
    scores, targets = classifier.scores(dev.texts), dev.targets > 0
    tuned = scores > classifier.thresholds
    ways = {
        "at 0.5": scores > 0.5,
        "tuned": tuned,
        "cross-fitted": cross_fitted(scores, targets, THRESHOLD_WIDTH),
    }
    f1 = {
        way: {kind: asdict(estimate) for kind, estimate in bootstrap_f1(predicted, targets).items()}
        for way, predicted in ways.items()
    }
    by_label = {
        way: f1_score(targets, ways[way], average=None, zero_division=0).tolist() for way in ("tuned", "at 0.5")
    }
    per_label = {
        label: {
            "cases": int(targets[:, i].sum()),
            "threshold": float(classifier.thresholds[i]),
            "f1_tuned": by_label["tuned"][i],
            "f1_at_half": by_label["at 0.5"][i],
        }
        for label, i in INDEX.items()
    }
    return {"f1": f1, "labels": per_label}


class _Story(Form):
    """A line that a published story was written from, and the labels that the teacher gave it."""

    text: str
    emotion: Text


def teacher_agreement(stories: Path, classifier: EmotionClassifier) -> dict[str, dict[str, int]]:
    """How often the classifier's top label other than neutral is the first label that the published teacher gave.

    ``stories``: folder of Parquet files with ``text`` and ``emotion`` (labels joined by ``", "``, highest first). Per
    first label: ``rows``, ``same`` and ``among`` (the top label is one of all labels the teacher gave that line).
    """
    files = sorted(stories.glob("*.parquet"))
    if not files:
        raise MissingInput(f"no Parquet file in {stories}; run `emogap fetch published` or name the folder of stories")
    read = [(where, story) for file in files for where, story in read_forms(file, _Story)]
    labels = [check(list[Label], story.emotion.split(", "), f"{where}, 'emotion'") for where, story in read]
    scores = classifier.scores([story.text for _, story in read])[:, : len(EMOTIONS)]  # neutral is the last of LABELS
    counts: dict[str, dict[str, int]] = {}
    for best, given in zip(scores.argmax(1), labels, strict=True):
        row = counts.setdefault(given[0], {"rows": 0, "same": 0, "among": 0})
        row["rows"] += 1
        row["same"] += LABELS[best] == given[0]
        row["among"] += LABELS[best] in given
    return {label: counts[label] for label in LABELS if label in counts}


def _brief(scores: dict[str, Any]) -> str:
    f1 = scores["f1"]["cross-fitted"]
    return f"dev macro-F1 {f1['macro']['value']:.3f}, micro-F1 {f1['micro']['value']:.3f} with cross-fitted thresholds"


def main(words: list[str]) -> None:
    """``emogap train-classifier``."""
    given = {name: value for name, value in vars(options().parse_args(words)).items() if value is not None}
    train_classifier(**given)


def options() -> Parser:
    parser = Parser(
        prog="emogap train-classifier",
        description="Train both emotion classifiers on GoEmotions' train split, tune their thresholds on its dev "
        "split, write weights and cards. A training that was stopped goes on from its last epoch.",
    )
    parser.add_argument(
        "--data", required=True, type=a_path, metavar="DIR", help="holds GoEmotions' train.tsv and dev.tsv"
    )
    parser.add_argument("--out", type=a_path, metavar="DIR", help="where both are written (the package's own models)")
    for option, what in (
        ("seed", "random seed"),
        ("epochs", "of each of the two fits that are averaged"),
        ("rank", "of each fit's adapter"),
    ):
        parser.add_argument(f"--{option}", type=int, metavar="N", help=what)
    parser.add_argument(
        "--stories",
        type=a_path,
        metavar="DIR",
        help="published stories (Parquet): report the agreement with their labels",
    )
    return parser
