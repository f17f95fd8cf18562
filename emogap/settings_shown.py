"""The settings of a run as a table: what each is, what the published study had, and what it means."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic.fields import FieldInfo

from emogap.errors import UsageError
from emogap.home_settings import toml
from emogap.published import published


def settings_table(values: dict[str, Any], fields: Mapping[str, FieldInfo], sections: Sequence[str]) -> pd.DataFrame:
    """What ``Config.show`` gives. ``values``: of all settings, section by section; ``fields``: key → field."""
    for name in sections:
        if not any(_is_of(key, name) for key in fields):
            raise UsageError(f"'{name}' is no section and no setting; sections are {', '.join(values)}")
    said = {setting: value for setting, value, _ in published("settings").rows}
    return pd.DataFrame(
        [
            {
                "setting": key,
                "value": toml(_at(values, key)),
                "published": toml(_like(said[key], _at(values, key))) if key in said else "",
                "meaning": " ".join((field.description or "").replace("``", "`").split()),
            }
            for key, field in fields.items()
            if not sections or any(_is_of(key, name) for name in sections)
        ]
    )


def _like(published: Any, value: Any) -> Any:
    """A published number as the setting holds it: 10 of an amount that may be broken is 10.0."""
    return float(published) if isinstance(value, float) and isinstance(published, int) else published


def _is_of(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
