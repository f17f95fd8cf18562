"""A look at a few replies before many are asked for: methods, or a template of one's own, on the same lines.

The replies go through the gates of their stage and are stored: a bulk run that asks the same takes them over. The
model is loaded for the first reply that is not stored yet, and stays loaded in this process.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError

from emogap.babylm.process import NO_LINE
from emogap.config import SAMPLINGS, Config, Sampling
from emogap.errors import UsageError
from emogap.records import KEPT
from emogap.store.progress import Progress, progress
from emogap.store.style import VERDICT_COLOURS
from emogap.store.views import distinct_name, texts
from emogap.stories.augment import Stories
from emogap.stories.rewrite import Rewrites
from emogap.stories.rows import Row, raw_beside
from emogap.stories.texts import Prompting, SourceText, Texts
from emogap.stories.writing import asking_here, kept_by_trials, write
from emogap.text.reading import read_text
from emogap.text.templates import Template

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


KINDS: Mapping[str, type[Texts]] = {kind.stage: kind for kind in (Stories, Rewrites)}
"""Stage → the kind of text that it makes."""


@dataclass(frozen=True)
class Trial:
    """The rows of some sources under one prompting, in their order."""

    prompting: Prompting
    rows: list[Row]
    fresh: frozenset[str]
    """Ids of the rows that the model wrote just now; the replies of the others were stored already."""


def texts_of(config: Config, stage: str) -> Texts:
    """The kind of text that ``augment`` or ``rewrite`` makes. Raises ``UsageError`` for another stage."""
    if stage not in KINDS:
        raise UsageError(f"stage '{stage}' asks no writer; choose among {', '.join(KINDS)}")
    return KINDS[stage](config)


def called(texts: Texts, text: str) -> str | None:
    """The method or version of the settings whose prompt is exactly this text; None if there is none."""
    for name in texts.settings.templates:
        file = texts.template_path(name)
        if file.is_file() and read_text(file) == text:
            return name
    return None


def try_out(texts: Texts, sources: Sequence[SourceText], prompting: Prompting, bar: Progress) -> Trial:
    """Ask about all sources with one prompting, unless a reply is stored already, and pass all through the gates.

    Raises ``UsageError`` (no worked examples of an emotion) and ``ModelError``.
    """
    requests = [texts.request(source, prompting) for source in sources]
    kept = kept_by_trials(texts, requests, prompting.sampling)
    fresh = frozenset(request.id for request in requests) - kept.taken_over
    return Trial(
        prompting,
        write(texts, requests, prompting.sampling, kept, asking_here(texts.config.writer, bar.advance)),
        fresh,
    )


def chosen(texts: Texts, wanted: Sequence[str | Mapping[str, str]]) -> list[SourceText]:
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
    """The sampling that ``given`` names: a sampling's name, values that replace those of ``default``, or None for it.

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


def preview(
    config: Config,
    n: int = 5,
    methods: Sequence[str] | None = None,
    template: str | Path | None = None,
    lines: Sequence[str | Mapping[str, str]] | None = None,
    sampling: Sampling | Mapping[str, Any] | str | None = None,
    stage: str = "augment",
) -> pd.DataFrame:
    """Let the writer answer for a few lines, show the replies, and return them as a table, one row each.

    ``methods``: those whose prompts are tried (for ``stage="rewrite"`` versions), else those of the settings;
    ``template``: the path or the text of a template, alone or beside the ``methods`` named. ``lines``: ids, texts or
    mappings of one's own (``text`` and ``emotion``; for rewrites ``instruction``, ``input``, ``output``, ``emotion``),
    else the stage's first ``n``. ``sampling``: a name, or values that replace those of the settings.

    A line is sampled with the same seed whatever the prompt. Replies are stored: the stage takes them over when it asks
    the same, and a second preview generates nothing. Columns: ``method, line_id, emotion, line, text`` (what would be
    kept), ``reply`` (raw), ``verdict, score`` (of the emotion wanted), ``found`` (the strongest emotions and their
    scores), for rewrites ``similarity``, then ``words, seconds, notes``. If there is no line to try, a message is
    printed and the table is empty.

    Raises ``UsageError``, ``MissingInput`` and ``ModelError``.
    """
    asked = texts_of(config, stage)
    sources = chosen(asked, lines) if lines is not None else asked.first(n)
    if not sources:
        print(f"nothing to try out: {NO_LINE}" if n else "nothing to try out: n is 0")
        return pd.DataFrame()
    sampling = sampling_of(sampling, asked.settings.sampling)
    promptings = [Prompting(name, parsed, sampling) for name, parsed in _templates(asked, methods, template).items()]
    with progress("preview", len(sources) * len(promptings), "replies") as bar:
        trials = [try_out(asked, sources, prompting, bar) for prompting in promptings]
    table = trial_table(sources, trials)
    _show(table)
    return table


