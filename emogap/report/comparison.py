"""Compares a run with the published study: the numbers of both, their difference, and the settings that differ.

Everything here reads tables that stages registered and ``published.toml``. Nothing is measured or estimated; intervals
are those that the stages gave.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from emogap.config import Config, load_config
from emogap.controls import PLAIN
from emogap.published import published
from emogap.report.entries import Read
from emogap.report.study_order import PLACES, Place
from emogap.store.views import View
from emogap.study.state import StageState
from emogap.train.models import TUNED, as_compared

PUBLISHED_PROFILE = "paper"
MISSING = float("nan")
_TEMPERATURE = re.compile(r"\btemperature=([\d.]+)")
_VALUES = ("this run", "published", "difference")
_LINES, _POINTS = View({"": 2}), View({"": 2, "published": ".2f", "difference": ".1f"})
_GRAMMAR = View(_POINTS.digits, rows=("phenomenon",), columns="training", values=_VALUES)

KINDS = {
    "data": ("process.raw_dirs", "corpus.factual", "rewrite.records", "respond.prompts", "blimp.data",
             "lens.sentences"),
    "size": ("augment.lines", "corpus.words", "rewrite.count", "clm.max_steps", "clm.epochs", "sft.max_steps",
             "sft.epochs", "respond.per_emotion", "blimp.items"),
}  # fmt: skip
"""Kind of difference → settings of that kind; every other setting is one of method."""


def compare(place: Place, read: Read) -> pd.DataFrame | None:
    """The rows that the run and the published study both have; None where there is no comparison or no number yet."""
    return _COMPARISONS[place.compared](read) if place.compared else None


def view(place: Place) -> View:
    """How a place's comparison is shown; what is in percentage points has the same decimals in every row."""
    if place.compared == "grammar":
        return _GRAMMAR
    return _POINTS if place.compared.startswith(("sentiment", "preference")) else _LINES


@dataclass(frozen=True)
class Difference:
    """A setting that is not as in the published set-up."""

    name: str
    """As in ``Place.shaped_by``: a section, or ``section.key``."""
    key: str
    kind: str
    """``data``, ``size`` or ``method``."""
    ours: str
    theirs: str


def differences(config: Config) -> list[Difference]:
    """All settings that shape a place of the study and differ from the published set-up (the profile ``paper``)."""
    theirs = load_config(PUBLISHED_PROFILE, config.home.root)
    found = []
    for name in dict.fromkeys(name for place in PLACES for name in place.shaped_by):
        ours, published_values = _leaves(config, name), _leaves(theirs, name)
        for key in sorted(ours.keys() | published_values.keys()):
            if ours.get(key) != published_values.get(key):
                words = _said(ours.get(key)), _said(published_values.get(key))
                found.append(Difference(name, key, _kind(key), *words))
    return found


def sizes(states: list[StageState]) -> pd.DataFrame:
    """Sizes of the run and of the published study: what was counted (heading empty), this run (or NA), published."""
    table = published("sizes").frame()
    manifests = {state.stage.name: state.manifests for state in states}
    ours = [_count(manifests[stage], stage, count) for stage, count in zip(table["stage"], table["count"], strict=True)]
    return pd.DataFrame({"": table["what"], "this run": pd.array(ours, dtype="Int64"), "published": table["published"]})


def _count(manifests: Iterable[dict[str, Any]], stage: str, count: str) -> int | None:
    """What a stage counted, without controls: the sum, or for ``evaluate``, which counts per model, the largest."""
    counts = [m["counts"][count] for m in manifests if count in m["counts"] and not _is_of_a_control(m["settings"])]
    if not counts:
        return None
    return max(counts) if stage == "evaluate" else sum(counts)


def _is_of_a_control(settings: dict[str, Any]) -> bool:
    """Whether stories or a corpus were made for controls alone, which the published study did not have."""
    return settings.get("augment.method") == PLAIN or str(settings.get("corpus.words")).startswith("as:")


