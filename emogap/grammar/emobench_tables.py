"""Accuracy on multiple-choice questions against chance, and which place in the list the answers come from.

Tables are made from scores of the task ``emobench``. The unit is the question; the orders in which its choices were
listed are samples of it. Percentages and percentage points.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from emogap.grammar import tasks
from emogap.text import statistics
from emogap.train.models import Comparison

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


def by_question(scores: pd.DataFrame) -> pd.DataFrame:
    """model, train_seed, task, way, qid, sample (an order of the choices), value (right or not), chance.

    ``EU-both`` counts a record of EU as right where emotion and cause are, in each order of the one and of the other.
    """
    kept = scores[scores["metric"].isin([*WAYS, "choices"])]
    names = kept["item"].str.split("/", n=1, expand=True)
    kept = kept.assign(question=names[0], qid=names[1])
    keys = ["model", "train_seed", "question", "qid", "sample"]
    values = kept.groupby([*keys, "metric"], sort=False)["value"].mean().unstack("metric").reset_index()
    values["chance"] = 1 / values.groupby(["question", "qid"])["choices"].transform("mean")
    tables = [
        values[[*keys, metric, "chance"]].rename(columns={metric: "value"}).dropna(subset=["value"]).assign(way=way)
        for metric, way in WAYS.items()
    ]
    single = pd.concat(tables, ignore_index=True)
    emotion, cause = (single[single["question"] == question] for question in ("EU-emotion", "EU-cause"))
    both = emotion.merge(cause, on=["model", "train_seed", "way", "qid"], suffixes=("", "_cause"))
    both = both.assign(
        question="EU-both", value=both["value"] * both["value_cause"], chance=both["chance"] * both["chance_cause"]
    )
    columns = ["model", "train_seed", "question", "way", "qid", "sample", "value", "chance"]
    return pd.concat([single[columns], both[columns]], ignore_index=True).rename(columns={"question": "task"})


def accuracies(questions: pd.DataFrame) -> pd.DataFrame:
    """A row a model, task and way: questions, accuracy with its interval over questions, chance, verdict.

    The verdict is ``at chance`` where the interval holds chance, or there is none.
    """
    rows = []
    for (model, task, way), part in questions.groupby(["model", "task", "way"], sort=False):
        values = tasks.array(part.rename(columns={"qid": "item"}))
        chance, share = 100 * part.drop_duplicates("qid")["chance"].mean(), tasks.accuracy(values)
        verdict = "above chance" if share["low"] > chance else "below chance" if share["high"] < chance else "at chance"
        keys = {"model": model, "task": task, "way": way, "questions": len(values)}
        rows.append(keys | share | {"chance": chance, "verdict": verdict})
    return _sorted(statistics.without_spreads(pd.DataFrame(rows)), ["task", "way"])


def _sorted(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Tasks in their order, ways in theirs."""
    places = {name: place for place, name in enumerate((*TASKS, *WAYS.values()))}
    return table.sort_values(by, key=lambda column: column.map(places), kind="stable", ignore_index=True)


def differences(questions: pd.DataFrame, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Models against each other over the same questions: comparison, model, against, task, way, questions, difference,
    low, high, p, p_holm (see ``tasks.compared_values``)."""
    columns = ("task", "way", "questions", "difference", "low", "high", "sd_prompts", "sd_seeds", "p")
    return tasks.compared_values(questions, comparisons, ["task", "way", "qid"], _changes, columns)


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[dict[str, Any]]:
    old = dict(list(before.rename(columns={"qid": "item"}).groupby(["task", "way"])))
    for (task, way), new in after.rename(columns={"qid": "item"}).groupby(["task", "way"], sort=True):
        items = pd.MultiIndex.from_arrays([new["item"].unique()], names=["item"])
        pair = tasks.array(new, items), tasks.array(old[task, way], items)
        yield {"task": task, "way": way, "questions": len(items)} | tasks.difference(*pair)


def positions(scores: pd.DataFrame) -> pd.DataFrame:
    """How often the choice in each place of the list was taken: model, task, way, choices, position, answers, share,
    expected. Every choice stands in every place equally often, so that a model without a bias takes each place as often
    as any other."""
    keys = ["model", "train_seed", "item", "sample"]
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
