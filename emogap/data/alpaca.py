"""Alpaca-form records: reading them from a file or the Hub, cleaning with reasons, drawing a reproducible selection."""

import hashlib
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from emogap.errors import InputError, one_line
from emogap.paths import from_root
from emogap.records import row_seed
from emogap.text.forms import Form, check, read_forms
from emogap.text.near_duplicates import normalised
from emogap.text.reading import RECORD_ENDINGS, given_file

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


class _Given(Form):
    """A record as a file or a data set has it."""

    needs = "an Alpaca record has the texts instruction, input (which may be empty) and output"

    instruction: str
    input: str | None = None
    output: str


def is_file(source: str) -> bool:
    """Whether the source is a file on this disk; anything else is a data set of the Hub."""
    return from_root(source).exists() or source.endswith(RECORD_ENDINGS)


def load_records(source: str, revision: str = "main") -> list[Record]:
    """Read Alpaca-form records: a file of any form (``read_table``), or the ``train`` split of a Hub data set.

    Raises ``MissingInput`` or ``InputError`` naming what is wrong and in which record.
    """
    if not is_file(source):
        rows = enumerate(_from_hub(source, revision), start=1)
        given = [check(_Given, row, f"{source}, record {number}", _Given.needs) for number, row in rows]
    else:
        path = given_file(from_root(source), "Alpaca records", "set rewrite.records to a file or a Hub data set")
        given = [record for _, record in read_forms(path, _Given)]
    return [_record(one) for one in given]


def _from_hub(name: str, revision: str) -> list[Any]:
    from datasets import load_dataset

    try:
        return list(load_dataset(name, revision=revision, split="train"))
    except Exception as error:  # the library raises a dozen kinds, all of which mean: not to be had
        raise InputError(
            f"Alpaca records {name} (revision {revision}) are neither a file nor to be had from the Hub "
            f"({one_line(error)}); set rewrite.records to a JSON file"
        ) from error


def _record(given: _Given) -> Record:
    values = {field: (getattr(given, field) or "").strip() for field in FIELDS}
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
