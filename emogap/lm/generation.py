"""Continuing one text token by token, and reading a model's own generation defaults so that they can be saved again.

``generate`` of ``transformers`` takes what a call does not specify from the model repository's
``generation_config.json`` and ``config.json``: penalties, banned tokens, beams, lengths. None of these applies to a
text that is continued here. A model that is trained keeps them.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig, LogitsProcessorList, PreTrainedConfig, PreTrainedModel

from emogap.errors import one_line
from emogap.lm.hub import settings_in
from emogap.lm.own_numbers import forward

Choose = Callable[[torch.Tensor], int]
"""Logits of the next token, float32 (vocabulary,) → the id of the token to take."""
DEFAULTS = "generation_config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def continued(
    model: PreTrainedModel,
    ids: Sequence[int],
    new_tokens: int,
    ends: Collection[int] = (),
    choose: Choose | None = None,
    cached: bool = True,
) -> list[int]:
    """The tokens that follow ``ids``: at most ``new_tokens``, up to and including the first one in ``ends``.

    Each is the likeliest, or the one that ``choose`` takes. ``cached``: with the model's own cache; without it the
    whole text is read anew for each token.
    """
    choose = choose or (lambda logits: int(logits.argmax()))
    with torch.inference_mode():
        return (_by_generate if cached else _anew)(model, list(ids), new_tokens, ends, choose)


def _anew(model: PreTrainedModel, ids: list[int], new_tokens: int, ends: Collection[int], choose: Choose) -> list[int]:
    new: list[int] = []
    while len(new) < new_tokens and not (new and new[-1] in ends):
        new.append(choose(forward(model, torch.tensor([ids + new], device=model.device)).logits[0, -1].float()))
    return new


def _by_generate(
    model: PreTrainedModel, ids: list[int], new_tokens: int, ends: Collection[int], choose: Choose
) -> list[int]:
    def leave_the_chosen(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        chosen = torch.tensor([choose(logits[0].float())], device=logits.device)
        return torch.full_like(logits, -torch.inf).index_fill_(1, chosen, 0.0)

    # ``generate`` would take from here what the settings below do not specify.
    model.generation_config = GenerationConfig()
    settings = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=0),
    )
    text = torch.tensor([ids], device=model.device)
    found = model.generate(
        text,
        attention_mask=torch.ones_like(text),
        generation_config=settings,
        logits_processor=LogitsProcessorList([leave_the_chosen]),
    )
    return found[0, len(ids) :].tolist()


def read_defaults(folder: Path, config: PreTrainedConfig, say: bool = True) -> GenerationConfig | None:
    """The generation defaults in a whole model's folder; None if it has no file of them.

    A file that cannot be read, or whose values contradict each other, could not be saved with a trained model. Of such
    a file only the ids of tokens are kept; where one is no id, the model's configuration gives it. ``say``: print a
    line about it.
    """
    file = folder / DEFAULTS
    if not file.is_file():
        return None
    try:
        found = GenerationConfig.from_pretrained(folder)
        _check(found)
    except Exception as error:  # a wrong type may raise any error, a contradiction raises ValueError
        if say:
            print(f"{file} is left out but for the ids of tokens: {_said(error)}")
        return _tokens_alone(settings_in(file), config)
    return found


def mend_defaults(folder: Path, model: PreTrainedModel) -> None:
    """The same for defaults in a model's ``config.json``, where older models have them; the model is changed."""
    if model.generation_config is None:
        return
    try:
        _check(model.generation_config)
    except Exception as error:
        print(f"{folder}: what config.json says of generation is left out but for ids of tokens: {_said(error)}")
        model.generation_config = _tokens_alone(model.generation_config.to_dict(), model.config)


def end_ids(folder: Path) -> set[int]:
    """Ids of the tokens that end a text, as the folder of a whole model names them."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    named = read_defaults(folder, config, say=False) or config.get_text_config()
    return set(_ids(named.eos_token_id))


def _check(found: GenerationConfig) -> None:
    """Raises an error of any kind if the defaults could not be saved, or name tokens by anything but numbers."""
    found.validate(strict=True)
    found.to_json_string()
    for name in _TOKENS:
        value = getattr(found, name)
        if value is not None and not _ids(value):
            raise ValueError(f"{name} is {value!r}")


def _tokens_alone(values: dict[str, Any], config: PreTrainedConfig) -> GenerationConfig:
    text = config.get_text_config()
    tokens = {}
    for name in _TOKENS:
        ids = _ids(values.get(name)) or _ids(getattr(text, name, None))
        tokens[name] = ids if name == "eos_token_id" and len(ids) > 1 else next(iter(ids), None)
    return GenerationConfig(**tokens)


def _ids(value: Any) -> list[int]:
    """The ids of tokens in a value: one or several; none if it is anything else than numbers."""
    ids = value if isinstance(value, list) else [value]
    return ids if all(type(id_) is int and id_ >= 0 for id_ in ids) else []


def _said(error: Exception) -> str:
    return one_line(error).removeprefix("GenerationConfig is invalid: ")
