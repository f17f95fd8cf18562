"""From a prompt that was tried out to a run of its stage: the same settings, and what it would cost."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from emogap.config import Config, Sampling
from emogap.errors import UsageError
from emogap.generate import augment, rewrite
from emogap.generate.trial import Bench, Trial
from emogap.paths import from_root
from emogap.store.artefacts import portable, write_text
from emogap.store.pieces import Summary


def bulk_config(bench: Bench, name: str, template: Path, sampling: Sampling, count: int) -> Config:
    """The settings under which the stage asks in this one way, for ``count`` lines or records (0: all)."""
    changed = {"templates": {**bench.settings.templates, name: portable(template)}, "sampling": sampling.model_dump()}
    changed |= {"methods": [name], "lines": count} if bench.stage == "augment" else {"versions": [name], "count": count}
    section = type(bench.settings).model_validate({**bench.settings.model_dump(), **changed})
    return bench.config.model_copy(update={bench.stage: section})


def run_bulk(config: Config, stage: str) -> Summary:
    """Run the stage under these settings."""
    return {"augment": augment.augment, "rewrite": rewrite.rewrite}[stage](config)


def as_command(bench: Bench, config: Config) -> str:
    """The shell command that runs the stage under these settings, given that the profile and the home are the same."""
    settings = getattr(config, bench.stage)
    names = ("methods", "lines") if bench.stage == "augment" else ("versions", "count")
    name = getattr(settings, names[0])[0]
    sampling = ", ".join(f"{key} = {value}" for key, value in settings.sampling.model_dump().items())
    values = {
        names[0]: json.dumps([name]),
        f"templates.{json.dumps(name)}": settings.templates[name],
        "sampling": f"{{{sampling}}}",
        names[1]: getattr(settings, names[1]),
    }
    options = [word for key, value in values.items() for word in ("--set", f"{bench.stage}.{key}={value}")]
    home = str(config.home.root)
    return shlex.join(["emogap", bench.stage, "--profile", config.source, "--home", home, *options])


def seconds_a_reply(trial: Trial) -> float:
    """Measured on the replies just written; where all were there, on those, when they were written."""
    rows = [row for row in trial.rows if row["ask"] in trial.fresh] or trial.rows
    return sum(row["seconds"] for row in rows) / len(rows)


def cost(bench: Bench, trial: Trial, count: int) -> str:
    """What a bulk run over ``count`` lines or records (0: all) would cost at the rate of the trial, in words."""
    count, rate = min(count or bench.available(), bench.available()), seconds_a_reply(trial)
    what = "stories" if bench.stage == "augment" else "rewrites"
    together, size = len(trial.rows), bench.config.writer.batch_size
    faster = f" (measured {together} at a time; a bulk run takes {size} and is faster)" if together < size else ""
    return f"{count:,} {what} at {rate:.1f} s each: about {clock(count * rate)}{faster}"


def clock(seconds: float) -> str:
    """``0:31``, ``2:05:00``: hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def save_template(bench: Bench, text: str, path: str, known: Sequence[str]) -> tuple[str, Path]:
    """Write a template as a new file (from the repository's root unless absolute); its name and its path.

    Raises ``UsageError`` if it is no template, or the name or the file is taken.
    """
    file = from_root(path.strip())
    if not file.suffix or not re.fullmatch(r"[\w-]+", file.stem):
        raise UsageError(f"'{path}': give a file name of letters, digits, - and _, such as prompts/mine.txt")
    if file.stem in known:
        raise UsageError(f"a template is called '{file.stem}' already; give the file another name")
    if file.exists():
        raise UsageError(f"{file} is there already; give the file another name")
    bench.parse(text, file.stem)
    write_text(file, text)
    return file.stem, file
