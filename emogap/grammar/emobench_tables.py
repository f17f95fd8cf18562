"""Accuracy on multiple-choice questions against chance, and which place in the list the answers come from.

Tables are made from scores of the task ``emobench``. The unit is the question; the orders in which its choices were
listed are samples of it. Percentages and percentage points.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from emogap.config import Config
from emogap.grammar import tasks
from emogap.grammar.emobench import EMOBENCH
from emogap.grammar.tasks import DIFFERENCES, Measured, seeds
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View, cells
from emogap.text import statistics
from emogap.text.statistics import INTERVALS_RULE, LEVEL, what_is_sampled
from emogap.train.models import CORRECTED, Comparison, compared, separated

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

    Task ``EU-both``: a record of EU is right if emotion and cause both are, for each combination of their orders.
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
    """One row per model, task and way: questions, accuracy with its interval over questions, chance, verdict.

    The verdict is ``at chance`` if the interval contains chance, or if there is no interval.
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
    """Sorted by these columns, tasks in the order of ``TASKS``, ways in that of ``WAYS``."""
    places = {name: place for place, name in enumerate((*TASKS, *WAYS.values()))}
    return table.sort_values(by, key=lambda column: column.map(places), kind="stable", ignore_index=True)


def differences(questions: pd.DataFrame, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Differences between models over the same questions: comparison, model, against, task, way, questions, difference,
    low, high, p, p_holm (see ``tasks.compared_values``)."""
    columns = ("task", "way", "questions", "difference", "low", "high", "sd_prompts", "sd_seeds", "p")
    return tasks.compared_values(questions, comparisons, ["task", "way", "qid"], _changes, columns)


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[dict[str, Any]]:
    models = (values.rename(columns={"qid": "item"}) for values in (before, after))
    for (task, way), pair in tasks.paired(*models, ["task", "way"]).items():
        yield {"task": task, "way": way, "questions": len(pair[0])} | tasks.difference(*pair)


def positions(scores: pd.DataFrame) -> pd.DataFrame:
    """How often the choice in each place of the list was taken: model, task, way, choices, position, answers, share,
    expected. If all orders are asked, every choice is in every place equally often, so that a model without a bias
    takes each place equally often."""
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


# --- exhibits --------------------------------------------------------------------------------------------------------


_ORDER = 76
_FORM = "Questions in EmoBench's form"
_VIEW = View(
    {"accuracy": ".1f", "low": ".0f", "high": ".0f", "chance": 1},
    rows=("task", "way", "questions", "chance"),
    columns="model",
    values=("accuracy",),
    behind="verdict",
    marks={"above chance": "+", "at chance": "", "below chance": "-"},
)
"""One row per task and way, one column per model: ``31 [25, 38]``, with a plus above chance, a minus below it."""
_POSITIONS = View({"": 2})
_WAYS = (
    "the choices listed in several orders or not listed, scored by their log-probability or by that per character of "
    "the choice"
)


def emobench_drawing(config: Config) -> Drawing:
    """The study's exhibits: every model that it measures, each against its controls and its base; if the questions are
    not there, a table that says so."""
    shown = partial(_of_study, config)
    folder, inputs, settings = config.home.evaluation, EMOBENCH.tables(config), config.flat("sentiment", "bootstrap")
    once, rules = ["tables/emobench_accuracy_numbers"], INTERVALS_RULE if EMOBENCH.is_there(config) else {}
    return drawing(folder, "emobench", "tables/emobench_accuracy", inputs, shown, settings, config.seed, once, rules)


def study_tables(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies, and how often each place of the list was taken, of the study's models; both empty if the questions
    are not there."""
    if not EMOBENCH.is_there(config):
        return pd.DataFrame(), pd.DataFrame()
    scores = EMOBENCH.of_study(config).scores
    return accuracies(by_question(scores)), positions(scores)


def _of_study(config: Config) -> Iterator[Shown]:
    if EMOBENCH.is_there(config):
        yield from emobench_exhibits(config, EMOBENCH.of_study(config))
        return
    from emogap.grammar.figures import NO_QUESTIONS

    remedy = "emogap fetch emobench, or --set emobench.data=DIR"
    table = pd.DataFrame([{"missing": f"EA.jsonl and EU.jsonl in {config.emobench.data}", "remedy": remedy}])
    yield Exhibit("emobench_accuracy", "table", NO_QUESTIONS, _ORDER), table


def emobench_exhibits(config: Config, found: Measured) -> Iterator[Shown]:
    """Tables and figures of any models' scores."""
    from emogap.grammar.figures import accuracy_figure, positions_figure

    questions, places = by_question(found.scores), positions(found.scores)
    shares, changed = accuracies(questions), differences(questions, found.comparisons)
    over = f"95 % intervals {what_is_sampled(seeds(questions), 'questions')}"
    caption = (
        f"{_FORM}, accuracy in percent with {over}: {_WAYS}; + above chance, - below it, unmarked: the interval holds "
        "chance."
    )
    yield Exhibit("emobench_accuracy", "table", caption, _ORDER, view=_VIEW), shares
    caption = f"{_FORM}: accuracy by task and way of asking, with {over}; the line is chance."
    alt = "A panel per task, a row per way of asking, a point with an interval per model, a dashed line at chance."
    yield Exhibit("emobench_accuracy", "figure", caption, _ORDER, alt=alt), accuracy_figure(shares, found.bases)
    if not changed.empty:
        caption = (
            f"{_FORM}: differences over the same questions, in percentage points. {compared(found.comparisons)}; "
            f"paired {over}; paired test, p also corrected {CORRECTED}.{separated(found.comparisons)}"
        )
        yield Exhibit("emobench_differences", "table", caption, _ORDER + 2, view=DIFFERENCES), changed
    caption = f"{_FORM}: how often each place of the list was taken, in percent. {_what_places_show(found.scores)}"
    yield Exhibit("emobench_positions", "table", caption, _ORDER + 3, view=_POSITIONS), places
    alt = "A panel per task, lines over the places of the list, one per model, a dashed line where there is no bias."
    yield Exhibit("emobench_positions", "figure", caption, _ORDER + 3, alt=alt), positions_figure(places, found.bases)


def _what_places_show(scores: pd.DataFrame) -> str:
    choices = scores[scores["metric"] == "choices"].groupby(["model", "train_seed", "item"])["value"]
    if (choices.size() >= choices.max()).all():
        return "Each choice stood in each place once, so that only the place itself can make a difference."
    return "Not every choice stood in every place: what stood there can make a difference, too."


def printed(config: Config, found: Measured) -> str:
    """What the command line shows: accuracy beside chance, and the place in the list that each model prefers."""
    questions, places = by_question(found.scores), positions(found.scores)
    liked = places.loc[places.groupby(["model", "task", "way", "choices"], sort=False)["share"].idxmax()]
    heading = "Place in the list that was taken most often (the first of those that tie)"
    parts = [
        cells(accuracies(questions), _VIEW).to_string(index=False),
        f"Accuracy in percent with 95 % intervals {what_is_sampled(seeds(questions), 'questions')} ({_WAYS}); "
        "+ above chance, - below it.",
        f"{heading}:\n{cells(liked, _POSITIONS).to_string(index=False)}",
    ]
    changed = differences(questions, found.comparisons)
    if not changed.empty:
        told = int((changed["p_holm"] < 1 - LEVEL).sum())
        parts.append(
            f"{compared(found.comparisons)}: {told} of {len(changed)} differences have a corrected p below "
            f"{1 - LEVEL:.2f} (--tables writes them all)"
        )
    return "\n\n".join(parts)
