"""Prompt files: plain text with ``{placeholder}``s, cut into chat messages by ``[[system]]``-like lines.

A file without such a line is one user message. A literal brace is doubled. Placeholders are names and nothing else
(no attributes, indices, conversions or formats), so that a template cannot run code.
"""

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emogap.errors import UsageError
from emogap.paths import from_root
from emogap.store.artefacts import sha256_text
from emogap.text.forms import Form, Label, Text, check
from emogap.text.reading import given_file, read_json, read_text

Message = dict[str, str]
"""``{"role": "system" | "user" | "assistant", "content": text}``"""

_ROLE_LINE = re.compile(r"^\[\[(system|user|assistant)\]\][ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """A prompt file, checked when it is loaded."""

    source: str
    """Where it came from, for messages to people."""
    text: str
    placeholders: frozenset[str]

    @property
    def sha256(self) -> str:
        return sha256_text(self.text)

    def fill(self, **values: str) -> str:
        """The text with every placeholder replaced. Raises ``UsageError`` naming a placeholder without a value."""
        return self._filled(self.text, values)

    def messages(self, **values: str) -> list[Message]:
        """The filled template as chat messages.

        The text is cut before it is filled: a value that looks like a role line stays inside its message.
        """
        return [{"role": role, "content": self._filled(part, values).strip()} for role, part in _split_roles(self.text)]

    def _filled(self, part: str, values: Mapping[str, str]) -> str:
        missing = self.placeholders - values.keys()
        if missing:
            raise UsageError(f"{self.source}: no value for the placeholder {_listed(missing)}")
        return part.format_map(values)


def load_template(path: str | Path, allowed: Iterable[str]) -> Template:
    """Read and check a prompt file (relative to the repository's root unless absolute).

    Raises ``MissingInput`` if it is not there, ``UsageError`` if it has an unknown placeholder, something else than a
    plain name in braces, a lone brace, or text before its first role line.
    """
    file = given_file(from_root(path), "prompt template", "give the path of a template file")
    return parse_template(read_text(file), str(path), allowed)


def parse_template(text: str, source: str, allowed: Iterable[str]) -> Template:
    """Check the text of a template; see ``load_template``."""
    allowed = frozenset(allowed)
    names = _placeholders(text, source)
    unknown = names - allowed
    if unknown:
        raise UsageError(f"{source}: unknown placeholder {_listed(unknown)}; it may use {_listed(allowed)}")
    if not text.strip():
        raise UsageError(f"{source}: the template is empty")
    _split_roles(text, source)
    return Template(source, text, names)


def _placeholders(text: str, source: str) -> frozenset[str]:
    names = set()
    try:
        for _, name, form, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            if not name.isidentifier() or form or conversion:
                raise UsageError(f"{source}: '{{{name}}}' is not a plain placeholder name; double a literal brace")
            names.add(name)
    except ValueError as error:
        raise UsageError(f"{source}: {error}; double a literal brace") from error
    return frozenset(names)


def _split_roles(text: str, source: str = "template") -> list[tuple[str, str]]:
    parts = _ROLE_LINE.split(text)
    if len(parts) == 1:
        return [("user", text)]
    if parts[0].strip():
        raise UsageError(f"{source}: text before the first [[role]] line belongs to no message")
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


class StoryExample(Form):
    """A line and the story that a model is shown for it."""

    context: Text
    story: Text


class SeedRewrite(Form):
    """An instruction, its answer, and the rewritten answer."""

    instruction: Text
    input: str
    output: Text
    rewritten: Text


Examples = Mapping[str, list[dict[str, str]]]
"""Emotion → worked examples of it."""


def load_examples(path: str | Path, form: type[Form]) -> Examples:
    """Read worked examples: a JSON object, emotion → list of records. Raises ``MissingInput`` or ``InputError``."""
    file = given_file(from_root(path), "examples", "give the path of a JSON file")
    needs = f"examples are an object, emotion → list of objects with {', '.join(form.columns())}"
    examples = check(dict[Label, list[form]], read_json(file), str(file), needs)
    return {emotion: [example.model_dump() for example in worked] for emotion, worked in examples.items()}
