"""What all command lines of the project share: how options are named, what a path and a model means."""

import argparse
from pathlib import Path

from emogap.errors import UsageError
from emogap.paths import folder_or_name, given_path


class Parser(argparse.ArgumentParser):
    """Takes options by their full names only: an abbreviation would mean another option once that is added."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{"allow_abbrev": False, **options})


def a_path(text: str) -> Path:
    """The type of every option that takes a path: from the working directory, where a setting's is from the root."""
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
