"""Accuracies on minimal pairs, and how a model's differ from its control's and its base's over the same pairs.

Tables are made from a frame that says which pairs were decided rightly: columns model, train_seed, item
(``<UID>/<pair_id>``), group (the phenomenon), value (0, 0.5 for a tie, 1). Percentages and percentage points.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from emogap.config import Config
from emogap.errors import InputError
from emogap.grammar import tasks
from emogap.grammar.blimp import BLIMP
from emogap.grammar.tasks import DIFFERENCES, Measured, seeds
from emogap.published import published
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View, cells, distinct_name
from emogap.text import statistics
from emogap.text.forms import Form, Name, Number, read_forms
from emogap.text.reading import given_file
from emogap.text.statistics import INTERVALS_RULE, what_is_sampled
from emogap.train.models import CORRECTED, NO_TRAINED, Comparison, compared, separated

ALL, MEAN, PARADIGMS_MEAN = "all pairs", "mean of phenomena", "mean of paradigms"
PUBLISHED_ITEMS = 57_812


def correct_pairs(scores: pd.DataFrame) -> pd.DataFrame:
    """model, train_seed, item, group, value of the rows that say whether a pair was decided rightly."""
    columns = ["model", "train_seed", "item", "group", "value"]
    correct = scores.loc[scores["metric"] == "correct", columns].reset_index(drop=True)
    return correct.assign(group=correct["group"].map(_group_name))


def by_paradigm(correct: pd.DataFrame) -> pd.DataFrame:
    """``correct`` with each pair's paradigm as the group."""
    return correct.assign(group=correct["item"].str.rsplit("/", n=1).str[0].map(_group_name))


def _group_name(group: str) -> str:
    """The name, changed if it is one of a user's own set that equals the name of a row about all groups."""
    return distinct_name(group, (ALL, MEAN, PARADIGMS_MEAN, "ties"), "of the pairs")


def accuracies(correct: pd.DataFrame) -> pd.DataFrame:
    """One row per model and group: pairs, paradigms, ties (mean over seeds), accuracy over the pairs with its interval,
    mean of paradigms.

    Each model has two further rows: all pairs together, and the unweighted mean over the groups. Intervals: see
    ``statistics``; that of the mean is made from the variances of the groups.
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
    """Differences between models over the same pairs: comparison, model, against, group, pairs, gained, lost,
    difference, low, high, p, p_holm (see ``tasks.compared_values``). After the groups come all pairs together and the
    mean over the groups.

    ``gained``: pairs that only the model decides rightly, ``lost``: only the other; ties as halves, means over seeds.
    """
    columns = ("group", "pairs", "gained", "lost", "difference", "low", "high", "sd_prompts", "sd_seeds", "p")
    return tasks.compared_values(correct, comparisons, ["group", "item"], _changes, columns)


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    groups = tasks.paired(before, after, "group")
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
    """model, phenomenon, pairs, accuracy, low, high, published, difference: rows with both numbers, and the mean."""
    known = known[known["group"] != MEAN]
    means = known.groupby("model", as_index=False)["published"].mean().assign(group=MEAN)
    columns = ["model", "group", "pairs", "accuracy", "low", "high"]
    table = accuracies[columns].merge(pd.concat([known, means]), on=["model", "group"])
    return table.assign(difference=table["accuracy"] - table["published"]).rename(columns={"group": "phenomenon"})


def what_differs(pairs: int) -> str:
    """The caveat that is shown wherever own and published accuracies are side by side."""
    return (
        f"The published accuracies are those of BabyLM 2023's filtered items ({PUBLISHED_ITEMS:,} pairs), ours those "
        f"of {pairs:,} pairs; another list of items gives other numbers."
    )


# --- exhibits --------------------------------------------------------------------------------------------------------

_OF = {"phenomenon": ("", 70, MEAN), "paradigm": ("_paradigms", 74, PARADIGMS_MEAN)}
"""Kind of group → suffix of its exhibits' names, their place in the report, name of the mean over the groups."""
_BESIDE = View({"": 2})
_TESTS = f"exact paired test over the pairs, p also corrected {CORRECTED}"


def blimp_drawing(config: Config) -> Drawing:
    """The study's exhibits: every model that it measures, each against its controls and its base."""
    settings, shown = config.flat("blimp", "paradigms"), partial(_of_study, config)
    folder, lead, inputs = config.home.evaluation, "tables/blimp_accuracy", BLIMP.tables(config)
    return drawing(folder, "blimp", lead, inputs, shown, settings, optional=["tables/blimp_accuracy_numbers"],
                   rules=INTERVALS_RULE)  # fmt: skip


