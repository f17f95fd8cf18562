"""Rewrites: Alpaca answers reworded towards a positive emotion, as plain Alpaca JSON and as a table of all rows."""

import json
import random
from collections.abc import Mapping, Sequence
from functools import cached_property

from emogap.config import Config, Rewrite
from emogap.data.alpaca import FIELDS, Cleaned, Record, clean, is_file, load_records, select
from emogap.data.first_cleaning import cleaning_rule
from emogap.emotions import check_label
from emogap.errors import InputError, UsageError
from emogap.generate.judging import Judging
from emogap.generate.outcomes import rewrite_drawing
from emogap.generate.prompts import SeedRewrite, Template, load_examples, load_template
from emogap.generate.quality import REWRITE_GATES
from emogap.generate.writing import Ask, Row
from emogap.generate.writing_stage import Part, WritingStage, part_recipes
from emogap.paths import from_root
from emogap.records import KEPT, REWRITES, row_seed
from emogap.store.artefacts import Artefact, Draft, Recipe, fingerprint
from emogap.store.pieces import Summary

PLACEHOLDERS = ("emotion", "instruction", "input", "output", "emotion_example", "seed_1", "seed_2", "seed_3")


def rewrite(config: Config) -> Summary:
    """Rewrite the chosen records with every version, judge them, write plain Alpaca JSON and the table of all rows.

    Raises ``MissingInput``, ``InputError`` (no list of records) and ``UsageError`` (template, seeds).
    """
    return Rewrites(config).run()


class Rewrites(WritingStage):
    """Every version rewrites the same records."""

    name, written, counted, rows = "rewrite", "rewrites", "records", REWRITES

    def __init__(self, config: Config):
        shown = rewrite_pieces(config)[-1]
        super().__init__(config, rewrite_versions(config), rewrite_judging(config), config.home.tried_rewrites, shown)

    def size(self, part: Part) -> int:
        return len(self._chosen)

    def asks(self, part: Part) -> list[Ask]:
        settings = self.config.rewrite
        template, seeds = rewrite_template(settings, part.way), load_examples(settings.seeds, SeedRewrite)
        return rewrite_asks(self._chosen, part.way, template, seeds, settings.emotions, self.config.seed)

    @cached_property
    def _cleaned(self) -> Cleaned:
        return cleaned_records(self.config)

    @cached_property
    def _chosen(self) -> list[Record]:
        return select(self._cleaned.kept, self.config.rewrite.count, self.config.seed)

    def beside(self, part: Part, rows: Sequence[Row], draft: Draft) -> None:
        """The kept rows as plain Alpaca JSON, and the records that cleaning dropped."""
        dropped = self._cleaned.dropped_rows()
        kept = [{field: row[field] for field in FIELDS} for row in rows if row["status"] == KEPT]
        _write_json(draft.companion(self.config.home.rewrites(part.way).name), kept)
        _write_json(draft.companion(f"emotion_alpaca_{part.way}.dropped.json"), dropped)
        draft.counts["dropped in cleaning"] = len(dropped)


def cleaned_records(config: Config) -> Cleaned:
    """The records of the settings, cleaned. Raises ``InputError`` if none is left."""
    cleaned = clean(load_records(config.rewrite.records, config.rewrite.revision))
    if not cleaned.kept:
        raise InputError(f"{config.rewrite.records}: no record is left after cleaning ({cleaned.reasons()})")
    return cleaned


def rewrite_pieces(config: Config) -> list[Artefact]:
    """The tables of all rows, one a version, with the plain JSON as companion, and what became of the rewrites."""
    versions = [version.artefact for version in rewrite_versions(config)]
    return [*versions, rewrite_drawing(config.home, versions)]


def rewrite_versions(config: Config) -> list[Part]:
    for emotion in config.rewrite.emotions:
        check_label(emotion, "rewrite.emotions")
    cleaning = cleaning_rules(config)
    return [_version(config, name, *cleaning) for name in config.rewrite.versions]


