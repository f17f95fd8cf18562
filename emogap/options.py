"""What all command lines of the project share: how options are named, what a path, a model or a range means."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from emogap.errors import UsageError
from emogap.paths import LAST_CHUNK, folder_or_name, given_path


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
    from emogap.data.emotion_model import MINILM, TFIDF

    try:
        return text if text in (MINILM, TFIDF) else folder_or_name(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chunk_numbers(text: str, setting: str, every: Iterable[int]) -> list[int]:
    """``all`` (every one there is), or numbers and ranges such as ``0-9,33`` → chunk numbers, in order.

    Raises ``UsageError``, which names the setting. Whether those chunks are there is for the caller to say.
    """
    if text.strip() == "all":
        return sorted(every)
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise UsageError(f"{setting} = '{text}': give all, or numbers and ranges such as 0-9,33")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{setting} = '{text}': {part.strip()} ends before it begins")
        if last > LAST_CHUNK:
            raise UsageError(f"{setting} = '{text}': there is no chunk {last}; the last there can be is {LAST_CHUNK}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)
