"""The settings of a run as a table: what each is, what the published study had, and what it means."""

from collections.abc import Sequence

import pandas as pd

from emogap.config import Config, field_at, setting_keys
from emogap.errors import UsageError
from emogap.home_settings import toml
from emogap.published import published


def settings_table(config: Config, sections: Sequence[str] = ()) -> pd.DataFrame:
    """What ``Config.show`` gives."""
    known = [".".join(key) for key in setting_keys()]
    for name in sections:
        if not any(_is_of(key, name) for key in known):
            raise UsageError(
                f"'{name}' is no section and no setting; sections are {', '.join(type(config).model_fields)}"
            )
    chosen = [key for key in known if not sections or any(_is_of(key, name) for name in sections)]
    values, said = config.model_dump(mode="json"), {setting: value for setting, value, _ in published("settings").rows}
    return pd.DataFrame(
        [
            {
                "setting": key,
                "value": toml(_at(values, key)),
                "published": toml(said[key]) if key in said else "",
                "meaning": " ".join((field_at(key.split(".")).description or "").split()),
            }
            for key in chosen
        ]
    )


def _is_of(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _at(values: dict, key: str) -> object:
    for part in key.split("."):
        values = values[part]
    return values
