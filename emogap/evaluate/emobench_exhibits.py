"""The report's tables and figures about the understanding of emotions, drawn from tables of scores alone."""

from pathlib import Path
from typing import TYPE_CHECKING

from emogap.config import Config
from emogap.evaluate import emobench_tables
from emogap.evaluate.emobench import EMOBENCH
from emogap.evaluate.statistics import LEVEL
from emogap.evaluate.tasks import Measured
from emogap.store.exhibits import Exhibit, save_figure, save_table

if TYPE_CHECKING:
    import pandas as pd

_ORDER = 76
_FORM = "Questions in EmoBench's form"
_WAYS = (
    "the choices listed in several orders or not listed, scored by their log-probability or by that per character of "
    "the choice"
)


def emobench_exhibits(config: Config) -> None:
    """The study's: every model it measures, each against its base; where there was nothing to ask, that."""
    if EMOBENCH.is_there(config):
        draw(config, config.home.evaluation, EMOBENCH.of_study(config))
    else:
        _missing(config)


def _missing(config: Config) -> None:
    import pandas as pd

    remedy = "emogap fetch emobench, or --set emobench.data=DIR"
    table = pd.DataFrame([{"missing": f"EA.jsonl and EU.jsonl in {config.emobench.data}", "remedy": remedy}])
    caption = "EmoBench was not measured: its questions are not there."
    save_table(config.home.evaluation, Exhibit("emobench_accuracy", "table", caption, _ORDER), table)


def draw(config: Config, folder: Path, found: Measured) -> None:
    """Tables and figures of any scores."""
    from emogap.show.task_figures import accuracy_figure, positions_figure

    questions = emobench_tables.by_question(found.scores)
    accuracies = emobench_tables.accuracies(questions)
    colour_bases = list(dict.fromkeys(found.bases.values()))
    caption = (
        f"{_FORM}, accuracy in percent with 95 % intervals over questions: {_WAYS}; + above chance, - below it, "
        "unmarked: at chance."
    )
    _table(folder, "emobench_accuracy", caption, 0, emobench_tables.side_by_side(accuracies))
    caption = f"{_FORM}: accuracy by task and way of asking, with 95 % intervals; the line is chance."
    alt = "A panel a task, a row a way of asking, a point with an interval for each model, a dashed line at chance."
    _figure(folder, "emobench_accuracy", caption, alt, accuracy_figure(accuracies, colour_bases))
    _table(folder, "emobench_accuracy_numbers", f"{_FORM}: accuracies as numbers.", 1, accuracies.round(2))
    changed = emobench_tables.differences(questions, found.bases, config.sentiment.bootstrap, config.seed)
    if not changed.empty:
        caption = (
            f"{_FORM}: each model minus its base over the same questions, in percentage points; paired test, p also "
            "corrected for the number of comparisons (Holm)."
        )
        _table(folder, "emobench_differences", caption, 2, changed.round({"difference": 2, "low": 2, "high": 2}))
    positions = emobench_tables.positions(found.scores)
    caption = (
        f"{_FORM}: how often each place of the list was taken, in percent. Over all orders each choice stands in each "
        "place once, so that only the place itself can make a difference."
    )
    _table(folder, "emobench_positions", caption, 3, positions.round(2))
    alt = "A panel a task, lines over the places of the list, one a model, a dashed line where there is no bias."
    _figure(folder, "emobench_positions", caption, alt, positions_figure(positions, colour_bases))


def _table(folder: Path, name: str, caption: str, place: int, table: "pd.DataFrame") -> None:
    save_table(folder, Exhibit(name, "table", caption, _ORDER + place), table)


def _figure(folder: Path, name: str, caption: str, alt: str, figure) -> None:
    place = 3 if name.endswith("positions") else 0
    save_figure(folder, Exhibit(name, "figure", caption, _ORDER + place, alt=alt), figure)


def printed(config: Config, found: Measured) -> str:
    """What the command line shows: accuracy beside chance, and the place in the list that each model likes most."""
    questions = emobench_tables.by_question(found.scores)
    accuracies = emobench_tables.accuracies(questions)
    parts = [
        emobench_tables.side_by_side(accuracies).to_string(index=False),
        f"Accuracy in percent with 95 % intervals over questions ({_WAYS}); + above chance, - below it.",
    ]
    positions = emobench_tables.positions(found.scores)
    liked = positions.loc[positions.groupby(["model", "task", "way", "choices"], sort=False)["share"].idxmax()]
    parts.append("Place in the list that was taken most often:\n" + liked.round(1).to_string(index=False))
    changed = emobench_tables.differences(questions, found.bases, config.sentiment.bootstrap, config.seed)
    if not changed.empty:
        told = int((changed["p_holm"] < 1 - LEVEL).sum())
        parts.append(
            f"Against the base: {told} of {len(changed)} differences have a corrected p below {1 - LEVEL:.2f} "
            "(--tables writes them all)"
        )
    return "\n\n".join(parts)
