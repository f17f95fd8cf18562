"""Alpaca-form records: reading them from a file or the Hub, cleaning with reasons, drawing a reproducible selection."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emogap.errors import InputError, MissingInput
from emogap.paths import from_root
from emogap.records import row_seed
from emogap.text.near_duplicates import normalised

FIELDS = ("instruction", "input", "output")


@dataclass(frozen=True)
class Record:
    """An instruction, its input (may be empty) and the answer to it."""

    id: str
    """A hash of all three: a record keeps its id wherever it stands in a file."""
    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class Cleaned:
    """Records that can be rewritten, and those that cannot, each with its reason."""

    kept: list[Record]
    dropped: list[tuple[Record, str]]

    def reasons(self) -> dict[str, int]:
        """Reason → how many were dropped for it."""
        return dict(Counter(reason for _, reason in self.dropped))

    def dropped_rows(self) -> list[dict[str, str]]:
        return [{**asdict(record), "reason": reason} for record, reason in self.dropped]


def is_file(source: str) -> bool:
    """Whether the source is a file on this disk; anything else is a data set of the Hub."""
    return from_root(source).exists() or source.endswith((".json", ".jsonl"))


def load_records(source: str, revision: str = "main") -> list[Record]:
    """Read Alpaca-form records: a JSON list, JSON lines, or the ``train`` split of a Hub data set.

    Raises ``InputError`` naming what is wrong and in which record.
    """
    rows = _from_file(from_root(source)) if is_file(source) else _from_hub(source, revision)
    return [_record(row, i, source) for i, row in enumerate(rows)]


def _from_file(path: Path) -> list[Any]:
    if not path.is_file():
        raise MissingInput(
            f"Alpaca records {path} not found; set rewrite.records to a JSON or JSONL file or a Hub data set"
        )
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of Alpaca records, got a {type(rows).__name__}")
    return rows


def _from_hub(name: str, revision: str) -> list[Any]:
    from datasets import load_dataset

    try:
        return list(load_dataset(name, revision=revision, split="train"))
    except Exception as error:  # the library raises a dozen kinds, all of which mean: not to be had
        raise InputError(
            f"Alpaca records {name} (revision {revision}) are neither a file nor to be had from the Hub "
            f"({str(error).splitlines()[0]}); set rewrite.records to a JSON file"
        ) from error


def _record(row: Any, number: int, source: str) -> Record:
    if not isinstance(row, dict):
        raise InputError(
            f"{source}: record {number} is a {type(row).__name__}, not an object with instruction and output"
        )
    for field in ("instruction", "output"):
        if not isinstance(row.get(field), str):
            raise InputError(
                f"{source}: record {number} has no text under '{field}'; it has {', '.join(map(str, row))}"
            )
    values = {field: (row.get(field) or "").strip() for field in FIELDS}
    return Record(hashlib.sha256("\x1f".join(values.values()).encode()).hexdigest()[:16], **values)


_NO_INPUT = re.compile(r"<?\s*no ?input\s*>?\.?|none|n/?a", re.IGNORECASE)
_NO_OUTPUT = re.compile(
    r"\W*(?:<?no ?output>?|no (?:output|answer|response)(?: is)?(?: needed| required| provided| given| available)?"
    r"|nothing|none|n/?a|null|output:?|not applicable)\W*",
    re.IGNORECASE,
)
_MERGED = re.compile(r"(?:^|\n)\s*(?:###? ?)?(?:instruction|input|output|response)\s*:", re.IGNORECASE)
_URL = re.compile(r"https?://|www\.|\b[\w-]+\.(?:com|org|net|gov|edu|io|co\.uk)\b", re.IGNORECASE)
_IMAGE = re.compile(
    r"!\[|<img\b|\.(?:jpe?g|png|gif)\b"
    r"|\b(?:attached|following|given|above|below|this|provided) (?:image|picture|photo|photograph|diagram|painting)\b",
    re.IGNORECASE,
)
_IMAGE_ASKED = re.compile(
    r"(?:please )?(?:draw|sketch|paint|illustrate)\b(?! (?:a |some )?(?:conclusion|comparison|parallel|inference))"
    r"|(?:generate|create|produce|design|make)\b[^.]{0,30}"
    r"\b(?:image|picture|photo|logo|drawing|visual|infographic|poster|diagram)\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"```|</?(?:html|div|body|head|p|a|span|ul|li|table|script|h[1-6])\b[^>]*>"
    r"|\bdef \w+\(|\bfunction \w*\s*\(|\bconsole\.log\b|\bprintf?\(|#include\b|\bvar \w+ =|=>\s*\{|;\s*\n\s*\}"
    r"|\bpublic (?:static|class|void)\b|\bSELECT\b[\s\S]*\bFROM\b|\bimport (?:java|numpy|pandas|os|sys)\b"
    r"|\b(?:python|javascript|java|c\+\+|c#|sql|html|css|regex|regular expression|bash|php|ruby)\b",
    re.IGNORECASE,
)
_CODE_ASKED = re.compile(
    r"\b(?:write|create|generate|construct|design|implement|develop|edit|debug|fix|optimi[sz]e|build|compose|convert)\b"
    r"[^.]{0,60}\b(?:code|function|program|query|algorithm|class|method|loop|web ?page)\b(?! of (?:conduct|ethics))",
    re.IGNORECASE,
)


def drop_reason(record: Record) -> str | None:
    """Why a record cannot be rewritten towards an emotion; None if it can."""
    everything = "\n".join((record.instruction, record.input, record.output))
    if not normalised(record.instruction):
        return "no instruction"
    if not record.output:
        return "empty output"
    if _NO_OUTPUT.fullmatch(record.output):
        return "no output"
    if _MERGED.search(record.output) or _MERGED.search(record.instruction):
        return "merged"
    if _URL.search(everything):
        return "URL"
    if _CODE.search(everything) or _CODE_ASKED.search(record.instruction):
        return "code"
    if _IMAGE_ASKED.match(record.instruction) or _IMAGE.search(f"{record.instruction}\n{record.input}"):
        return "image"
    return None


def clean(records: list[Record]) -> Cleaned:
    """Drop what the study cannot use, each record with its reason; the first of equal records stays.

    An input that says that there is none becomes empty.
    """
    kept, dropped, seen = [], [], set()
    for record in records:
        if _NO_INPUT.fullmatch(record.input):
            record = Record(record.id, record.instruction, "", record.output)
        key = (normalised(record.instruction), normalised(record.input))
        reason = drop_reason(record) or ("duplicate" if key in seen else None)
        if reason:
            dropped.append((record, reason))
        else:
            seen.add(key)
            kept.append(record)
    return Cleaned(kept, dropped)


def select(records: list[Record], count: int, run_seed: int) -> list[Record]:
    """``count`` of the records (0: all) in an order drawn once: a smaller selection begins a larger one."""
    drawn = sorted(records, key=lambda record: row_seed(run_seed, record.id, "selection"))
    return drawn[:count] if count else drawn