def _story_words(read: Read) -> pd.DataFrame | None:
    table, statistics = read("prompt_analysis_babylm/word_counts"), read("prompt_analysis_babylm/statistics")
    if table is None or statistics is None:
        return None
    ours = table[table["preset"] == "published-stories"].set_index("group")
    theirs = published("story_statistics").frame().set_index("method")
    ends = statistics[statistics["preset"] == "published-stories"].set_index(["group", "measure"])["value"]
    names = {"average_words": "average_words", "texts": "stories", "unique_words": "unique_words",
             "total_words": "total_words"}  # fmt: skip
    amounts = [theirs_name.replace("_", " ") for theirs_name in names.values() if theirs_name != "average_words"]
    table = _beside(
        (
            f"{method}: {theirs_name.replace('_', ' ')}",
            ours.loc[method, name],
            *(ends.get((method, f"{name}_{end}"), MISSING) for end in ("low", "high")),
            theirs.loc[method, theirs_name],
        )
        for method in ours.index.intersection(theirs.index)
        for name, theirs_name in names.items()
    )
    if table is None:
        return None
    return _without_differences(table, table[""].str.endswith(tuple(f": {amount}" for amount in amounts)))


def _rewrite_words(read: Read) -> pd.DataFrame | None:
    """Average words in those cells of a grid that have a published temperature."""
    grid = read("alpaca-instruction/grid_words")
    if grid is None:
        return None
    theirs = published("rewrite_statistics").frame().set_index("temperature")
    rows = []
    for cell in grid.itertuples():
        found = _TEMPERATURE.search(cell.setting)
        if found and float(found[1]) in theirs.index:
            what = f"{cell.template}, {cell.setting}: average words"
            average = theirs.loc[float(found[1]), "average_words"]
            rows.append((what, cell.average_words, cell.low, cell.high, average))
    return _beside(rows)


def _composition(read: Read) -> pd.DataFrame | None:
    table = read("babylm_pretrain_corpus/composition")
    if table is None:
        return None
    kinds = table[table["dimension"] == "kind"].set_index("value")
    theirs = published("composition").frame().iloc[0]  # the corpus that the study trained on
    documents, words = kinds["documents"], kinds["words"]
    rows = [
        ("share of story words (%)", 100 * kinds["share"].get("story", 0.0), theirs["story_share"]),
        ("stories", documents.get("story", 0), theirs["stories"]),
        ("words of stories", words.get("story", 0), theirs["story_words"]),
        ("words of factual text", words.get("factual", 0), theirs["factual_words"]),
        ("words", words.sum(), theirs["words"]),
    ]
    table = _beside((what, ours, MISSING, MISSING, known) for what, ours, known in rows)
    return _without_differences(table, table[""] != rows[0][0])


def _preference(read: Read) -> pd.DataFrame | None:
    table = read("quantitative_analysis/preference")
    if table is None:
        return None
    theirs = published("preference").frame().set_index("model")["share"]
    own = table[table["model"].isin(theirs.index)]
    rows = [(r.model, r.share, r.low, r.high, theirs[r.model]) for r in own.itertuples()]
    return _beside(rows)


_PAIR = ("gpt2-medium", "gpt2-medium-baby-instr")
"""The models of the published sentiment: a base, and the same after both trainings in sequence."""


