"""Write the tables of docs/experiment.md from the experiment's own: ``python experiments/cpu_study_page.py``."""

import re
from collections.abc import Collection

import pandas as pd

from emogap.paths import ROOT

PAGE = ROOT / "docs" / "experiment.md"
RESULTS = ROOT / "results" / "cpu-study"
BASE = "smollm2-135m"
END = "<!-- end of the table -->"

TABLES = {
    "rewrites": (
        {"base": "", "control, `-orig`": "-orig", "rewrites, `-instr`": "-instr"},
        {"rewrites − control": ("-instr", "-orig"), "control − base": ("-orig", "")},
    ),
    "stories": (
        {
            "base": "",
            "lines, `-lines`": "-lines",
            "stories without emotion, `-plain`": "-plain",
            "stories, `-baby`": "-baby",
        },
        {
            "stories − without emotion": ("-baby", "-plain"),
            "stories − lines": ("-baby", "-lines"),
            "without emotion − base": ("-plain", ""),
        },
    ),
    "both in sequence": (
        {"base": "", "control, `-plain-orig`": "-plain-orig", "stories, then rewrites, `-baby-instr`": "-baby-instr"},
        {
            "tuned − control": ("-baby-instr", "-plain-orig"),
            "control − base": ("-plain-orig", ""),
            "tuned − base": ("-baby-instr", ""),
        },
    ),
}
"""Table → its columns of values (heading → model) and of changes (heading → model and what it is held against)."""

EQUAL = "positive, between answers of equal length"
ROWS = (
    ("empty answers, %", "empty answers %", ""),
    ("words of an answer", "words of an answer", ""),
    ("positive answers, %, first judge", "positive answers %, asked, emotion-minilm", "positive, emotion-minilm"),
    ("… second judge", "positive answers %, asked, emotion-tfidf", "positive, emotion-tfidf"),
    ("… VADER's lexicon", "positive answers %, asked, VADER", "positive, VADER"),
    ("… first judge, between answers of equal length", "", EQUAL),
    ("negative answers, %, first judge", "negative answers %, asked, emotion-minilm", "negative, emotion-minilm"),
    ("BLiMP, 1,340 pairs, %", "minimal pairs %", "minimal pairs"),
    (
        "mass on words of the own emotion in the lens's last layer, %",
        "lens, mass on the own emotion's words in the last layer %",
        "lens, own emotion's words",
    ),
    ("perplexity of plain text", "plain text, perplexity", ""),
)
"""Label of a row, the measure of its values, the measure of its changes; what is empty is not shown."""


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        page = tables_in(page, name)[0].sub(lambda _, name=name: table(name), page)
    PAGE.write_text(page, encoding="utf-8")


def tables_in(page: str, name: str) -> tuple[re.Pattern[str], str]:
    """What finds a table between its markers, and the table as it stands on the page.

    Raises ValueError if the page has not exactly one.
    """
    begin = f"<!-- {name}: experiments/cpu_study_page.py -->\n"
    pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(END)})", re.DOTALL)
    found = pattern.findall(page)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} tables of {name!r} between markers; it needs one: {begin.strip()}")
    return pattern, found[0]


def table(name: str) -> str:
    """One table in Markdown: values, a number per training seed, then changes with their 95 % intervals."""
    models, pairs = TABLES[name]
    values, effects = _values(), _effects()
    first, *others = pairs
    lines = [["", *models, f"**{first}**", *others], ["---"] * (1 + len(models) + len(pairs))]
    for label, measure, changed in ROWS:
        cells = [_by_seed(values, measure, model) for model in models.values()]
        lines.append([label, *cells, *_changes(effects, changed, pairs.values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _values() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "values.csv").set_index(["measure", "model"])


def _effects() -> pd.DataFrame:
    """measure, model, against → change, low, high: of all prompts, by judge, and between answers of equal length."""
    judged, equal = (pd.read_csv(RESULTS / f"effects_{name}.csv") for name in ("by_judge", "at_equal_length"))
    ends = {"equal_length": "change", "equal_length_low": "low", "equal_length_high": "high"}
    tables = [
        pd.read_csv(RESULTS / "effects.csv"),
        judged.assign(measure=judged["outcome"] + ", " + judged["judge"]),
        equal[equal["outcome"] == "positive"].assign(measure=EQUAL).rename(columns=ends),
    ]
    keys, columns = ["measure", "model", "against"], ["change", "low", "high"]
    return pd.concat([one[[*keys, *columns]] for one in tables]).set_index(keys)


def _by_seed(values: pd.DataFrame, measure: str, model: str) -> str:
    if not measure:
        return ""
    return ", ".join(f"{value:.1f}" if value else "0" for value in values.loc[(measure, BASE + model)].dropna())


def _changes(effects: pd.DataFrame, measure: str, pairs: Collection[tuple[str, str]]) -> list[str]:
    """The changes of a row, the first in bold; without a measure as many empty cells."""
    if not measure:
        return [""] * len(pairs)
    rows = [effects.loc[(measure, BASE + model, BASE + other)] for model, other in pairs]
    shown = [f"{_number(row['change'], '+')} ({_number(row['low'])} to {_number(row['high'])})" for row in rows]
    return [f"**{shown[0]}**", *shown[1:]]


def _number(value: float, sign: str = "") -> str:
    """One decimal, a true minus, and no sign at zero."""
    rounded = round(float(value), 1)
    return f"{rounded:{sign}.1f}".replace("-", "−") if rounded else "0.0"


if __name__ == "__main__":
    main()
