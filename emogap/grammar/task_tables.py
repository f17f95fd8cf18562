"""What tables of accuracies have in common: a share with its interval, models against their controls and bases."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emogap.errors import InputError
from emogap.store.views import View
from emogap.text import statistics
from emogap.train.models import Comparison

if TYPE_CHECKING:
    import pandas as pd


DIFFERENCES = View({"difference": 2, "low": 2, "high": 2, "sd_prompts": 2, "sd_seeds": 2})
"""How tables of models against each other are shown."""


def array(values: "pd.DataFrame", items: "pd.MultiIndex | None" = None) -> np.ndarray:
    """Values of one model, one row an item, training seed and sample: item, train_seed, value → shape (items, seeds,
    samples)."""
    return statistics.by_prompt(values, ["value"], ["item"], items)[0]


def seeds(values: "pd.DataFrame") -> int:
    """How many training seeds the model with the most of them has."""
    return int(values.groupby("model")["train_seed"].nunique().max())


def accuracy(values: np.ndarray) -> dict[str, float]:
    """accuracy, low, high in percent: the mean of values between 0 and 1, shape (items, seeds, samples), with its
    interval, and how far items and seeds spread around it, sd_prompts and sd_seeds."""
    names = ("accuracy", "low", "high", "sd_prompts", "sd_seeds")
    numbers = (statistics.centre(values), *statistics.share_interval(values), *statistics.spreads(values))
    return {name: 100 * float(number) for name, number in zip(names, numbers, strict=True)}


def difference(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """The same of a difference over the same items, with the paired test's p."""
    changes = statistics.paired_changes(after, before)
    numbers = {name: 100 * float(number) for name, number in changes.items()}
    return {"difference": numbers.pop("change"), **numbers, "p": statistics.paired_p(after, before)}


def compared_values(
    values: "pd.DataFrame",
    comparisons: Sequence[Comparison],
    keys: list[str],
    compare: Callable[["pd.DataFrame", "pd.DataFrame"], Iterable[dict[str, Any]]],
    columns: Sequence[str],
) -> "pd.DataFrame":
    """comparison, model, against, what ``compare`` says of the other's and the model's rows (``columns``, ``p`` among
    them), p_holm.

    ``values``: model, train_seed, keys, value. ``p_holm`` is corrected over all rows of a kind of comparison. Raises
    ``InputError`` if models were measured on different items.
    """
    import pandas as pd

    items = values[["model", "train_seed", *keys]].drop_duplicates()
    if (items.groupby(["model", "train_seed"]).size() != len(items[keys].drop_duplicates())).any():
        raise InputError("the models were scored on different items; score them in one call, or on the same list")
    of_model = dict(list(values.groupby("model", sort=False)))
    rows = [
        {"comparison": pair.kind, "model": pair.model, "against": pair.other} | row
        for pair in comparisons
        for row in compare(of_model[pair.other], of_model[pair.model])
    ]
    table = pd.DataFrame(rows, columns=["comparison", "model", "against", *columns])
    return statistics.without_spreads(table.assign(p_holm=statistics.holm_by(table["comparison"], table["p"])))