def _of_study(config: Config) -> Iterator[Shown]:
    from emogap.grammar.figures import differences_figure

    found = BLIMP.of_study(config)
    yield from blimp_exhibits(config, found)
    if not found.comparisons:  # said in the place of the differences, which the report and the notebook show
        name, said, table = "blimp_differences", f"{NO_TRAINED}.", differences(correct_pairs(found.scores), ())
        yield Exhibit(name, "table", said, 72), table.rename(columns={"group": "phenomenon"})
        yield Exhibit(name, "figure", said, 72, alt=NO_TRAINED), differences_figure(table, [])


def blimp_exhibits(config: Config, found: Measured, published: Path | None = None) -> Iterator[Shown]:
    """Tables and figures of any models' scores."""
    correct = correct_pairs(found.scores)
    yield _accuracies(correct, "phenomenon")
    yield from _differences(correct, found, "phenomenon")
    if config.blimp.paradigms:
        yield _accuracies(by_paradigm(correct), "paradigm")
        yield from _differences(by_paradigm(correct), found, "paradigm")
    table = beside_published(accuracies(correct), published_accuracies(published))
    if not table.empty:  # a model of that name was published
        caption = "Beside the published accuracies, in percent. " + what_differs(int(table["pairs"].max()))
        yield Exhibit("blimp_beside_published", "table", caption, 73, view=_BESIDE), table


def _accuracies(correct: pd.DataFrame, group: str) -> Shown:
    """Shown with one row per group, one column per model (``84.0 [82.1, 85.9]``), and the number of ties below."""
    caption = (
        "Accuracy on minimal pairs in percent: the share of pairs whose grammatical sentence is the likelier one; ties "
        f"count one half. 95 % intervals (Wilson's) {what_is_sampled(seeds(correct), 'pairs')}."
    )
    known = BLIMP.name if group == "phenomenon" else None
    digits = {"accuracy": ".1f", "low": ".0f", "high": ".0f"}
    view = View(digits, (group, "pairs"), "model", ("accuracy",), below=("ties", ALL))
    ending, order, _ = _OF[group]
    exhibit = Exhibit(f"blimp_accuracy{ending}", "table", caption, order, published=known, view=view)
    return exhibit, _named(accuracies(correct), group)


def _differences(correct: pd.DataFrame, found: Measured, group: str) -> Iterator[Shown]:
    from emogap.grammar.figures import differences_figure

    table = _named(differences(correct, found.comparisons), group)
    if table.empty:
        return
    ending, order, _ = _OF[group]
    what, unless = compared(found.comparisons), separated(found.comparisons)
    ends = f"95 % intervals (Newcombe's, paired) {what_is_sampled(seeds(correct), 'pairs')}"
    caption = f"Difference in accuracy over the same pairs, in percentage points. {what}; {ends}; {_TESTS}.{unless}"
    yield Exhibit(f"blimp_differences{ending}", "table", caption, order + 2, view=DIFFERENCES), table
    caption = f"Differences in accuracy on minimal pairs, by {group}; {ends}. {what}.{unless}"
    alt = f"one panel per kind of comparison; for each {group}, points with intervals around a zero line"
    figure = differences_figure(table, found.bases)
    yield Exhibit(f"blimp_differences{ending}", "figure", caption, order + 2, alt=alt), figure


def _named(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """The table with its column ``group``, and the mean over the groups, named after the kind of group."""
    return table.replace({"group": {MEAN: _OF[group][2]}}).rename(columns={"group": group})


def printed(config: Config, found: Measured, published: Path | None = None) -> str:
    """What the command line shows: accuracies side by side, ties, and what changed from the base over all pairs."""
    correct = correct_pairs(found.scores)
    exhibit, table = _accuracies(correct, "phenomenon")
    parts = [cells(table, exhibit.view).to_string(index=False)]
    changed = differences(correct, found.comparisons)
    tests = changed["comparison"].value_counts()
    for row in changed[changed["group"].isin([ALL, MEAN])].itertuples():
        parts.append(tasks.told(row, row.group, f"for {tests[row.comparison]} comparisons"))
    parts.append(
        f"Accuracy in percent with 95 % intervals {what_is_sampled(seeds(correct), 'pairs')}; a tie counts one half. "
        f"Empty context of the first token: {', '.join(dict.fromkeys(found.contexts.values()))}"
    )
    beside = beside_published(accuracies(correct), published_accuracies(published))
    if not beside.empty:
        parts += [cells(beside, _BESIDE).to_string(index=False), what_differs(int(beside["pairs"].max()))]
    return "\n\n".join(parts)
