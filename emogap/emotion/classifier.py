"""The emotion classifiers: loading one by its name, and scoring texts with it.

Three kinds share one interface, ``EmotionClassifier``:

- ``emotion-minilm``: all-MiniLM-L6-v2 with the project's GoEmotions adapter and head (``emogap/models/``), CPU-sized;
- ``emotion-tfidf``: TF-IDF and logistic regression, the second judge, which shares nothing with the first but data;
- anything else is a Hugging Face text-classification model, by its Hub name or folder, whose labels must be the 28.

Every score is the sigmoid of that label's logit: GoEmotions is multi-label, so a row's scores do not sum to one. Only
for a model whose ``problem_type`` says that each text has a single label are scores the softmax.
Scoring is fast because texts are sorted by length and batched under a budget of padded tokens: hardly anything
computed is padding. Scores come back in the order of the texts, labels in the order of ``emogap.emotions.LABELS``.
"""

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogap.config import HubModel
from emogap.device import map_over_cores, pick_device, pick_dtype, read_one_behind
from emogap.emotions import LABELS
from emogap.errors import InputError, ModelError, one_line
from emogap.lm.hub import identify, packaged_file, resolve, settings_in
from emogap.paths import from_root
from emogap.store.artefacts import fingerprint

if TYPE_CHECKING:
    import torch

MODELS = Path(__file__).resolve().parent.parent / "models"
"""Where the project's own classifiers lie."""
MINILM = "emotion-minilm"
TFIDF = "emotion-tfidf"
_FILES = {
    MINILM: ("config.json", "adapter.safetensors", "head.safetensors"),
    TFIDF: ("config.json", "vocabulary.json", "weights.safetensors"),
}
"""The files of the project's own classifiers that decide their scores, beside the encoder of the first."""

CPU_TOKEN_BUDGET = 1024
GPU_TOKEN_BUDGET = 131_072
"""Padded tokens per batch: on a CPU what stays in a core's caches; a GPU batch that does not fit in memory is halved
until it does."""
TOKENIZE_ROWS = 10_000
"""Texts given to the tokenizer at a time: enough for its threads, little enough for progress to be seen."""

SCORING_RULE = "rule 2 (texts scored as the model itself does each one alone)"
_READ_AS_BEFORE = {
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "ibert", "layoutlm",
    "megatron-bert", "mobilebert", "modernbert", "mpnet", "rembert", "roberta", "xlm-roberta", "xlm-roberta-xl",
}  # fmt: skip
"""Types of encoders whose scores are the same by the first revision of the rule and by this one."""
_PROBE = ("No.", "The cat that the dog saw sleeps.", "She was so happy that she sang all the way home.")
_TOLERANCE, _ROUGH_TOLERANCE = 1e-3, 0.02
"""How far padding may move a score, which is rounding error: in fp32, and in 16-bit formats."""

Progress = Callable[[int], None]
"""Called after every batch with the number of texts just scored."""


