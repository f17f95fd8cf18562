"""Adapters (PEFT): merging one into the model below it, and writing several, each trained on the one before, as one.

A low-rank update adds B·A to a weight. Two of them add up to one whose rank is the sum: A and B are concatenated.
"""

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.errors import ModelError, one_line
from emogap.lm.hub import ADAPTER, with_bases

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftConfig
    from transformers import PreTrainedModel

PREFIX = "base_model.model."
"""Prefix of the names of all weights in an adapter's file."""
_LOW_RANK = re.compile(r"(?P<module>.+)\.(?P<kind>lora|lora_embedding)_(?P<part>[AB])(\.weight)?")
_ACCOUNTED_FOR = {
    "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "lora_dropout", "target_modules",
    "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "modules_to_save", "task_type",
    "inference_mode", "base_model_name_or_path", "revision", "auto_mapping", "peft_version", "runtime_config",
    "eva_config",
}  # fmt: skip
"""Settings of a LoRA whose effect is all in its weights and their scaling; any other one makes it more than B·A."""
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the model's own weights as they are."""
_PROBE = 8
_TOLERANCE = 1e-3
"""How much the output may differ before and after merging, by rounding; a share of the largest output."""


def merge(model: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """The model, in fp32, with the adapter of a folder merged into its weights.

    Raises ``ModelError`` if a part of the adapter is not there or has no place, or if it cannot be merged exactly.
    """
    import torch
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, folder, torch_device="cpu").eval()
    # Loaded a second time for its report: PEFT silently leaves out what does not fit, and initialises what is missing.
    found = adapted.load_adapter(folder, "default", torch_device="cpu")
    astray = [*found.missing_keys, *found.unexpected_keys]
    if astray:
        raise ModelError(
            f"{folder}: {len(astray)} weights of the adapter are missing or have no place in the model "
            f"({', '.join(sorted(astray)[:3])}…); it is not whole or was made for another one; correct "
            f"base_model_name_or_path in {ADAPTER}"
        )
    if not hasattr(adapted, "merge_and_unload"):
        raise ModelError(f"{folder} is an adapter of a kind that cannot be merged; give a LoRA, or the whole model")
    probe = torch.arange(min(_PROBE, model.get_input_embeddings().weight.shape[0]))[None]
    with torch.inference_mode():
        before = adapted(input_ids=probe)[0]
    _part_embeddings(model)
    merged = adapted.merge_and_unload().requires_grad_(True)  # PEFT freezes the model below
    with torch.inference_mode():
        off = (merged(input_ids=probe)[0] - before).abs().max() / before.abs().max()
    if not off <= _TOLERANCE:
        raise ModelError(
            f"{folder} is an adapter that gives other results when it is merged (by {off:.1%}); merge it where it was "
            "trained, and give the whole model"
        )
    return merged


def _part_embeddings(model: "PreTrainedModel") -> None:
    """If head and embedding share their weights and an adapter changes one of them, give the head its own copy."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    if ends[1] is None or not any(isinstance(end, BaseTunerLayer) for end in ends):
        return
    into, head = [end.get_base_layer() if isinstance(end, BaseTunerLayer) else end for end in ends]
    if head.weight is into.weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())


@dataclass(frozen=True)
class LowRank:
    """The change that one adapter, or several on top of each other, make to a model."""

    pairs: dict[tuple[str, str], tuple["torch.Tensor", "torch.Tensor"]] = field(default_factory=dict)
    """(module, ``lora`` or ``lora_embedding``) → A (rank, in) and B (out, rank), the scaling multiplied into B."""
    saved: dict[str, "torch.Tensor"] = field(default_factory=dict)
    """Name → weight that takes the place of the model's own."""
    modules_to_save: frozenset[str] = frozenset()
    """Names of the modules that have such weights, as the adapter gives them."""

    def under(self, above: "LowRank", name: str) -> "LowRank":
        """This change and ``above``, which was trained on top of it, as one. Raises ``ModelError``, with ``name``,
        if one adapter cannot hold both."""
        import torch

        twice = [module for module, _ in above.pairs if f"{module}.weight" in self.saved]
        if twice:
            raise _not_one(name, f"it holds {twice[0]} whole, to which the next one adds")
        pairs = {key: pair for key, pair in self.pairs.items() if f"{key[0]}.weight" not in above.saved}
        for key, (a, b) in above.pairs.items():
            below = pairs.get(key)
            pairs[key] = (torch.cat([below[0], a]), torch.cat([below[1], b], dim=1)) if below else (a, b)
        # A saved weight below a low-rank update is the whole model's own only in the lowest adapter.
        own = {key: value for key, value in self.saved.items() if ".base_layer." in key}
        return LowRank(pairs, self.saved | above.saved | own, self.modules_to_save | above.modules_to_save)

    def write(self, folder: Path, base: Path, dropout: float, fan_in_fan_out: bool) -> None:
        """Write it as one LoRA on the model in ``base``: all modules have the same rank, zero-padded, and scaling 1."""
        import torch
        from peft import LoraConfig
        from safetensors.torch import save_file

        rank = max(len(a) for a, _ in self.pairs.values())
        tensors = {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in self.saved.items()}
        for (module, kind), (a, b) in self.pairs.items():
            ending = ".weight" if kind == "lora" else ""
            a = torch.nn.functional.pad(a, (0, 0, 0, rank - len(a)))
            b = torch.nn.functional.pad(b, (0, rank - b.shape[1]))
            tensors[f"{PREFIX}{module}.{kind}_A{ending}"] = a.contiguous()
            tensors[f"{PREFIX}{module}.{kind}_B{ending}"] = b.contiguous()
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        LoraConfig(
            task_type="CAUSAL_LM",
            base_model_name_or_path=str(base),
            inference_mode=True,
            r=rank,
            lora_alpha=rank,
            lora_dropout=dropout,
            target_modules=sorted({module for module, _ in self.pairs}),
            modules_to_save=sorted(self.modules_to_save) or None,
            fan_in_fan_out=fan_in_fan_out,
        ).save_pretrained(folder)


