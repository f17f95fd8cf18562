"""Stories: every method writes about the same emotional lines, in chunks that stand and resume on their own."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from emogap.config import Augment, Config
from emogap.data.babylm import NO_LINE
from emogap.emotions import LABELS, NEUTRAL
from emogap.errors import UsageError
from emogap.generate.judging import Judging
from emogap.generate.outcomes import story_drawing
from emogap.generate.prompts import StoryExample, Template, load_examples, load_template
from emogap.generate.quality import STORY_GATES
from emogap.generate.writing import Ask, Row
from emogap.generate.writing_stage import Part, WritingStage, part_recipes
from emogap.paths import chunk_numbers, from_root
from emogap.records import PROCESSED, STORIES, count_rows, read_rows, row_seed
from emogap.store.artefacts import Artefact, Recipe, fingerprint
from emogap.store.pieces import Summary

Examples = Mapping[str, list[dict[str, str]]]

_EXAMPLES = frozenset({"example_1", "example_2"})
PLACEHOLDERS = ("emotions", "emotion", "context", "genre", "character", "example_1", "example_2")
GENRES: Mapping[str, float] = {"monologue": 0.4, "play": 0.1, "fairy tale": 0.3, "newspaper article": 0.2}
"""How often each genre is drawn (published)."""
CHARACTERS: Mapping[str, float] = {"animal": 0.1, "boy": 0.3, "girl": 0.3, "man": 0.15, "woman": 0.15}
"""How often each kind of main character is drawn (published)."""


@dataclass(frozen=True)
class Chunk(Part):
    """Some of the lines, written about by one method."""

    first: int
    """Place of its first line among the chosen ones."""
    size: int


def augment(config: Config) -> Summary:
    """Write a story from every chosen line with every method, judge it, and keep kept and rejected rows alike.

    Raises ``MissingInput`` and ``UsageError`` (unknown chunk, template, example).
    """
    stories = Stories(config)
    if not stories.parts:
        print(f"nothing to write about: {NO_LINE}")
    return stories.run()


class Stories(WritingStage):
    """Every method writes about the same lines."""

    name, written, counted, rows, parts_apart = "augment", "stories", "lines", STORIES, True

    def __init__(self, config: Config):
        shown = augment_pieces(config)[-1]
        super().__init__(config, story_chunks(config), story_judging(config), config.home.tried_stories, shown)

    def size(self, part: Chunk) -> int:
        return part.size

    def asks(self, part: Chunk) -> list[Ask]:
        lines, templates, examples = self._sources
        lines = lines.iloc[part.first : part.first + part.size]
        return story_asks(lines, part.way, templates[part.way], examples, self.config.seed)

    @cached_property
    def _sources(self) -> tuple[pd.DataFrame, dict[str, Template], Examples]:
        settings, lines = self.config.augment, chosen_lines(self.config)
        templates = {method: story_template(settings, method) for method in settings.methods}
        examples = load_examples(settings.examples, StoryExample)
        for template in templates.values():
            check_examples(template, {emotions[0] for emotions in lines["emotions"]}, examples)
        return lines, templates, examples


def augment_pieces(config: Config) -> list[Artefact]:
    """The chunks that the settings ask for, none where no line is emotional, and what became of the stories.

    Raises ``MissingInput``.
    """
    chunks = [chunk.artefact for chunk in story_chunks(config)]
    return [*chunks, story_drawing(config.home, "augment", chunks)]


def story_chunks(config: Config) -> list[Chunk]:
    """All chunks of all methods that ``augment.chunks`` names, method by method within a chunk's number.

    None where no line is emotional: what is empty is said by the stage, and those behind it go on without.
    """
    settings = config.augment
    path = config.home.require(config.home.filtered)
    available = count_rows(path)
    if not available:
        return []
    total = min(settings.lines or available, available)
    numbers = parse_chunks(settings.chunks, -(-total // settings.chunk_size))
    return [
        _chunk(config, method, number, min(settings.chunk_size, total - number * settings.chunk_size))
        for number in numbers
        for method in settings.methods
    ]


def read_stories(config: Config) -> pd.DataFrame:
    """The rows of all those chunks, kept and rejected. Raises ``MissingInput`` for a chunk that is not made."""
    paths = [config.home.require(chunk.artefact.path) for chunk in story_chunks(config)]
    if paths:
        return pd.concat([read_rows(path, STORIES) for path in paths], ignore_index=True)
    columns = dict.fromkeys((*STORIES.columns, "emotion", "notes"), str) | {"words": float}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


def _chunk(config: Config, method: str, number: int, size: int) -> Chunk:
    settings, first = config.augment, number * config.augment.chunk_size
    own = Recipe(
        "augment",
        {"babylm_filtered": config.home.filtered},
        {"augment.method": method, "augment.order": settings.order, "augment.rows": [first, first + size]},
        {
            f"prompt {method}": story_template(settings, method).sha256,
            "story examples": fingerprint(from_root(settings.examples)),
        },
    )
    return Chunk(method, *part_recipes(config, own, config.home.chunk(method, number)), first, size)


def story_judging(config: Config) -> Judging:
    """How stories are judged under these settings."""
    return Judging("story", "text", STORY_GATES, config.augment.gates, config.process.classifier)


def parse_chunks(text: str, count: int) -> list[int]:
    """``all``, or numbers and ranges such as ``0-9,33`` → chunk numbers, in order, each below ``count``.

    Raises ``UsageError``.
    """
    numbers = chunk_numbers(text, "augment.chunks", range(count))
    if numbers and numbers[-1] >= count:
        raise UsageError(
            f"augment.chunks = '{text}': there is no chunk {numbers[-1]}; the lines make chunks 0-{count - 1}"
        )
    return numbers


def chosen_lines(config: Config) -> pd.DataFrame:
    """The emotional lines to write about, in the order of the chunks: every method gets the same ones."""
    lines = read_rows(config.home.require(config.home.filtered), PROCESSED)
    if config.augment.order == "balanced":
        lines = in_turn(lines, config.seed)
    chosen = lines.head(config.augment.lines) if config.augment.lines else lines
    return chosen.assign(emotions=[[label for label in labels if label != NEUTRAL] for labels in chosen["labels"]])


def in_turn(lines: pd.DataFrame, run_seed: int) -> pd.DataFrame:
    """The lines so that the emotions take turns, in an order drawn once; within an emotion they are shuffled.

    The first n lines hold every emotion that is left about equally often, whatever n is.
    """
    emotions = sorted(LABELS, key=lambda emotion: row_seed(run_seed, emotion, "turn"))
    place = {emotion: i for i, emotion in enumerate(emotions)}
    keyed = lines.assign(
        _shuffled=[row_seed(run_seed, line, "order") for line in lines["id"]], _emotion=lines["emotion"].map(place)
    ).sort_values("_shuffled")
    keyed["_round"] = keyed.groupby("_emotion").cumcount()
    return keyed.sort_values(["_round", "_emotion"]).drop(columns=["_shuffled", "_emotion", "_round"])


def ask_texts(config: Config, method: str, count: int) -> list[str]:
    """The prompts of a method for the first lines, as text: for looking at, without a model."""
    template = story_template(config.augment, method)
    lines = chosen_lines(config).head(count)
    asks = story_asks(lines, method, template, load_examples(config.augment.examples, StoryExample), config.seed)
    return ["\n\n".join(message["content"] for message in ask.messages) for ask in asks]


def story_template(settings: Augment, method: str) -> Template:
    """The prompt file of a method. Raises ``MissingInput`` or ``UsageError`` (unknown or missing placeholder)."""
    return check_story_template(load_template(settings.templates[method], PLACEHOLDERS))


def check_story_template(template: Template) -> Template:
    """The template itself. Raises ``UsageError`` naming a placeholder that a story cannot do without."""
    if "context" not in template.placeholders:
        raise UsageError(f"{template.source}: the placeholder {{context}} is missing")
    if not template.placeholders & {"emotion", "emotions"}:
        raise UsageError(f"{template.source}: the placeholder {{emotion}} or {{emotions}} is missing")
    return template


def story_asks(lines: pd.DataFrame, method: str, template: Template, examples: Examples, run_seed: int) -> list[Ask]:
    """One ask a line. What is drawn (genre, main character, examples) comes from the line's own seed."""
    return [story_ask(line, method, template, examples, run_seed) for line in lines.to_dict("records")]


