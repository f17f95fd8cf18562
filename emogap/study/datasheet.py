"""What a model was trained on, as the BabyLM challenge asks: words, from where, how often, and what other models did to
them; and in which tracks of the challenge the model can be entered. Read from manifests and logs alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emogap.config import Config
from emogap.controls import NEW
from emogap.corpus.composition import LINE, STORY
from emogap.store.artefacts import fingerprint, manifest_path, read_manifest
from emogap.train.model_folder import read_record
from emogap.train.models import StudyModel, known_models, model_identity
from emogap.train.strategies import base_of

TRACKS = {"strict-small": (10_000_000, 100_000_000), "strict": (100_000_000, 1_000_000_000)}
"""Track → most words of text, and most words seen, repetitions counted (the challenge of 2025 and 2026)."""
_NOT_COUNTED = "whose own training data count against the budget"


@dataclass
class Corpus:
    """One of the texts that a model, or what it comes from, was trained on."""

    name: str
    parts: dict[str, int] = field(default_factory=dict)
    """Source → words that were trained on; empty where they are not known."""
    epochs: float = 0.0
    seen: int = 0
    """Words of it that were seen, each as often as it was."""
    is_counted: bool = False
    """Whether ``seen`` was counted row by row, not computed from the epochs."""
    hands: list[str] = field(default_factory=list)
    """What other models did to it, as phrases for people."""
    unknown: list[str] = field(default_factory=list)
    """What is no longer known about it, as phrases for people."""

    @property
    def words(self) -> int:
        return sum(self.parts.values())


@dataclass
class Sheet:
    """What a trained model has seen."""

    model: str
    root: str
    """The base that it comes from; ``new:`` and a size, if it is trained from scratch."""
    corpora: list[Corpus]
    """Those of its parents come first."""

    @property
    def words(self) -> int:
        """Words of all its texts, each text once."""
        return sum({corpus.name: corpus.words for corpus in self.corpora}.values())

    @property
    def seen(self) -> int:
        return sum(corpus.seen for corpus in self.corpora)

    @property
    def obstacles(self) -> list[str]:
        """Why it can be entered in no strict track; empty if nothing but its size may stand against it."""
        pretrained = [] if self.root.startswith(NEW) else [f"it starts from {self.root}, {_NOT_COUNTED}"]
        return pretrained + [hand for corpus in self.corpora for hand in corpus.hands]

    @property
    def unknown(self) -> list[str]:
        return [what for corpus in self.corpora for what in corpus.unknown]

    @property
    def tracks(self) -> list[str]:
        """The tracks whose limits on words it keeps."""
        return [name for name, (words, seen) in TRACKS.items() if self.words <= words and self.seen <= seen]

    @property
    def verdict(self) -> str:
        if self.obstacles:
            return f"cannot be entered in a strict track: {'; '.join(self.obstacles)}"
        if self.unknown:
            return f"not known whether it can be entered: {'; '.join(self.unknown)}"
        if not self.tracks:
            return f"cannot be entered: {self.words:,} words of text, {self.seen:,} seen, are more than any track takes"
        return f"can be entered, as far as its text and words go, in: {', '.join(self.tracks)}"

    def __str__(self) -> str:
        start = "from scratch" if self.root.startswith(NEW) else "from"
        lines = [f"{self.model}, trained {start} ({self.root})"]
        for corpus in self.corpora:
            how = "counted" if corpus.is_counted else "by its epochs"
            parts = ", ".join(f"{name} {words:,}" for name, words in corpus.parts.items()) or "not counted in words"
            lines.append(f"  {corpus.name}: {corpus.words:,} words an epoch ({parts})")
            lines.append(f"    {corpus.epochs:.2f} epochs, {corpus.seen:,} words seen ({how})")
            lines += [f"    {what}" for what in (*corpus.hands, *corpus.unknown)]
        return "\n".join([*lines, f"  in all: {self.words:,} words of text, {self.seen:,} seen", f"  {self.verdict}"])


def data_sheets(config: Config) -> list[Sheet]:
    """One for each model that is trained in this home, in the order of the study."""
    strategies = {strategy.name: strategy for strategy in config.strategies}
    trained = [model for model in known_models(config) if model.name in strategies and _is_trained(config, model.key)]
    return [
        Sheet(model.key, base_of(config, strategies[model.name]).name, list(_corpora(config, model)))
        for model in trained
    ]


def _is_trained(config: Config, key: str) -> bool:
    folder = config.home.model(key)
    return manifest_path(folder).exists() and read_record(folder) is not None


def _corpora(config: Config, model: StudyModel) -> Iterator[Corpus]:
    """The text of each training that led to a model, in the order of the trainings."""
    records, key = [], model.key
    while _is_trained(config, key):
        records.insert(0, (key, read_record(config.home.model(key))))
        key = records[0][1]["parent"]["name"]
    for name, record in records:
        yield (_of_corpus if record["task"] == "clm" else _of_records)(config, name, record)


def _of_corpus(config: Config, key: str, record: dict[str, Any]) -> Corpus:
    name, path = record["data"]["name"], config.home.corpus(record["data"]["name"])
    last = record["history"][-1]
    found = Corpus(name, epochs=last["epoch"], seen=last.get("words", 0), is_counted="words" in last)
    if not manifest_path(path).exists() or fingerprint(path) != record["data"]["sha256"]:
        found.unknown.append(f"the corpus {name} is no longer the one that {key} was trained on")
        return found
    log = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    sources = [row for row in log["by"]["source"] if row["words"] > row["validation_words"]]
    found.parts = {row["value"]: row["words"] - row["validation_words"] for row in sources}
    found.seen = found.seen if found.is_counted else round(found.words * found.epochs)
    words = {row["value"]: row["words"] - row["validation_words"] for row in log["by"]["kind"]}
    found.hands = list(_hands(config, path, words))
    return found


def _hands(config: Config, path: Path, words: dict[str, int]) -> Iterator[str]:
    """What other models did to a corpus. ``words``: kind of text → words trained on."""
    inputs = read_manifest(path)["inputs"]
    if words.get(STORY):
        chunks = [config.home.stories / f"{name}.parquet" for name in inputs if "/chunk_" in name]
        writers = ", ".join(dict.fromkeys(_writer(config, chunk) for chunk in chunks))
        yield f"{words[STORY]:,} of its words were written by {writers}, {_NOT_COUNTED}"
    if words.get(LINE) and Path(inputs["lines"]["path"]).name == config.home.filtered.name:
        scored = config.home.processed
        known = manifest_path(scored).exists()
        chooser = read_manifest(scored)["identities"]["classifier"] if known else "which is not known"
        yield f"{words[LINE]:,} of its words were chosen by a classifier ({chooser}), {_NOT_COUNTED}"


def _writer(config: Config, chunk: Path) -> str:
    known = manifest_path(chunk).exists()
    return model_identity(config.home, read_manifest(chunk)) if known else "a model that is not known"


def _of_records(config: Config, key: str, record: dict[str, Any]) -> Corpus:
    """Instructions with answers. Alpaca's were written by a model, whoever rewrote them."""
    data, last = record["data"], record["history"][-1]
    hand = f"the answers of {data['name']} ({data['train_rows']:,} records) were written by a model, {_NOT_COUNTED}"
    return Corpus(data["name"], epochs=last["epoch"], hands=[hand])
