"""The command line, one module per topic. Each has ``register(commands)``: it adds parsers and imports nothing heavy.

This module holds what all command lines of the project share, also those of ``tools/``.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emogap.config import Config, load_config
from emogap.errors import UsageError
from emogap.paths import folder_or_name, given_path
from emogap.study.stages import stage

Commands = argparse._SubParsersAction


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command working in a home has."""
    parser.add_argument("--profile", default="embedded", help="a profile under configs/, or a TOML file (embedded)")
    parser.add_argument("--home", help="the folder of the run ($EMOGAP_HOME, else runs/<profile>/)")
    parser.add_argument(
        "--on", metavar="HOME", help="make the home a variant of HOME: what has an equal recipe in HOME is taken over"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting: a text as it stands, anything else in TOML; paths relative to the repository's "
        "root; of several for one key the last holds",
    )


def add_setting(parser: argparse.ArgumentParser, option: str, key: str, **options: Any) -> None:
    """An option that is short for the setting of that key."""
    usual = {"help": f"short for --set {key}=VALUE"} | ({} if "action" in options else {"metavar": "VALUE"})
    added = parser.add_argument(option, **usual | options)
    parser.set_defaults(shorthands={**(parser.get_default("shorthands") or {}), added.dest: key})


def config_from(arguments: argparse.Namespace, keep: bool = False) -> Config:
    """The settings that a command's options ask for. Options that are short for a setting come after ``--set``.

    ``keep``: from now on the home keeps these settings.
    """
    given = {key: getattr(arguments, name) for name, key in getattr(arguments, "shorthands", {}).items()}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    return load_config(arguments.profile, arguments.home, [*arguments.settings, *given.items()], keep, arguments.on)


def add_stage(commands: Commands, name: str, settings: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """The command of a stage. ``settings``: an option (``--chunks``) → the setting it is short for."""
    described = stage(name)
    what = f"{described.title}. Reads {described.reads}; writes {described.writes}."
    parser = commands.add_parser(name, help=described.title, description=what)
    add_run_options(parser)
    for option, key in (settings or {}).items():
        add_setting(parser, option, key)
    parser.set_defaults(run=lambda arguments: run_stage(name, arguments))
    return parser


def run_stage(name: str, arguments: argparse.Namespace) -> None:
    """Run one stage in this process and print its summary; first, warn if what it reads was made otherwise."""
    from emogap.study.state import made_otherwise, take_over_before

    config = config_from(arguments, keep=True)
    take_over_before(config, name)
    for line in made_otherwise(config, name):
        print(line)
    print(stage(name).run(config))


class Parser(argparse.ArgumentParser):
    """Takes options by their full names only: an abbreviation would mean another option once that is added."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{"allow_abbrev": False, **options})


def a_path(text: str) -> Path:
    """The type of every option that takes a path: relative to the working directory (in settings: to the root)."""
    try:
        return given_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def a_model(text: str) -> str:
    """The type of an option that takes a model or a classifier: a folder (from the working directory) or a name."""
    from emogap.emotion.classifier import MINILM, TFIDF

    try:
        return text if text in (MINILM, TFIDF) else folder_or_name(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
