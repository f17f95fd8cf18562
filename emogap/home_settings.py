"""What a home sets beside its profile: ``settings.toml`` in it, read by every notebook and command of that home."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emogap.errors import UsageError

FILE = "settings.toml"
_HEAD = "# What this home sets beside its profile. `emogap settings --forget KEY` takes one back.\n"


def kept(home: Path) -> dict[str, Any]:
    """Key → value, keys as they stand before ``=`` in ``--set``. Raises ``UsageError`` for a file that is no such."""
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
    """Write what a home sets; no file where it sets nothing."""
    from emogap.store.artefacts import write_text

    file = home / FILE
    if settings:
        lines = [f"{json.dumps(key, ensure_ascii=False)} = {toml(settings[key])}\n" for key in sorted(settings)]
        write_text(file, _HEAD + "".join(lines))
    else:
        file.unlink(missing_ok=True)


def toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
