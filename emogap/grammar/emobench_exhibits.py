"""The report's tables and figures about the understanding of emotions, drawn from tables of scores alone."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from emogap.config import Config
from emogap.grammar import emobench_tables
from emogap.grammar.emobench import EMOBENCH
from emogap.grammar.tasks import DIFFERENCES, Measured, seeds
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.views import View, cells
from emogap.text.statistics import INTERVALS_RULE, LEVEL, what_is_drawn
from emogap.train.models import CORRECTED, compared, separated

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
"""A row a task and way, a column a model: ``31 [25, 38]``, with a plus above chance and a minus below it."""
_POSITIONS = View({"": 2})
_WAYS = (
    "the choices listed in several orders or not listed, scored by their log-probability or by that per character of "
    "the choice"
)


def emobench_drawing(config: Config) -> Drawing:
    """The study's: every model it measures, each against its controls and its base; where there was nothing to ask,
    that."""
    shown = partial(_of_study, config)
    folder, inputs, settings = config.home.evaluation, EMOBENCH.tables(config), config.flat("sentiment", "bootstrap")
    once, rules = ["tables/emobench_accuracy_numbers"], INTERVALS_RULE if EMOBENCH.is_there(config) else {}
    return drawing(folder, "emobench", "tables/emobench_accuracy", inputs, shown, settings, config.seed, once, rules)


def study_tables(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies, and which places of the list were taken (see ``emobench_tables``), of the study's models; empty where
    there was nothing to ask."""
    if not EMOBENCH.is_there(config):
        return pd.DataFrame(), pd.DataFrame()
    scores = EMOBENCH.of_study(config).scores
    return emobench_tables.accuracies(emobench_tables.by_question(scores)), emobench_tables.positions(scores)


def _of_study(config: Config) -> Iterator[Shown]:
    if EMOBENCH.is_there(config):
        yield from emobench_exhibits(config, EMOBENCH.of_study(config))
    else:
        yield _missing(config)


def _missing(config: Config) -> Shown:
    from emogap.grammar.figures import NO_QUESTIONS

    remedy = "emogap fetch emobench, or --set emobench.data=DIR"
    table = pd.DataFrame([{"missing": f"EA.jsonl and EU.jsonl in {config.emobench.data}", "remedy": remedy}])
    return Exhibit("emobench_accuracy", "table", NO_QUESTIONS, _ORDER), table


def emobench_exhibits(config: Config, found: Measured) -> Iterator[Shown]:
    """Tables and figures of any scores."""
    from emogap.grammar.figures import accuracy_figure, positions_figure

    questions = emobench_tables.by_question(found.scores)
    accuracies = emobench_tables.accuracies(questions)
    drawn = f"95 % intervals {what_is_drawn(seeds(questions), 'questions')}"
    caption = (
        f"{_FORM}, accuracy in percent with {drawn}: {_WAYS}; + above chance, - below it, unmarked: the interval holds "
        "chance."
    )
    yield _table("emobench_accuracy", caption, 0, accuracies, _VIEW)
    caption = f"{_FORM}: accuracy by task and way of asking, with {drawn}; the line is chance."
    alt = "A panel a task, a row a way of asking, a point with an interval for each model, a dashed line at chance."
    yield _figure("emobench_accuracy", caption, alt, accuracy_figure(accuracies, found.bases))
    changed = emobench_tables.differences(questions, found.comparisons)
    if not changed.empty:
        caption = (
            f"{_FORM}: differences over the same questions, in percentage points. {compared(found.comparisons)}; "
            f"paired {drawn}; paired test, p also corrected {CORRECTED}.{separated(found.comparisons)}"
        )
        yield _table("emobench_differences", caption, 2, changed, DIFFERENCES)
    positions = emobench_tables.positions(found.scores)
    caption = (
        f"{_FORM}: how often each place of the list was taken, in percent. Over all orders each choice stands in each "
        "place once, so that only the place itself can make a difference."
    )
    yield _table("emobench_positions", caption, 3, positions, _POSITIONS)
    alt = "A panel a task, lines over the places of the list, one a model, a dashed line where there is no bias."
    yield _figure("emobench_positions", caption, alt, positions_figure(positions, found.bases))


def _table(name: str, caption: str, place: int, table: pd.DataFrame, view: View) -> Shown:
    return Exhibit(name, "table", caption, _ORDER + place, view=view), table


def _figure(name: str, caption: str, alt: str, figure) -> Shown:
    place = 3 if name.endswith("positions") else 0
    return Exhibit(name, "figure", caption, _ORDER + place, alt=alt), figure


def printed(config: Config, found: Measured) -> str:
    """What the command line shows: accuracy beside chance, and the place in the list that each model likes most."""
    questions = emobench_tables.by_question(found.scores)
    accuracies = emobench_tables.accuracies(questions)
    parts = [
        cells(accuracies, _VIEW).to_string(index=False),
        f"Accuracy in percent with 95 % intervals {what_is_drawn(seeds(questions), 'questions')} ({_WAYS}); "
        "+ above chance, - below it.",
    ]
    positions = emobench_tables.positions(found.scores)
    liked = positions.loc[positions.groupby(["model", "task", "way", "choices"], sort=False)["share"].idxmax()]
    heading = "Place in the list that was taken most often (the first of those that tie)"
    parts.append(f"{heading}:\n{cells(liked, _POSITIONS).to_string(index=False)}")
    changed = emobench_tables.differences(questions, found.comparisons)
    if not changed.empty:
        told = int((changed["p_holm"] < 1 - LEVEL).sum())
        parts.append(
            f"{compared(found.comparisons)}: {told} of {len(changed)} differences have a corrected p below "
            f"{1 - LEVEL:.2f} "
            "(--tables writes them all)"
        )
    return "\n\n".join(parts)
