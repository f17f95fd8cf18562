"""Which words speak for which of the 28 emotions, and how strongly: the lists that the emotion lens reads by.

``emogap emotion-words`` makes them (``tools/emotion_words.py``). A word's weight is the share of the emotion in the
word's use, were all emotions equally frequent: 1 would be a word that no other emotion's texts have, and 1/28 says
nothing.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from emogap.emotions import LABELS
from emogap.errors import InputError
from emogap.text.forms import Form, Label, Number, Text, check
from emogap.text.reading import given_file, read_json

WORDS = Path(__file__).with_name("emotion_words.json")
"""The lists that the project ships."""


class _WordLists(Form):
    """The lists as they are written."""

    words: dict[Label, dict[Text, Annotated[Number, Field(ge=0, le=1)]]]


def load_emotion_words(path: Path = WORDS) -> dict[str, dict[str, float]]:
    """Emotion → word → weight in 0 … 1, the 28 labels in their order. Raises ``MissingInput`` or ``InputError``."""
    given_file(path, "word lists", "make them with `emogap emotion-words`")
    lists = check(_WordLists, read_json(path), str(path), "make the word lists anew").words
    for label in LABELS:
        if not lists.get(label):
            raise InputError(f"{path} has no word of {label}; make the lists from more text")
    return {label: lists[label] for label in LABELS}
