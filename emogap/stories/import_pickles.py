"""Old chunks of stories, as pickles or Parquet, checked like any other reply. The unpickler runs no code."""

import hashlib
import pickle
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from emogap.config import Config
from emogap.errors import InputError, MissingInput, UsageError, one_line
from emogap.home_settings import parent_of
from emogap.paths import LAST_CHUNK, Home, from_root
from emogap.records import STORIES, write_rows
from emogap.store.artefacts import Artefact, Draft, Recipe, read_manifest
from emogap.store.pieces import Piece, Summary, run
from emogap.stories.gates import STORY_GATES
from emogap.stories.gating import Gating, gating_recipe, through_gates
from emogap.stories.outcomes import story_drawing
from emogap.stories.rows import Answer, Request, StoryAsked, table, tallied
from emogap.text.forms import Form, Label, Text, check
from emogap.text.reading import Row, check_texts, read_table

STAGE = "import"
FIELDS = ("text", "emotion", "augmented_text")
"""Fields that a record must have; ``source`` is optional."""
_PLAIN = {("builtins", name) for name in ("set", "frozenset", "bytearray", "complex")}


class PlainUnpickler(pickle.Unpickler):
    """Reads builtin containers, strings and numbers; whatever else a file asks for is refused by its name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise InputError(f"it asks for {module}.{name}; only builtin containers, strings and numbers are read")
        return super().find_class(module, name)


class _Given(Form):
    """A record of a chunk."""

    needs = f"a record has the texts {', '.join(FIELDS)}, and source where it is known"

    text: str
    emotion: Text
    augmented_text: str
    source: str | None = None

    @property
    def emotions(self) -> list[str]:
        return [emotion.strip() for emotion in self.emotion.split(",")]


def read_chunk(path: Path) -> list[_Given]:
    """The records of a chunk, Parquet or else a pickle, whatever its name says. Raises ``InputError``."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    rows = read_table(path, _Given.columns()).rows if is_parquet else _numbered_rows(path, read_pickle(path))
    records = []
    for where, values in rows:
        records.append(check(_Given, values, where, _Given.needs))
        check(list[Label], records[-1].emotions, f"{where}, 'emotion'")
    return records


def _numbered_rows(path: Path, records: list[Any]) -> Iterator[Row]:
    for number, record in enumerate(records, start=1):
        yield f"{path}, record {number}", record


