"""What the documents say: their blocks of commands with how each is to be tested, code in running text, links.

A block of commands is fenced and called ``sh``. A comment on the line above says how it is tested:

    (none)                              it runs in `make test`: seconds, no model, no finished run
    <!-- run: slow -->                  it runs in `make test-all`, after a small run of the embedded profile
    <!-- run: published -->             it runs there too, where real data can stand for data/raw/published
    <!-- not run: needs a GPU -->       it is read: commands, options, settings, make targets, files must exist
    <!-- not run: needs a network -->   the same

The blocks of a document run in their order in one copy of the project. A block that shows the form of a command
(``[--option]``, ``FILE…``) is called ``text``; what it names must exist.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("", "run: slow", "run: published")
NOT_RUN = ("not run: needs a GPU", "not run: needs a network")
_FENCE = re.compile(r"^```(.*)$")
_MARK = re.compile(r"^<!-- (.*) -->$")
_COMMAND = re.compile(r"^(\$ )?(emogap|make|pip|python3?|pytest|jupyter|accelerate|torchrun|vllm|\.venv/bin/\S+) ")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    kind: str
    """The fence's word: ``sh``, ``toml``, ``text``, … or nothing."""
    mark: str
    """What the comment above says, or nothing."""
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its commands, those that go on over several lines put together, without comments."""
        joined = "\n".join(self.lines).replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, in order."""
    found, before, opened = [], "", None
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            mark = _MARK.match(before)
            opened = (number, fence[1].strip(), mark[1] if mark else "", [])
        elif fence:
            found.append(Block(document, *opened[:3], tuple(opened[3])))
            opened = None
        elif opened is not None:
            opened[3].append(line)
        before = line
    return found


def command_blocks() -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document) if block.kind == "sh"]


def stray_commands(document: Path) -> list[str]:
    """Commands that stand where no test looks: indented, or in a block that is not called ``sh``."""
    text = document.read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = [line for line in outside.splitlines() if line.startswith("    ") and _COMMAND.match(line.strip())]
    unnamed = [str(block) for block in blocks(document) if not block.kind]
    others = [
        line for b in blocks(document) if b.kind not in ("sh", "text") for line in b.lines if _COMMAND.match(line)
    ]
    return indented + unnamed + others


def spans(document: Path) -> list[str]:
    """Code in running text, and the commands of ``text`` blocks."""
    text = document.read_text(encoding="utf-8")
    running = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    forms = [line for block in blocks(document) if block.kind == "text" for line in block.lines]
    return re.findall(r"`([^`]+)`", running) + [line for line in forms if _COMMAND.match(line)]


def links(document: Path) -> list[str]:
    """Targets of links and pictures that lie in the project."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]
