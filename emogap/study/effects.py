"""The effect of emotion in one table and figure: each measure, each model against its controls, then its base."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from emogap.answers.emotions_found import emotions_path, empty_rule, judged, read_answers
from emogap.answers.respond import answer_files, conditions
from emogap.answers.sentiment import change_table
from emogap.config import Config
from emogap.grammar import blimp_tables, emobench_tables
from emogap.grammar.blimp import BLIMP
from emogap.grammar.emobench import EMOBENCH
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.style import model_colours, nothing_figure, use_style
from emogap.store.views import View
from emogap.text.statistics import INTERVALS_RULE, holm_by
from emogap.train.models import CONTROLLED, CORRECTED, NO_TRAINED, compared, comparisons, separated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POSITIVE, PAIRS = "positive answers", "minimal pairs"
_QUESTIONS = ("EA", "EU-both")
_COLUMNS = ["comparison", "model", "against", "measure", "change", "low", "high", "p"]
_ORDER = 58
_ABREAST = 2
"""Panels side by side: what can be read on half a page."""
_VIEW = View({"change": 2, "low": 2, "high": 2, "p": ".3g", "p_holm": ".3g"})


def effects_drawings(config: Config) -> Iterator[Drawing]:
    """One drawing; without models to compare it says so."""
    own = conditions(config)[0]
    inputs = {"emotions": emotions_path(config, own)} | answer_files(config, own)
    for task in (BLIMP, EMOBENCH):
        inputs |= {f"{key} {task.name}": path for key, path in task.tables(config).items()}
    settings, rules = config.flat("sentiment", "grouping"), INTERVALS_RULE | empty_rule([inputs["emotions"]])
    folder, shown = config.home.evaluation, lambda: _shown(config)
    yield drawing(folder, "effects", "tables/effects", inputs, shown, settings, config.seed, rules=rules)


def _shown(config: Config) -> Iterator[Shown]:
    table, pairs = effects(config), comparisons(config)
    caption = (
        "Differences over all prompts, pairs and questions, in percentage points with 95 % intervals. "
        f"{compared(pairs)}; paired tests, p also corrected {CORRECTED}.{separated(pairs)}"
    )
    caption = caption if pairs else f"{NO_TRAINED}."
    yield Exhibit("effects", "table", caption, _ORDER, view=_VIEW), table
    alt = "A panel per measure, a row per comparison, points with intervals and a zero line, filled if zero is outside."
    yield Exhibit("effects", "figure", caption, _ORDER, alt=alt), effects_figure(table)


def effects(config: Config) -> pd.DataFrame:
    """comparison, model, against, measure, change, low, high, p, p_holm: changes of the shares of positive answers to
    all prompts, minimal pairs decided rightly, EmoBench questions answered rightly (listed, in several orders)."""
    answers = judged(config, read_answers(config, conditions(config)[0]))
    changes = change_table(answers, comparisons(config), "all", config.sentiment.grouping)
    tables = [changes.assign(measure=POSITIVE)]
    pairs = BLIMP.of_study(config)
    grammar = blimp_tables.differences(blimp_tables.correct_pairs(pairs.scores), pairs.comparisons)
    tables.append(grammar[grammar["group"] == blimp_tables.ALL].assign(measure=PAIRS))
    if EMOBENCH.is_there(config):
        asked = EMOBENCH.of_study(config)
        questions = emobench_tables.by_question(asked.scores)
        told = emobench_tables.differences(questions, asked.comparisons)
        told = told[told["task"].isin(_QUESTIONS) & (told["way"] == emobench_tables.WAYS["correct"])]
        tables.append(told.assign(measure="EmoBench " + told["task"]))
    together = [table.rename(columns={"difference": "change"})[_COLUMNS] for table in tables]
    table = pd.concat(together, ignore_index=True)
    order = {kind: place for place, kind in enumerate(dict.fromkeys(table["comparison"]))}
    table = table.sort_values("comparison", key=lambda kinds: kinds.map(order), kind="stable", ignore_index=True)
    return table.assign(p_holm=holm_by(table["comparison"], table["p"]))


def effects_figure(table: pd.DataFrame) -> "Figure":
    """One panel per measure, one row per comparison in its model's colour, those against controls on top. ``table``:
    that of ``effects``, or some of its rows."""
    import matplotlib.pyplot as plt

    if table.empty:
        return nothing_figure(f"{NO_TRAINED}.")
    use_style()
    measures = list(dict.fromkeys(table["measure"]))
    rows = list(dict.fromkeys(table[["comparison", "model", "against"]].itertuples(index=False, name=None)))
    bases = list(dict.fromkeys(other for kind, _, other in rows if kind != CONTROLLED))
    base = bases[0] if len(bases) == 1 else ""
    colours = model_colours([model for _, model, _ in rows], bases)
    shape = (-(-len(measures) // _ABREAST), min(len(measures), _ABREAST))
    size = (2.5 * shape[1] + 2.2, (0.21 * len(rows) + 0.8) * shape[0] + 0.3)
    figure, panels = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    for axes, measure in zip(panels.flat, measures, strict=False):
        part = table[table["measure"] == measure].set_index(["comparison", "model", "against"]).reindex(rows)
        _points(axes, part, [colours[model] for _, model, _ in rows])
        axes.set_title(measure)
        axes.set_xlabel("percentage points")
        _part(axes, rows)
    for axes in panels.flat[len(measures) :]:
        axes.set_axis_off()
    names = [f"{_short(model, base)} - {_short(other, base)}" for _, model, other in rows]
    panels[0][0].set_yticks(range(len(rows)), names)
    panels[0][0].set_ylim(len(rows) - 0.5, -0.5)
    kinds = [kind for kind, *_ in rows]
    above = "What emotion did (above the first line: against controls) and what training did"
    title = above if CONTROLLED in kinds else "What training did"
    figure.suptitle(f"{title}; base: {base}" if base else title, x=0.01, ha="left")
    figure.tight_layout(w_pad=2)
    return figure


def _short(model: str, base: str) -> str:
    """A model's name without that of the only base; the base itself is called ``base``."""
    return (model.removeprefix(base).lstrip("-") or "base") if base else model


def _points(axes: "Axes", part: pd.DataFrame, colours: Sequence[str]) -> None:
    """Draw changes with their intervals; a point is filled where the interval leaves out zero."""
    places = range(len(part))
    told = (part["low"] > 0) | (part["high"] < 0)
    faces = [colour if is_told else "white" for colour, is_told in zip(colours, told, strict=True)]
    axes.axvline(0, color="black", linewidth=0.8)
    axes.hlines(places, part["low"], part["high"], color=colours, linewidth=1.6)
    axes.scatter(part["change"], places, c=faces, edgecolors=colours, s=24, zorder=3)


def _part(axes: "Axes", rows: Sequence[tuple[str, str, str]]) -> None:
    """Draw a line between kinds of comparison."""
    kinds = [kind for kind, *_ in rows]
    for place in range(1, len(rows)):
        if kinds[place] != kinds[place - 1]:
            axes.axhline(place - 0.5, color="0.7", linewidth=0.8)
    axes.grid(axis="y", visible=False)
