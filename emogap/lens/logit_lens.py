"""The logit lens: what a causal language model would say if it stopped after each layer.

nostalgebraist 2020, "interpreting GPT: the logit lens". The hidden state after each block is read through the model's
own final norm and head. Layer 0 is the embedding, the last layer is the model itself: the hidden state that
transformers returns for it has already passed the final norm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emogap.device import pick_device, pick_dtype
from emogap.errors import InputError, ModelError, one_line
from emogap.lm.attention_reach import context_length, rotary_limit
from emogap.lm.generation import continued, end_ids
from emogap.lm.hub import LocalModel, with_bases
from emogap.lm.loading import load_causal
from emogap.lm.own_numbers import close, holds, probe_texts, reads_head_alone, references

FINAL_NORMS = ("ln_f", "norm", "final_layer_norm", "final_layernorm", "norm_f", "layer_norm")
"""What the norm before the head is called in the families of models (GPT-2, Bloom, Falcon; Llama and its kin; OPT,
NeoX; Phi; MPT; XGLM)."""
ROWS_AT_ONCE, GPU_ROWS_AT_ONCE = 128, 1024
"""Distributions over the vocabulary (layers × positions) that are in memory at one time: on a CPU, and on a GPU, which
the smaller number would leave idle."""
TOLERANCE = 1e-3
"""Largest allowed difference of the last layer's reading from the model's own logits, as a share of the largest."""


@dataclass(frozen=True)
class WordTokens:
    """Weighted word lists as tokens of one vocabulary. Only words that are one token count."""

    names: tuple[str, ...]
    """Of the lists."""
    ids: np.ndarray
    """int64 of shape (tokens,)."""
    weights: np.ndarray
    """float32 of shape (tokens, lists)."""
    covered: tuple[float, ...]
    """Share of each list's weight that is one token in this vocabulary."""


@dataclass(frozen=True)
class Reading:
    """What every layer says at the positions read. Probabilities in 0 … 1, information in nats."""

    positions: np.ndarray
    """int64 of shape (positions,): places in the text, from 0."""
    top_ids: np.ndarray
    """int64 of shape (layers, positions, k): the likeliest next tokens, likeliest first."""
    top_probabilities: np.ndarray
    """float32 of shape (layers, positions, k)."""
    entropy: np.ndarray
    """float32 of shape (layers, positions), as are the next three."""
    kl_to_final: np.ndarray
    """Kullback-Leibler divergence of this layer's distribution from the last layer's."""
    cross_entropy: np.ndarray
    """Minus the log-probability of the token that does come next; NaN where the text ends."""
    rank: np.ndarray
    """Place of the token that does come next, 1 is the likeliest; NaN where the text ends."""
    word_probability: np.ndarray
    """float32 of shape (layers, positions, words)."""
    word_rank: np.ndarray
    """float32 of shape (layers, positions, words)."""
    mass: np.ndarray
    """float32 of shape (layers, positions, lists): the sum of each list's probabilities times their weights."""


