"""Alpaca-form records: reading them from a file or the Hub, cleaning with reasons, a reproducible selection of them."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from emogap.errors import InputError, one_line
from emogap.paths import from_root
from emogap.records import row_seed
from emogap.text.forms import Form, check, read_forms
from emogap.text.near_duplicates import normalised
from emogap.text.reading import RECORD_ENDINGS, given_file
from emogap.text.words import plain

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
    except Exception as error:  # the library raises a dozen kinds, all of which mean: not available
        raise InputError(
            f"Alpaca records {name} (revision {revision}) are neither a file nor to be had from the Hub "
            f"({one_line(error)}); set rewrite.records to a JSON file"
        ) from error


def _record(given: _Given) -> Record:
    values = {field: (getattr(given, field) or "").strip() for field in FIELDS}
    return Record(hashlib.sha256("\x1f".join(values.values()).encode()).hexdigest()[:16], **values)


# --- cleaning --------------------------------------------------------------------------------------------------------

_NO_INPUT = re.compile(
    r"[\\<\[({\s]*(?:(?i:no ?input(?: is)?(?: needed| required| provided| given| necessary| available)?|not applicable)"
    r"|[Nn]one|N/?A|n/a)[\\>\])}\s]*\.?"  # not Na, which is sodium
)
_NO_OUTPUT = re.compile(
    r"\W*(?:no ?(?:out|in)put|no (?:output|answer|response)(?: is)?(?: needed| required| provided| given| available)?"
    r"|nothing|none|n/?a|null|output:?|not (?:applicable|available))\W*",
    re.IGNORECASE,
)

_LABEL_MARK = r"[#*\s]*(?:\d+[.)]\s*)?"
_MERGED_INSTRUCTION = re.compile(rf"\n{_LABEL_MARK}(?:instruction|input|output|response)\**\s*:", re.IGNORECASE)
_MERGED_OUTPUT = re.compile(
    rf"(?:^|\n){_LABEL_MARK}(?:instruction|input)\**\s*:[\s\S]*\n{_LABEL_MARK}(?:output|response)\**\s*:"
    r"|###\s*(?:instruction|input|response|output)\b",
    re.IGNORECASE,
)

_ENDING = r"(?:com|org|net|gov|edu|mil|io|info|dev|ai|app|co\.[a-z]{2}|(?:ac|gov|org)\.uk)"
_URL = re.compile(
    r"(?i:\b(?:https?|ftp|file)://|\bwww\d?\.\w)"
    # Not behind an @, where it is an address of e-mail; not a framework; of more than one letter: not e.g.com.
    rf"|(?<![\w.@/-])(?!(?i:asp|vb|ado)\.)(?:[\w-]+\.)*[\w-]{{2,}}\.{_ENDING}\b(?![\w.]*@|\()"
    r"|(?<![\w.@/-])(?:[A-Z0-9-]+\.)*[A-Z0-9-]{2,}\.(?:COM|ORG|EDU|GOV)\b"
    r"|(?<![\w.])(?:x\.com|bit\.ly|goo\.gl|t\.co|youtu\.be)\b"
)

_PICTURE = r"(?:image|picture|photo|photograph|diagram|painting|drawing|screenshot|infographic)s?"
_IMAGE = re.compile(
    r"!\[|<img\b|\b[\w-]+\.(?:jpe?g|png|gif|svg|webp)\b"
    rf"|[\[<](?:\s*(?:an?|the|insert|attached|see|output))*\s*{_PICTURE}\b[^\n\]>]*[\]>]"
    rf"|\((?:(?:an?|the|insert|attached|see) )*{_PICTURE}\)",
    re.IGNORECASE,
)
_IMAGE_SHOWN = re.compile(
    rf"(?<!\ba )(?<!\bany )\b(?:attached|following|given|above|below|this|provided) {_PICTURE}\b(?! of \w+sel)"
    rf"|\b{_PICTURE} (?:above|below|attached|provided)\b|\bin the {_PICTURE}\s*[.?!]?$",
    re.IGNORECASE,
)
_PICTURE_MADE = (
    r"(?:image|picture|photo|photograph|logo|drawing|painting|visual|visuali[sz]ation|visual representation|infographic"
    r"|poster|diagram|illustration|cartoon|comic strip|meme|icon|(?:bar|pie|line|flow) ?(?:chart|graph)|flowchart)s?"
)
_FIGURATIVE = (
    r"(?:(?:up|on|upon|from|attention|inspiration|names?|straws)\b|(?:[\w-]+ ){0,3}?(?:conclusion|comparison|parallel"
    r"|inference|distinction|analog|connection|contrast|lesson|link|line between|correlation|insight|card|implication))"
)
_IMAGE_ASKED = re.compile(
    r"(?:(?:can|could|would) you )?(?:please )?(?:"
    r"(?:generate|create|produce|design|make|construct)(?: me| us)?(?: an?| the| some| two| three| \d+)?"
    r"(?: (?:design|concept|draft|mock-?up|idea)s? (?:for|of) (?:an?|the))?"
    r"(?: (?!(?:of|for|about|with|from|to|in|on|and|or|that)\b)[\w-]+){0,4}?"
    rf" {_PICTURE_MADE}(?=\s*(?:$|[.,:;!?(])| (?:of|for|to|that|which|with|about|\w+ing|in|on|from|based|by|as)\b)"
    rf"|draw\b(?! {_FIGURATIVE})"
    r"|sketch\b(?! (?:out\b|(?:an? |the )?(?:[\w-]+ )?(?:plan|outline|plot|biography|strategy|argument|proof)))"
    r"|paint (?:me )?(?:an?|the|some)\b(?! (?:[\w-]+ )?picture)"
    rf"|illustrate\b[^.]* (?:with|in|using) (?:an?|the|some) (?:[\w-]+ )?{_PICTURE_MADE}\b)",
    re.IGNORECASE,
)

_LANGUAGE = (
    r"(?<![\w+#-])(?:python ?[23]?|javascript|typescript|c\+\+|c#|sql|mysql|html ?5?|css ?3?|php|perl|bash|powershell"
    r"|matlab|kotlin|haskell|fortran|cobol|jquery|numpy|pandas|pytorch|tensorflow|vba|json|xml"
    r"|(?-i:Java|Ruby|Rust|Swift|Go|Scala|R|C))(?![\w+#]| (?:coffee|beans|tea|island|sea)\b)"
)
"""Names that are also ordinary words count only with a capital letter."""
_PROGRAM = r"(?:code|program|function|script|class|method|query|queries|algorithm|loop|app|application|snippet)s?"
_CODE = re.compile(
    r"```|<!DOCTYPE\b"
    r"|</?(?:html|head|body|div|span|p|a|ul|ol|li|table|t[rdh]|script|style|h[1-6]|button|form)\b[^<>\n]*>"
    r"|^\s*(?:def \w+\(|class [A-Z]\w*(?:\(.*\))?:\s*$|#include\b|using namespace\b|from [\w.]+ import\b)"
    r"|^\s*import (?:\w+ as \w+|\w+\.[\w.*]+|(?:os|sys|re|json|csv|math|random|time|string|numpy|pandas|requests)\b)"
    r"|^\s*(?:var|const|int|float|double|bool|boolean|char|String)(?:\[\])? \w+(?:\[.*\])?\s*[=;]|^\s*let \w+\s*=.*;"
    r"|\bfunction\s*\w*\s*\([^)\n]*\)\s*\{|\bclass \w+(?: extends \w+)?\s*\{|\bpublic (?:static|class|void|int)\b"
    r"|\bif \(?\w[\w.]* ?(?:==|!=|<=|>=) ?[\w\"']|\bconsole\.log\b|\bSystem\.out\b|\bprint(?:f|ln)?\("
    r"|\bfor \w+ in [\w()., ]+:\s*$|\)\s*\{\s*$|=>\s*[\{(]"
    r"|^\s*\}[;,)]*\s*$|\w\([^()\n]*\)\s*;\s*$|\w\s*=\s*(?:new |\w+[.(\[]|[\"'\[{])[^\n]*;\s*$"
    r"|\w\.(?:append|split|join|replace|find|push|length|toString|println|map|filter|sort|reverse|getElementById)\("
    r"|\bSELECT\b[\s\S]{1,300}?\bFROM\s+(?!(?:THE|AN?|THIS|THESE|THOSE|YOUR|MY|OUR|EACH|AMONG)\b)[\w`\"\[(]"
    r"|(?i:\bselect\s+(?:distinct\s+)?(?:\*|[\w.()*]+(?:\s*,\s*[\w.()*]+)*)\s+from\s+"
    r"(?!(?:the|an?|this|these|those|your|each)\b)[\w`\".]+\s*"
    r"(?:;|\bwhere\b|\border by\b|\bgroup by\b|\blimit\b|\bjoin\b))"
    r"|\b(?:INSERT INTO|DELETE FROM|CREATE TABLE|ALTER TABLE|DROP TABLE)\b|\bUPDATE \w+ SET\b"
    r"|[\w-]\s*\{\s*[a-z-]+\s*:\s*[^;{}\n]+;|\{\s*\"\w+\"\s*:"
    r"|\[[^\]\n]*[a-zA-Z0-9]-[a-zA-Z0-9][^\]\n]*\][+*?{]|\\[dwsDWS](?:[+*?{\])]|\b)"
    r"|\b(?:sudo apt|pip3? install|npm install|git (?:clone|commit|push|checkout))\b",
    re.MULTILINE,
)
_SOME = r"\b(?: [^\s.?!:]+){0,9}? "
_WRITE = (
    r"\b(?:write|create|generate|construct|design|implement|develop|edit|debug|fix|optimi[sz]e|build|compose|convert"
    r"|modify|complete|update|refactor|rewrite|correct|devise|produce|provide|give|come up with|suggest)" + _SOME
)
_CODE_OF_ITS_OWN = (
    "morse", "dress", "zip", "area", "postal", "discount", "promo", "coupon", "qr", "bar", "secret", "penal",
    "building", "moral", "ethical", "colour", "color", "genetic", "honor", "honour", "access", "country", "tax",
)  # fmt: skip
_CODE_WORD = "".join(f"(?<!{word} )" for word in _CODE_OF_ITS_OWN) + r"codes?\b(?! (?:of|names?|words?)\b)"
_TECHNICAL = (
    r"(?:print|output|comput|calculat|return|check|find|sort|revers|count|convert|read|pars|sum|multipl|divid|swap"
    r"|determin|validat|remov|delet|generat|display|search|detect|classif|solv|accept|implement|encrypt|merg|scrap"
    r"|automat|simulat|iterat|filter|extract|fetch|predict|track|monitor|draw|stor|concatenat|replac|split|rearrang"
    r"|add (?:two|the|up|all)\b|takes? (?:an?|in)\b)"
)
_CODE_ASKED = re.compile(
    rf"{_WRITE}(?:(?:source |pseudo-?)?{_CODE_WORD}|algorithms?\b|web ?pages?\b|reg(?:ex(?:es)?|ular expressions?)\b"
    r"|style ?sheets?\b|(?:sql|database|mongodb) quer(?:y|ies)\b|(?:for|while) loops?\b"
    rf"|(?:computer|software|recursive|hello world|{_LANGUAGE})(?: \w+)? {_PROGRAM}\b"
    rf"|(?:program|function|script|query|app)s? (?:(?:that|which|to|for|can|will|should|is|able) )+{_TECHNICAL}"
    r"|(?:class|function|method) (?:called|named) \w+)"
    rf"|\b(?:translate|port|convert|express|solve|sort|print){_SOME}(?:in|into|to) (?!Java\b){_LANGUAGE}"
    rf"|{_WRITE}(?:in (?!Java\b)|into |to ){_LANGUAGE}|\b{_PROGRAM} (?:in|using|with) {_LANGUAGE}"
    rf"|\b(?:using|valid) {_LANGUAGE}|\b(?:in|into|to|as) (?:json|xml|html|css|sql)\b"
    rf"|{_LANGUAGE} (?:{_PROGRAM}|(?:syntax|page|table|form|tag|element|file|style ?sheet|selector|document)s?)\b"
    rf"|\b(?:following|given|this|below|above)(?: (?:piece|line|block|snippet)s? of| source| {_LANGUAGE})* {_CODE_WORD}"
    r"|\b(?:piece|line|snippet)s? of code\b|\bcode snippets?\b|\bleetcode\b|\bsyntax error",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)['‘][^'’\n]*['’](?!\w)")


def drop_reason(record: Record) -> str | None:
    """Why a record cannot be rewritten towards an emotion; None if it can.

    ``code``: it holds code, markup, a query or a regular expression, or asks for one; mere talk about a programming
    language does not count. ``image``: it shows one, needs one to be seen, or asks for one to be made. What the
    instruction only quotes is not what it asks for.
    """
    everything = "\n".join((record.instruction, record.input, record.output))
    asked = _QUOTED.sub('""', record.instruction)
    if not normalised(record.instruction):
        return "no instruction"
    if not record.output:
        return "empty output"
    if _NO_OUTPUT.fullmatch(record.output):
        return "no output"
    if _MERGED_OUTPUT.search(record.output) or _MERGED_INSTRUCTION.search(record.instruction):
        return "merged"
    if _URL.search(everything):
        return "URL"
    if _CODE.search(everything) or _CODE_ASKED.search(asked):
        return "code"
    if _IMAGE.search(everything) or _IMAGE_ASKED.match(asked) or _IMAGE_SHOWN.search(asked):
        return "image"
    return None


def clean(records: list[Record]) -> Cleaned:
    """Drop what the study cannot use, each record with its reason; the first of equal records stays.

    An input that says that there is none becomes empty.
    """
    screened = list(screen(records))
    kept = [record for record, reason in screened if not reason]
    return Cleaned(kept, [(record, reason) for record, reason in screened if reason])


def _key(record: Record) -> tuple[str, str]:
    """A key that is equal for records that ask for the same. Punctuation and symbols count, and so does the case of an
    input: they may be what is asked about. In an instruction punctuation at the end does not count, nor does the case
    of its first word and of words of three letters or more."""
    instruction, given = (" ".join(plain(text).split()) for text in (record.instruction, record.input))
    instruction = _END.sub("", instruction)
    if instruction.isupper():
        instruction = instruction.lower()
    return _LONGER_WORD.sub(lambda word: word.group().lower(), instruction), given


_END = re.compile(r"(?<=[^\W\d_]{2})[\s.!?…:]+$")
_LONGER_WORD = re.compile(r"^\w+|\w{3,}")


def screen(
    records: Iterable[Record],
    no_input: re.Pattern[str] = _NO_INPUT,
    reason_of: Callable[[Record], str | None] = drop_reason,
    key_of: Callable[[Record], tuple[str, str]] = _key,
) -> Iterator[tuple[Record, str | None]]:
    """Each record in the form in which it is used, and the reason why it cannot be used; None if it can.

    ``no_input`` matches an input that says that there is none; ``reason_of`` gives the reason why a record by itself
    cannot be used; ``key_of`` is equal for records that ask for the same. The defaults are the current rules.
    """
    seen = set()
    for record in records:
        if no_input.fullmatch(record.input):
            record = replace(record, input="")
        key = key_of(record)
        reason = reason_of(record) or ("duplicate" if key in seen else None)
        if not reason:
            seen.add(key)
        yield record, reason


def select(records: list[Record], count: int, run_seed: int) -> list[Record]:
    """``count`` records (0: all) in the run's shuffled order: a smaller selection is the beginning of a larger one."""
    shuffled = sorted(records, key=lambda record: row_seed(run_seed, record.id, "selection"))
    return shuffled[:count] if count else shuffled
