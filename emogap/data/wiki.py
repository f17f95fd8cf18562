"""Factual text: wiki files read as whole articles, their marks undone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emogap.errors import InputError, MissingInput

UnknownWords = Literal["sentence", "word", "keep"]
"""What goes with an ``<unk>`` mark: the sentence around it, the mark alone, or nothing."""

_HEADING = re.compile(r"\s*((?:=\s?)+)\s*(\S.*?)\s*((?:\s?=)+)\s*")
_JOINED = re.compile(r"\s*@([-,.])@\s*")
# Not after an initial, and only before what can begin a sentence.
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\s[A-Z]\.)(\s*[\"'”’)\]]*)\s+(?=[A-Z0-9<\"'“‘(])")
_UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Article:
    """One article: its title, and its text below (headings of sections as plain lines, no empty lines)."""

    title: str
    text: str

    @property
    def document(self) -> str:
        """Title and text as one document; the empty string for an article without text."""
        return "\n".join(part for part in (self.title, self.text) if part) if self.text else ""


def read_articles(path: Path, unknown_words: UnknownWords = "word") -> Iterator[Article]:
    """The articles of a wiki file, one at a time, in order.

    A line `` = = = Title = = = `` is a heading. The first heading of the file is an article's; every heading of its
    level or above it begins another article, deeper ones are sections. Text above the first heading is an article
    without a title. ``@-@``, ``@,@`` and ``@.@`` become the bare sign, joined to both neighbours.

    Raises ``MissingInput`` if there is no such file, ``InputError`` if it is not UTF-8 text.
    """
    if not path.is_file():
        raise MissingInput(f"factual text {path} not found; correct corpus.factual or fetch it with `emogap fetch`")
    title, lines, level = "", [], None
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                heading = _heading(line)
                if heading is None:
                    lines.append(_undo_marks(line, unknown_words))
                    continue
                depth, words = heading
                words = _undo_marks(words, "word" if unknown_words == "sentence" else unknown_words)
                level = depth if level is None else level
                if depth > level:
                    lines.append(words)
                    continue
                if title or any(lines):
                    yield _article(title, lines)
                title, lines = words, []
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it") from error
    if title or any(lines):
        yield _article(title, lines)


def _article(title: str, lines: list[str]) -> Article:
    return Article(title, "\n".join(line for line in lines if line))


def _heading(line: str) -> tuple[int, str] | None:
    """(level, title) of a heading line, whose signs before and after are equal in number; None for any other."""
    if "=" not in line:
        return None
    match = _HEADING.fullmatch(line)
    if not match or match[1].count("=") != match[3].count("="):
        return None
    return match[1].count("="), match[2]


def _undo_marks(line: str, unknown_words: UnknownWords) -> str:
    line = line.strip()
    if "@" in line:
        line = _JOINED.sub(r"\1", line)
    if _UNKNOWN not in line or unknown_words == "keep":
        return line
    if unknown_words == "sentence":
        sentences = _SENTENCE_END.sub("\\1\n", line).split("\n")
        return " ".join(sentence for sentence in sentences if _UNKNOWN not in sentence)
    return " ".join(word for word in line.split() if _UNKNOWN not in word)
