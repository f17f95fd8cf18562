"""GoEmotions' splits (Demszky et al. 2020), as they are published: what the classifiers are trained on."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogap.emotions import LABELS
from emogap.errors import InputError
from emogap.text.reading import given_file, read_lines


@dataclass(frozen=True)
class GoEmotions:
    """One split: texts, and its labels as float32 of shape (rows, 28), 1 where a label was given."""

    texts: list[str]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


def read_goemotions(path: Path) -> GoEmotions:
    """Reads a GoEmotions TSV: text, comma-separated label ids, comment id.

    Raises ``MissingInput`` or, naming the line, ``InputError``.
    """
    given_file(path, "GoEmotions", "run `emogap fetch goemotions` or name the folder that holds it")
    texts, rows = [], []
    for number, line in enumerate(read_lines(path), start=1):
        text, *rest = line.split("\t")
        ids = rest[0].split(",") if len(rest) == 2 else []
        if not ids or not all(re.fullmatch("[0-9]{1,2}", one) and int(one) < len(LABELS) for one in ids):
            raise InputError(
                f"{path}, line {number}: expected text, label ids (0 to {len(LABELS) - 1}, comma-separated) and "
                f"comment id, separated by tabs, found {line[:80]!r}"
            )
        row = np.zeros(len(LABELS), dtype=np.float32)
        row[[int(one) for one in ids]] = 1
        texts.append(text)
        rows.append(row)
    if not texts:
        raise InputError(f"{path} is empty; fetch GoEmotions anew")
    return GoEmotions(texts, np.stack(rows))
