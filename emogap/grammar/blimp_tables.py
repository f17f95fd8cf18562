"""Accuracies on minimal pairs, and how a model's differ from its control's and its base's over the same pairs.

Tables are made from whether each pair was decided rightly: columns model, item (``<UID>/<pair_id>``), group (the
phenomenon), value (0, 0.5 for a tie, 1). Percentages and percentage points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from emogap.errors import InputError
from emogap.grammar import task_tables
from emogap.published import published
from emogap.store.views import told_apart
from emogap.text.forms import Form, Name, Number, read_forms
from emogap.text.reading import given_file
from emogap.text.statistics import Z
from emogap.train.models import Comparison

if TYPE_CHECKING:
    import pandas as pd

ALL, MEAN, PARADIGMS_MEAN = "all pairs", "mean of phenomena", "mean of paradigms"
PUBLISHED_ITEMS = 57_812


def correct_pairs(scores: "pd.DataFrame") -> "pd.DataFrame":
    """model, item, group, value of the rows that say whether a pair was decided rightly."""
    correct = scores.loc[scores["metric"] == "correct", ["model", "item", "group", "value"]].reset_index(drop=True)
    return correct.assign(group=correct["group"].map(_group_name))


def by_paradigm(correct: "pd.DataFrame") -> "pd.DataFrame":
    """The same with each pair's paradigm for a group."""
    return correct.assign(group=correct["item"].str.rsplit("/", n=1).str[0].map(_group_name))


def _group_name(group: str) -> str:
    """People's own sets name their phenomena and paradigms; the rows about all of them stand beside."""
    return told_apart(group, (ALL, MEAN, PARADIGMS_MEAN, "ties"), "of the pairs")


def accuracies(correct: "pd.DataFrame") -> "pd.DataFrame":
    """A row a model and group: pairs, paradigms, ties, accuracy over the pairs with its interval, mean of paradigms.

    Two rows more for each model: all pairs together, and the unweighted mean over the groups. Intervals: Wilson's; of
    the mean over groups the normal one, the variances of the groups' accuracies added.
    """
    import pandas as pd

    rows = []
    for model, of_model in correct.groupby("model", sort=False):
        rows += [_accuracy_row(model, group, part) for group, part in of_model.groupby("group", sort=True)]
        rows.append(_accuracy_row(model, ALL, of_model))
        rows.append(_mean_row(model, of_model))
    return pd.DataFrame(rows)


def _accuracy_row(model: str, group: str, part: "pd.DataFrame") -> dict[str, Any]:
    values, paradigms = part["value"], by_paradigm(part).groupby("group")["value"].mean()
    return {
        "model": model, "group": group, "pairs": len(values), "paradigms": len(paradigms),
        "ties": int((values == 0.5).sum()), **task_tables.accuracy(values),
        "mean_of_paradigms": 100 * paradigms.mean(),
    }  # fmt: skip


def _mean_row(model: str, part: "pd.DataFrame") -> dict[str, Any]:
    groups = part.groupby("group")["value"].agg(["mean", "var", "size"])
    mean = 100 * groups["mean"].mean()
    # A group of one pair has no variance, and then the mean no interval.
    spread = 100 * Z * np.sqrt((groups["var"] / groups["size"]).sum(skipna=False)) / len(groups)
    paradigms = by_paradigm(part).assign(phenomenon=part["group"]).groupby(["phenomenon", "group"])["value"].mean()
    return {
        "model": model, "group": MEAN, "pairs": len(part), "paradigms": len(paradigms),
        "ties": int((part["value"] == 0.5).sum()), "accuracy": mean, "low": mean - spread, "high": mean + spread,
        "mean_of_paradigms": 100 * paradigms.groupby("phenomenon").mean().mean(),
    }  # fmt: skip


def differences(correct: "pd.DataFrame", comparisons: Sequence[Comparison]) -> "pd.DataFrame":
    """Models against each other over the same pairs: comparison, model, against, group, pairs, gained, lost,
    difference, low, high, p, p_holm; all pairs together and the mean over the groups below the groups (see
    ``task_tables.compared_values``).

    ``gained``: pairs that the model decides rightly and the other does not, ties as halves.
    """
    columns = ("group", "pairs", "gained", "lost", "difference", "low", "high", "p")
    return task_tables.compared_values(correct, comparisons, ["group", "item"], _changes, columns)


def _changes(before: "pd.Series", after: "pd.Series") -> list[dict[str, Any]]:
    change = after - before
    groups = {group: values.to_numpy() for group, values in change.groupby(level="group", sort=True)}
    parts = {group: _difference(values) for group, values in groups.items()}
    parts |= {ALL: _difference(change.to_numpy()), MEAN: _mean_difference(list(groups.values()))}
    return [{"group": group} | part for group, part in parts.items()]


def _difference(change: np.ndarray) -> dict[str, Any]:
    centre, variance = _adjusted(change)
    spread = Z * np.sqrt(variance)
    return {
        "pairs": len(change), "gained": change[change > 0].sum(), "lost": abs(change[change < 0].sum()),
        "difference": 100 * change.mean(), "low": 100 * (centre - spread), "high": 100 * (centre + spread),
        "p": exact_p(change),
    }  # fmt: skip


