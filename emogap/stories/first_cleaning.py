"""The first revision of the cleaning of Alpaca records, kept unchanged to tell where it chose other records than now.

Nothing is made with it. Where it and ``emogap.text.alpaca`` keep and drop the same records of a file, rewrites that
were made before the change stay fresh.
"""

import re
from collections.abc import Iterable

from emogap.store.artefacts import RULE
from emogap.text.alpaca import Record, screen

_RULE = {f"{RULE}cleaning": "2 (signs tell records apart; talk about code is no code)"}


def cleaning_rule(records: Iterable[Record] | None) -> tuple[dict[str, str], dict[str, str]]:
    """The recipe entries for the cleaning rule: (of what shapes the replies, of what is written beside them).

    Both are empty where the first revision does the same. The first is filled where that one keeps other records, or
    gives them another input; the second also where only reasons differ. ``records`` None: not at hand; both are filled.
    """
    if records is None:
        return _RULE, _RULE
    records, reasons = list(records), {}
    once_screened = screen(records, _NO_INPUT, _drop_reason, _key)
    for (record, reason), (before, once) in zip(screen(records), once_screened, strict=True):
        if (reason is None) != (once is None) or (reason is None and record != before):
            return _RULE, _RULE
        if reason != once:
            reasons = _RULE
    return {}, reasons


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


def _drop_reason(record: Record) -> str | None:
    everything = "\n".join((record.instruction, record.input, record.output))
    if not _normalised(record.instruction):
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


def _key(record: Record) -> tuple[str, str]:
    return _normalised(record.instruction), _normalised(record.input)


def _normalised(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))
