"""A kind of text that a writer makes: what it is made from, how it is asked for, which gates it goes through.

Stories (``augment.py``) are one kind, rewrites (``rewrite.py``) another. Stages and trials of prompts use the same
classes, so that a trial asks for exactly what the stage would ask for.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from emogap.config import Augment, Config, Rewrite, Sampling
from emogap.errors import UsageError
from emogap.paths import from_root
from emogap.records import RowType
from emogap.store.artefacts import Draft
from emogap.stories.gates import Gate
from emogap.stories.gating import Gating
from emogap.stories.rows import Request, Row
from emogap.text.forms import Form
from emogap.text.templates import Examples, Template, load_examples, load_template, parse_template

OWN = "own"
"""Source of a line that somebody typed."""


@dataclass(frozen=True)
class SourceText:
    """What a text is made from: an emotional line or a record, and the emotion wanted of the text."""

    id: str
    emotion: str
    text: str
    """As people read it in a list."""

    def wanting(self, emotion: str) -> "SourceText":
        """The same, for another emotion."""
        return replace(self, emotion=emotion)


@dataclass(frozen=True)
class Prompting:
    """How a text is asked for: a prompt, and how its replies are sampled."""

    name: str
    template: Template
    sampling: Sampling


class Texts(ABC):
    """Texts of one kind under some settings. What is slow to read is read when it is first asked for."""

    stage: ClassVar[str]
    """The name of the stage that makes the texts, and of its section of the settings."""
    written: ClassVar[str]
    """What the texts are called, in the plural."""
    counted: ClassVar[str]
    """What manifests call the sources of the texts, in the plural; one text is wanted from each."""
    names_setting: ClassVar[str]
    """The setting that names methods or versions."""
    amount: ClassVar[str]
    """The setting that says how many lines or records are used, 0 for all."""
    row_type: ClassVar[RowType]
    """The row type of their tables."""
    placeholders: ClassVar[tuple[str, ...]]
    worked: ClassVar[tuple[str, type[Form]]]
    """The setting that names the file of the worked examples that prompts show, and the form of such an example."""
    gates: ClassVar[tuple[Gate, ...]]
    similar: ClassVar[bool] = False
    """Whether a text must keep the meaning of what it is made from."""

    def __init__(self, config: Config):
        self.config = config

    @property
    def settings(self) -> Augment | Rewrite:
        """The stage's section of the settings."""
        return getattr(self.config, self.stage)

    @property
    def names(self) -> list[str]:
        """The methods or versions that the stage is set to make."""
        return getattr(self.settings, self.names_setting)

    @property
    def tried(self) -> Path:
        """Where the replies of trials are kept."""
        return getattr(self.config.home, f"tried_{self.written}")

    @property
    def examples_file(self) -> Path:
        return from_root(getattr(self.settings, self.worked[0]))

    @cached_property
    def examples(self) -> Examples:
        """The worked examples by emotion."""
        return load_examples(self.examples_file, self.worked[1])

    @property
    def gating(self) -> Gating:
        """The gates that they go through."""
        return Gating(self.gates, self.settings.gates, self.config.process.classifier, self.similar)

    @abstractmethod
    def made_from(self) -> tuple[dict[str, Path], dict[str, str]]:
        """For recipes: the files that the texts are made from, and identities: of sources that are no local file, and
        of rules for reading them that have changed."""

    @abstractmethod
    def available(self) -> int:
        """How many lines or records there are."""

    @abstractmethod
    def sources(self, start: int, stop: int) -> Sequence[SourceText]:
        """Lines or records ``start`` to before ``stop`` in the stage's order; the stage may be set to use fewer."""

    @abstractmethod
    def sample(self, count: int) -> Sequence[SourceText]:
        """``count`` lines or records, the emotions as equally frequent as possible."""

    @abstractmethod
    def find(self, ids: Sequence[str]) -> Sequence[SourceText]:
        """The lines or records that have one of these ids; an unknown id is skipped."""

    @abstractmethod
    def own(self, given: Mapping[str, str]) -> SourceText:
        """A line or record that the user typed. Raises ``UsageError`` naming the part that it lacks."""

    @abstractmethod
    def request(self, source: SourceText, prompting: Prompting) -> Request:
        """The request for a text from ``source``; what is sampled for its prompt comes from the source's own seed.
        Raises ``UsageError`` for too few examples."""

    @abstractmethod
    def check(self, template: Template) -> Template:
        """The template itself. Raises ``UsageError`` naming a required placeholder that it lacks."""

    def check_examples(self) -> None:  # noqa: B027
        """Raises ``UsageError``, before a model is loaded, if the stage lacks examples for one of its prompts."""

    def beside(self, name: str, rows: Sequence[Row], draft: Draft) -> None:  # noqa: B027
        """Write the files that belong beside a table of these texts."""

    def first(self, count: int) -> Sequence[SourceText]:
        """The first ``count`` lines or records."""
        return self.sources(0, count)

    def prompting(self, name: str) -> Prompting:
        """How the stage asks for texts of a method or version."""
        return Prompting(name, self.template(name), self.settings.sampling)

    def template(self, name: str) -> Template:
        """The prompt of a method or version, or of a template file given by path.

        Raises ``MissingInput`` or ``UsageError`` (unknown or missing placeholder).
        """
        self.template_path(name)
        return self.check(load_template(self.settings.templates.get(name, name), self.placeholders))

    def template_path(self, name: str) -> Path:
        """The file of a method's or version's prompt, or of a template given by path. Raises ``UsageError``."""
        path = from_root(self.settings.templates.get(name, name))
        if name not in self.settings.templates and not path.is_file():
            known = ", ".join(self.settings.templates)
            raise UsageError(f"'{name}' is neither one of {known} nor a template file")
        return path

    def parse(self, text: str, name: str) -> Template:
        """Check the text of a template. Raises ``UsageError``."""
        return self.check(parse_template(text, name, self.placeholders))


def given_part(given: Mapping[str, str], name: str, needed: bool = True) -> str:
    """One named part of what the user typed, stripped. Raises ``UsageError`` if it is needed and missing."""
    text = (given.get(name) or "").strip()
    if needed and not text:
        raise UsageError(f"a line of your own needs '{name}'; it has {', '.join(given) or 'nothing'}")
    return text
