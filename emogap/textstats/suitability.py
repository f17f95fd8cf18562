"""How far texts are for children, beside what they were made from: readability, rare words, unsuitable words."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emogap.store.exhibits import Exhibit, Shown, read_table
from emogap.store.views import View
from emogap.text import comparison, measures
from emogap.text.word_lists import common_release, unsuitable_release, unsuitable_words
from emogap.text.words import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUITABILITY = "suitability.csv"
COLUMNS = ("measure", "of", "group", "texts", "value", "low", "high")
MEASURES = {
    "flesch_reading_ease": "Flesch reading ease",
    "rare_word_share": "share of rare words",
    "unsuitable_share": "share of texts with\nunsuitable words",
}
"""Measure → as an axis names it."""
VIEW = View({"low": ".3g", "high": ".3g", "value": ".3g"}, ("measure", "of"), "group", ("value",))


def suitability_identities() -> dict[str, str]:
    """For the recipe: the lists. Raises ``MissingInput`` if a package with one is not there."""
    return {"common words": common_release(), "unsuitable words": unsuitable_release()}


def suitability(texts: pd.DataFrame, statistics: pd.DataFrame, kind: str) -> pd.DataFrame:
    """``COLUMNS``: each measure of each group's texts (``of`` is ``kind``) and of what they were made from (``lines``
    of stories, ``originals`` of rewrites), each of these once in a group; with the ends of 95 % intervals.

    ``texts``: as ``read_texts`` gives them; ``statistics``: theirs, whose readability is taken over.
    """
    made_from = texts[texts["made_from"] != ""].drop_duplicates(["group", "made_from"])
    lines = made_from.assign(text=made_from["made_from"])
    eases = statistics[statistics["preset"] == "words"].set_index(["group", "measure"])["value"].astype(float)
    stated = {group: _stated(eases[group]) for group in texts["group"].unique()}
    rows = [*_measured(texts, kind, stated), *_measured(lines, "lines" if kind == "stories" else "originals", {})]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("measure", kind="stable", ignore_index=True)


def _measured(texts: pd.DataFrame, of: str, eases: Mapping[str, comparison.Estimate]) -> Iterator[tuple]:
    """Rows of ``COLUMNS``. ``eases``: by group where they are known."""
    rare = measures.rare_shares(measures.encode(texts["text"]))
    unsuitable = np.asarray([bool(unsuitable_words(text)) for text in texts["text"]], bool)
    for group in texts["group"].unique():
        mine = texts["group"].eq(group).to_numpy()
        shares = rare[mine & ~np.isnan(rare)]
        found = {
            "flesch_reading_ease": eases.get(group) or _ease(texts["text"][mine]),
            "rare_word_share": _bounded(comparison.mean(shares)) if len(shares) else None,
            "unsuitable_share": comparison.proportion(int(unsuitable[mine].sum()), int(mine.sum())),
        }
        for measure, estimate in found.items():
            if estimate:
                yield measure, of, group, int(mine.sum()), estimate.value, estimate.low, estimate.high


def _stated(measured: pd.Series) -> comparison.Estimate:
    """The reading ease that stands in the statistics of a group (measure → value)."""
    return comparison.Estimate(*(measured.get(f"flesch_reading_ease{end}", np.nan) for end in ("", "_low", "_high")))


def _ease(texts: Iterable[str]) -> comparison.Estimate:
    import textstat

    return comparison.mean([textstat.flesch_reading_ease(plain(text)) for text in texts])


def _bounded(estimate: comparison.Estimate) -> comparison.Estimate:
    """Ends within 0 and 1."""
    return comparison.Estimate(estimate.value, *np.clip((estimate.low, estimate.high), 0, 1))


def suitability_shown(file: Path, kind: str) -> Iterator[Shown]:
    """The table at ``file`` and its figure."""
    table = read_table(file)
    said = (
        f"How far the {kind} are for children, and what they were made from: readability, words that English has less "
        "than once in a million, texts with an oath, a slur or a sexual word; with 95 % intervals."
    )
    if table.empty:
        said = f"There are no {kind}: none was kept."
    yield Exhibit("suitability", "table", said, 97, view=VIEW), table.drop(columns="texts")
    alt = "Three small panels, one a measure: a filled mark for each group's texts, a hollow one for their sources."
    yield Exhibit("suitability", "figure", said, 98, alt=alt), suitability_figure(table)


def suitability_figure(table: pd.DataFrame) -> "Figure":
    """Small panels, a measure each: every group's texts (filled) and what they were made from (hollow)."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    from emogap.store.style import nothing_figure, use_style

    if table.empty:
        return nothing_figure("There are no texts: none was kept.")
    use_style()
    groups, kinds = (list(dict.fromkeys(table[column])) for column in ("group", "of"))
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(9, 1.3 + 0.45 * len(groups)), sharey=True)
    for axis, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for row in table[table["measure"] == measure].itertuples():
            place = groups.index(row.group) + 0.3 * kinds.index(row.of)
            ends = [[abs(row.value - row.low)], [abs(row.high - row.value)]]
            face = None if row.of == kinds[0] else "white"
            axis.errorbar(row.value, place, xerr=ends, fmt="o", color="black", mfc=face, capsize=2, markersize=5)
        axis.set_xlabel(label)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axes[0].set_yticks([place + 0.15 for place in range(len(groups))], groups)
    axes[0].set_ylim(len(groups) - 0.3, -0.4)
    figure.suptitle(f"For children? {' (filled) and '.join(kinds)}{' (hollow)' * (len(kinds) > 1)}", x=0.01, ha="left")
    figure.tight_layout()
    return figure
