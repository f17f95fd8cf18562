"""Accuracy on multiple-choice questions against chance, and which place in the list the answers come from.

Tables are made from scores of the task ``emobench``. The unit is the question: its value is the mean over the orders
in which its choices were listed. Percentages and percentage points.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emogap.grammar import task_tables
from emogap.text.statistics import bootstrap_interval, paired_p
from emogap.train.models import Comparison

if TYPE_CHECKING:
    import pandas as pd

WAYS = {
    "correct": "listed",
    "correct_normalised": "listed, per character",
    "correct_unlisted": "not listed",
    "correct_unlisted_normalised": "not listed, per character",
}
"""Metric → how the question was asked and its choices scored."""
POSITIONS = {"position": "listed", "position_normalised": "listed, per character"}
TASKS = ("EA", "EU-emotion", "EU-cause", "EU-both")
"""In the order in which they are shown."""


def by_question(scores: "pd.DataFrame") -> "pd.DataFrame":
    """model, task, way, qid, value (the question's accuracy), chance.

    ``EU-both`` counts a record of EU as right where emotion and cause are; over orders it is the product of the two
    shares.
    """
    import pandas as pd

    kept = scores[scores["metric"].isin([*WAYS, "choices"])]
    names = kept["item"].str.split("/", n=1, expand=True)
    kept = kept.assign(question=names[0], qid=names[1])
    values = kept.groupby(["model", "question", "qid", "metric"], sort=False)["value"].mean().unstack("metric")
    tables = []
    for metric, way in WAYS.items():
        table = values[[metric, "choices"]].rename(columns={metric: "value"}).reset_index().assign(way=way)
        tables.append(table.assign(chance=1 / table["choices"]))
    single = pd.concat(tables)[["model", "question", "way", "qid", "value", "chance"]]
    understanding = single[single["question"].isin(["EU-emotion", "EU-cause"])]
    both = understanding.groupby(["model", "way", "qid"], sort=False)[["value", "chance"]].prod().reset_index()
    return pd.concat([single, both.assign(question="EU-both")], ignore_index=True).rename(columns={"question": "task"})


def accuracies(questions: "pd.DataFrame") -> "pd.DataFrame":
    """A row a model, task and way: questions, accuracy with its interval (Wilson's, over questions), chance, verdict.

    The verdict is ``at chance`` where the interval holds chance.
    """
    import pandas as pd

    rows = []
    for (model, task, way), part in questions.groupby(["model", "task", "way"], sort=False):
        chance, share = 100 * part["chance"].mean(), task_tables.accuracy(part["value"])
        verdict = "above chance" if share["low"] > chance else "below chance" if share["high"] < chance else "at chance"
        keys = {"model": model, "task": task, "way": way, "questions": len(part)}
        rows.append(keys | share | {"chance": chance, "verdict": verdict})
    return _sorted(pd.DataFrame(rows), ["task", "way"])


def _sorted(table: "pd.DataFrame", by: list[str]) -> "pd.DataFrame":
    """Tasks in their order, ways in theirs."""
    places = {name: place for place, name in enumerate((*TASKS, *WAYS.values()))}
    return table.sort_values(by, key=lambda column: column.map(places), kind="stable", ignore_index=True)


def differences(
    questions: "pd.DataFrame", comparisons: Sequence[Comparison], resamples: int, seed: int
) -> "pd.DataFrame":
    """Models against each other over the same questions: comparison, model, against, task, way, questions, difference,
    low, high, p, p_holm (see ``task_tables.compared_values``)."""

    def compare(before: "pd.Series", after: "pd.Series") -> Iterator[dict[str, Any]]:
        for (task, way), old in before.groupby(level=["task", "way"], sort=True):
            one, other = old.to_numpy(), after.loc[old.index].to_numpy()
            low, high = bootstrap_interval((other - one)[:, None], resamples, seed)
            yield {
                "task": task, "way": way, "questions": len(one), "difference": 100 * (other - one).mean(),
                "low": 100 * low[0], "high": 100 * high[0], "p": paired_p(one, other, resamples, seed),
            }  # fmt: skip

    columns = ("task", "way", "questions", "difference", "low", "high", "p")
    return task_tables.compared_values(questions, comparisons, ["task", "way", "qid"], compare, columns)


def positions(scores: "pd.DataFrame") -> "pd.DataFrame":
    """How often the choice in each place of the list was taken: model, task, way, choices, position, answers, share,
    expected. Every choice stands in every place equally often, so that a model without a bias takes each place as often
    as any other."""
    import pandas as pd

    keys = ["model", "item", "sample"]
    wide = scores[scores["metric"].isin([*POSITIONS, "choices"])].pivot(index=keys, columns="metric", values="value")
    wide = wide.dropna().astype(int).reset_index()
    wide["task"] = wide["item"].str.split("/").str[0]
    rows = []
    for (model, task, count), part in wide.groupby(["model", "task", "choices"], sort=False):
        for metric, way in POSITIONS.items():
            shares = np.bincount(part[metric], minlength=count + 1)[1:] / len(part)
            rows += [
                {"model": model, "task": task, "way": way, "choices": count, "position": place, "answers": len(part),
                 "share": 100 * share, "expected": 100 / count}
                for place, share in enumerate(shares, start=1)
            ]  # fmt: skip
    return _sorted(pd.DataFrame(rows), ["task"])
