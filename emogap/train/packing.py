"""Documents that share a row and must not attend to each other: whether a model keeps them apart, and what is done if
not.

A row's ``position_ids`` restart at 0 where a document begins. Many architectures derive an attention mask from that.
Others ignore it, in all layers or in some, and would be trained and measured on documents that see each other. So each
training tries it on one of its rows before the first step.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer

from emogap.device import is_out_of_memory
from emogap.errors import ModelError, one_line
from emogap.lm.own_numbers import architecture, not_causal
from emogap.train.rows import IGNORED, WORDS, bounds

Batch = Mapping[str, Any]
Document = tuple[int, int, int]
"""Row, begin and end in a batch."""

SAME = 1e-4
"""How far the logits of two forward passes of equal shape may differ, as a share of their standard deviation."""
ALIKE = 1e-3
"""The same for different shapes, whose sums are rounded differently; a wrong position makes a far larger difference."""


@dataclass(frozen=True)
class InRowsOfTheirOwn:
    """A collator that gives each document of a shared row a padded row of its own: the same tokens, more rows."""

    collate: Callable[[list], Batch]
    fill: int
    """The token that fills up a row; it is masked and not learnt."""

    def __call__(self, rows: list) -> Batch:
        batch = self.collate(rows)
        if "position_ids" not in batch:
            return batch
        counted = {WORDS: batch[WORDS]} if WORDS in batch else {}
        return {**in_rows_of_their_own(batch, self.fill), **counted}


def in_rows_of_their_own(batch: Batch, fill: int) -> Batch:
    """``input_ids``, ``labels`` and ``attention_mask``, each (documents, tokens of the longest)."""
    parts = documents(batch["position_ids"])

    def rows(values: torch.Tensor, value: int) -> torch.Tensor:
        return pad_sequence([values[row, begin:end] for row, begin, end in parts], True, value)

    ids, labels = batch["input_ids"], batch["labels"]
    return {
        "input_ids": rows(ids, fill), "labels": rows(labels, IGNORED), "attention_mask": rows(torch.ones_like(ids), 0),
    }  # fmt: skip


def documents(positions: torch.Tensor) -> list[Document]:
    """Where the documents of a batch lie. ``positions``: (rows, tokens), 0 where a document begins."""
    return [(row, *bound) for row, places in enumerate(positions.tolist()) for bound in bounds(places)]


def keep_apart(trainer: Trainer, name: str, remedy: str) -> None:
    """Make sure that documents which share a row do not see each other, in training and in validation.

    A model that does not keep them apart by itself is given each in a padded row of its own. Raises ``ModelError`` with
    the ``remedy`` if even then a document's logits are not those that it has alone.
    """
    batch = _shared(trainer)
    if batch is None or _keeps_apart(trainer, batch):
        return
    model, tokenizer = architecture(trainer.model), trainer.processing_class
    fill = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    try:
        alike = _alike_when_padded(trainer, batch, fill)
    except Exception as error:
        _raise_if_memory(error)
        raise ModelError(f"{name}: {model} reads no padded rows ({one_line(error)}); {remedy}") from error
    if not alike:
        raise ModelError(f"{name}: {model} does not keep the documents of a batch apart, even in padded rows; {remedy}")
    trainer.data_collator = InRowsOfTheirOwn(trainer.data_collator, fill)
    if trainer.is_world_process_zero():
        print(f"{name}: {model} does not tell documents of one row apart; each is read in a padded row of its own")


def see_only_what_precedes(trainer: Trainer, name: str, text: list[int], remedy: str) -> None:
    """Check, on the tokens of the longest ``text``, that the model can read it and that its attention is causal.

    Raises ``ModelError`` if it cannot, if its loss is not finite, or if its logits depend on later tokens.
    """
    model, batch = architecture(trainer.model), {"input_ids": torch.tensor([text])}
    try:
        logits = _logits(trainer, batch)
        loss = trainer.compute_loss_func({"logits": logits}, batch["input_ids"].to(logits.device)).item()
    except Exception as error:
        _raise_if_memory(error)
        raise ModelError(f"{name}: {model} does not read {len(text):,} tokens ({one_line(error)}); {remedy}") from error
    if not math.isfinite(loss):
        raise ModelError(f"{name}: its parent's loss is {loss} before the first step; get that model's weights anew")
    half = len(text) // 2
    changed = _changed(trainer, batch, 0, slice(half, None))
    if not _differ(_logits(trainer, changed)[0, :half], logits[0, :half]) <= SAME:
        raise not_causal(trainer.model, name)


def _shared(trainer: Trainer) -> Batch | None:
    """A batch, as collated for the model, in which documents share a row; None if there is none in all the data."""
    for rows in (trainer.train_dataset, trainer.eval_dataset):
        for at in range(len(rows)):
            batch = trainer.data_collator([rows[i] for i in range(at, min(at + 2, len(rows)))])
            if "position_ids" not in batch:
                return None
            if _last(batch):
                return batch
    return None


def _last(batch: Batch) -> Document | None:
    """The last document that does not begin its row."""
    return next((found for found in reversed(documents(batch["position_ids"])) if found[1] > 0), None)


def _keeps_apart(trainer: Trainer, batch: Batch) -> bool:
    """Whether the logits of a document are those that it has alone, and the same whatever stands before it."""
    row, begin, end = _last(batch)
    try:
        logits = _logits(trainer, batch)[row, begin:end]
        behind_others = _logits(trainer, _changed(trainer, batch, row, slice(0, begin)))[row, begin:end]
    except Exception as error:  # the model takes no positions, or not as many tokens at once
        _raise_if_memory(error)
        return False
    return _differ(behind_others, logits) <= SAME and _differ(logits, _alone(trainer, batch)) <= ALIKE


def _alike_when_padded(trainer: Trainer, batch: Batch, fill: int) -> bool:
    at = documents(batch["position_ids"]).index(_last(batch))
    alone = _alone(trainer, batch)
    return _differ(_logits(trainer, in_rows_of_their_own(batch, fill))[at, : len(alone)], alone) <= ALIKE


def _alone(trainer: Trainer, batch: Batch) -> torch.Tensor:
    row, begin, end = _last(batch)
    return _logits(trainer, {"input_ids": batch["input_ids"][row : row + 1, begin:end]})[0]


def _changed(trainer: Trainer, batch: Batch, row: int, where: slice) -> Batch:
    """The batch with other tokens in a part of a row."""
    ids = batch["input_ids"].clone()
    ids[row, where] = (ids[row, where] + 1) % trainer.model.get_input_embeddings().weight.shape[0]
    return {**batch, "input_ids": ids}


def _logits(trainer: Trainer, batch: Batch) -> torch.Tensor:
    """(rows, tokens, vocabulary), without dropout."""
    beside = ("labels", WORDS)
    given = trainer._prepare_inputs({name: values for name, values in batch.items() if name not in beside})
    trainer.model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        return trainer.model(**given).logits.float()


def _differ(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.std()).item()


def _raise_if_memory(error: Exception) -> None:
    if is_out_of_memory(error):
        raise error