def _sentiment(read: Read, by: str) -> pd.DataFrame | None:
    """Shares of the published models, if the run has them; else what both trainings in sequence changed in its base.

    ``by``: ``groups`` or ``emotions``. None where emotions are grouped differently from those in the published tables.
    """
    theirs = published(f"sentiment_{by}").frame().set_index(["model", "row"])
    shares = read(f"quantitative_analysis/sentiment_{by}")
    changes = _against_bases(read(f"quantitative_analysis/sentiment_change_{by}"))
    if shares is None or changes is None or "ambiguous" in shares:
        return None
    outcomes = list(theirs.columns.drop("n"))
    own = shares[shares["model"].isin(_PAIR)]
    rows = [
        (f"{r['model']}, asked {r['row']}: {o} (%)", r[o], r[f"{o}_low"], r[f"{o}_high"],
         theirs.loc[(r["model"], r["row"]), o])
        for r in own.to_dict("records") if (r["model"], r["row"]) in theirs.index for o in outcomes
    ]  # fmt: skip
    if not rows:
        change = theirs.loc[_PAIR[1], outcomes] - theirs.loc[_PAIR[0], outcomes]
        rows = [
            (f"{r.model}, asked {r.row}: change of {r.outcome} (points)", r.change, r.low, r.high,
             change.loc[r.row, r.outcome])
            for r in changes.itertuples() if r.model.endswith("-baby-instr") and r.row in change.index
        ]  # fmt: skip
    return _beside(rows)


def _grammar(read: Read) -> pd.DataFrame | None:
    """What each training changed in bases that were not published; None if the stage has a table of published ones."""
    changes = _against_bases(read("quantitative_analysis/blimp_differences"))
    beside = read("quantitative_analysis/blimp_beside_published")
    return None if changes is None or beside is not None else _changes(changes, published("blimp").frame())


def _changes(changes: pd.DataFrame, accuracies: pd.DataFrame) -> pd.DataFrame | None:
    """What each kind of training changed, in points, compared with what it changed in the published gpt2."""
    theirs = accuracies.set_index("phenomenon")
    rows = []
    for change in changes.itertuples():
        trained = f"gpt2{change.model.removeprefix(change.against)}"
        if trained in theirs.columns and change.phenomenon in theirs.index:
            kind = change.model.removeprefix(change.against + "-")
            known = theirs.loc[change.phenomenon, trained] - theirs.loc[change.phenomenon, "gpt2"]
            rows.append((change.phenomenon, kind, change.difference, change.low, change.high, known))
    return _beside(rows, "phenomenon", "training")


def _against_bases(table: pd.DataFrame | None) -> pd.DataFrame | None:
    """The rows of a table of comparisons that the published study has too: models against their bases."""
    if table is None:
        return None
    table = as_compared(table)
    return table[table["comparison"] == TUNED]


_COMPARISONS: dict[str, Callable[[Read], pd.DataFrame | None]] = {
    "story_words": _story_words,
    "rewrite_words": _rewrite_words,
    "composition": _composition,
    "grammar": _grammar,
    "preference": _preference,
    "sentiment_groups": partial(_sentiment, by="groups"),
    "sentiment_emotions": partial(_sentiment, by="emotions"),
}


def _beside(rows: Iterable[tuple], *names: str) -> pd.DataFrame | None:
    """A table of rows (what, the run's value, the ends of its interval, the published value) with their difference;
    None without rows. ``names``: headings of the columns that say what; by default one column with an empty heading."""
    table = pd.DataFrame(list(rows), columns=[*(names or ("",)), "this run", "low", "high", "published"])
    return None if table.empty else table.assign(difference=table["this run"] - table["published"])


def _without_differences(table: pd.DataFrame, amounts: pd.Series) -> pd.DataFrame:
    """Leave out the differences of rows that are ``amounts``: these would only say how large the run was."""
    return table.assign(difference=table["difference"].mask(amounts))


def _kind(key: str) -> str:
    return next((kind for kind, names in KINDS.items() if any(key.startswith(name) for name in names)), "method")


def _leaves(config: Config, name: str) -> dict[str, Any]:
    """Dotted key → value of a setting, or of a whole section; models by name, execution settings left out."""
    section, _, key = name.partition(".")
    if section == "bases":
        return {"bases": ", ".join(model.name for model in config.bases.values())}
    if not hasattr(getattr(config, section), "shaping"):
        return {name: getattr(config, section)}
    flat = config.flat(section, *([key] if key else []))
    return {key: value for key, value in flat.items() if not key.endswith(".revision")}


def _said(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(item["name"] if isinstance(item, dict) else str(item) for item in value)
    return str(value)
