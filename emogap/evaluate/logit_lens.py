"""The logit lens: what a causal language model would say if it stopped after each layer.

nostalgebraist 2020, "interpreting GPT: the logit lens". The hidden state after each block is read through the model's
own final norm and head. Layer 0 is the embedding, the last layer is the model itself: the hidden state that
transformers returns for it has already passed the final norm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emogap.device import pick_device, pick_dtype
from emogap.errors import ModelError
from emogap.hub import LocalModel

if TYPE_CHECKING:
    import torch

FINAL_NORMS = ("ln_f", "norm", "final_layer_norm", "final_layernorm")
"""What the norm before the head is called in the families of models (GPT-2; Llama and its kin; OPT; Phi, NeoX)."""
POSITIONS_AT_ONCE = 128
"""Positions whose vocabulary-wide distributions are in memory at one time."""
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Reading:
    """What one layer says at one position about the next token. Probabilities in 0 … 1, information in nats."""

    layer: int
    position: int
    token: str
    """The likeliest next token, as text."""
    probability: float
    entropy: float
    kl_to_final: float
    cross_entropy: float
    """Minus the log-probability of the token that does come next."""
    rank: int
    """Place of the token that does come next; 1 is the likeliest."""


class LogitLens:
    """A model opened for reading. Raises ``ModelError`` if its final norm or its head cannot be found."""

    def __init__(self, local: LocalModel, *, device: str = "auto", dtype: str = "fp32"):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.device = pick_device(device)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(local.path)
            model = AutoModelForCausalLM.from_pretrained(local.path, dtype=pick_dtype(self.device, dtype))
        except (OSError, ValueError) as error:
            raise ModelError(f"{local.path} is no causal language model with a tokenizer ({error})") from error
        self.model = model.to(self.device).eval()
        self.head = self.model.get_output_embeddings()
        self.norm = _final_norm(self.model)
        if self.head is None:
            raise ModelError(f"{local.path}: {type(self.model).__name__} has no head that maps to the vocabulary")

    @property
    def layers(self) -> int:
        """Rows of the lens: the embedding and every block."""
        return self.model.config.num_hidden_layers + 1

    def encode(self, text: str) -> "torch.Tensor":
        """Token ids of shape (tokens,)."""
        return self.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids[0].to(self.device)

    def continued(self, ids: "torch.Tensor", new_tokens: int) -> "torch.Tensor":
        """The ids followed by the model's own greedy continuation."""
        import torch

        pad = self.tokenizer.pad_token_id
        with torch.inference_mode():
            return self.model.generate(
                ids[None],
                attention_mask=torch.ones_like(ids[None]),
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
            )[0]

    def token_texts(self, ids: "torch.Tensor") -> list[str]:
        return [self.tokenizer.decode([token]) for token in ids.tolist()]

    def read(self, ids: "torch.Tensor") -> Iterator[Reading]:
        """A reading for every layer and every position that has a next token: ids of shape (tokens,).

        No more than ``POSITIONS_AT_ONCE`` distributions over the vocabulary are held at one time. Raises
        ``ModelError`` if the last layer's reading is not the model's own output.
        """
        import torch

        with torch.inference_mode():
            states = self.model.base_model(input_ids=ids[None], output_hidden_states=True, use_cache=False)
            hidden = states.hidden_states
            self._check(ids, hidden)
            for start in range(0, len(ids) - 1, POSITIONS_AT_ONCE):
                span = slice(start, min(start + POSITIONS_AT_ONCE, len(ids) - 1))
                final = self._log_probabilities(hidden[-1][0, span], is_last=True)
                for layer, state in enumerate(hidden):
                    is_last = layer == len(hidden) - 1
                    here = final if is_last else self._log_probabilities(state[0, span], is_last=False)
                    yield from self._describe(layer, start, here, final, ids[span.start + 1 : span.stop + 1])

    def _log_probabilities(self, states: "torch.Tensor", is_last: bool) -> "torch.Tensor":
        """States (positions, width) → natural-log probabilities (positions, vocabulary), float32."""
        normed = states if is_last else self.norm(states)
        return self.head(normed).float().log_softmax(dim=-1)

    def _check(self, ids: "torch.Tensor", hidden: tuple["torch.Tensor", ...]) -> None:
        """The lens must end in the model's own logits; checked on the last position."""
        own = self.model(input_ids=ids[None], use_cache=False, logits_to_keep=1).logits[0, -1].float()
        ours = self.head(hidden[-1][0, -1:])[0].float()
        error = (own - ours).abs().max().item()
        if len(hidden) != self.layers or error > TOLERANCE * max(1.0, own.abs().max().item()):
            raise ModelError(
                f"{type(self.model).__name__}: the last hidden state read through the head differs from the model's "
                f"logits by {error:.3g}; the lens does not fit this architecture"
            )

    def _describe(
        self, layer: int, start: int, here: "torch.Tensor", final: "torch.Tensor", targets: "torch.Tensor"
    ) -> Iterator[Reading]:
        best = here.max(dim=-1)
        of_target = here.gather(1, targets[:, None])
        columns: dict[str, list[Any]] = {
            "token": [self.tokenizer.decode([token]) for token in best.indices.tolist()],
            "probability": best.values.exp().tolist(),
            "entropy": (-(here.exp() * here).sum(dim=-1)).tolist(),
            "kl_to_final": (final.exp() * (final - here)).sum(dim=-1).tolist(),
            "cross_entropy": (-of_target[:, 0]).tolist(),
            "rank": ((here > of_target).sum(dim=-1) + 1).tolist(),
        }
        for i in range(len(targets)):
            yield Reading(layer, start + i, **{name: values[i] for name, values in columns.items()})


def _final_norm(model: Any) -> Any:
    for name in FINAL_NORMS:
        if hasattr(model.base_model, name):
            return getattr(model.base_model, name)
    raise ModelError(
        f"{type(model).__name__}: no final norm found (looked for {', '.join(FINAL_NORMS)}); "
        "the logit lens reads GPT-2-like and Llama-like models"
    )
