"""Rewrites: Alpaca answers reworded towards a positive emotion, as plain Alpaca JSON and as a table of all rows."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.config import Config
from emogap.emotions import check_label
from emogap.errors import InputError, UsageError
from emogap.paths import from_root
from emogap.records import REWRITES, read_rows, row_seed
from emogap.store.artefacts import Draft, Recipe, fingerprint, sha256_text
from emogap.store.pieces import Piece, Summary
from emogap.stories.first_cleaning import cleaning_rule
from emogap.stories.gates import REWRITE_GATES
from emogap.stories.outcomes import rewrite_drawing
from emogap.stories.rows import Request, RewriteAsked, Row
from emogap.stories.texts import OWN, Prompting, SourceText, Texts, given_part
from emogap.stories.writing_stage import WrittenPiece, run_writing, written_piece
from emogap.text.alpaca import FIELDS, Cleaned, Record, clean, is_file, load_records, select
from emogap.text.templates import SeedRewrite, Template


@dataclass(frozen=True)
class Original(SourceText):
    """A record whose answer is to be rewritten."""

    record: Record


class Rewrites(Texts):
    """Rewrites of Alpaca answers: every version rewrites the same records."""

    stage = "rewrite"
    written = "rewrites"
    counted = "records"
    names_setting = "versions"
    amount = "count"
    row_type = REWRITES
    placeholders = ("emotion", "instruction", "input", "output", "emotion_example", "seed_1", "seed_2", "seed_3")
    worked, gates, similar = ("seeds", SeedRewrite), REWRITE_GATES, True

    def made_from(self) -> tuple[dict[str, Path], dict[str, str]]:
        settings, (cleaning, _) = self.settings, self.cleaning
        if is_file(settings.records):
            return {"records": from_root(settings.records)}, cleaning
        return {}, {"rewrite.records": f"{settings.records}@{settings.revision}"} | cleaning

    @cached_property
    def cleaning(self) -> tuple[dict[str, str], dict[str, str]]:
        """The entries that ``cleaning_rule`` gives for the records; those on the Hub are not downloaded for it."""
        records = self.settings.records
        return cleaning_rule(load_records(records) if is_file(records) else None)

    def available(self) -> int:
        return len(self._all)

    def sources(self, start: int, stop: int) -> list[Original]:
        return self._all[start:stop]

    def sample(self, count: int) -> list[Original]:
        return self.first(count)  # every block of them has each emotion once

    def find(self, ids: Sequence[str]) -> list[Original]:
        return [one for one in self._all if one.id in ids]

    def chosen(self) -> list[Original]:
        """The records that the stage is set to rewrite."""
        return self._all[: self.settings.count or None]

    @cached_property
    def _all(self) -> list[Original]:
        records = select(self.cleaned.kept, 0, self.config.seed)
        emotions = wanted_emotions(len(records), self.settings.emotions, self.config.seed)
        return [_original(record, emotion) for record, emotion in zip(records, emotions, strict=True)]

    @cached_property
    def cleaned(self) -> Cleaned:
        """The records of the settings, cleaned. Raises ``InputError`` if none is left."""
        cleaned = clean(load_records(self.settings.records, self.settings.revision))
        if not cleaned.kept:
            raise InputError(f"{self.settings.records}: no record is left after cleaning ({cleaned.reasons()})")
        return cleaned

    def own(self, given: Mapping[str, str]) -> Original:
        values = {field: given_part(given, field, needed=field != "input") for field in FIELDS}
        record = Record(f"{OWN}:{sha256_text(chr(31).join(values.values()))[:12]}", **values)
        sampled = random.Random(row_seed(self.config.seed, record.id, "emotion")).choice(self.settings.emotions)
        return _original(record, check_label(given["emotion"], "lines") if given.get("emotion") else sampled)

    def check(self, template: Template) -> Template:
        for needed in ("emotion", "instruction", "output"):
            if needed not in template.placeholders:
                raise UsageError(f"{template.source}: the placeholder {{{needed}}} is missing")
        return template

    def request(self, source: Original, prompting: Prompting) -> Request:
        """The seed rewrites are sampled; nothing else is."""
        record, emotion, template = source.record, source.emotion, prompting.template
        worked = self._worked(source, template)
        given = {field: getattr(record, field) for field in FIELDS}
        messages = template.messages(emotion=emotion, **given, **worked)
        asked = RewriteAsked(
            record.id, record.instruction, record.input, record.output, emotion, prompting.name, template.sha256
        )
        prompt = "\n".join([template.text, *worked.values()])
        return Request(f"{prompting.name}/{record.id}", record.id, tuple(messages), asked, prompt)

    def _worked(self, source: Original, template: Template) -> dict[str, str]:
        """Placeholder → seed rewrite of the wanted emotion, in a sampled order, for those that the template has."""
        rng = random.Random(row_seed(self.config.seed, source.id, "prompt"))
        wanted = sorted(template.placeholders & {"emotion_example", "seed_1", "seed_2", "seed_3"})
        of_emotion = self.examples.get(source.emotion, [])
        if len(of_emotion) < len(wanted):
            raise UsageError(
                f"rewrite.seeds: {len(wanted)} seed rewrites of '{source.emotion}' are needed, there are "
                f"{len(of_emotion)}"
            )
        return dict(zip(wanted, map(render_seed, rng.sample(of_emotion, len(wanted))), strict=True))

    def beside(self, name: str, rows: Sequence[Row], draft: Draft) -> None:
        """The kept rows as plain Alpaca JSON, and the records that cleaning dropped."""
        dropped = self.cleaned.dropped_rows()
        kept = [
            {"instruction": row.asked.instruction, "input": row.asked.input, "output": row.verdict.text}
            for row in rows
            if row.is_kept
        ]
        _write_json(draft.companion(self.config.home.rewrites(name).name), kept)
        _write_json(draft.companion(f"emotion_alpaca_{name}.dropped.json"), dropped)
        draft.counts["dropped in cleaning"] = len(dropped)


def _original(record: Record, emotion: str) -> Original:
    text = f"{record.instruction} | {record.input}" if record.input else record.instruction
    return Original(record.id, emotion, text, record)


def rewrite(config: Config) -> Summary:
    """Rewrite the chosen records with every version, check them, write plain Alpaca JSON and the table of all rows.

    Raises ``MissingInput``, ``InputError`` (no list of records) and ``UsageError`` (template, seeds).
    """
    return run_writing(Rewrites(config), rewrite_pieces(config))


def rewrite_pieces(config: Config) -> list[Piece]:
    """The tables of all rows, one for each version, with the plain JSON as companion, and the drawing of outcomes."""
    versions = rewrite_versions(config)
    return [*versions, rewrite_drawing(config.home, versions)]


def rewrite_versions(config: Config) -> list[WrittenPiece]:
    """The tables of all rows. Raises ``MissingInput`` and ``UsageError`` (no such emotion)."""
    for emotion in config.rewrite.emotions:
        check_label(emotion, "rewrite.emotions")
    rewrites = Rewrites(config)
    return [_version(rewrites, name) for name in rewrites.names]


def read_rewrites(config: Config) -> pd.DataFrame:
    """The rows of all versions of the settings, kept and rejected. Raises ``MissingInput`` for one that is not made."""
    paths = [config.home.require(piece.path) for piece in rewrite_versions(config)]
    return pd.concat([read_rows(path, REWRITES) for path in paths], ignore_index=True)


def _version(rewrites: Rewrites, name: str) -> WrittenPiece:
    inputs, identities = rewrites.made_from()
    own = Recipe(
        "rewrite",
        inputs,
        {"rewrite.version": name, **rewrites.config.flat("rewrite", "count", "emotions")},
        {f"prompt {name}": rewrites.template(name).sha256, "seed rewrites": fingerprint(rewrites.examples_file)}
        | identities,
    )
    path, size = rewrites.config.home.rewrite_rows(name), lambda: len(rewrites.chosen())
    return written_piece(rewrites, name, path, own, rewrites.chosen, size, beside=rewrites.cleaning[1])


def _write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def wanted_emotions(count: int, emotions: Sequence[str], run_seed: int) -> list[str]:
    """An emotion for each of ``count`` records: every block of ``len(emotions)`` records has each emotion once."""
    wanted: list[str] = []
    for block in range(-(-count // len(emotions))):
        wanted += random.Random(row_seed(run_seed, f"block {block}", "emotion")).sample(emotions, len(emotions))
    return wanted[:count]


def render_seed(seed: Mapping[str, str]) -> str:
    """A seed rewrite as prompts show it."""
    return (
        f"Instruction: {seed['instruction']}\nInput: {seed['input']}\nAnswer: {seed['output']}\n"
        f"Rewritten answer: {seed['rewritten']}"
    )