def cleaning_rules(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """What ``cleaning_rule`` says of the records of the settings; those of the Hub are not fetched for it."""
    settings = config.rewrite
    return cleaning_rule(load_records(settings.records) if is_file(settings.records) else None)


def _version(config: Config, name: str, cleaning: dict[str, str], reasons: dict[str, str]) -> Part:
    settings = config.rewrite
    local = is_file(settings.records)
    own = Recipe(
        "rewrite",
        {"records": from_root(settings.records)} if local else {},
        {"rewrite.version": name, **config.flat("rewrite", "count", "emotions")},
        {
            f"prompt {name}": rewrite_template(settings, name).sha256,
            "seed rewrites": fingerprint(from_root(settings.seeds)),
        }
        | ({} if local else {"rewrite.records": f"{settings.records}@{settings.revision}"})
        | cleaning,
    )
    return Part(name, *part_recipes(config, own, config.home.rewrite_rows(name), reasons))


def rewrite_judging(config: Config) -> Judging:
    """How rewrites are judged under these settings."""
    return Judging("output", "original_output", REWRITE_GATES, config.rewrite.gates, config.process.classifier, True)


def _write_json(path, rows: list[dict]) -> None:
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def rewrite_template(settings: Rewrite, version: str) -> Template:
    """The prompt file of a version. Raises ``MissingInput`` or ``UsageError`` (unknown or missing placeholder)."""
    return check_rewrite_template(load_template(settings.templates[version], PLACEHOLDERS))


def check_rewrite_template(template: Template) -> Template:
    """The template itself. Raises ``UsageError`` naming a placeholder that a rewrite cannot do without."""
    for needed in ("emotion", "instruction", "output"):
        if needed not in template.placeholders:
            raise UsageError(f"{template.source}: the placeholder {{{needed}}} is missing")
    return template


def wanted_emotions(count: int, emotions: Sequence[str], run_seed: int) -> list[str]:
    """An emotion for each of ``count`` records in turn: every block of as many records as emotions has each once."""
    wanted: list[str] = []
    for block in range(-(-count // len(emotions))):
        wanted += random.Random(row_seed(run_seed, f"block {block}", "emotion")).sample(emotions, len(emotions))
    return wanted[:count]


def rewrite_asks(
    records: Sequence[Record],
    version: str,
    template: Template,
    seeds: Mapping[str, list[dict[str, str]]],
    emotions: Sequence[str],
    run_seed: int,
) -> list[Ask]:
    """One ask a record. Raises ``UsageError`` if the template wants more seed rewrites of an emotion than there are."""
    wanted = wanted_emotions(len(records), emotions, run_seed)
    return [
        rewrite_ask(r, emotion, version, template, seeds, run_seed) for r, emotion in zip(records, wanted, strict=True)
    ]


def rewrite_ask(record: Record, emotion: str, version: str, template: Template, seeds, run_seed: int) -> Ask:
    """What is asked about one record. What is drawn (the seed rewrites) comes from the record's own seed."""
    drawn = random.Random(row_seed(run_seed, record.id, "prompt"))
    worked = _seeds(emotion, template, seeds, drawn)
    messages = template.messages(
        emotion=emotion,
        instruction=record.instruction,
        input=record.input,
        output=record.output,
        **worked,
    )
    row = {
        "record_id": record.id,
        "instruction": record.instruction,
        "input": record.input,
        "original_output": record.output,
        "emotion": emotion,
        "version": version,
        "prompt_sha": template.sha256,
    }
    shown = "\n".join([template.text, *worked.values()])
    return Ask(f"{version}/{record.id}", record.id, tuple(messages), row, shown)


def _seeds(emotion: str, template: Template, seeds, drawn: random.Random) -> dict[str, str]:
    """Placeholder → seed rewrite of the wanted emotion, in a drawn order, for those that the template has."""
    wanted = sorted(template.placeholders & {"emotion_example", "seed_1", "seed_2", "seed_3"})
    of_emotion = seeds.get(emotion, [])
    if len(of_emotion) < len(wanted):
        raise UsageError(
            f"rewrite.seeds: {len(wanted)} seed rewrites of '{emotion}' are needed, there are {len(of_emotion)}"
        )
    return {name: render_seed(seed) for name, seed in zip(wanted, drawn.sample(of_emotion, len(wanted)), strict=True)}


def render_seed(seed: Mapping[str, str]) -> str:
    """A seed rewrite as prompts show it."""
    return (
        f"Instruction: {seed['instruction']}\nInput: {seed['input']}\nAnswer: {seed['output']}\n"
        f"Rewritten answer: {seed['rewritten']}"
    )
