"""A model's own defaults for generation, as they can be saved again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogap.hub import settings_in

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

DEFAULTS = "generation_config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def read_defaults(folder: Path, config: "PreTrainedConfig", say: bool = True) -> "GenerationConfig | None":
    """What a whole model's folder says of generation; None if it has no such file.

    A file that cannot be read, or whose values contradict each other, could not be saved with a trained model: of it
    the ids of tokens are kept, those that are none taken from the model's configuration. ``say``: with a line.
    """
    from transformers import GenerationConfig

    file = folder / DEFAULTS
    if not file.is_file():
        return None
    try:
        found = GenerationConfig.from_pretrained(folder)
        _check(found)
    except Exception as error:  # a wrong type ends in any kind, a contradiction in a ValueError
        if say:
            print(f"{file} is left out but for the ids of tokens: {_said(error)}")
        return _tokens_alone(settings_in(file), config)
    return found


def mend_defaults(folder: Path, model: "PreTrainedModel") -> None:
    """The same for what a model took from its ``config.json``, as older ones do."""
    if model.generation_config is None:
        return
    try:
        _check(model.generation_config)
    except Exception as error:
        print(f"{folder}: what config.json says of generation is left out but for ids of tokens: {_said(error)}")
        model.generation_config = _tokens_alone(model.generation_config.to_dict(), model.config)


def end_ids(folder: Path) -> set[int]:
    """Every token that ends a text by what a whole model's folder says of itself."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    named = read_defaults(folder, config, say=False) or config.get_text_config()
    return set(_ids(named.eos_token_id))


def _check(found: "GenerationConfig") -> None:
    """Raises an error of any kind if the defaults could not be saved, or name tokens by anything but numbers."""
    found.validate(strict=True)
    found.to_json_string()
    for name in _TOKENS:
        value = getattr(found, name)
        if value is not None and not _ids(value):
            raise ValueError(f"{name} is {value!r}")


def _tokens_alone(values: dict[str, Any], config: "PreTrainedConfig") -> "GenerationConfig":
    from transformers import GenerationConfig

    text = config.get_text_config()
    tokens = {}
    for name in _TOKENS:
        ids = _ids(values.get(name)) or _ids(getattr(text, name, None))
        tokens[name] = ids if name == "eos_token_id" and len(ids) > 1 else next(iter(ids), None)
    return GenerationConfig(**tokens)


def _ids(value: Any) -> list[int]:
    """The ids of tokens in a value: one, several, or, if it is of another kind, none."""
    ids = value if isinstance(value, list) else [value]
    return ids if all(type(id_) is int and id_ >= 0 for id_ in ids) else []


def _said(error: Exception) -> str:
    return str(error).removeprefix("GenerationConfig is invalid: ").strip().partition("\n")[0] or type(error).__name__