def story_ask(line: Row, method: str, template: Template, examples: Examples, run_seed: int) -> Ask:
    """What is asked about one line (``id, source, text, emotions``)."""
    emotions = line["emotions"]
    drawn = random.Random(row_seed(run_seed, line["id"], "prompt"))
    genre = drawn.choices(list(GENRES), list(GENRES.values()))[0]
    character = drawn.choices(list(CHARACTERS), list(CHARACTERS.values()))[0]
    values = {"emotions": ", ".join(emotions), "emotion": emotions[0], "context": line["text"]}
    row = {
        "line_id": line["id"],
        "source": line["source"],
        "text": line["text"],
        "emotion": emotions[0],
        "emotions": emotions,
        "method": method,
        "prompt_sha": template.sha256,
        "genre": genre if "genre" in template.placeholders else None,
        "character": character if "character" in template.placeholders else None,
    }
    shown = template.text
    if template.placeholders & _EXAMPLES:
        worked = [_render(emotions[0], example) for example in drawn.sample(examples[emotions[0]], 2)]
        values |= {"example_1": worked[0], "example_2": worked[1]}
        shown = "\n".join([shown, *worked])
    messages = template.messages(**values, genre=genre, character=character)
    return Ask(f"{method}/{line['id']}", line["id"], tuple(messages), row, shown)


def check_examples(template: Template, emotions: Iterable[str], examples: Examples) -> None:
    """Raises ``UsageError`` naming an emotion for which a template that shows examples has fewer than two."""
    for emotion in sorted(emotions) if template.placeholders & _EXAMPLES else ():
        found = len(examples.get(emotion, []))
        if found < 2:
            raise UsageError(f"{template.source} needs two examples of '{emotion}'; augment.examples has {found}")


def _render(emotion: str, example: Mapping[str, str]) -> str:
    return f"{emotion}: {example['context']}\nStory: {example['story']}"