def low_rank_of(folder: Path) -> LowRank | None:
    """The change that all adapters from a folder down to the whole model make together; None for a folder without an
    adapter.

    Raises ``ModelError`` if they are more than low-rank updates, so that one adapter could not hold them.
    """
    from peft import PeftConfig
    from peft.utils.save_and_load import load_peft_weights

    together = None
    for adapter in with_bases(folder)[1:]:
        try:
            config, state = PeftConfig.from_pretrained(adapter), load_peft_weights(adapter, device="cpu")
        except Exception as error:  # a dozen kinds, all of which mean: it cannot be read
            raise ModelError(f"{adapter} is an adapter that cannot be read ({one_line(error)})") from error
        one = low_rank(state, config, str(adapter))
        together = together.under(one, str(adapter)) if together else one
    return together


def low_rank(state: "dict[str, torch.Tensor]", config: "PeftConfig", name: str) -> LowRank:
    """The update made by an adapter's weights, named as in its file. Raises ``ModelError`` if it is no plain LoRA."""
    if config.peft_type != "LORA":
        raise _not_one(name, f"it is of the kind {config.peft_type}")
    _check_plain(config, name)
    halves, saved = {}, {}
    for key, tensor in state.items():
        match = _LOW_RANK.fullmatch(key.removeprefix(PREFIX))
        if match is None:
            saved[key.removeprefix(PREFIX)] = tensor
        elif tensor.dim() != 2:
            raise _not_one(name, f"{match['module']} is no linear layer")
        else:
            halves.setdefault((match["module"], match["kind"]), {})[match["part"]] = tensor.float()
    for (module, _), half in halves.items():
        if len(half) < 2:
            raise ModelError(
                f"{name}: the adapter has one of the two matrices of {module} alone; get the whole adapter"
            )
    pairs = {key: (half["A"], half["B"] * _scaling(config, key[0], len(half["A"]))) for key, half in halves.items()}
    return LowRank(pairs, saved, frozenset(config.modules_to_save or ()))


def _check_plain(config: "LoraConfig", name: str) -> None:
    """Raises ``ModelError`` if a setting makes more of a LoRA than the product of its two matrices."""
    plain = type(config)()
    for setting in fields(config):
        value = getattr(config, setting.name)
        usual = value == getattr(plain, setting.name) or not value
        if setting.name == "init_lora_weights":
            usual = value in _PLAIN_STARTS
        if not usual and setting.name not in _ACCOUNTED_FOR:
            raise _not_one(name, f"it has {setting.name}={value!r}")


def _scaling(config: "LoraConfig", module: str, rank: int) -> float:
    from peft.utils.other import get_pattern_key

    patterns = config.alpha_pattern or {}
    alpha = patterns.get(get_pattern_key(list(patterns), module), config.lora_alpha)
    return alpha / math.sqrt(rank) if config.use_rslora else alpha / rank


def _not_one(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} and an adapter trained on it cannot be kept as one adapter ({why}); merge what is trained on it, with "
        "clm.lora.merge=true or sft.lora.merge=true"
    )
