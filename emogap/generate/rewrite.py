"""Rewrites: Alpaca answers reworded towards a positive emotion, as plain Alpaca JSON and as a table of all rows."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from emogap.artefacts import Artefact, Recipe, Summary, fingerprint
from emogap.config import Config, Rewrite
from emogap.data.alpaca import Cleaned, Record, clean, is_file, load_records, select
from emogap.data.classify import classifier_identity
from emogap.data.first_cleaning import cleaning_rule
from emogap.emotions import check_label
from emogap.errors import InputError, UsageError
from emogap.exhibits import draw_if_new
from emogap.generate.judging import JUDGING_RULE, Judging, judge
from emogap.generate.outcomes import show_rewrites
from emogap.generate.prompts import SeedRewrite, Template, load_examples, load_template
from emogap.generate.quality import REWRITE_GATES
from emogap.generate.tried import Tried
from emogap.generate.writing import Answering, Ask, answering, clear_journal, journal_of, write
from emogap.hub import identify
from emogap.paths import from_root
from emogap.progress import Progress, progress
from emogap.records import KEPT, REWRITES, row_seed, write_rows
from emogap.stages import make_each

PLACEHOLDERS = ("emotion", "instruction", "input", "output", "emotion_example", "seed_1", "seed_2", "seed_3")


@dataclass(frozen=True)
class Version:
    """One rewriting version and the table it makes."""

    name: str
    artefact: Artefact
    replies: Recipe
    """What shapes the replies; the artefact's recipe adds what shapes their judging."""


def rewrite(config: Config) -> Summary:
    """Rewrite the chosen records with every version, judge them, write plain Alpaca JSON and the table of all rows.

    Raises ``MissingInput``, ``InputError`` (no list of records), ``UsageError`` (template, seeds) and ``LockHeld``.
    """
    versions = {version.artefact.path: version for version in rewrite_versions(config)}
    templates = {version.name: rewrite_template(config.rewrite, version.name) for version in versions.values()}
    seeds = load_examples(config.rewrite.seeds, SeedRewrite)
    stale = [v for v in versions.values() if v.artefact.freshness().state != "fresh"]
    cleaned = cleaned_records(config) if stale else None
    chosen = select(cleaned.kept, config.rewrite.count, config.seed) if cleaned else []
    tried = Tried(config.home.tried_rewrites)
    total = len(chosen) * len(stale)
    with progress("rewrites", total, "answers") as bar, answering(config, bar) as answer_all:

        def make(artefact: Artefact) -> None:
            version = versions[artefact.path]
            asks = rewrite_asks(
                chosen, version.name, templates[version.name], seeds, config.rewrite.emotions, config.seed
            )
            _make_version(config, version, asks, cleaned.dropped_rows(), answer_all, bar, tried)

        summary = make_each("rewrite", [version.artefact for version in versions.values()], make)
    for version in versions.values():
        clear_journal(version.artefact, version.replies.sha256())
    artefacts = [version.artefact for version in versions.values()]
    draw_if_new(config.home.alpaca, "rewrite", artefacts, lambda: show_rewrites(config.home))
    return summary


def cleaned_records(config: Config) -> Cleaned:
    """The records of the settings, cleaned. Raises ``InputError`` if none is left."""
    cleaned = clean(load_records(config.rewrite.records, config.rewrite.revision))
    if not cleaned.kept:
        raise InputError(f"{config.rewrite.records}: no record is left after cleaning ({cleaned.reasons()})")
    return cleaned


def rewrite_artefacts(config: Config) -> list[Artefact]:
    """The tables of all rows, one a version; the plain JSON is their companion."""
    return [version.artefact for version in rewrite_versions(config)]


def rewrite_versions(config: Config) -> list[Version]:
    for emotion in config.rewrite.emotions:
        check_label(emotion, "rewrite.emotions")
    cleaning = cleaning_rules(config)
    return [_version(config, name, *cleaning) for name in config.rewrite.versions]


def cleaning_rules(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """What ``cleaning_rule`` says of the records of the settings; those of the Hub are not fetched for it."""
    settings = config.rewrite
    return cleaning_rule(load_records(settings.records) if is_file(settings.records) else None)


def _version(config: Config, name: str, cleaning: dict[str, str], reasons: dict[str, str]) -> Version:
    settings = config.rewrite
    local = is_file(settings.records)
    replies = Recipe(
        stage="rewrite",
        inputs={"records": from_root(settings.records)} if local else {},
        settings={
            "rewrite.version": name,
            **config.flat("rewrite", "count", "emotions", "sampling"),
            **config.flat_writer("engine", "dtype", "quantization", "batch_size"),
        },
        identities={
            "writer.model": identify(config.writer.model),
            f"prompt {name}": rewrite_template(settings, name).sha256,
            "seed rewrites": fingerprint(from_root(settings.seeds)),
        }
        | ({} if local else {"rewrite.records": f"{settings.records}@{settings.revision}"})
        | cleaning,
        seed=config.seed,
    )
    table = config.home.rewrite_rows(name)
    recipe = replace(
        replies,
        settings=replies.settings | config.flat("rewrite", "gates"),
        identities=replies.identities
        | {"process.classifier": classifier_identity(config.process.classifier)}
        | JUDGING_RULE
        | reasons,
    )
    return Version(name, Artefact(table, recipe, keep_superseded=True), replies)


def rewrite_judging(config: Config) -> Judging:
    """How rewrites are judged under these settings."""
    return Judging("output", "original_output", REWRITE_GATES, config.rewrite.gates, config.process.classifier, True)


def _make_version(
    config: Config,
    version: Version,
    asks: Sequence[Ask],
    dropped: list[dict],
    answer_all: Answering,
    bar: Progress,
    tried: Tried,
) -> None:
    judging = rewrite_judging(config)
    with version.artefact.making() as draft:
        shown = {ask.id: ask.shown for ask in asks}
        journal = journal_of(version.artefact, version.replies.sha256())
        rows = write(
            asks,
            journal,
            answer_all,
            config,
            config.rewrite,
            lambda new, earlier: judge(new, earlier, shown, judging),
            bar,
            tried,
        )
        write_rows(draft.path, pd.DataFrame(rows), REWRITES)
        kept = [row for row in rows if row["status"] == KEPT]
        _write_json(draft.companion(config.home.rewrites(version.name).name), [_alpaca(row) for row in kept])
        _write_json(draft.companion(f"emotion_alpaca_{version.name}.dropped.json"), dropped)
        draft.counts |= {"records": len(asks), "kept": len(kept), "rejected": len(rows) - len(kept)}
        draft.counts["dropped in cleaning"] = len(dropped)
        draft.notes["replies"] = version.replies.sha256()
    journal.discard()


def _alpaca(row: dict) -> dict[str, str]:
    return {field: row[field] for field in ("instruction", "input", "output")}


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