def _adjusted(change: np.ndarray) -> tuple[float, float]:
    """Centre and variance of the interval of a difference of two paired shares (Bonett & Price 2012): one pair more
    gained and one more lost, so that it has a width where no pair changed."""
    total = len(change) + 2
    gained, lost = (change[change > 0].sum() + 1) / total, (1 - change[change < 0].sum()) / total
    return gained - lost, (gained + lost - (gained - lost) ** 2) / total


def _mean_difference(groups: list[np.ndarray]) -> dict[str, Any]:
    """Unweighted mean of the groups' differences. p: the two models' values exchanged within pairs at random, by the
    normal approximation."""
    from scipy.stats import norm

    change = np.concatenate(groups)
    mean = np.mean([values.mean() for values in groups])
    spread = Z * np.sqrt(sum(_adjusted(values)[1] for values in groups)) / len(groups)
    under_null = np.sqrt(sum((values**2).sum() / len(values) ** 2 for values in groups)) / len(groups)
    return {
        "pairs": len(change), "gained": change[change > 0].sum(), "lost": abs(change[change < 0].sum()),
        "difference": 100 * mean, "low": 100 * (mean - spread), "high": 100 * (mean + spread),
        "p": 2 * float(norm.sf(abs(mean) / under_null)) if under_null else 1.0,
    }  # fmt: skip


def exact_p(change: np.ndarray) -> float:
    """Two-sided p that two models differ, the sign of every pair's change drawn anew: all draws, exactly.

    ``change``: -1, -0.5, 0, 0.5 or 1 a pair. Without ties this is McNemar's exact test.
    """
    from scipy.stats import binom

    halves = np.rint(2 * np.abs(change)).astype(int)
    ones, twos = int((halves == 1).sum()), int((halves == 2).sum())
    # The sum of the changes in halves: a pair that a tie changed moves it by 1, any other by 2.
    of_twos = np.zeros(2 * twos + 1)
    of_twos[::2] = binom.pmf(np.arange(twos + 1), twos, 0.5)
    chances = np.convolve(binom.pmf(np.arange(ones + 1), ones, 0.5), of_twos)
    sums = 2 * np.arange(len(chances)) - ones - 2 * twos
    return float(min(1.0, chances[np.abs(sums) >= abs(round(2 * change.sum()))].sum()))


class _Published(Form):
    """An accuracy on a phenomenon, as a share or in percent."""

    needs = "a published accuracy has model, phenomenon and accuracy"

    model: Name
    phenomenon: Name
    accuracy: Annotated[Number, Field(ge=0, le=100)]


def published_accuracies(file: Path | None = None) -> "pd.DataFrame":
    """model, group, published (percent): from a CSV (model, phenomenon, accuracy), else those the project knows.

    The published repository's names of models are read as this project's (``gpt2-babylm-instruction`` is
    ``gpt2-baby-instr``). Raises ``MissingInput`` or ``InputError``.
    """
    import pandas as pd

    if file is None:
        known = published("blimp").frame().melt("phenomenon", var_name="model", value_name="published")
        return known.rename(columns={"phenomenon": "group"})
    given_file(file, "published accuracies", "give a CSV with model, phenomenon, accuracy")
    records = read_forms(file, _Published)
    if not records:
        raise InputError(f"{file} has no accuracy; it must have rows of model, phenomenon, accuracy")
    # Shares, unless one of them can only be a percentage.
    scale = 100 if max(given.accuracy for _, given in records) <= 1 else 1
    seen: dict[tuple[str, str], float] = {}
    for where, given in records:
        key = (given.model.replace("-babylm", "-baby").replace("-instruction", "-instr"), given.phenomenon)
        if key in seen:
            raise InputError(f"{where}: {', '.join(key)} stands twice; keep one of the two")
        seen[key] = given.accuracy * scale
    return pd.DataFrame([(*key, value) for key, value in seen.items()], columns=["model", "group", "published"])


def beside_published(accuracies: "pd.DataFrame", known: "pd.DataFrame") -> "pd.DataFrame":
    """model, phenomenon, pairs, accuracy, low, high, published, difference: where both have a number, and the mean."""
    import pandas as pd

    known = known[known["group"] != MEAN]
    means = known.groupby("model", as_index=False)["published"].mean().assign(group=MEAN)
    columns = ["model", "group", "pairs", "accuracy", "low", "high"]
    table = accuracies[columns].merge(pd.concat([known, means]), on=["model", "group"])
    return table.assign(difference=table["accuracy"] - table["published"]).rename(columns={"group": "phenomenon"})


def what_differs(pairs: int) -> str:
    """The sentence that stands wherever own and published accuracies are put beside each other."""
    return (
        f"The published accuracies are those of BabyLM 2023's filtered items ({PUBLISHED_ITEMS:,} pairs), ours those "
        f"of {pairs:,} pairs; another list of items gives other numbers."
    )
