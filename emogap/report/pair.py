"""Two runs on one page: which settings differ and what changed, then each table and figure beside the other run's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from emogap.answers.sentiment import of_said
from emogap.errors import MissingInput
from emogap.grammar import blimp_tables, emobench_tables
from emogap.paths import Home
from emogap.records import SCORES, read_rows
from emogap.report.entries import PART_CHARACTERS, Entry, home_entries, render, to_cells
from emogap.report.study_order import PLACES, place_of
from emogap.store.artefacts import HASH_CHARACTERS, home_manifests, read_from_outside, write_text
from emogap.store.views import MISSING, View, cells
from emogap.text import statistics
from emogap.text.statistics import what_is_sampled

TEMPLATE = "report_pair.html.j2"
SETTINGS_SHOWN, VALUE_SHOWN = 4, 60
"""How many settings that differ, and how many characters of a value, the first screen shows; all settings are folded
away below these."""


@dataclass(frozen=True)
class Pair:
    """An exhibit of one run and the other's of the same name; None where a run has none."""

    name: str
    first: Entry | None
    second: Entry | None

    @property
    def is_same(self) -> bool:
        """Whether both runs show the very same."""
        shown = [entry and (entry.exhibit, entry.cells, entry.image) for entry in (self.first, self.second)]
        return shown[0] == shown[1]

    @property
    def is_stacked(self) -> bool:
        """Whether the two stand below each other: tables that do not fit side by side."""
        tables = [entry.cells for entry in (self.first, self.second) if entry and entry.cells]
        return any(cells.characters > PART_CHARACTERS // 2 for cells in tables)


def report_pair(first: Home, second: Home) -> str:
    """Write ``report/beside-<second>.html`` in the first home and what changed as ``.csv``; return the page's path.

    Raises ``MissingInput`` for an empty home.
    """
    homes = (first, second)
    for home in homes:
        if not home_manifests(home):
            raise MissingInput(f"nothing has been run in {home.root}; name the homes of two runs")
    names = _names(homes)
    table, reasons = changes(homes, names)
    settings = _differing(*map(_settings, homes))
    path = first.report.with_name(f"beside-{second.root.name}.html")
    write_text(path.with_suffix(".csv"), table.to_csv(index=False))
    page = render(
        TEMPLATE,
        answer=said(table, names),
        changes=None if table.empty else to_cells(shown(table), VIEW),
        marks=[(mark, text) for text, mark in MARKS.items() if mark and text in set(table["verdict"])],
        sampled="" if table.empty else what_is_sampled(table["seeds"].max()),
        reasons=reasons,
        csv=path.with_suffix(".csv").name,
        shown=_shortened(settings),
        names=names,
        homes=[str(home.root) for home in homes],
        settings=settings,
        work=_differing(*map(_work, homes)),
        sections=_sections(_pairs(home_entries(first), home_entries(second))),
    )
    write_text(path, page)
    return str(path)


def _names(homes: tuple[Home, Home]) -> list[str]:
    """The folders' names; where they are the same, with as many folders above as make them differ."""
    depth = 1
    while homes[0].root.parts[-depth:] == homes[1].root.parts[-depth:] and depth < len(homes[0].root.parts):
        depth += 1
    return ["/".join(home.root.parts[-depth:]) for home in homes]


def _settings(home: Home) -> dict[str, set[str]]:
    """Setting, seed, model, prompt or file → the values that shaped artefacts of a home."""
    found: dict[str, set[str]] = {}
    for manifest in home_manifests(home).values():
        shaping = manifest["settings"] | manifest["identities"] | {"seed": manifest["seed"]}
        for key, value in shaping.items():
            found.setdefault(key, set()).add(str(value))
    return found | {f"file {path}": {f"sha256 {beginning}"} for path, beginning in read_from_outside(home)}


def _work(home: Home) -> dict[str, set[str]]:
    """Counts of each stage, commits of the code, machines and versions of packages → their values in a home."""
    counts: dict[str, int] = {}
    found: dict[str, set[str]] = {}
    for manifest in home_manifests(home).values():
        for name, value in manifest["counts"].items():
            key = f"{manifest['stage']}: {name}"
            counts[key] = counts.get(key, 0) + value
        found.setdefault("code", set()).add((manifest["git_commit"] or "outside git")[:12])
        found.setdefault("machine", set()).add(manifest.get("machine", "not recorded"))
        for package, version in manifest["packages"].items():
            found.setdefault(package, set()).add(version)
    return found | {key: {f"{value:,}"} for key, value in counts.items()}


def _differing(first: dict[str, set[str]], second: dict[str, set[str]]) -> list[tuple[str, str, str]]:
    """(key, values in the first run, in the second) where these differ; a dash where a run does not have the key."""
    return [
        (key, *(", ".join(sorted(values[key])) if key in values else MISSING for values in (first, second)))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _shortened(settings: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """The first of the settings, those that both runs have before the others, with long values cut."""
    rows = sorted(settings, key=lambda row: MISSING in row)[:SETTINGS_SHOWN]
    return [tuple(cell if len(cell) <= VALUE_SHOWN else f"{cell[:VALUE_SHOWN]}…" for cell in row) for row in rows]


def _pairs(first: list[Entry], second: list[Entry]) -> list[Pair]:
    ours, theirs = ({entry.name: entry for entry in entries} for entries in (first, second))
    return [Pair(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]


def _sections(pairs: list[Pair]) -> list[tuple[str, str, list[Pair]]]:
    """(anchor, title, pairs) in the study's order, and last what goes beyond it."""
    sections = []
    for place in PLACES:
        own = sorted((pair for pair in pairs if place_of(pair.name) is place), key=lambda pair: place.rank(pair.name))
        sections.append((place.anchor, place.title, own))
    rest = [pair for pair in pairs if place_of(pair.name) is None]
    return [section for section in [*sections, ("beyond", "Beyond the study", rest)] if section[2]]


# --- what changed between two runs -----------------------------------------------------------------------------------
#
# Model by model, over the prompts, pairs, questions and passages that both share. Values come from the scores that both
# homes keep, intervals and tests from ``text/statistics``: the same as between two models of one run. What the two runs
# measured in different ways is not compared, and the reason is given.


Values = pd.DataFrame
"""model, train_seed, item, value: one row per answer, minimal pair, or question in one order of its choices."""
Manifests = Sequence[Mapping[str, Any]]
CHANCE = 0.05
"""A change is beyond chance where p, corrected for all comparisons of the two runs (Holm), is smaller."""
SAME, BEYOND, ALONE, WITHIN = "the same", "beyond chance", "beyond chance by itself", "not beyond chance"
MARKS = {BEYOND: "●", ALONE: "○", WITHIN: "", SAME: "="}
"""Verdict → mark after a change. ``ALONE``: only before p is corrected, which may be chance among so many tests."""
COLUMNS = [
    "measure", "model", "n", "unit", "seeds", "first", "second", "change", "low", "high", "p", "p_holm", "verdict",
]  # fmt: skip
VIEW = View({}, ("model",), "measure", ("change",), "verdict", MARKS)


@dataclass(frozen=True)
class Measure:
    """One number of a model that two runs have in common."""

    name: str
    task: str
    """The task whose scores it is made of."""
    unit: str
    values: Callable[[pd.DataFrame], Values]
    """Takes the measure's values from all scores of a run."""
    is_share: bool = True
    """In percentage points; otherwise bits per character, from ``nats`` and ``characters`` instead of ``value``."""


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


def _decided(scores: pd.DataFrame) -> Values:
    return blimp_tables.correct_pairs(scores[scores["task"] == "blimp"])


def _passages(scores: pd.DataFrame) -> pd.DataFrame:
    own = scores[scores["task"] == "plain_text"]
    return own.pivot_table(index=["model", "train_seed", "item"], columns="metric", values="value").reset_index()


MEASURES = (
    Measure("positive answers", "sentiment", "prompts", _answers("positive")),
    Measure("emotion asked for is found first", "sentiment", "prompts", _answers("top1")),
    Measure("minimal pairs", "blimp", "pairs", _decided),
    Measure("plain text, bits a character", "plain_text", "passages", _passages, is_share=False),
    Measure("EmoBench EA", "emobench", "questions", _questions("EA")),
    Measure("EmoBench EU-both", "emobench", "questions", _questions("EU-both")),
)
_SETTINGS = {"sentiment": ("sentiment.grouping",), "emobench": ("emobench.language",)}
"""Settings of a task that must be equal in both runs, beside the files that it reads."""


def changes(homes: tuple[Home, Home], names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """A table of ``COLUMNS``, one row per measure and model that both runs have, first minus second; and a line for
    each measure or model that is not comparable, with the reason. ``names``: what the runs are called."""
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
        if measure.task == "sentiment":  # runs with different files may use one id for different prompts
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
    """The table of ``changes`` for ``VIEW``: each measure's name also says over how many items it is."""
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
    """Bits a character, a ratio of sums over passages and seeds (``statistics.parts_of_ratio``)."""
    parts = []
    for values in (one, other):
        own = values.set_index(["item", "train_seed"]).loc[items.get_level_values(0)]
        bits = statistics.parts_of_ratio(own["nats"] / np.log(2), own["characters"])
        parts.append(bits.unstack("train_seed").loc[items.get_level_values(0)].to_numpy())
    after, before = parts
    same = after.shape == before.shape and np.array_equal(after, before, equal_nan=True)
    numbers = {"first": np.nanmean(after), "second": np.nanmean(before), "same": same}
    return numbers | statistics.paired_mean(after, before)


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
