"""The two files in which a home describes itself: the settings it adds to its profile, and the home it is a variant of.

Every notebook and command of the home reads them.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emogap.errors import UsageError

FILE = "settings.toml"
PARENT = ".variant-of"
_HEAD = "# What this home sets beside its profile. `emogap settings --forget KEY` takes one back.\n"


def kept(home: Path) -> dict[str, Any]:
    """The settings of a home: key → value, keys as in ``--set KEY=VALUE``. Raises ``UsageError`` for a damaged file."""
    file = home / FILE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read ({error}); mend it, or delete it to do without its settings"
        ) from error


def write(home: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a home; if there are none, the file is removed."""
    file = home / FILE
    if settings:
        lines = [f"{json.dumps(key, ensure_ascii=False)} = {toml(settings[key])}\n" for key in sorted(settings)]
        _write(file, _HEAD + "".join(lines))
    else:
        file.unlink(missing_ok=True)


def toml(value: Any) -> str:
    """A value written as TOML."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def set_parent(home: Path, parent: Path) -> None:
    """Make ``home`` a variant of ``parent``. Raises ``UsageError`` if ``parent`` is missing, or is ``home`` or one of
    its variants."""
    home, parent = home.absolute(), parent.absolute()
    if not parent.is_dir():
        raise UsageError(f"--on {parent}: there is no such home; give one that is there")
    chain = [parent]
    while (above := parent_of(chain[-1])) and above not in chain:
        chain.append(above)
    if home in chain:
        raise UsageError(f"--on {parent}: the home {home} cannot be a variant of itself; give another --home")
    if parent_of(home) != parent:
        _write(home / PARENT, f"{parent}\n")
        print(f"{home} is a variant of {parent}: what is equal there is taken from there")


def parent_of(home: Path) -> Path | None:
    """The home that this one is a variant of; None if it is no variant."""
    file = home / PARENT
    return Path(file.read_text(encoding="utf-8").strip()) if file.exists() else None


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)
