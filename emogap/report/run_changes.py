"""What changed between two runs, model by model, over the prompts, pairs, questions and passages that both share.

Values come from the scores that both homes keep, intervals and tests from ``text/statistics``: the same as between two
models of one run. What was measured otherwise in the two is not compared, and why is said.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from emogap.answers.sentiment import of_said
from emogap.grammar import blimp_tables, emobench_tables
from emogap.paths import Home
from emogap.records import SCORES, read_rows
from emogap.report.facts import HASH_CHARACTERS
from emogap.store.artefacts import home_manifests
from emogap.store.views import View, cells
from emogap.text import statistics

Values = pd.DataFrame
"""model, train_seed, item, value: a row an answer (pair, question in one order of its choices)."""
Manifests = Sequence[Mapping[str, Any]]
CHANCE = 0.05
"""A change is beyond chance where p, corrected for all comparisons of the two runs (Holm), is smaller."""
SAME, BEYOND, ALONE, WITHIN = "the same", "beyond chance", "beyond chance by itself", "not beyond chance"
MARKS = {BEYOND: "●", ALONE: "○", WITHIN: "", SAME: "="}
"""What stands behind a change. ``ALONE``: only before p is corrected, which among so many may be chance."""
COLUMNS = [
    "measure",
    "model",
    "n",
    "unit",
    "seeds",
    "first",
    "second",
    "change",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
]
VIEW = View({}, ("model",), "measure", ("change",), "verdict", MARKS)


@dataclass(frozen=True)
class Measure:
    """One number of a model that two runs have in common."""

    name: str
    task: str
    """The task whose scores it is made of."""
    unit: str
    values: Callable[[pd.DataFrame], Values]
    """From all scores of a run."""
    is_share: bool = True
    """In percentage points; otherwise bits a character, of ``nats`` and ``characters`` in the place of a value."""


def _answers(metric: str) -> Callable[[pd.DataFrame], Values]:
    def values(scores: pd.DataFrame) -> Values:
        said = of_said(scores[scores["task"].isin(["sentiment", "answers"])])
        return said[(said["task"] == "sentiment") & (said["metric"] == metric)]

    return values


def _questions(task: str) -> Callable[[pd.DataFrame], Values]:
    def values(scores: pd.DataFrame) -> Values:
        asked = emobench_tables.by_question(scores[scores["task"] == "emobench"])
        listed = asked["way"] == emobench_tables.WAYS["correct"]
        return asked[(asked["task"] == task) & listed].rename(columns={"qid": "item"})

    return values


def _passages(scores: pd.DataFrame) -> pd.DataFrame:
    own = scores[scores["task"] == "plain_text"]
    return own.pivot_table(index=["model", "train_seed", "item"], columns="metric", values="value").reset_index()


MEASURES = (
    Measure("positive answers", "sentiment", "prompts", _answers("positive")),
    Measure("emotion asked for is found first", "sentiment", "prompts", _answers("top1")),
    Measure("minimal pairs", "blimp", "pairs", lambda scores: blimp_tables.correct_pairs(_of(scores, "blimp"))),
    Measure("plain text, bits a character", "plain_text", "passages", _passages, is_share=False),
    Measure("EmoBench EA", "emobench", "questions", _questions("EA")),
    Measure("EmoBench EU-both", "emobench", "questions", _questions("EU-both")),
)
_SETTINGS = {"sentiment": ("sentiment.grouping",), "emobench": ("emobench.language",)}
"""Settings of a task that must be equal in both runs, beside the files that it reads."""


def _of(scores: pd.DataFrame, task: str) -> pd.DataFrame:
    return scores[scores["task"] == task]


def changes(homes: tuple[Home, Home], names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """``COLUMNS``, a row a measure and model that both runs have, first minus second; and a line for each measure or
    model that is not comparable, with the reason. ``names``: what the runs are called."""
    without = [name for home, name in zip(homes, names, strict=True) if not home.scores.exists()]
    reasons = [f"{name} has no scores; run emogap evaluate there" for name in without]
    if reasons:
        return pd.DataFrame(columns=COLUMNS), reasons
    scores = [read_rows(home.scores, SCORES) for home in homes]
    made = [list(home_manifests(home).values()) for home in homes]
    prompts = [_prompts(home) for home in homes]
    unlike = {item for item in prompts[0].keys() & prompts[1].keys() if prompts[0][item] != prompts[1][item]}
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        reason = _not_measured(measure.task, scores, names) or _measured_otherwise(measure.task, made, names)
        if reason:
            reasons.append(f"{measure.name}: {reason}")
            continue
        first, second = (measure.values(own) for own in scores)
        if measure.task == "sentiment":  # an id may stand for another prompt in another file
            first = first[~first["item"].isin(unlike)]
        found = list(_rows(measure, first, second))
        rows += found
        reasons += [] if found else [f"{measure.name}: no model was measured on the same {measure.unit} in both"]
    models = [set(own["model"]) for own in scores]
    for name, own, others in zip(names, models, models[::-1], strict=True):
        reasons += [f"{model}: only {name} has it" for model in sorted(own - others)]
    table = pd.DataFrame(rows, columns=[*COLUMNS[:-2], "same"])
    told = table["p"].notna()
    table.loc[told, "p_holm"] = statistics.holm(table.loc[told, "p"].tolist())
    return table.assign(verdict=[_verdict(row) for row in table.to_dict("records")])[COLUMNS], reasons


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The same for ``VIEW``: a measure's name says over how many."""
    numbers = table.groupby("measure")["n"].agg(["min", "max"])
    over = {name: " to ".join(dict.fromkeys(f"{n:,}" for n in ends)) for name, ends in numbers.T.items()}
    return table.assign(measure=[f"{row.measure} ({over[row.measure]} {row.unit})" for row in table.itertuples()])