def read_pickle(path: Path) -> list[Any]:
    """The records of a chunk: a list of objects, or an object of columns. Raises ``InputError``."""
    with path.open("rb") as file:
        try:
            value = PlainUnpickler(file).load()
        except InputError as error:
            raise InputError(f"{path} is refused: {error}") from error
        except Exception as error:  # a damaged pickle can raise any exception
            raise InputError(f"{path} is no readable pickle ({one_line(error)})") from error
    if isinstance(value, dict) and all(isinstance(column, (list, tuple)) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise InputError(f"{path}: its columns differ in length")
        value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise InputError(f"{path}: expected a list of records or an object of columns, got a {type(value).__name__}")
    for where, record in _numbered_rows(path, value):
        check_texts(record, where)
    return value


def import_pickles(config: Config, folder: Path, method: str) -> Summary:
    """Turn every ``*.pkl`` and ``*.parquet`` of a folder into a checked chunk of ``method``; what is fresh is skipped.

    Raises ``MissingInput``, ``InputError`` (refused or odd file) and ``UsageError`` (name taken by written stories).
    """
    files = _numbered(folder)
    artefacts = {config.home.chunk(method, number): file for number, file in files.items()}
    for path in artefacts:
        artefact = Artefact(path, Recipe(STAGE))
        if artefact.manifest_path.exists() and artefact.manifest()["stage"] != STAGE:
            raise UsageError(
                f"{path} holds stories written here; import under another name, such as published-{method}"
            )

    chunks = [_artefact(config, path, file, method) for path, file in artefacts.items()]
    return run(STAGE, [*chunks, story_drawing(config.home, f"{STAGE}-{method}", chunks)])


def imported_above(config: Config) -> Iterator[Piece]:
    """The chunks that the parents of a variant imported for the methods of its corpora, as chunks of the variant."""
    methods = dict.fromkeys(method for corpus in config.all_corpora for method in corpus.methods)
    home = config.home.root
    while home := parent_of(home):
        for method in methods:
            for number, path in Home(home).chunks(method).items():
                manifest = read_manifest(path)
                if manifest["stage"] == STAGE:
                    file = from_root(manifest["inputs"]["chunk"]["path"])
                    yield _artefact(config, config.home.chunk(method, number), file, method)


def _numbered(folder: Path) -> dict[int, Path]:
    """Chunk number → file. The number is the one in the file's name (``_number``); or the next free one, if that is too
    high for a chunk (as a date is) or another file has it. Raises ``MissingInput`` or ``InputError`` (a chunk in both
    forms)."""
    found = [file for file in folder.glob("[!.]*") if file.suffix.lower() in (".pkl", ".parquet")]
    files = sorted(found, key=lambda file: (_number(file), len(file.name), file.name))
    if not files:
        raise MissingInput(f"no *.pkl or *.parquet file in {folder}; give the folder of the old chunks")
    by_stem: dict[str, Path] = {}
    taken: dict[int, Path] = {}
    for file in files:
        if (twin := by_stem.setdefault(file.stem, file)) != file:
            raise InputError(f"{twin} and {file} are one chunk in two forms; take one of them away")
        if _number(file) <= LAST_CHUNK:
            taken.setdefault(_number(file), file)
    numbered = set(taken.values())
    for file in (file for file in files if file not in numbered):
        number = max(taken, default=-1) + 1
        taken[number if number <= LAST_CHUNK else min(set(range(len(taken) + 1)) - taken.keys())] = file
    return taken


def _number(file: Path) -> int:
    """The last number in a file's name that a chunk can have; 0 if the name has no number; if all are too high for a
    chunk, ``LAST_CHUNK + 1``."""
    numbers = [int(digits) for digits in re.findall("[0-9]+", file.stem)]
    return ([number for number in numbers if number <= LAST_CHUNK] or [LAST_CHUNK + 1 if numbers else 0])[-1]


def _artefact(config: Config, path: Path, file: Path, method: str) -> Piece:
    gates, identities = gating_recipe(config, "augment", STORY_GATES)
    recipe = Recipe(STAGE, inputs={"chunk": file}, settings={"import.method": method, **gates}, identities=identities)
    return Piece(path, recipe, make=partial(_make, config, file, method))


def _make(config: Config, file: Path, method: str, draft: Draft) -> None:
    gating = Gating(STORY_GATES, config.augment.gates, config.process.classifier)
    answered = [_answered(record, f"{method}/{file.stem}/{i}", method) for i, record in enumerate(read_chunk(file))]
    checked = through_gates(answered, [], gating)
    rows = table(checked).drop(columns=list(_UNKNOWN))
    write_rows(draft.path, rows[["id", "ask", "attempt", *rows.columns.drop(["id", "ask", "attempt"])]], STORIES)
    draft.counts |= {"lines": len(answered), **tallied(checked)}


_UNKNOWN = ("genre", "character", "prompt_tokens", "new_tokens", "seconds", "error")
"""Columns that written stories have and imported ones have not."""


def _answered(record: _Given, identifier: str, method: str) -> tuple[Request, Answer]:
    source = Path(record.source or "unknown").stem
    line = hashlib.sha256(f"{source}\x1f{record.text}".encode()).hexdigest()[:16]
    emotion, *_ = record.emotions
    asked = StoryAsked(f"{source}:{line}", source, record.text, emotion, record.emotions, method, None, None, None)
    answer = Answer(identifier, 0, None, None, record.augmented_text, None)
    return Request(identifier, asked.line_id, (), asked, prompt=""), answer