def prompts(config: Config, stage: str = "augment", names: Sequence[str] | None = None) -> pd.DataFrame:
    """The whole prompts of a stage's methods or versions (those of the settings, if no ``names`` are given):
    ``method, file, prompt``. Raises ``MissingInput`` and ``UsageError``."""
    asked = texts_of(config, stage)
    return pd.DataFrame(
        [(name, asked.settings.templates.get(name, name), asked.template(name).text) for name in names or asked.names],
        columns=["method", "file", "prompt"],
    )


def _templates(texts: Texts, methods: Sequence[str] | None, template: str | Path | None) -> dict[str, Template]:
    """Name → prompt. A template that is identical to the prompt of a method beside it is left out."""
    if template is None:
        return {name: texts.template(name) for name in methods or texts.names}
    named = {name: texts.template(name) for name in methods or ()}
    is_file = isinstance(template, Path) or not {"\n", "{"} & set(template)  # a path has neither of these in it
    own = texts.template(str(template)) if is_file else texts.parse(template, "template")
    if (same := called(texts, own.text)) in named:
        print(f"the template is that of {same}, to the letter; once it is changed, its replies stand beside")
        return named
    return named | {distinct_name(Path(template).stem if is_file else "template", named, "own"): own}


def trial_table(sources: Sequence[SourceText], trials: Sequence[Trial]) -> pd.DataFrame:
    """The rows of all trials, line by line, in the columns that ``preview`` describes."""
    by_line = zip(sources, *(trial.rows for trial in trials), strict=True)
    return pd.DataFrame(
        [
            described(source, trial.prompting.name, row)
            for source, *rows in by_line
            for trial, row in zip(trials, rows, strict=True)
        ]
    )


def described(source: SourceText, name: str, row: Row) -> dict[str, Any]:
    """One reply in the columns of ``preview``."""
    found = row.verdict
    strongest = zip(found.found, found.found_scores, strict=True)
    return {
        "method": name,
        "line_id": source.id,
        "emotion": source.emotion,
        "line": source.text,
        "text": found.text,
        "reply": row.answer.reply,
        "verdict": verdict(found.reasons),
        "score": found.emotion_score,
        "found": ", ".join(f"{label} {score:.2f}" for label, score in strongest),
        **({} if found.similarity is None else {"similarity": found.similarity}),
        "words": found.words,
        "seconds": row.answer.seconds,
        "notes": "; ".join(found.notes),
    }


def verdict(reasons: Sequence[str]) -> str:
    """``kept``, or all the gates that a reply failed."""
    return ", ".join(reasons) or KEPT


def _show(table: pd.DataFrame) -> None:
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(table.to_string(max_colwidth=80))
    else:
        display(readable(table))


def readable(table: pd.DataFrame) -> "Styler":
    """The columns of ``preview`` as notebooks show them. Where there is no notebook, print the table itself."""
    raw = list(map(raw_beside, table["reply"], table["text"]))
    return (
        texts(table.assign(reply=raw).drop(columns="line_id"))
        .set_properties(subset=["line", "text", "reply"], **{"min-width": "16em"})
        .map(lambda said: f"color: {VERDICT_COLOURS[said == KEPT]}; font-weight: bold", subset=["verdict"])
    )
