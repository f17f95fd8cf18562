"""What tables of accuracies have in common: a share with its interval, models against their bases."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emogap.errors import InputError
from emogap.store.views import View
from emogap.text.statistics import holm, wilson_interval

if TYPE_CHECKING:
    import pandas as pd


DIFFERENCES = View({"difference": 2, "low": 2, "high": 2})
"""How tables of models against their bases are shown."""


def accuracy(values: "pd.Series") -> dict[str, float]:
    """accuracy, low, high in percent: the mean of values between 0 and 1, and the ends of Wilson's interval."""
    low, high = wilson_interval(values.sum(), len(values))
    return {"accuracy": 100 * values.mean(), "low": 100 * low, "high": 100 * high}


def against_bases(
    values: "pd.DataFrame",
    bases: Mapping[str, str],
    keys: list[str],
    compare: Callable[["pd.Series", "pd.Series"], Iterable[dict[str, Any]]],
    columns: Sequence[str],
) -> "pd.DataFrame":
    """model, base, what ``compare`` says of the base's and the model's values (``columns``, ``p`` among them), p_holm.

    ``values``: model, keys, value; both series are indexed by the keys. ``bases``: model → base; a model that is its
    own base is compared with nothing. ``p_holm`` is corrected over all rows of the table.
    Raises ``InputError`` if a model and its base were measured on different items.
    """
    import pandas as pd

    wide = values.pivot(index=keys, columns="model", values="value")
    if wide.isna().any(axis=None):
        raise InputError("the models were scored on different items; score them in one call, or on the same list")
    rows = [
        {"model": model, "base": bases[model]} | row
        for model in dict.fromkeys(values["model"])
        if bases[model] != model
        for row in compare(wide[bases[model]], wide[model])
    ]
    table = pd.DataFrame(rows, columns=["model", "base", *columns])
    return table.assign(p_holm=holm(table["p"]))
