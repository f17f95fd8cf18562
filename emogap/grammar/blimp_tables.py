"""Accuracies on minimal pairs, and how a model's differ from its control's and its base's over the same pairs.

Tables are made from whether each pair was decided rightly: columns model, train_seed, item (``<UID>/<pair_id>``), group
(the phenomenon), value (0, 0.5 for a tie, 1). Percentages and percentage points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from emogap.errors import InputError
from emogap.grammar import tasks
from emogap.published import published
from emogap.store.views import told_apart
from emogap.text import statistics
from emogap.text.forms import Form, Name, Number, read_forms
from emogap.text.reading import given_file
from emogap.train.models import Comparison

ALL, MEAN, PARADIGMS_MEAN = "all pairs", "mean of phenomena", "mean of paradigms"
PUBLISHED_ITEMS = 57_812


def correct_pairs(scores: pd.DataFrame) -> pd.DataFrame:
    """model, train_seed, item, group, value of the rows that say whether a pair was decided rightly."""
    columns = ["model", "train_seed", "item", "group", "value"]
    correct = scores.loc[scores["metric"] == "correct", columns].reset_index(drop=True)
    return correct.assign(group=correct["group"].map(_group_name))


def by_paradigm(correct: pd.DataFrame) -> pd.DataFrame:
    """The same with each pair's paradigm for a group."""
    return correct.assign(group=correct["item"].str.rsplit("/", n=1).str[0].map(_group_name))


def _group_name(group: str) -> str:
    """People's own sets name their phenomena and paradigms; the rows about all of them stand beside."""
    return told_apart(group, (ALL, MEAN, PARADIGMS_MEAN, "ties"), "of the pairs")


def accuracies(correct: pd.DataFrame) -> pd.DataFrame:
    """A row a model and group: pairs, paradigms, ties (of a seed, on average), accuracy over the pairs with its
    interval, mean of paradigms.

    Two rows more for each model: all pairs together, and the unweighted mean over the groups. Intervals: see
    ``statistics``; that of the mean joins those of the groups.
    """
    rows = []
    for model, of_model in correct.groupby("model", sort=False):
        groups = dict(list(of_model.groupby("group", sort=True)))
        parts = {group: tasks.array(part) for group, part in groups.items()}
        rows += [_accuracy_row(model, group, groups[group], values) for group, values in parts.items()]
        rows.append(_accuracy_row(model, ALL, of_model, np.concatenate(list(parts.values()))))
        rows.append(_mean_row(model, of_model, list(parts.values())))
    return statistics.without_spreads(pd.DataFrame(rows))


def _accuracy_row(model: str, group: str, part: pd.DataFrame, values: np.ndarray) -> dict[str, Any]:
    paradigms = by_paradigm(part).groupby("group")["value"].mean()
    return _counts(model, group, len(values), len(paradigms), part) | tasks.accuracy(values) | {
        "mean_of_paradigms": 100 * paradigms.mean(),
    }  # fmt: skip


def _mean_row(model: str, part: pd.DataFrame, groups: list[np.ndarray]) -> dict[str, Any]:
    low, high = statistics.mean_share_interval(groups)
    paradigms = by_paradigm(part).assign(phenomenon=part["group"]).groupby(["phenomenon", "group"])["value"].mean()
    return _counts(model, MEAN, sum(map(len, groups)), len(paradigms), part) | {
        "accuracy": 100 * np.mean([values.mean() for values in groups]), "low": 100 * low, "high": 100 * high,
        "mean_of_paradigms": 100 * paradigms.groupby("phenomenon").mean().mean(),
    }  # fmt: skip


def _counts(model: str, group: str, pairs: int, paradigms: int, part: pd.DataFrame) -> dict[str, Any]:
    ties = _whole((part["value"] == 0.5).sum() / part["train_seed"].nunique())
    return {"model": model, "group": group, "pairs": pairs, "paradigms": paradigms, "ties": ties}


def _whole(number: float) -> float:
    return int(number) if number == int(number) else float(number)


def differences(correct: pd.DataFrame, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Models against each other over the same pairs: comparison, model, against, group, pairs, gained, lost,
    difference, low, high, p, p_holm; all pairs together and the mean over the groups below the groups (see
    ``tasks.compared_values``).

    ``gained``: pairs that the model decides rightly and the other does not, ties as halves, on average over seeds.
    """
    columns = ("group", "pairs", "gained", "lost", "difference", "low", "high", "sd_prompts", "sd_seeds", "p")
    return tasks.compared_values(correct, comparisons, ["group", "item"], _changes, columns)


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    old, groups = dict(list(before.groupby("group"))), {}
    for group, new in after.groupby("group", sort=True):
        items = pd.MultiIndex.from_arrays([new["item"].unique()], names=["item"])
        groups[group] = tasks.array(new, items), tasks.array(old[group], items)
    everything = tuple(np.concatenate(values) for values in zip(*groups.values(), strict=True))
    parts = {group: _gains(*pair) | tasks.difference(*pair) for group, pair in (groups | {ALL: everything}).items()}
    parts[MEAN] = _gains(*everything) | _mean_difference(list(groups.values()))
    return [{"group": group} | part for group, part in parts.items()]


def _gains(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    change = after - before.swapaxes(1, 2)  # every seed of the one against every seed of the other
    gained, lost = (np.maximum(sign * change, 0).mean(axis=(1, 2)).sum() for sign in (1, -1))
    return {"pairs": len(change), "gained": gained, "lost": lost}


def _mean_difference(groups: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Unweighted mean of the groups' differences."""
    low, high = statistics.mean_paired_interval(groups)
    mean = np.mean([after.mean() - before.mean() for after, before in groups])
    p = statistics.mean_paired_p(groups)
    return {"difference": 100 * mean, "low": 100 * low, "high": 100 * high, "p": p}


class _Published(Form):
    """An accuracy on a phenomenon, as a share or in percent."""

    needs = "a published accuracy has model, phenomenon and accuracy"

    model: Name
    phenomenon: Name
    accuracy: Annotated[Number, Field(ge=0, le=100)]


def published_accuracies(file: Path | None = None) -> pd.DataFrame:
    """model, group, published (percent): from a CSV (model, phenomenon, accuracy), else those the project knows.

    The published repository's names of models are read as this project's (``gpt2-babylm-instruction`` is
    ``gpt2-baby-instr``). Raises ``MissingInput`` or ``InputError``.
    """
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


def beside_published(accuracies: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """model, phenomenon, pairs, accuracy, low, high, published, difference: where both have a number, and the mean."""
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