def _prompts(home: Home) -> dict[str, tuple[str, str]]:
    """Id → instruction and input of the prompts that models answered."""
    columns = ["prompt_id", "instruction", "input"]
    tables = [pd.read_parquet(file, columns=columns) for file in sorted(home.responses("x").parent.glob("*.parquet"))]
    return {row[0]: row[1:] for table in tables for row in table.drop_duplicates().itertuples(index=False, name=None)}


def _not_measured(task: str, scores: Sequence[pd.DataFrame], names: Sequence[str]) -> str:
    missing = [name for name, own in zip(names, scores, strict=True) if not own["task"].eq(task).any()]
    return f"not measured in {' and '.join(missing)}" if missing else ""


def _measured_otherwise(task: str, made: Sequence[Manifests], names: Sequence[str]) -> str:
    first, second = (_instrument(task, manifests) for manifests in made)
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            told = [", ".join(sorted(own.get(key, {"none"}))) for own in (first, second)]
            return f"{key} is {told[0]} in {names[0]} and {told[1]} in {names[1]}"
    return ""


def _instrument(task: str, manifests: Manifests) -> dict[str, set[str]]:
    """What shapes a task's numbers beside the models: files by their hashes, the judge, settings of ``_SETTINGS``."""
    found: dict[str, set[str]] = {}
    for manifest in manifests:
        if manifest["stage"] == "emotions" and task == "sentiment":
            found.setdefault("the judge", set()).add(manifest["identities"].get("classifier 0", "not recorded"))
        if manifest["stage"] != task:
            continue
        for name in manifest["inputs"].keys() - {"model", "responses", "emotions", "list of items"}:
            found.setdefault(f"the file {name}", set()).add(manifest["inputs"][name]["sha256"][:HASH_CHARACTERS])
        for name in _SETTINGS.get(task, ()):
            found.setdefault(name, set()).add(str(manifest["settings"].get(name)))
    return found


def _rows(measure: Measure, first: Values, second: Values) -> Iterator[dict[str, Any]]:
    of_model = [dict(list(values.groupby("model", sort=False))) for values in (first, second)]
    for model in [model for model in of_model[0] if model in of_model[1]]:
        one, other = (values[model] for values in of_model)
        items = pd.MultiIndex.from_arrays([one.loc[one["item"].isin(other["item"]), "item"].unique()], names=["item"])
        if len(items):
            keys = {"measure": measure.name, "model": model, "n": len(items), "unit": measure.unit}
            keys |= {"seeds": min(values["train_seed"].nunique() for values in (one, other))}
            yield keys | (_shares if measure.is_share else _bits)(one, other, items)


def _shares(one: Values, other: Values, items: pd.MultiIndex) -> dict[str, Any]:
    after, before = (statistics.by_prompt(values, ["value"], ["item"], items)[0] for values in (one, other))
    change = statistics.paired_changes(after, before)
    numbers = {name: 100 * float(change[name]) for name in ("change", "low", "high")}
    shares = {"first": 100 * float(statistics.centre(after)), "second": 100 * float(statistics.centre(before))}
    same = after.shape == before.shape and np.array_equal(after, before, equal_nan=True)
    return shares | numbers | {"p": statistics.paired_p(after, before), "same": same}


def _bits(one: Values, other: Values, items: pd.MultiIndex) -> dict[str, Any]:
    """Bits a character are a ratio of sums; the interval of their difference is that of its linear part in each
    passage (Cochran 1977, section 2.11), seeds averaged."""
    ratios, parts = [], []
    for values in (one, other):
        mean = values.groupby("item")[["nats", "characters"]].mean().loc[items.get_level_values(0)]
        bits, length = mean["nats"].to_numpy() / np.log(2), mean["characters"].to_numpy()
        ratios.append(bits.sum() / length.sum())
        parts.append((bits - ratios[-1] * length) / length.mean())
    change = ratios[0] - ratios[1] + parts[0] - parts[1]
    low, high = statistics.mean_interval(change[:, None])
    numbers = {"first": ratios[0], "second": ratios[1], "change": ratios[0] - ratios[1], "low": low, "high": high}
    return numbers | {"p": statistics.mean_p(change), "same": not change.any()}


def _verdict(row: Mapping[str, Any]) -> str:
    if row["same"]:
        return SAME
    if row["p_holm"] < CHANCE:
        return BEYOND
    return ALONE if row["p"] < CHANCE else WITHIN


def said(table: pd.DataFrame, names: Sequence[str]) -> str:
    """The answer in a sentence or two."""
    if table.empty:
        return f"{names[0]} and {names[1]} are not comparable: they share nothing that was measured alike."
    numbers = cells(table)["change"]
    beyond = table["verdict"] == BEYOND
    which = "; ".join(f"{row.measure} of {row.model} {numbers[row.Index]}" for row in table[beyond].itertuples())
    found = f"{_are(beyond)} beyond chance: {which}" if which else "none is beyond chance"
    alone, same = table["verdict"] == ALONE, table["verdict"] == SAME
    more = f"; {_are(alone)} so only taken by itself" if alone.any() else ""
    more += f"; {_are(same)} the same to the letter" if same.any() else ""
    return f"Of {len(table)} comparisons over what both runs share, {found}{more}."


def _are(which: pd.Series) -> str:
    return "1 is" if which.sum() == 1 else f"{which.sum()} are"