class EmotionClassifier(ABC):
    """Scores texts with the 28 GoEmotions labels.

    ``name``: what it was loaded by. ``revision``: the Hub commit of its weights, None for weights on disk.
    ``sha256``: hash of the files that decide its scores. ``thresholds``: float32 (28,), tuned on
    GoEmotions' dev split; None for a Hub model, which has none.
    """

    name: str
    revision: str | None
    sha256: str
    thresholds: np.ndarray | None

    @abstractmethod
    def scores(
        self, texts: Sequence[str], *, token_budget: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """float32 of shape (len(texts), 28), in the order of ``texts`` and of ``LABELS``, each between 0 and 1.

        ``token_budget``: padded tokens per batch; None for what suits the device.
        """


class EncoderClassifier(EmotionClassifier):
    """A torch model that gives logits, with its tokenizer; ``columns[i]`` is the logit of ``LABELS[i]``.

    ``one_label``: its scores are the softmax of the logits. ``pads``: whether texts of several lengths may share a
    batch, the shorter ones padded.
    """

    def __init__(self, *, name, revision, sha256, thresholds, model, tokenizer, columns, prepare=str, one_label=False):
        self.name, self.revision, self.sha256, self.thresholds = name, revision, sha256, thresholds
        self.model, self.tokenizer, self.columns, self.prepare = model, tokenizer, columns, prepare
        self.one_label, self.pads = one_label, True
        own_pad = getattr(getattr(model, "config", None), "pad_token_id", None)
        self._pad_ids = {
            "input_ids": next(id_ for id_ in (own_pad, tokenizer.pad_token_id, 0) if id_ is not None),
            "token_type_ids": tokenizer.pad_token_type_id,
        }
        taken = inspect.signature(model.forward).parameters
        self._inputs = [key for key in self._pad_ids if key in taken and key in tokenizer.model_input_names]
        self._takes_mask = "attention_mask" in taken

    def scores(self, texts, *, token_budget=None, progress=None):
        if token_budget is None:
            token_budget = CPU_TOKEN_BUDGET if self.model.device.type == "cpu" else GPU_TOKEN_BUDGET
        result = np.empty((len(texts), len(LABELS)), dtype=np.float32)
        tokens = self._tokenize(texts)
        batches = length_batches([len(row["input_ids"]) for row in tokens], token_budget if self.pads else 0)
        work = [[tokens[row] for row in rows] for rows in batches]
        if self.model.device.type == "cpu":
            scored = map_over_cores(self._score_batch, work)
        else:
            scored = read_one_behind(self._launch, _numbers, work)
        for rows, scores in zip(batches, scored, strict=True):
            result[rows] = scores
            if progress:
                progress(len(rows))
        return result

    def check_padding(self) -> None:
        """Find out whether padding changes the scores of a text; if so, texts are scored one at a time from now on.

        It does in models that read no attention mask, or that classify by the last position of a row.
        """
        tokens = self._tokenize(_PROBE)
        try:
            alone = np.concatenate([self._score_batch([row]) for row in tokens])
        except Exception as error:  # of any type: a model may need other inputs than text
            raise ModelError(
                f"classifier '{self.name}' cannot score a text by itself ({one_line(error)}); use '{MINILM}'"
            ) from error
        tolerance = _TOLERANCE if str(self.model.dtype) == "torch.float32" else _ROUGH_TOLERANCE
        try:
            self.pads = bool(np.abs(self._score_batch(tokens) - alone).max() <= tolerance)
        except (ValueError, IndexError, RuntimeError):  # some models without a padding token reject padded batches
            self.pads = False
        if not self.pads:
            print(
                f"{self.name}: texts are scored one by one, since this model scores them otherwise beside longer ones"
            )

    def _tokenize(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """For each text its ``input_ids`` and, where the model takes them, its ``token_type_ids``."""
        tokens: list[dict[str, list[int]]] = []
        for start in range(0, len(texts), TOKENIZE_ROWS):
            block = [self.prepare(text) for text in texts[start : start + TOKENIZE_ROWS]]
            found = self.tokenizer(block, truncation=True, return_attention_mask=False)
            tokens += [{key: found[key][row] for key in self._inputs} for row in range(len(block))]
        for number, row in enumerate(tokens):
            if not row["input_ids"]:
                raise InputError(
                    f"classifier '{self.name}' reads no token in text {number + 1} ({texts[number]!r}); leave it out"
                )
        return tokens

    def _score_batch(self, tokens: list[dict[str, list[int]]]) -> np.ndarray:
        return _numbers(self._launch(tokens))

    def _launch(self, tokens: list[dict[str, list[int]]]) -> "torch.Tensor":
        """Scores of a batch, float32 (texts, 28), on the model's device; a GPU may not be done with them on return."""
        import torch

        try:
            logits = self._logits(tokens).float()
        except torch.OutOfMemoryError:
            if len(tokens) == 1:
                raise
            logits = None
        # Not in the except block: as long as the exception exists, it keeps the tensors of the batch in memory.
        if logits is None:
            middle = len(tokens) // 2
            return torch.cat([self._launch(tokens[:middle]), self._launch(tokens[middle:])])
        scores = torch.softmax(logits, dim=-1) if self.one_label else torch.sigmoid(logits)
        return scores[:, self.columns]

    def _logits(self, tokens: list[dict[str, list[int]]]) -> "torch.Tensor":
        import torch

        inputs = {}
        for key in self._inputs:
            inputs[key], mask = pad([row[key] for row in tokens], self._pad_ids[key])
        if self._takes_mask:
            inputs["attention_mask"] = mask
        with torch.inference_mode():
            return self.model(
                **{key: torch.from_numpy(value).to(self.model.device) for key, value in inputs.items()}
            ).logits


def _numbers(scores: "torch.Tensor") -> np.ndarray:
    return scores.cpu().numpy()


class TfidfClassifier(EmotionClassifier):
    """Logistic regressions over TF-IDF features, one per label. Runs on the CPU; ``token_budget`` has no effect."""

    revision = None

    def __init__(self, folder: Path):
        from safetensors.numpy import load_file

        config = read_config(folder)
        weights = load_file(folder / "weights.safetensors")
        self.name = TFIDF
        self.sha256 = own_sha256(TFIDF, folder)
        self.thresholds = np.array(config["thresholds"], dtype=np.float32)
        self.vectorizer = tfidf_vectorizer(vocabulary=json.loads((folder / "vocabulary.json").read_text("utf-8")))
        self.vectorizer.idf_ = weights["idf"].astype(np.float64)
        self.coefficients = weights["coefficients"].astype(np.float32)
        self.intercepts = weights["intercepts"].astype(np.float32)

    def scores(self, texts, *, token_budget=None, progress=None):
        result = np.empty((len(texts), len(LABELS)), dtype=np.float32)
        for start in range(0, len(texts), TOKENIZE_ROWS):
            block = texts[start : start + TOKENIZE_ROWS]
            logits = self.vectorizer.transform(block) @ self.coefficients.T + self.intercepts
            result[start : start + len(block)] = 1 / (1 + np.exp(-logits))
            if progress:
                progress(len(block))
        return result


def tfidf_vectorizer(**options):
    """The second judge's features: words (also those of one letter, and ! ? as words) and pairs of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        lowercase=True,
        token_pattern=r"\w+(?:'\w+)?|[!?]+|[^\w\s,.\"]",
        ngram_range=(1, 2),
        sublinear_tf=True,
        **options,
    )


def load_classifier(
    name: str, *, revision: str | None = None, device: str = "auto", dtype: str = "auto"
) -> EmotionClassifier:
    """The classifier called ``name``: ``emotion-minilm``, ``emotion-tfidf``, a Hub name or a model folder.

    ``revision``: a Hub commit, tag or branch, ``main`` if None. ``device``: ``auto``, ``cpu``, ``cuda`` …; ``dtype``:
    ``auto``, ``fp32``, ``bf16`` or ``fp16`` (see ``emogap.device``). Raises ``ModelError`` if the model cannot be
    loaded or its labels are not the 28.
    """
    if name == TFIDF:
        return TfidfClassifier(MODELS / TFIDF)
    device = pick_device(device)
    if name == MINILM:
        return load_minilm(MODELS / MINILM, device, dtype)
    return load_hub_model(name, revision, device, dtype)


def identify_classifier(name: str, revision: str | None = None) -> str:
    """A classifier's identity in recipes, found without loading it: ``<name>@<revision>`` or ``<name>@sha256:<hash>``.

    For a folder whose model had other scores under the first scoring rule, the present rule's revision is added.
    """
    if name in _FILES:
        return f"{name}@sha256:{own_sha256(name, MODELS / name)}"
    identity = identify(HubModel(name=name, revision=revision or "main"))
    folder = from_root(name)
    return f"{identity}, {SCORING_RULE}" if folder.is_dir() and _was_scored_otherwise(folder) else identity


def _was_scored_otherwise(folder: Path) -> bool:
    """Whether the model in ``folder`` had other scores under the first revision of the scoring rule.

    That revision took the sigmoid of every logit, padded all texts on the right with the tokenizer's padding token,
    and, where the tokenizer names no maximal length, cut texts two tokens before the model's last position.
    """
    described, tokenizer = (settings_in(folder / name) for name in ("config.json", "tokenizer_config.json"))
    kind, positions = described.get("model_type"), described.get("max_position_embeddings")
    if kind not in _READ_AS_BEFORE or described.get("problem_type") == "single_label_classification":
        return True
    named = tokenizer.get("model_max_length")
    whole = isinstance(named, int | float) and isinstance(positions, int) and named <= positions
    return not whole and not ("roberta" in kind and described.get("pad_token_id", 1) == 1)


def load_minilm(folder: Path, device: str, dtype: str) -> EncoderClassifier:
    """The embedded encoder with the adapter and head that ``folder`` holds."""
    from safetensors.torch import load_file

    from emogap.emotion import minilm

    config = read_config(folder)
    model, tokenizer = minilm.load_encoder()
    minilm.load_trained(model, load_file(folder / "adapter.safetensors") | load_file(folder / "head.safetensors"))
    model.bert.to(pick_dtype(device, dtype))  # pooling and head stay in fp32
    return EncoderClassifier(
        name=MINILM,
        revision=None,
        sha256=own_sha256(MINILM, folder),
        thresholds=np.array(config["thresholds"], dtype=np.float32),
        model=model.to(device),
        tokenizer=tokenizer,
        columns=list(range(len(LABELS))),
        prepare=minilm.spell_out_symbols,
    )


def load_hub_model(name: str, revision: str | None, device: str, dtype: str) -> EncoderClassifier:
    """A Hugging Face text-classification model with the 28 labels in any order, from the Hub, its cache or a folder."""
    from emogap.lm import loading
    from emogap.lm.attention_reach import context_length

    local = resolve(HubModel(name=name, revision=revision or "main"))
    config = loading.read_config(local.path)
    columns = label_columns(name, config.id2label)
    if config.problem_type == "regression":
        raise ModelError(
            f"classifier '{name}' gives measures (problem_type=regression), no probabilities; use '{MINILM}'"
        )
    try:
        model, tokenizer = loading.load_classifier(local.path, device=device, dtype=pick_dtype(device, dtype))
    except ModelError as error:
        raise ModelError(
            f"classifier '{name}' cannot be loaded ({error}); it must be a text-classification model with config, "
            f"tokenizer and safetensors weights; repair the folder or use '{MINILM}'"
        ) from error
    longest = context_length(config) or tokenizer.model_max_length
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    classifier = EncoderClassifier(
        name=name,
        revision=None if from_root(name).is_dir() else local.path.name,
        sha256=fingerprint(local.path),
        thresholds=None,
        model=model,
        tokenizer=tokenizer,
        columns=columns,
        one_label=config.problem_type == "single_label_classification",
    )
    classifier.check_padding()
    return classifier


def label_columns(name: str, id2label: dict[int, str]) -> list[int]:
    """For each of ``LABELS`` the column of the model's logits; ``ModelError`` unless its labels are those 28."""
    column = {label: index for index, label in id2label.items()}
    if set(column) != set(LABELS) or len(id2label) != len(LABELS):
        missing = [label for label in LABELS if label not in column]
        extra = sorted(set(column) - set(LABELS))
        unnamed = all(str(label).startswith("LABEL_") for label in column)
        remedy = f"choose a model trained on GoEmotions, such as '{MINILM}'"
        if unnamed:
            remedy = "write their names into its config.json (id2label), or " + remedy
        raise ModelError(
            f"classifier '{name}' does not have the 28 GoEmotions labels: it has {len(id2label)}, "
            f"without {', '.join(missing[:5]) or 'none'}, with {', '.join(extra[:5]) or 'no others'}; "
            f"{remedy}"
        )
    return [column[label] for label in LABELS]


def length_batches(lengths: Sequence[int], token_budget: int) -> list[np.ndarray]:
    """Row numbers in batches of similar length, longest first, each at most ``token_budget`` tokens when padded.

    A row longer than the budget has a batch of its own. The order is a function of the lengths alone.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, token_budget // lengths[order[start]])
        batches.append(order[start : start + size])
        start += size
    return batches


def pad(tokens: list[list[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, both int64 of shape (rows, longest row), padded on the right."""
    width = max(len(ids) for ids in tokens)
    padded = np.full((len(tokens), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(tokens), width), dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return padded, mask


def read_config(folder: Path) -> dict:
    """``config.json`` of one of the project's own classifiers; ``ModelError`` if it is not there or not for the 28."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"classifier not found: {path} is missing; run `emogap train-classifier --data DIR`")
    config = json.loads(path.read_text("utf-8"))
    if config["labels"] != list(LABELS):
        raise ModelError(f"{path}: its labels are not the 28 in GoEmotions' order; train the classifier anew")
    return config


def own_sha256(name: str, folder: Path) -> str:
    """One SHA-256 (hex) over all files that decide the scores of one of the project's own classifiers."""
    encoder = [packaged_file("minilm") / "model.safetensors"] if name == MINILM else []
    paths = [*encoder, *(folder / file for file in _FILES[name])]
    return hashlib.sha256("".join(map(fingerprint, paths)).encode()).hexdigest()
