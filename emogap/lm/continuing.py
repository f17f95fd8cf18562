"""One text continued token by token, under nothing but what is said here.

``generate`` of ``transformers`` fills in what is not said from the model repository's ``generation_config.json`` and
``config.json``: penalties, bans, beams, lengths. Here they never apply.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from emogap.lm.own_numbers import forward

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Choose = Callable[["torch.Tensor"], int]
"""From the logits of the next token, float32 (vocabulary,), its id."""


def continued(
    model: "PreTrainedModel",
    ids: Sequence[int],
    new_tokens: int,
    ends: Collection[int] = (),
    choose: Choose | None = None,
    cached: bool = True,
) -> list[int]:
    """The tokens that follow ``ids``: at most ``new_tokens``, up to and with the first that is among ``ends``.

    Each is the likeliest, or the one that ``choose`` takes. ``cached``: by the model's own way of decoding, with its
    own cache; else it reads the whole text anew for each token.
    """
    import torch

    choose = choose or (lambda logits: int(logits.argmax()))
    with torch.inference_mode():
        return (_by_generate if cached else _anew)(model, list(ids), new_tokens, ends, choose)


def _anew(
    model: "PreTrainedModel", ids: list[int], new_tokens: int, ends: Collection[int], choose: Choose
) -> list[int]:
    import torch

    new: list[int] = []
    while len(new) < new_tokens and not (new and new[-1] in ends):
        new.append(choose(forward(model, torch.tensor([ids + new], device=model.device)).logits[0, -1].float()))
    return new


def _by_generate(
    model: "PreTrainedModel", ids: list[int], new_tokens: int, ends: Collection[int], choose: Choose
) -> list[int]:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    def leave_the_chosen(_ids: "torch.Tensor", logits: "torch.Tensor") -> "torch.Tensor":
        chosen = torch.tensor([choose(logits[0].float())], device=logits.device)
        return torch.full_like(logits, -torch.inf).index_fill_(1, chosen, 0.0)

    # What stands here is filled in wherever the settings below say nothing.
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
