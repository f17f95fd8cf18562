"""Stories: every method writes about the same emotional lines, in chunks that are made and resumed independently."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from emogap.babylm.process import NO_LINE
from emogap.config import Augment, Config
from emogap.controls import PLAIN
from emogap.emotions import INDEX, LABELS, NEUTRAL, check_label
from emogap.errors import UsageError
from emogap.paths import chunk_numbers
from emogap.records import PROCESSED, STORIES, count_rows, read_rows, row_seed
from emogap.store.artefacts import Recipe, fingerprint, sha256_text
from emogap.store.pieces import Piece, Summary
from emogap.stories import gating
from emogap.stories.gates import STORY_GATES
from emogap.stories.outcomes import story_drawing
from emogap.stories.rows import Request, StoryAsked
from emogap.stories.texts import OWN, Prompting, SourceText, Texts, given_part
from emogap.stories.writing_stage import WrittenPiece, run_writing, written_piece
from emogap.text.templates import Examples, StoryExample, Template

_EXAMPLES = frozenset({"example_1", "example_2"})
_EMOTIONS = frozenset({"emotion", "emotions"})
GENRES: Mapping[str, float] = {"monologue": 0.4, "play": 0.1, "fairy tale": 0.3, "newspaper article": 0.2}
"""How often each genre is sampled (published)."""
CHARACTERS: Mapping[str, float] = {"animal": 0.1, "boy": 0.3, "girl": 0.3, "man": 0.15, "woman": 0.15}
"""How often each kind of main character is sampled (published)."""


@dataclass(frozen=True)
class Line(SourceText):
    """An emotional line."""

    source: str
    emotions: list[str]

    def wanting(self, emotion: str) -> "Line":
        return replace(self, emotion=emotion, emotions=[emotion])


class Stories(Texts):
    """Stories about emotional lines: every method writes about the same ones."""

    stage = "augment"
    written = "stories"
    counted = "lines"
    names_setting = "methods"
    amount = "lines"
    row_type = STORIES
    placeholders = ("emotions", "emotion", "context", "genre", "character", "example_1", "example_2")
    worked, gates = ("examples", StoryExample), STORY_GATES

    def made_from(self) -> tuple[dict[str, Path], dict[str, str]]:
        return {"babylm_filtered": self.config.home.filtered}, {}

    def available(self) -> int:
        return count_rows(self.config.home.require(self.config.home.filtered))

    def sources(self, start: int, stop: int) -> list[Line]:
        return _lines(self.lines(self.settings.order).iloc[start:stop])

    def sample(self, count: int) -> list[Line]:
        return _lines(self.lines("balanced").head(count))

    def find(self, ids: Sequence[str]) -> list[Line]:
        lines = self.lines("file")
        return _lines(lines[lines["id"].isin(ids)])

    def lines(self, order: str) -> pd.DataFrame:
        """All emotional lines, with all ``emotions`` of each; ``order``: that of the file, or the emotions in turn."""
        path = self.config.home.require(self.config.home.filtered)
        return _read_lines(path, fingerprint(path), self.config.seed if order == "balanced" else None)

    def own(self, given: Mapping[str, str]) -> Line:
        text = given_part(given, "text")
        emotion = check_label(given["emotion"], "lines") if given.get("emotion") else self._strongest(text)
        return Line(f"{OWN}:{sha256_text(text)[:12]}", emotion, text, OWN, [emotion])

    def _strongest(self, text: str) -> str:
        """The strongest emotion that the classifier finds in a text, neutral aside."""
        scores = gating.classifier(self.config.process.classifier).scores([text])[0]
        return max((label for label in LABELS if label != NEUTRAL), key=lambda label: scores[INDEX[label]])

    def check(self, template: Template) -> Template:
        if "context" not in template.placeholders:
            raise UsageError(f"{template.source}: the placeholder {{context}} is missing")
        if not template.placeholders & _EMOTIONS and template.source != self.settings.templates[PLAIN]:
            raise UsageError(f"{template.source}: the placeholder {{emotion}} or {{emotions}} is missing")
        return template

    def request(self, source: Line, prompting: Prompting) -> Request:
        """Genre, main character and examples are sampled."""
        template, rng = prompting.template, random.Random(row_seed(self.config.seed, source.id, "prompt"))
        genre, character = (rng.choices(list(of), list(of.values()))[0] for of in (GENRES, CHARACTERS))
        asked = StoryAsked(
            source.id,
            source.source,
            source.text,
            source.emotion,
            source.emotions,
            prompting.name,
            template.sha256,
            genre if "genre" in template.placeholders else None,
            character if "character" in template.placeholders else None,
        )
        values = {"emotions": ", ".join(source.emotions), "emotion": source.emotion, "context": source.text}
        worked: list[str] = []
        if template.placeholders & _EXAMPLES:
            two = rng.sample(_enough(source.emotion, template, self.examples), 2)
            worked = [f"{source.emotion}: {example['context']}\nStory: {example['story']}" for example in two]
            values |= {"example_1": worked[0], "example_2": worked[1]}
        messages = template.messages(**values, genre=genre, character=character)
        prompt, asks_emotion = "\n".join([template.text, *worked]), bool(template.placeholders & _EMOTIONS)
        return Request(f"{prompting.name}/{source.id}", source.id, tuple(messages), asked, prompt, asks_emotion)

    def check_examples(self) -> None:
        emotions = sorted({labels[0] for labels in chosen_lines(self.config)["emotions"]})
        for template in map(self.template, self.names):
            for emotion in emotions if template.placeholders & _EXAMPLES else ():
                _enough(emotion, template, self.examples)


def augment(config: Config) -> Summary:
    """Write a story from every chosen line with every method, check it, and keep kept and rejected rows alike.

    Raises ``MissingInput`` and ``UsageError`` (unknown chunk, template, example).
    """
    pieces = augment_pieces(config)
    if len(pieces) == 1:
        print(f"nothing to write about: {NO_LINE}")
    return run_writing(Stories(config), pieces, apart=True)


def augment_pieces(config: Config) -> list[Piece]:
    """The chunks that the settings ask for, none if no line is emotional, and the drawing of the stories' outcomes.

    Raises ``MissingInput``.
    """
    chunks = story_chunks(config)
    return [*chunks, story_drawing(config.home, "augment", chunks)]


def story_chunks(config: Config) -> list[WrittenPiece]:
    """All chunks that ``augment.chunks`` names, of all methods, in the order of chunk number, then method.

    Empty if no line is emotional: the stage reports that, and later stages go on without stories.
    """
    stories = Stories(config)
    available = stories.available()
    if not available:
        return []
    chunks = [
        (number, place, method, *ends)
        for place, (method, numbers) in enumerate(chunk_ends(config.augment, available).items())
        for number, ends in numbers.items()
    ]
    return [_chunk(stories, method, number, first, end) for number, _, method, first, end in sorted(chunks)]


def chunk_ends(settings: Augment, available: int) -> dict[str, dict[int, tuple[int, int]]]:
    """Method → chunk number → the places of the first of its lines and of the one after the last.

    The methods that ask for emotions write about the same lines. ``m0`` writes about these too, and then about the next
    lines, until it has written as many stories as all other methods together or no line is left.
    """
    size, total = settings.chunk_size, min(settings.lines or available, available)
    numbers = parse_chunks(settings.chunks, -(-total // size))
    times = max(1, len([method for method in settings.methods if method != PLAIN]))
    plain_total = min(settings.lines * times or available, available)
    more = range(max(numbers, default=-1) + 1, -(-plain_total // size))
    more = more if settings.chunks.strip() == "all" else more[: len(numbers) * (times - 1)]

    def ends(numbers: Iterable[int], total: int) -> dict[int, tuple[int, int]]:
        return {number: (number * size, min((number + 1) * size, total)) for number in numbers}

    plain = ends([*numbers, *more], plain_total)
    return {method: plain if method == PLAIN else ends(numbers, total) for method in settings.methods}


def _chunk(stories: Stories, method: str, number: int, first: int, end: int) -> WrittenPiece:
    """The chunk of one method's stories about the lines from ``first`` to before ``end``."""
    settings, (inputs, _) = stories.settings, stories.made_from()
    own = Recipe(
        "augment",
        inputs,
        {"augment.method": method, "augment.order": settings.order, "augment.rows": [first, end]},
        {
            f"prompt {method}": stories.template(method).sha256,
            "story examples": fingerprint(stories.examples_file),
        },
    )
    path = stories.config.home.chunk(method, number)
    lines = partial(stories.sources, first, end)
    return written_piece(stories, method, path, own, lines, lambda: end - first)


