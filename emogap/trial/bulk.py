"""From a prompt that was tried out to a run of its stage: the same settings, and what it would cost."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogap.config import Config, Sampling, load_config
from emogap.errors import UsageError
from emogap.paths import from_root
from emogap.store.artefacts import portable, write_text
from emogap.store.progress import clock
from emogap.stories import augment, rewrite
from emogap.stories.texts import Texts
from emogap.text.reading import read_text
from emogap.trial.preview import Trial, called, texts_of


def bulk_config(texts: Texts, name: str, template: Path, sampling: Sampling, count: int) -> Config:
    """The settings under which the stage uses this one prompt and sampling, for ``count`` lines or records (0: all)."""
    changed = {texts.names_setting: [name], texts.amount: count, "sampling": sampling.model_dump()}
    return _with_template(texts, name, template, changed)


def _with_template(texts: Texts, name: str, template: Path, changed: Mapping[str, Any]) -> Config:
    """The settings with one more template; ``changed``: other new values in the stage's section."""
    templates = {**texts.settings.templates, name: portable(template)}
    section = {**texts.settings.model_dump(), "templates": templates, **changed}
    return texts.config.model_copy(update={texts.stage: type(texts.settings).model_validate(section)})


RUN = {"augment": augment.augment, "rewrite": rewrite.rewrite}
"""Stage → the function that runs it."""


def as_command(texts: Texts, config: Config) -> str:
    """The shell command that runs the stage under these settings, given that the profile and the home are the same."""
    settings = getattr(config, texts.stage)
    (name,) = getattr(settings, texts.names_setting)
    sampling = ", ".join(f"{key} = {value}" for key, value in settings.sampling.model_dump().items())
    values = {
        texts.names_setting: json.dumps([name]),
        f"templates.{json.dumps(name)}": settings.templates[name],
        "sampling": f"{{{sampling}}}",
        texts.amount: getattr(settings, texts.amount),
    }
    options = [word for key, value in values.items() for word in ("--set", f"{texts.stage}.{key}={value}")]
    options += ["--set", "controls=false"] if config.controls and texts.stage == "augment" else []  # they add m0
    home = str(config.home.root)
    return shlex.join(["emogap", texts.stage, "--profile", config.source, "--home", home, *options])


def seconds_a_reply(trial: Trial) -> float:
    """Measured on the replies just written; if none is new, on the times stored with the old ones."""
    rows = [row for row in trial.rows if row.id in trial.fresh] or trial.rows
    return sum(row.answer.seconds for row in rows) / len(rows)


def cost(texts: Texts, trial: Trial, count: int) -> str:
    """What a bulk run over ``count`` lines or records (0: all) would cost at the rate of the trial, in words."""
    count, rate = min(count or texts.available(), texts.available()), seconds_a_reply(trial)
    together, size = len(trial.rows), texts.config.writer.batch_size
    faster = f" (measured {together} at a time; a bulk run takes {size} and is faster)" if together < size else ""
    return f"{count:,} {texts.written} at {rate:.1f} s each: about {clock(count * rate)}{faster}"


def add_method(config: Config, text: str, path: str, stage: str = "augment") -> Config:
    """Make the text of a prompt a method (for ``stage="rewrite"`` a version) of this home from now on; returns the
    settings with it. It is saved as the file ``path`` (from the repository's root unless absolute) and named after it.

    Nothing is written for a prompt that is identical to one of the project's files or to a method of this home. Raises
    ``UsageError`` if it is no template, or another one has the name or the file.
    """
    texts = texts_of(config, stage)
    same = called(texts, text)
    if same in type(texts.settings).model_fields["templates"].default or same in texts.names:
        print(f"the prompt is that of {same}, to the letter: nothing is saved and nothing added")
        return config
    name, file = (same, texts.template_path(same)) if same else _saved(texts, text, path)
    promptings = [*texts.names, name]
    kept = {f"{stage}.templates.{name}": portable(file), f"{stage}.{texts.names_setting}": promptings}
    load_config(config.source, config.home.root, kept, keep=True)
    return _with_template(texts, name, file, {texts.names_setting: promptings})


def _saved(texts: Texts, text: str, path: str) -> tuple[str, Path]:
    """Name and file of a prompt, which is saved unless another home has already saved the same text there."""
    file, known = from_root(path.strip()), list(texts.settings.templates)
    if file.stem not in known and file.is_file() and read_text(file) == text:
        return file.stem, file
    saved = save_template(texts, text, path, known)
    print(f"the prompt is saved as {portable(file)}")
    return saved


def save_template(texts: Texts, text: str, path: str, known: Sequence[str]) -> tuple[str, Path]:
    """Write a template as a new file (from the repository's root unless absolute); returns its name and its path.

    Raises ``UsageError`` if it is no template, or the name or the file is taken.
    """
    file = from_root(path.strip())
    if not file.suffix or not re.fullmatch(r"[\w-]+", file.stem):
        raise UsageError(f"'{path}': give a file name of letters, digits, - and _, such as prompts/mine.txt")
    if file.stem in known:
        raise UsageError(f"a template is called '{file.stem}' already; give the file another name")
    if file.exists():
        raise UsageError(f"{file} is there already; give the file another name")
    texts.parse(text, file.stem)
    write_text(file, text)
    return file.stem, file
