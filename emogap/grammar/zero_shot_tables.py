"""Scores of the BabyLM challenge's evaluation as tables, and as the prediction files that its own pipeline reads."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emogap.config import Config, HubModel
from emogap.errors import UsageError
from emogap.grammar import blimp_tables
from emogap.grammar.tasks import DIFFERENCES, Measured, seeds, told
from emogap.grammar.zero_shot import BABYLM, LOGPROB, EvaluationSet, Record, chosen_sets
from emogap.store.artefacts import write_text
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View, cells
from emogap.text.statistics import INTERVALS_RULE, rank_correlation_interval, what_is_sampled
from emogap.train.models import CORRECTED, compared, separated

ALL, AVERAGE = "all records", "average"
ACCURACY, CORRELATION = "accuracy", "correlation with people"
_ORDER = 80
_DIGITS = {"score": ".1f", "low": ".0f", "high": ".0f", "chance": 0}
_VIEW = View(_DIGITS, rows=("task", "measure", "records", "chance"), columns="model", values=("score",))
_SUBTASKS = View(_DIGITS, rows=("task", "group", "records"), columns="model", values=("score",))
_CHECKPOINT = re.compile(r"chck_\d+[KM]?")


# --- tables ----------------------------------------------------------------------------------------------------------


def subtask_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """model, task (the set's folder), group (the subtask), measure, records, chance, score, low, high (percent), ties.

    Sets with right answers have two further rows: all records together, and the unweighted mean over the subtasks. For
    the wug tests, the score is Spearman's correlation of the first form's probability with the share of people who
    chose it, a mean over trainings; it has an interval only if there is a single training.
    """
    tables = []
    for task, part in scores.groupby("group", sort=False):
        decided = part["metric"].eq("correct").any()
        models = len(part[["model", "train_seed"]].drop_duplicates())
        choices = part["metric"].str.startswith(LOGPROB).groupby(part["item"]).sum() / models
        table = _accuracies(part) if decided else _correlations(part)
        chance = 100 * float((1 / choices).mean()) if decided else np.nan
        tables.append(table.assign(task=task, measure=ACCURACY if decided else CORRELATION, chance=chance))
    columns = ["model", "task", "group", "measure", "records", "chance", "score", "low", "high", "ties"]
    return pd.concat(tables, ignore_index=True)[columns]


def _correct(part: pd.DataFrame) -> pd.DataFrame:
    """model, train_seed, item, group (the subtask), value of the records of one set."""
    return _by_subtask(part[part["metric"] == "correct"])


def _by_subtask(rows: pd.DataFrame) -> pd.DataFrame:
    group = rows["item"].str.split("/", n=1).str[1].str.rsplit("/", n=1).str[0]
    return rows[["model", "train_seed", "item", "value"]].assign(group=group)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace({"group": {blimp_tables.ALL: ALL, blimp_tables.MEAN: AVERAGE}})


def _accuracies(part: pd.DataFrame) -> pd.DataFrame:
    """With ``ties``: how many ties for the likeliest candidate there were in all trainings, however they count."""
    table = _named(blimp_tables.accuracies(_correct(part)).rename(columns={"pairs": "records", "accuracy": "score"}))
    tied = _by_subtask(part[part["metric"] == "tied"])
    by_group = tied.groupby(["model", "group"]).size().to_dict()
    by_model = tied.groupby("model").size().to_dict()
    ties = [
        by_model.get(row.model, 0) if row.group in (ALL, AVERAGE) else by_group.get((row.model, row.group), 0)
        for row in table.itertuples()
    ]
    return table.assign(ties=ties)


def _correlations(part: pd.DataFrame) -> pd.DataFrame:
    from scipy.stats import spearmanr

    rows = []
    for model, own in part.groupby("model", sort=False):
        wide = own.pivot(index=["train_seed", "item"], columns="metric", values="value")
        found = [float(spearmanr(one["probability"], one["people"])[0]) for _, one in wide.groupby("train_seed")]
        score, records = float(np.mean(found)), own["item"].nunique()
        low, high = rank_correlation_interval(score, records) if len(found) == 1 else (np.nan, np.nan)
        ends = {"score": 100 * score, "low": 100 * low, "high": 100 * high}
        rows.append({"model": model, "group": AVERAGE, "records": records} | ends)
    return pd.DataFrame(rows).assign(ties=np.nan)


def differences(found: Measured) -> pd.DataFrame:
    """Differences between models over the same records of each set with right answers: task, and the columns of
    ``blimp_tables.differences``, corrected within the set; empty if nothing is compared."""
    parts = found.scores.groupby("group", sort=False)
    tables = [
        _named(blimp_tables.differences(_correct(part), found.comparisons)).assign(task=task)
        for task, part in parts
        if found.comparisons and part["metric"].eq("correct").any()
    ]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True).rename(columns={"pairs": "records"})
    return table[["task", *table.columns.drop("task")]]


# --- exhibits --------------------------------------------------------------------------------------------------------


def zero_shot_drawing(config: Config) -> Drawing:
    """The study's tables: every model that it measures, each against its controls and its base."""
    shown = lambda: zero_shot_exhibits(config, BABYLM.of_study(config))  # noqa: E731
    folder, inputs, settings = config.home.evaluation, BABYLM.tables(config), config.flat("babylm", "convention")
    return drawing(folder, "babylm", "tables/babylm_scores", inputs, shown, settings, rules=INTERVALS_RULE)


def zero_shot_exhibits(config: Config, found: Measured) -> Iterator[Shown]:
    """The tables of any models' scores."""
    table, caption = subtask_scores(found.scores), _caption(config, found)
    scores = table[table["group"] == AVERAGE].drop(columns="group")
    yield Exhibit("babylm_scores", "table", caption, _ORDER, view=_VIEW), scores
    yield Exhibit("babylm_subtasks", "table", f"By subtask. {caption}", _ORDER + 1, view=_SUBTASKS), table
    changed = differences(found)
    if not changed.empty:
        caption = (
            "Zero-shot tasks of the BabyLM evaluation: differences in accuracy over the same records, in percentage "
            f"points. {compared(found.comparisons)}; paired 95 % intervals; exact paired test over the records, p also "
            f"corrected {CORRECTED} in its set.{separated(found.comparisons)}"
        )
        yield Exhibit("babylm_differences", "table", caption, _ORDER + 2, view=DIFFERENCES), changed


def _caption(config: Config, found: Measured) -> str:
    over, settings = what_is_sampled(seeds(found.scores), "records"), config.babylm
    rules = "this study's own rules" if settings.convention == "study" else f"the rules of {settings.convention}"
    heated = "" if settings.temperature == 1 else f" at temperature {settings.temperature}"
    return (
        f"Zero-shot tasks of the BabyLM evaluation, by {rules}{heated}. Accuracy: mean over the subtasks in percent, "
        f"95 % intervals {over}. Correlation with people: Spearman's, times 100, for a single training with an "
        "interval over the records."
    )


def printed(config: Config, found: Measured) -> str:
    """What the command line shows: one row per set, what was left out, and what changed from the base."""
    [(exhibit, table), *_] = zero_shot_exhibits(config, found)
    parts = [cells(table, exhibit.view).to_string(index=False), exhibit.caption]
    changed = differences(found)
    for row in changed[changed["group"] == AVERAGE].itertuples() if len(changed) else ():
        parts.append(told(row, row.task, "within the set"))
    left = chosen_sets(config)[1]
    return "\n\n".join([*parts, f"left out: {', '.join(left)}"] if left else parts)


# --- predictions for the challenge -----------------------------------------------------------------------------------


def export(config: Config, scores: pd.DataFrame, models: Mapping[str, HubModel], folder: Path) -> list[Path]:
    """Write ``<folder>/<model>/main/zero_shot/causal/<task>/<set>/predictions.json`` for every model and set.

    Returns these files. ``models``: label → model; a folder ``chck_<words>`` is exported as that revision (in the place
    of ``main``) of the model that is named like the folder above. The pipeline's reader cuts a name at its last dot, so
    dots become dashes. Raises ``UsageError`` if two models would have the same files.
    """
    places = {label: _place(label, model) for label, model in models.items()}
    for place in places.values():
        if list(places.values()).count(place) > 1:
            raise UsageError(f"two models are exported as {place}; export them into folders of their own (--results)")
    written = []
    for one in chosen_sets(config)[0]:
        records = list(one.records(config.babylm.items))
        of_set = scores[scores["group"] == one.name]
        for label, part in of_set.groupby("model", sort=False):
            file = folder / places[label] / "zero_shot/causal" / one.rule.name / one.name / "predictions.json"
            write_text(file, json.dumps(_predictions(one, records, part)))
            written.append(file)
    return written


def _place(label: str, model: HubModel) -> str:
    path = Path(model.name)
    if _CHECKPOINT.fullmatch(path.name):
        return f"{path.parent.name.replace('.', '-')}/{path.name}"
    revision = model.revision if _CHECKPOINT.fullmatch(model.revision) else "main"
    return f"{label.replace('.', '-')}/{revision}"


def _predictions(one: EvaluationSet, records: list[Record], part: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Subtask → its predictions, in the order of the records."""
    wide = part.pivot(index="item", columns="metric", values="value")
    logprobs = wide[[f"{LOGPROB}{place}" for place in range(sum(name.startswith(LOGPROB) for name in wide))]]
    best = dict(zip(wide.index, np.nanargmax(logprobs.to_numpy(), axis=1), strict=True))
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        item = f"{one.name}/{record.subtask}/{record.place}"
        chosen = record.candidates[best[item]]
        entry: dict[str, Any] = {"id": f"{record.subtask}_{record.place}", "pred": getattr(chosen, one.rule.predicts)}
        if record.people is not None:
            entry["prob"] = wide.loc[item, "probability"]
        found.setdefault(record.subtask, {"predictions": []})["predictions"].append(entry)
    return found
