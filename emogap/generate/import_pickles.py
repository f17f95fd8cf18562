"""Old chunks of stories, as pickles or Parquet, judged like any other reply. The unpickler runs nothing."""

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from emogap.artefacts import Artefact, Recipe, Summary
from emogap.config import Config
from emogap.data.classify import classifier_identity
from emogap.emotions import INDEX
from emogap.errors import InputError, MissingInput, UsageError
from emogap.exhibits import draw_if_new
from emogap.generate.judging import JUDGING_RULE, Judging, judge
from emogap.generate.outcomes import show_stories
from emogap.generate.quality import STORY_GATES
from emogap.records import KEPT, STORIES, write_rows
from emogap.stages import make_each

STAGE = "import"
FIELDS = ("text", "emotion", "augmented_text")
"""What a record must have; ``source`` is taken where it is there."""
_PLAIN = {("builtins", name) for name in ("set", "frozenset", "bytearray", "complex")}


class PlainUnpickler(pickle.Unpickler):
    """Reads builtin containers, strings and numbers; whatever else a file asks for is refused by its name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise InputError(f"it asks for {module}.{name}; only builtin containers, strings and numbers are read")
        return super().find_class(module, name)

    def persistent_load(self, identifier: Any) -> Any:
        raise InputError(f"it refers to something outside the file ({identifier!r}); only plain values are read")


def read_chunk(path: Path) -> list[dict[str, Any]]:
    """The records of a chunk, a pickle or Parquet. Raises ``InputError``."""
    if path.suffix != ".parquet":
        return read_pickle(path)
    try:
        return _checked(path, pd.read_parquet(path).to_dict("records"))
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no readable Parquet ({error})") from error


def read_pickle(path: Path) -> list[dict[str, Any]]:
    """The records of a chunk: a list of objects, or an object of columns. Raises ``InputError``."""
    try:
        with path.open("rb") as file:
            value = PlainUnpickler(file).load()
    except InputError as error:
        raise InputError(f"{path} is refused: {error}") from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no readable pickle ({error})") from error
    if isinstance(value, dict) and all(isinstance(column, (list, tuple)) for column in value.values()):
        if len({len(column) for column in value.values()}) > 1:
            raise InputError(f"{path}: its columns differ in length")
        value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise InputError(f"{path}: expected a list of records or an object of columns, got a {type(value).__name__}")
    return _checked(path, value)


def _checked(path: Path, value: list[Any]) -> list[dict[str, Any]]:
    for number, record in enumerate(value):
        if not isinstance(record, dict) or not all(isinstance(record.get(field), str) for field in FIELDS):
            raise InputError(f"{path}: record {number} has no text under {', '.join(FIELDS)}")
    return value


def import_pickles(config: Config, folder: Path, method: str) -> Summary:
    """Turn every ``*.pkl`` and ``*.parquet`` of a folder into a judged chunk of ``method``; what is fresh is skipped.

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

    def make(artefact: Artefact) -> None:
        _make(config, artefact, artefacts[artefact.path], method)

    chunks = [_artefact(config, path, file, method) for path, file in artefacts.items()]
    summary = make_each(STAGE, chunks, make)
    draw_if_new(config.home.stories, f"{STAGE}-{method}", chunks, lambda: show_stories(config.home))
    return summary


def _numbered(folder: Path) -> dict[int, Path]:
    """Chunk number → file: the number in its name, or the next free one where two names have the same."""
    found = [file for file in folder.glob("*") if file.suffix in (".pkl", ".parquet")]
    files = sorted(found, key=lambda file: (_number(file), len(file.name), file.name))
    if not files:
        raise MissingInput(f"no *.pkl or *.parquet file in {folder}; give the folder of the old chunks")
    taken: dict[int, Path] = {}
    later = []
    for file in files:
        if _number(file) in taken:
            later.append(file)
        else:
            taken[_number(file)] = file
    for file in later:
        taken[max(taken) + 1] = file
    return taken


def _number(file: Path) -> int:
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else 0


def _artefact(config: Config, path: Path, file: Path, method: str) -> Artefact:
    recipe = Recipe(
        STAGE,
        inputs={"chunk": file},
        settings={"import.method": method, **config.flat("augment", "gates")},
        identities={"process.classifier": classifier_identity(config.process.classifier)} | JUDGING_RULE,
    )
    return Artefact(path, recipe)


def _make(config: Config, artefact: Artefact, file: Path, method: str) -> None:
    judging = Judging("story", "text", STORY_GATES, config.augment.gates, config.process.classifier)
    rows = [_row(record, f"{method}/{file.stem}/{i}", method, file) for i, record in enumerate(read_chunk(file))]
    with artefact.making() as draft:
        judged = judge(rows, [], {}, judging)
        write_rows(draft.path, pd.DataFrame(judged), STORIES)
        kept = sum(row["status"] == KEPT for row in judged)
        draft.counts |= {"lines": len(rows), "kept": kept, "rejected": len(rows) - kept}


def _row(record: dict[str, Any], identifier: str, method: str, file: Path) -> dict[str, Any]:
    emotions = [emotion.strip() for emotion in record["emotion"].split(",")]
    unknown = [emotion for emotion in emotions if emotion not in INDEX]
    if unknown:
        raise InputError(f"{file}: '{unknown[0]}' is not one of the 28 emotions")
    source = Path(str(record.get("source") or "unknown")).stem
    line = hashlib.sha256(f"{source}\x1f{record['text']}".encode()).hexdigest()[:16]
    return {
        "id": identifier,
        "ask": identifier,
        "attempt": 0,
        "line_id": f"{source}:{line}",
        "source": source,
        "text": record["text"],
        "emotion": emotions[0],
        "emotions": emotions,
        "method": method,
        "prompt_sha": None,
        "model": None,
        "seed": None,
        "reply": record["augmented_text"],
        "finish": None,
    }
