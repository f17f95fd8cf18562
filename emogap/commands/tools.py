"""Commands for maintainers, whose code lies outside the package: bench, train-classifier, emotion-words."""

import argparse
import sys
from functools import partial
from importlib import import_module

from emogap.commands import Commands
from emogap.errors import UsageError
from emogap.paths import ROOT

DOORS = {
    "bench": "tools.bench",
    "train-classifier": "tools.train_classifier",
    "emotion-words": "tools.emotion_words",
}
"""Command → the module of the source tree that takes the words after it."""
_HELP = {
    "bench": "measure speed, as ratios within one run",
    "train-classifier": "train the project's own emotion classifiers on GoEmotions",
    "emotion-words": "make the weighted word lists of the emotion lens from labelled texts",
}


def register(commands: Commands) -> None:
    for name in DOORS:
        # With this prefix no word is an option here: all are the tool's, --help among them.
        parser = commands.add_parser(name, help=_HELP[name], add_help=False, prefix_chars="\0")
        parser.add_argument("words", nargs=argparse.REMAINDER)
        parser.set_defaults(run=partial(_enter, name))


def _enter(command: str, arguments: argparse.Namespace) -> None:
    if not (ROOT / DOORS[command].replace(".", "/")).with_suffix(".py").is_file():
        raise UsageError(
            f"{command} needs the source tree: there is no tools/ in {ROOT}; clone the project and `pip install -e .`"
        )
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import_module(DOORS[command]).main(arguments.words)
