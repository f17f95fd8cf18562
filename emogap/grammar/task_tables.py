"""What tables of accuracies have in common: a share with its interval, models against their controls and bases."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from emogap.errors import InputError
from emogap.store.views import View
from emogap.text.statistics import holm_by, wilson_interval
from emogap.train.models import Comparison

if TYPE_CHECKING:
    import pandas as pd


DIFFERENCES = View({"difference": 2, "low": 2, "high": 2})
"""How tables of models against each other are shown."""


def accuracy(values: "pd.Series") -> dict[str, float]:
    """accuracy, low, high in percent: the mean of values between 0 and 1, and the ends of Wilson's interval."""
    low, high = wilson_interval(values.sum(), len(values))
    return {"accuracy": 100 * values.mean(), "low": 100 * low, "high": 100 * high}


def compared_values(
    values: "pd.DataFrame",
    comparisons: Sequence[Comparison],
    keys: list[str],
    compare: Callable[["pd.Series", "pd.Series"], Iterable[dict[str, Any]]],
    columns: Sequence[str],
) -> "pd.DataFrame":
    """comparison, model, against, what ``compare`` says of the other's and the model's values (``columns``, ``p`` among
    them), p_holm.

    ``values``: model, keys, value; both series are indexed by the keys. ``p_holm`` is corrected over all rows of a kind
    of comparison. Raises ``InputError`` if models were measured on different items.
    """
    import pandas as pd

    wide = values.pivot(index=keys, columns="model", values="value")
    if wide.isna().any(axis=None):
        raise InputError("the models were scored on different items; score them in one call, or on the same list")
    rows = [
        {"comparison": pair.kind, "model": pair.model, "against": pair.other} | row
        for pair in comparisons
        for row in compare(wide[pair.other], wide[pair.model])
    ]
    table = pd.DataFrame(rows, columns=["comparison", "model", "against", *columns])
    return table.assign(p_holm=holm_by(table["comparison"], table["p"]))