class LogitLens:
    """A model loaded for the lens. Raises ``ModelError`` if its architecture does not fit: blocks, a final norm, and a
    head that makes the logits from the norm's output, with nothing after it."""

    together = True
    """Whether texts may go through the model in one batch; else each goes by itself."""

    def __init__(self, local: LocalModel, *, device: str = "auto", dtype: str = "fp32"):
        self.device = pick_device(device)
        self.model, self.tokenizer = load_causal(local.path, device=self.device, dtype=pick_dtype(self.device, dtype))
        self.head = self.model.get_output_embeddings()
        if self.head is None:
            raise ModelError(f"{local.path}: {type(self.model).__name__} has no head that maps to the vocabulary")
        self.norm = final_norm(self.model)
        self._ends = end_ids(with_bases(local.path)[0])
        self._check_fit(local)

    def _check_fit(self, local: LocalModel) -> None:
        """Compare the lens, and batches of texts, with the model's own logits of a few texts."""
        probes = probe_texts(self.model, self.tokenizer)
        texts = [torch.tensor(ids, device=self.device) for ids in probes]
        kind = type(self.model).__name__
        with torch.inference_mode():
            for own in references(self.model, probes, local.path):
                if not holds(lambda: reads_head_alone(self.model, probes[-1])):
                    raise ModelError(
                        f"{local.path}: the logits of a {kind} are not its head's reading of the last hidden state "
                        "alone; the lens does not fit this architecture"
                    )
                try:
                    self.read(texts[-1:], starts=[len(texts[-1]) - 1])
                    _, logits = self._states(torch.nn.utils.rnn.pad_sequence(texts, batch_first=True))
                except ModelError as error:
                    raise ModelError(f"{local.path}: {error}") from error
                except Exception as error:  # of many types, which all mean: another architecture
                    raise ModelError(
                        f"{local.path}: the lens does not fit a {kind} ({one_line(error)}); it reads GPT-2-like and "
                        "Llama-like models"
                    ) from error
                rows = zip(logits.float(), own, strict=True)
                fits = all(close(row[: len(alone)], alone, self.model.dtype) for row, alone in rows)
                self.together = self.together and fits

    @property
    def layers(self) -> int:
        """Rows of the lens: the embedding and every block."""
        return self.model.config.get_text_config().num_hidden_layers + 1

    def encode(self, text: str) -> torch.Tensor:
        """Token ids of shape (tokens,), with the special tokens that the tokenizer itself adds to a text.

        Raises ``InputError`` for a text without a token, or with more than the model can read.
        """
        ids = self.tokenizer(text, return_tensors="pt").input_ids[0].to(self.device)
        limit = context_length(self.model.config)
        if not len(ids):
            raise InputError("the text is empty; give at least one word")
        if limit and len(ids) > limit:
            raise InputError(f"the text has {len(ids):,} tokens, and this model reads {limit:,}; shorten it")
        return ids.long()

    def continued(self, ids: torch.Tensor, new_tokens: int) -> torch.Tensor:
        """The ids and their greedy continuation, up to the first token that the repository's ``generation_config.json``
        (or else its configuration) names as an end of text, and no longer than the model can read. Nothing else that
        ``generation_config.json`` says is used."""
        limit = context_length(self.model.config)
        room = min(new_tokens, limit - len(ids)) if limit else new_tokens
        if room < 1:
            return ids
        # A cache keeps keys rotated as in a short text; beyond ``turn`` tokens all of them must be rotated differently.
        turn = rotary_limit(self.model.config.get_text_config().to_dict())
        cached = turn is None or len(ids) + room <= turn
        new = continued(self.model, ids.tolist(), room, self._ends, cached=cached)
        return torch.cat([ids, ids.new_tensor(new)])

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Each token by itself, as text."""
        return [self.tokenizer.decode([int(token)]) for token in ids]

    def word_token(self, word: str) -> int:
        """The token of ``word``, if possible after a space; the first piece of it if no single token is the word.

        Raises ``InputError`` for a word without a token.
        """
        forms = [self._ids(form) for form in (f" {word}", word)]
        whole = [ids[0] for ids in forms if len(ids) == 1]
        pieces = [token for ids in forms for token in ids if self.tokenizer.decode([token]).strip()]
        if not whole and not pieces:
            raise InputError(f"the word '{word}' has no token; give another")
        return (whole or pieces)[0]

    def word_tokens(self, lists: Mapping[str, Mapping[str, float]]) -> WordTokens:
        """The lists (name → word → weight) as tokens: each word after a space and without it, also capitalised."""
        columns = {name: place for place, name in enumerate(lists)}
        weights: dict[int, np.ndarray] = {}
        covered = []
        for name, words in lists.items():
            found = 0.0
            for word, weight in words.items():
                tokens = self._whole_tokens(word)
                found += weight if tokens else 0.0
                for token in tokens:
                    weights.setdefault(token, np.zeros(len(columns), np.float32))[columns[name]] = weight
            covered.append(found / sum(words.values()))
        ids = np.array(list(weights), dtype=np.int64)
        return WordTokens(tuple(lists), ids, np.stack(list(weights.values())), tuple(covered))

    def _whole_tokens(self, word: str) -> set[int]:
        forms = (f" {word}", word, f" {word.capitalize()}", word.capitalize())
        return {ids[0] for form in forms if len(ids := self._ids(form)) == 1}

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def read(
        self,
        texts: Sequence[torch.Tensor],
        *,
        starts: Sequence[int] | None = None,
        top_k: int = 5,
        words: Sequence[int] = (),
        lists: WordTokens | None = None,
    ) -> list[Reading]:
        """What every layer predicts for each text, at each position from its start to the last.

        ``texts``: ids of shape (tokens,) each; they go through the model in one batch if that gives the same as each
        alone. ``starts``: one per text; 0 if not given. ``words``: tokens whose probability and rank are wanted. At
        most ``ROWS_AT_ONCE`` (``GPU_ROWS_AT_ONCE``) distributions over the vocabulary are in memory at one time, beside
        the model's own logits. Raises ``ModelError`` if the last layer's reading is not the model's own output.
        """
        starts = starts or [0] * len(texts)
        if len(texts) > 1 and not self._fit_together(texts):
            options = {"top_k": top_k, "words": words, "lists": lists}
            return [self.read([ids], starts=[start], **options)[0] for ids, start in zip(texts, starts, strict=True)]
        places = [(i, p) for i, ids in enumerate(texts) for p in range(starts[i], len(ids))]
        # The next tokens; -1 where a text ends.
        written = [ids.tolist() for ids in texts]
        following = [written[i][p + 1] if p + 1 < len(written[i]) else -1 for i, p in places]
        text, position = torch.tensor(places, device=self.device).T
        with torch.inference_mode():
            # The padding follows the text, where a causal model does not see it: no mask is needed.
            hidden, logits = self._states(torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True))
            targets = torch.tensor(following, device=self.device)
            ask = _Question(
                top_k,
                torch.tensor(list(words), dtype=torch.long, device=self.device),
                None if lists is None else torch.from_numpy(lists.ids).to(self.device),
                None if lists is None else torch.from_numpy(lists.weights).to(self.device),
            )
            columns = self._columns(len(places), ask)
            for first in range(0, len(places), self._rows):
                span = slice(first, first + self._rows)
                at = (text[span], position[span])
                states = [state[at] for state in hidden]
                self._read_span(states, logits[at], targets[span], ask, [column[:, span] for column in columns])
        lengths = [len(ids) - start for ids, start in zip(texts, starts, strict=True)]
        cut = [column.cpu().split(lengths, dim=1) for column in columns]
        return [
            Reading(np.arange(start, len(ids)), *(column[i].numpy() for column in cut))
            for i, (ids, start) in enumerate(zip(texts, starts, strict=True))
        ]

    @property
    def _rows(self) -> int:
        return ROWS_AT_ONCE if self.device == "cpu" else GPU_ROWS_AT_ONCE

    def _fit_together(self, texts: Sequence[torch.Tensor]) -> bool:
        turn = rotary_limit(self.model.config.get_text_config().to_dict())
        return self.together and (turn is None or all(len(ids) <= turn for ids in texts))

    def _columns(self, places: int, ask: "_Question") -> list[torch.Tensor]:
        """Empty tensors for the arrays of a ``Reading``, in its order. Results allocated one by one when they are
        computed would lie between the large temporary tensors, whose memory could then not be reused. They stay on the
        model's device until all is read, because each copy from a GPU waits until its work is done."""
        top, words = ask.top_k, len(ask.words)
        lists = 0 if ask.weights is None else ask.weights.shape[1]
        shape = (self.layers, places)
        numbers = [torch.empty(shape, device=self.device) for _ in range(4)]
        rest = [torch.empty((*shape, width), device=self.device) for width in (top, words, words, lists)]
        return [torch.empty((*shape, top), dtype=torch.long, device=self.device), rest[0], *numbers, *rest[1:]]

    def _states(self, ids: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Hidden states (texts, tokens, width) of the embedding and of every block, the last one normed, and the
        model's own logits (texts, tokens, vocabulary)."""
        normed: list[torch.Tensor] = []
        watch = self.norm.register_forward_hook(lambda _module, _inputs, output: normed.append(output))
        try:
            states = self.model(input_ids=ids, output_hidden_states=True, use_cache=False)
        finally:
            watch.remove()
        hidden = states.hidden_states
        if len(hidden) != self.layers or not normed or not torch.equal(normed[-1], hidden[-1]):
            raise ModelError(
                f"{type(self.model).__name__}: the last hidden state is not what the final norm gives; "
                "the lens does not fit this architecture"
            )
        return list(hidden), states.logits

    def _read_span(
        self,
        hidden: list[torch.Tensor],
        logits: torch.Tensor,
        targets: torch.Tensor,
        ask: "_Question",
        columns: list[torch.Tensor],
    ) -> None:
        """Fill in the arrays of a ``Reading`` for some positions; ``hidden``: (positions, width) for each layer."""
        # The last hidden state has passed the norm already.
        normed = torch.stack([*(self.norm(state) for state in hidden[:-1]), hidden[-1]])
        last = self.head(normed[-1]).float()
        self._check(last, logits.float())
        final = last.log_softmax(dim=-1)
        shares = final.exp()
        known = (shares * final).sum(dim=-1)
        step = max(1, self._rows // len(targets))
        # One buffer for all layers: to allocate one each time would be slow and fragment the memory.
        room = torch.empty((2, step, *last.shape), device=last.device)
        for first in range(0, len(hidden), step):
            layers = slice(first, min(first + step, len(hidden)))
            here, spare = room[:, : layers.stop - layers.start]
            torch.log_softmax(self.head(normed[layers]).float(), dim=-1, out=here)
            for column, values in zip(columns, _describe(here, spare, shares, known, targets, ask), strict=True):
                column[layers] = values

    def _check(self, ours: torch.Tensor, own: torch.Tensor) -> None:
        """Raises ``ModelError`` if the last layer's reading is not the model's own logits."""
        error = (own - ours).abs().max().item()
        if not error <= TOLERANCE * max(1.0, own.abs().max().item()):
            raise ModelError(
                f"{type(self.model).__name__}: the last hidden state read through the head differs from the model's "
                f"logits by {error:.3g}; the lens does not fit this architecture"
            )


@dataclass(frozen=True)
class _Question:
    top_k: int
    words: torch.Tensor
    listed: torch.Tensor | None
    weights: torch.Tensor | None


def _describe(
    here: torch.Tensor,
    shares: torch.Tensor,
    final: torch.Tensor,
    final_information: torch.Tensor,
    targets: torch.Tensor,
    ask: _Question,
) -> list[torch.Tensor]:
    """The arrays of a ``Reading`` from log-probabilities of shape (layers, positions, vocabulary).

    ``shares``: a buffer of the same shape, which is overwritten. ``final``: probabilities of the last layer, shape
    (positions, vocabulary); ``final_information``: minus their entropy. ``targets``: the tokens that come
    next, shape (positions,), -1 where the text ends.
    """
    top = here.topk(ask.top_k, dim=-1)
    torch.exp(here, out=shares)
    mass = here.new_zeros((*here.shape[:2], 0)) if ask.listed is None else shares[..., ask.listed] @ ask.weights
    # From here on ``shares`` is only a buffer for intermediate results.
    entropy = -shares.mul_(here).sum(dim=-1)
    kl = final_information - torch.mul(final, here, out=shares).sum(dim=-1)
    of_target = here.gather(-1, targets.clamp(min=0).expand(len(here), -1)[..., None])
    of_words = here[..., ask.words]

    def rank(values: torch.Tensor) -> torch.Tensor:
        # Summing booleans is several times slower than summing floats.
        return torch.gt(here, values, out=shares).sum(dim=-1) + 1

    word_ranks = [rank(of_words[..., i : i + 1]) for i in range(len(ask.words))]
    ends = targets < 0
    return [
        top.indices,
        top.values.exp(),
        entropy,
        kl.clamp(min=0),
        (-of_target[..., 0]).masked_fill(ends, torch.nan),
        rank(of_target).masked_fill(ends, torch.nan),
        of_words.exp(),
        torch.stack(word_ranks, dim=-1) if word_ranks else of_words,
        mass,
    ]


def final_norm(model: Any) -> Any:
    """The norm before a causal language model's head. Raises ``ModelError`` if the model has none of the names in
    ``FINAL_NORMS``."""
    hosts = [model.base_model, getattr(model.base_model, "decoder", None)]
    for host in hosts:
        for name in FINAL_NORMS:
            if getattr(host, name, None) is not None:
                return getattr(host, name)
    raise ModelError(
        f"{type(model).__name__}: no final norm found (looked for {', '.join(FINAL_NORMS)}); "
        "the logit lens reads GPT-2-like and Llama-like models"
    )
