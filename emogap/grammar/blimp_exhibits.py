"""The report's tables and figures about grammar, drawn from tables of scores alone."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from emogap.config import Config
from emogap.grammar import blimp_tables
from emogap.grammar.blimp import BLIMP
from emogap.grammar.tasks import DIFFERENCES, Measured, seeds
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View, cells
from emogap.text.statistics import INTERVALS_RULE, what_is_drawn
from emogap.train.models import CORRECTED, NO_TRAINED, compared, separated

_ORDERS = {"phenomenon": 70, "paradigm": 74}
_BESIDE = View({"": 2})
_TESTS = f"exact paired test over the pairs, p also corrected {CORRECTED}"


def blimp_drawing(config: Config) -> Drawing:
    """The study's: every model it measures, each against its controls and its base."""
    settings, shown = config.flat("blimp", "paradigms"), partial(_of_study, config)
    folder, lead, inputs = config.home.evaluation, "tables/blimp_accuracy", BLIMP.tables(config)
    return drawing(folder, "blimp", lead, inputs, shown, settings, optional=["tables/blimp_accuracy_numbers"],
                   rules=INTERVALS_RULE)  # fmt: skip


def _of_study(config: Config) -> Iterator[Shown]:
    found = BLIMP.of_study(config)
    yield from blimp_exhibits(config, found)
    if not found.comparisons:
        yield from _no_differences(blimp_tables.differences(blimp_tables.correct_pairs(found.scores), ()))


def _no_differences(table: pd.DataFrame) -> Iterator[Shown]:
    """Bases alone: said in the place of the differences, which the report and the notebook show."""
    from emogap.grammar.figures import differences_figure

    name, order = "blimp_differences", _ORDERS["phenomenon"] + 2
    yield Exhibit(name, "table", f"{NO_TRAINED}.", order), table.rename(columns={"group": "phenomenon"})
    yield Exhibit(name, "figure", f"{NO_TRAINED}.", order, alt=NO_TRAINED), differences_figure(table, [])


def blimp_exhibits(config: Config, found: Measured, published: Path | None = None) -> Iterator[Shown]:
    """Tables and figures of any scores."""
    correct = blimp_tables.correct_pairs(found.scores)
    accuracies = blimp_tables.accuracies(correct)
    drawn = what_is_drawn(seeds(correct), "pairs")
    yield _accuracies(accuracies, "phenomenon", drawn)
    yield from _differences(correct, found, "phenomenon")
    if config.blimp.paradigms:
        correct = blimp_tables.by_paradigm(correct)
        yield _accuracies(blimp_tables.accuracies(correct), "paradigm", drawn)
        yield from _differences(correct, found, "paradigm")
    yield from _beside_published(accuracies, published)


def _accuracies(accuracies: pd.DataFrame, group: str, drawn: str) -> Shown:
    """Seen: a row a group, a column a model, ``84.0 [82.1, 85.9]``; below them the number of ties."""
    caption = (
        "Accuracy on minimal pairs in percent: the share of pairs whose grammatical sentence is the likelier one; ties "
        f"count one half. 95 % intervals (Wilson's) {drawn}."
    )
    known = BLIMP.name if group == "phenomenon" else None
    digits = {"accuracy": ".1f", "low": ".0f", "high": ".0f"}
    view = View(digits, (group, "pairs"), "model", ("accuracy",), below=("ties", blimp_tables.ALL))
    exhibit = Exhibit(f"blimp_accuracy{_ending(group)}", "table", caption, _ORDERS[group], published=known, view=view)
    return exhibit, _renamed(accuracies, group).rename(columns={"group": group})


def _differences(correct: pd.DataFrame, found: Measured, group: str) -> Iterator[Shown]:
    from emogap.grammar.figures import differences_figure

    table = _renamed(blimp_tables.differences(correct, found.comparisons), group)
    if table.empty:
        return
    name, order = f"blimp_differences{_ending(group)}", _ORDERS[group]
    what, unless = compared(found.comparisons), separated(found.comparisons)
    drawn = what_is_drawn(seeds(correct), "pairs")
    ends = f"95 % intervals (Newcombe's, paired) {drawn}"
    caption = f"Difference in accuracy over the same pairs, in percentage points. {what}; {ends}; {_TESTS}.{unless}"
    yield Exhibit(name, "table", caption, order + 2, view=DIFFERENCES), table.rename(columns={"group": group})
    caption = f"Differences in accuracy on minimal pairs, by {group}; {ends}. {what}.{unless}"
    alt = f"a panel a kind of comparison; for each {group}, points with intervals around a zero line"
    figure = differences_figure(table, found.bases)
    yield Exhibit(name, "figure", caption, order + 2, alt=alt), figure


def _beside_published(accuracies: pd.DataFrame, file: Path | None) -> Iterator[Shown]:
    """Only where a model of that name was published."""
    table = blimp_tables.beside_published(accuracies, blimp_tables.published_accuracies(file))
    if not table.empty:
        caption = "Beside the published accuracies, in percent. " + blimp_tables.what_differs(int(table["pairs"].max()))
        yield Exhibit("blimp_beside_published", "table", caption, 73, view=_BESIDE), table


def _renamed(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """The mean over the groups is called after what the groups are."""
    if group == "phenomenon":
        return table
    return table.replace({"group": {blimp_tables.MEAN: blimp_tables.PARADIGMS_MEAN}})


def _ending(group: str) -> str:
    return "" if group == "phenomenon" else "_paradigms"


def printed(config: Config, found: Measured, published: Path | None = None) -> str:
    """What the command line shows: accuracies side by side, ties, and what changed from the base over all pairs."""
    correct = blimp_tables.correct_pairs(found.scores)
    accuracies = blimp_tables.accuracies(correct)
    drawn = what_is_drawn(seeds(correct), "pairs")
    exhibit, table = _accuracies(accuracies, "phenomenon", drawn)
    parts = [cells(table, exhibit.view).to_string(index=False)]
    changed = blimp_tables.differences(correct, found.comparisons)
    whole = changed[changed["group"].isin([blimp_tables.ALL, blimp_tables.MEAN])]
    tests = changed["comparison"].value_counts()
    for row in whole.itertuples():
        parts.append(
            f"{row.model} - {row.against}, {row.group}: {row.difference:+.2f} points "
            f"[{row.low:+.2f}, {row.high:+.2f}], p = {row.p:.2g} "
            f"({row.p_holm:.2g} corrected for {tests[row.comparison]} comparisons)"
        )
    parts.append(
        f"Accuracy in percent with 95 % intervals {drawn}; a tie counts one half. Empty context of the first token: "
        + ", ".join(dict.fromkeys(found.contexts.values()))
    )
    beside = blimp_tables.beside_published(accuracies, blimp_tables.published_accuracies(published))
    if not beside.empty:
        parts += [cells(beside, _BESIDE).to_string(index=False), blimp_tables.what_differs(int(beside["pairs"].max()))]
    return "\n\n".join(parts)