def read_stories(config: Config) -> pd.DataFrame:
    """The rows of all ``story_chunks``, kept and rejected. Raises ``MissingInput`` for a chunk that is not made."""
    paths = [config.home.require(chunk.path) for chunk in story_chunks(config)]
    if paths:
        return pd.concat([read_rows(path, STORIES) for path in paths], ignore_index=True)
    columns = dict.fromkeys((*STORIES.columns, "reply", "emotion", "notes"), str)
    columns |= dict.fromkeys(("words", "emotion_score", "similarity"), float)
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


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
    return Stories(config).lines(config.augment.order).iloc[: config.augment.lines or None]


@lru_cache(maxsize=1)
def _read_lines(path: Path, sha256: str, turn_seed: int | None) -> pd.DataFrame:
    """The lines are kept in memory, for every chunk and preview reads them; ``sha256``, of the file, is in the cache's
    key. ``turn_seed`` None: the order of the file."""
    lines = read_rows(path, PROCESSED, ["id", "source", "text", "emotion", "labels"])
    lines = lines if turn_seed is None else in_turn(lines, turn_seed)
    return lines.assign(emotions=[[label for label in labels if label != NEUTRAL] for labels in lines["labels"]])


def _lines(lines: pd.DataFrame) -> list[Line]:
    columns = (lines[name] for name in ("id", "text", "source", "emotions"))
    return [Line(i, emotions[0], text, source, emotions) for i, text, source, emotions in zip(*columns, strict=True)]


def in_turn(lines: pd.DataFrame, run_seed: int) -> pd.DataFrame:
    """The lines ordered so that the emotions take turns, in one random order; the lines of an emotion are shuffled.

    Whatever n is, the first n lines have every emotion about equally often, as long as it has lines left.
    """
    emotions = sorted(LABELS, key=lambda emotion: row_seed(run_seed, emotion, "turn"))
    place = {emotion: i for i, emotion in enumerate(emotions)}
    keyed = lines.assign(
        _shuffled=[row_seed(run_seed, line, "order") for line in lines["id"]], _emotion=lines["emotion"].map(place)
    ).sort_values("_shuffled")
    keyed["_round"] = keyed.groupby("_emotion").cumcount()
    return keyed.sort_values(["_round", "_emotion"]).drop(columns=["_shuffled", "_emotion", "_round"])


def _enough(emotion: str, template: Template, examples: Examples) -> list[dict[str, str]]:
    """The examples of an emotion. Raises ``UsageError`` if there are fewer than two, as many as a template shows."""
    found = examples.get(emotion, [])
    if len(found) < 2:
        raise UsageError(f"{template.source} needs two examples of '{emotion}'; augment.examples has {len(found)}")
    return found
