"""Trying out prompts: a few lines or records asked in one way or another, judged as their stage would judge them.

What the model answers is kept: a bulk run that asks the same takes it over. The model is loaded when a reply is first
wanted that is not there yet, and stays loaded in this process.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from emogap.config import SAMPLINGS, Config, Sampling
from emogap.errors import UsageError
from emogap.store.progress import Progress
from emogap.stories.augment import Stories
from emogap.stories.rewrite import Rewrites
from emogap.stories.rows import Row
from emogap.stories.texts import Source, Texts, Way
from emogap.stories.writing import asking_here, kept_by_trials, write
from emogap.text.reading import read_text

KINDS: Mapping[str, type[Texts]] = {kind.stage: kind for kind in (Stories, Rewrites)}
"""Stage → the kind of text that it makes."""


@dataclass(frozen=True)
class Trial:
    """The judged rows of some sources in one way, in their order."""

    way: Way
    rows: list[Row]
    fresh: frozenset[str]
    """Ids of those rows that the model wrote just now; the others were there."""


def texts_of(config: Config, stage: str) -> Texts:
    """The kind of text that ``augment`` or ``rewrite`` makes. Raises ``UsageError`` for another stage."""
    if stage not in KINDS:
        raise UsageError(f"stage '{stage}' asks no writer; choose among {', '.join(KINDS)}")
    return KINDS[stage](config)


def called(texts: Texts, text: str) -> str | None:
    """The method or version of the settings whose prompt is that text to the letter; None if there is none."""
    for name in texts.settings.templates:
        file = texts.template_path(name)
        if file.is_file() and read_text(file) == text:
            return name
    return None


def try_out(texts: Texts, sources: Sequence[Source], way: Way, bar: Progress) -> Trial:
    """Ask about all sources in one way, what is not there yet, and judge the replies together.

    Raises ``UsageError`` (no worked examples of an emotion) and ``ModelError``.
    """
    asks = [texts.ask(source, way) for source in sources]
    kept = kept_by_trials(texts, asks, way.sampling)
    fresh = frozenset(ask.id for ask in asks) - kept.taken_over
    return Trial(way, write(texts, asks, way.sampling, kept, asking_here(texts.config.writer, bar.advance)), fresh)


def chosen(texts: Texts, wanted: Sequence[str | Mapping[str, str]]) -> list[Source]:
    """The sources that are named by id, or given outright: a text, or a mapping of its parts.

    Raises ``UsageError`` for an id that is not there.
    """
    ids = [one for one in wanted if _is_id(one)]
    known = {source.id: source for source in texts.find(ids)} if ids else {}
    for one in ids:
        if one not in known:
            raise UsageError(f"there is no line '{one}'; give the id of one, or a text of more than one word")
    return [known[one] if _is_id(one) else texts.own({"text": one} if isinstance(one, str) else one) for one in wanted]


def _is_id(wanted: str | Mapping[str, str]) -> bool:
    """A text without white space is taken for an id."""
    return isinstance(wanted, str) and not re.search(r"\s", wanted.strip())


def sampling_of(given: Sampling | Mapping[str, Any] | str | None, default: Sampling) -> Sampling:
    """A sampling as people give it: by name, as values that replace those of ``default``, or none: ``default``.

    Raises ``UsageError`` for an unknown name or an impossible value.
    """
    if given is None or isinstance(given, Sampling):
        return given or default
    if isinstance(given, str) and given not in SAMPLINGS:
        raise UsageError(f"no sampling '{given}'; choose among {', '.join(SAMPLINGS)} or give values")
    values = SAMPLINGS[given] if isinstance(given, str) else {**default.model_dump(), **given}
    try:
        return Sampling(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UsageError(f"sampling {problem['loc'][0]} = {problem['input']}: {problem['msg'].lower()}") from None
