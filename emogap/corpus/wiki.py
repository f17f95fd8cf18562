"""Factual text: wiki files read as whole articles, without the marks of their format.

Articles are separated by headings, or, in a file without any, by blank lines; the beginning of the file decides.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from emogap.text.reading import begins_with_mark, given_file, read_lines

UnknownWords = Literal["sentence", "word", "keep"]
"""What is removed where an ``<unk>`` mark stands: the sentence around it, the word that holds it, or nothing."""

_HEADING = re.compile(r"\s*((?:=\s?)+)\s*(\S.*?)\s*((?:\s?=)+)\s*")
_JOINED = re.compile(r"\s*@([-,.])@\s*")
# Not after an initial, and only before what can begin a sentence.
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\s[A-Z]\.)(\s*[\"'”’)\]]*)\s+(?=[A-Z0-9<\"'“‘(])")
_UNKNOWN = "<unk>"
_BEGINNING = 1000
"""How many headings and paragraphs are read to tell the layout of a file."""
_COMMON = 0.01
"""A level of headings is ignored if fewer than this share of them have it: such lines only look like headings."""

LAYOUTS = {
    "headings": "under headings",
    "blank lines": "between blank lines",
    "none": "for the whole file, which has neither headings nor blank lines",
}
"""How the articles of a file are separated → the phrase that says so."""


def said_articles(count: int, layout: str) -> str:
    """A phrase that says how many articles were found, and how they are separated."""
    return f"{count:,} article{'' if count == 1 else 's'} {LAYOUTS[layout]}"


@dataclass(frozen=True)
class Article:
    """One article: its title, and its text below (headings of sections as plain lines, no empty lines)."""

    title: str
    text: str

    @property
    def document(self) -> str:
        """Title and text as one document; the empty string for an article without text."""
        return "\n".join(part for part in (self.title, self.text) if part) if self.text else ""


@dataclass(frozen=True)
class Layout:
    """How a wiki file is to be read."""

    name: Literal["headings", "blank lines", "none"]
    level: int
    """How many ``=`` the heading of an article has at most on each side; 0 in a file without headings."""
    is_new: bool
    """Whether the first revision of these rules read the file differently: it knew only headings, took the first one's
    level as that of the articles, and overlooked one after a byte-order mark."""


def wiki_file(path: Path) -> Path:
    """``path`` itself if it is a file, else ``MissingInput``."""
    return given_file(path, "factual text", "correct corpus.factual or fetch it with `emogap fetch`")


def layout_of(path: Path) -> Layout:
    """The layout of a wiki file, from its first thousand headings and paragraphs.

    Headings, if there is one; else blank lines, if they separate paragraphs; else the whole file is one article. Raises
    ``InputError`` if it is no text.
    """
    levels: list[int] = []
    paragraphs, inside = 0, False
    for line in read_lines(path):
        heading = _heading(line)
        if heading is not None:
            levels.append(heading[0])
        elif line.strip() and not inside:
            paragraphs += 1
        inside = heading is None and bool(line.strip())
        if paragraphs + len(levels) > _BEGINNING:
            break
    has_mark = begins_with_mark(path)
    if levels:
        level = min(level for level, times in Counter(levels).items() if times >= _COMMON * len(levels))
        return Layout("headings", level, has_mark or level != levels[0])
    if paragraphs > 1:
        return Layout("blank lines", 0, True)
    return Layout("none", 0, has_mark)


def read_articles(path: Path, unknown_words: UnknownWords = "word") -> Iterator[Article]:
    """The articles of a wiki file, one at a time, in order.

    A line `` = = = Title = = = `` is a heading. Every heading of the articles' level or above it begins an article,
    deeper ones are sections; text above the first one is an article without a title. In a file without headings each
    block between blank lines is an article; its first line is the title if more follow. ``@-@``, ``@,@`` and ``@.@``
    become the bare sign, joined to both neighbours.

    Raises ``MissingInput`` if there is no such file, ``InputError`` if it is no text or a damaged ``.gz``.
    """
    layout = layout_of(wiki_file(path))
    in_titles = "word" if unknown_words == "sentence" else unknown_words
    lines = read_lines(path)
    if layout.name == "blank lines":
        for is_text, block in groupby(lines, key=lambda line: bool(line.strip())):
            if is_text:
                yield _article_of(list(block), unknown_words, in_titles)
        return
    title, text = "", []
    for line in lines:
        heading = _heading(line)
        if heading is None or heading[0] > layout.level:
            text.append(_plain(line, unknown_words, in_titles))
            continue
        if title or any(text):
            yield _article(title, text)
        title, text = _undo_marks(heading[1], in_titles), []
    if title or any(text):
        yield _article(title, text)


def _article_of(block: list[str], unknown_words: UnknownWords, in_titles: UnknownWords) -> Article:
    """The article that a block of lines between blank lines makes."""
    first, *others = block
    text = [_plain(line, unknown_words, in_titles) for line in others or [first]]
    return _article(_plain(first, in_titles, in_titles) if others else "", text)


def _plain(line: str, unknown_words: UnknownWords, in_titles: UnknownWords) -> str:
    """A line of an article without marks; the heading of a section becomes a plain line of its words."""
    heading = _heading(line)
    return _undo_marks(line, unknown_words) if heading is None else _undo_marks(heading[1], in_titles)


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
