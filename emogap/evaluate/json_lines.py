"""JSON lines, plain or gzipped, as benchmarks are handed out."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emogap.errors import InputError


def read_json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Line number (from 1) and value of every line that is not blank. Raises ``InputError``, which names the line."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        raise InputError(f"{file}, line {number}: not JSON ({error}); correct it") from error
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{file} cannot be read ({error}); bring it again") from error
