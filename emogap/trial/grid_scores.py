"""What a grid of prompts and samplings shows: every cell measured, and cells compared line by line.

Every measure gives a value for a cell and a part of it for each line: for a mean the line's own value, for what only a
set of texts has (distinct-n, self-similarity, a rate) the line's jackknife pseudo-value (Efron and Tibshirani 1993,
"An Introduction to the Bootstrap", ch. 11). Intervals and paired differences come from these parts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from emogap.records import KEPT, REJECTED
from emogap.stories.gates import ends_well
from emogap.text import measures as text_measures
from emogap.text.measures import Encoded
from emogap.text.statistics import Estimate, holm, mean, mean_p, paired_interval, paired_p, share_interval
from emogap.text.word_counts import count_words
from emogap.text.words import distinct_n, ngrams

OPENING_WORDS = 50
"""Distinct-n falls as texts grow longer, so it is counted on only this many words from the beginning of each reply."""
_MIN_FOR_PAIRS = 3
_AT_MOST_1 = ("distinct_1", "distinct_2", "distinct_3", "self_similarity", "emotion_score")
_MAY_BE_NEGATIVE = ("similarity",)

TEXT_COLUMNS = {"augment": "story", "rewrite": "output"}
_TRADITIONAL = re.compile(
    r"[\W_]*(?:once upon|once,? (?:there|in|a)\b|there (?:once )?(?:was|were|lived) (?:once|a time)|there once\b"
    r"|(?:a )?long,? (?:long )?(?:time )?ago)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Measure:
    """A measure as tables and figures name it."""

    name: str
    title: str
    unit: str
    """``%`` for shares, which are kept between 0 and 1."""
    digits: int

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def scale(self) -> float:
        """What a value is multiplied by where it is shown."""
        return 100.0 if self.unit == "%" else 1.0

    def text(self, value: float) -> str:
        return f"{self.scale * value:.{self.digits}f}"


MEASURES = (
    Measure("kept", "kept", "%", 0),
    Measure("words", "words", "", 0),
    Measure("cut", "cut at the token limit", "%", 0),
    Measure("traditional_opening", "traditional opening", "%", 0),
    Measure("distinct_1", "distinct-1", "", 3),
    Measure("distinct_2", "distinct-2", "", 3),
    Measure("distinct_3", "distinct-3", "", 3),
    Measure("self_similarity", "self-similarity", "", 3),
    Measure("emotion_hit", "emotion found", "%", 0),
    Measure("emotion_score", "score of the emotion", "", 2),
    Measure("meaning_kept", "meaning kept", "%", 0),
    Measure("similarity", "similarity to the original", "", 2),
    Measure("tokens_per_second", "useful tokens/s", "", 0),
    Measure("seconds", "seconds a reply", "", 1),
)
REASON = "rejected: "


def measure_of(name: str) -> Measure:
    """The measure of that name; ``rejected: <reason>`` is the share of replies rejected for it."""
    known = {measure.name: measure for measure in MEASURES}
    return known.get(name) or Measure(name, name.replace("_", " "), "%", 0)


@dataclass(frozen=True)
class Cell:
    """One measure of one cell."""

    value: float
    parts: np.ndarray
    """Each line's contribution, shape (lines,), NaN where it has none; their spread gives the value's interval."""
    is_share: bool = False
    """Whether a part says yes or no, 1 or 0."""


def grid_scores(rows: pd.DataFrame, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of every cell of a grid, and the differences between every two levels of a factor (``template`` or
    ``setting``), over the same lines and averaged over the other factor.

    ``rows``: what ``make_grid`` wrote, one row for each line in every cell, the lines in the same order. Columns of the
    first table: ``template, setting, measure, value, low, high, lines``; of the second: ``factor, level, minus,
    measure, difference, low, high, lines, p_holm``.
    """
    rows = rows.reset_index(drop=True)
    encoded = text_measures.encode(rows[TEXT_COLUMNS[stage]])
    weights = text_measures.inverse_document_frequencies(encoded)
    reasons = sorted(rows.loc[rows["status"] == REJECTED, "reason"].unique())
    measured = {
        key: dict(_cells(cell, encoded, weights, reasons, stage))
        for key, cell in rows.groupby(["template", "setting"], sort=False)
    }
    return _cell_table(measured), _differences(measured)


_Measured = dict[tuple[str, str], dict[str, Cell]]
"""(template, setting) → measure → cell."""


def _cells(
    rows: pd.DataFrame, encoded: Encoded, weights: np.ndarray, reasons: Sequence[str], stage: str
) -> Iterator[tuple[str, Cell]]:
    members = rows.index.to_numpy()
    texts = rows[TEXT_COLUMNS[stage]]
    yield "kept", _share(rows["status"] == KEPT)
    for reason in reasons:
        yield REASON + reason, _share((rows["status"] == REJECTED) & (rows["reason"] == reason))
    yield "words", _mean(rows["words"])
    yield "cut", _share((rows["finish"] == "length") | (rows["finish"].isna() & ~texts.map(ends_well)))
    yield "traditional_opening", _share(texts.map(opens_traditionally))
    for length in (1, 2, 3):
        yield f"distinct_{length}", _distinct(encoded, members, length)
    yield "self_similarity", _self_similarity(encoded, members, weights)
    yield "emotion_hit", _share(rows["found"].str[0] == rows["emotion"])
    yield "emotion_score", _mean(rows["emotion_score"])
    if stage == "rewrite":
        lost = rows["reasons"].map(lambda failed: bool({"meaning_lost", "facts_lost"} & set(failed)))
        yield "meaning_kept", _share(~lost)
        yield "similarity", _mean(rows["similarity"])
    yield "tokens_per_second", _ratio(rows["new_tokens"].to_numpy(float), rows["seconds"].to_numpy(float))
    yield "seconds", _mean(rows["seconds"])


def opens_traditionally(text: str) -> bool:
    """Whether a text opens as fairy tales do: "Once upon a time", "There was once", "Long ago"."""
    return bool(_TRADITIONAL.match(text))


def _share(yes: pd.Series) -> Cell:
    values = yes.to_numpy(float)
    return Cell(float(values.mean()), values, is_share=True)


def _mean(values: pd.Series) -> Cell:
    values = values.to_numpy(float)
    return Cell(float(np.nanmean(values)), values)


def _pseudo(value: float, without: np.ndarray) -> Cell:
    """``without``: the measure with one line left out, for each line, shape (lines,)."""
    return Cell(value, len(without) * value - (len(without) - 1) * without)


def _ratio(tokens: np.ndarray, seconds: np.ndarray) -> Cell:
    """Tokens per second, over the lines whose tokens are known; a server need not count them."""
    seconds = np.where(np.isnan(tokens), np.nan, seconds)
    all_tokens, all_seconds, known = np.nansum(tokens), np.nansum(seconds), np.isfinite(tokens).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        value, without = all_tokens / all_seconds, (all_tokens - tokens) / (all_seconds - seconds)
        return Cell(float(value), known * value - (known - 1) * without)


def _distinct(encoded: Encoded, members: np.ndarray, length: int) -> Cell:
    """``distinct_n`` of the replies' first 50 words."""
    of_texts = [ngrams(encoded.of(np.array([member]))[:OPENING_WORDS].tolist(), length) for member in members]
    counts = np.array([len(of_text) for of_text in of_texts])
    having = Counter(ngram for of_text in of_texts for ngram in set(of_text))
    alone = np.array([sum(having[ngram] == 1 for ngram in set(of_text)) for of_text in of_texts])
    with np.errstate(divide="ignore", invalid="ignore"):
        return _pseudo(distinct_n(of_texts), (len(having) - alone) / (counts.sum() - counts))


def _self_similarity(encoded: Encoded, members: np.ndarray, weights: np.ndarray) -> Cell:
    """Mean cosine of all pairs of the cell's replies."""
    n = len(members)
    if n < _MIN_FOR_PAIRS:
        return Cell(np.nan, np.full(n, np.nan))
    each = text_measures.self_similarity(encoded, members, weights)
    return _pseudo(float(each.mean()), (n * each.mean() - 2 * each) / (n - 2))


def _cell_table(measured: _Measured) -> pd.DataFrame:
    rows = []
    for (template, setting), cells in measured.items():
        for name, cell in cells.items():
            found = _within_bounds(name, _estimate(cell))
            rows.append(
                {"template": template, "setting": setting, "measure": name, "value": found.value, "low": found.low,
                 "high": found.high, "lines": int(np.isfinite(cell.parts).sum())}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _within_bounds(name: str, found: Estimate) -> Estimate:
    """The estimate with the ends of its interval clipped to values that the measure can have."""
    low = found.low if name in _MAY_BE_NEGATIVE else np.maximum(found.low, 0.0)
    high = np.minimum(found.high, 1.0) if name in _AT_MOST_1 else found.high
    return Estimate(found.value, float(low), float(high))


def _estimate(cell: Cell) -> Estimate:
    """A share with Wilson's interval, anything else with that of Student's t over the lines' parts."""
    if cell.is_share:
        return Estimate(cell.value, *map(float, share_interval(cell.parts[:, None, None])))
    spread = _known_mean(cell.parts)
    return Estimate(cell.value, cell.value + spread.low - spread.value, cell.value + spread.high - spread.value)


def _known_mean(parts: np.ndarray) -> Estimate:
    parts = parts[np.isfinite(parts)]
    return mean(parts) if len(parts) else Estimate(np.nan, np.nan, np.nan)


def _differences(measured: _Measured) -> pd.DataFrame:
    """A row for every two levels of each factor and every measure; ``p_holm`` is corrected over all these rows."""
    names = list(next(iter(measured.values())))
    rows = []
    for axis, factor in enumerate(("template", "setting")):
        levels = list(dict.fromkeys(key[axis] for key in measured))
        for minus, level in combinations(levels, 2):
            for name in names:
                # The cells of a level, one for each level of the other factor.
                lower, upper = (
                    [cells[name] for key, cells in measured.items() if key[axis] == one] for one in (minus, level)
                )
                rows.append({"factor": factor, "level": level, "minus": minus, "measure": name,
                             **_difference(lower, upper)})  # fmt: skip
    columns = ["factor", "level", "minus", "measure", "difference", "low", "high", "lines", "p"]
    table = pd.DataFrame(rows, columns=columns)
    known = table["p"].notna()
    table["p_holm"] = np.nan
    if known.any():
        table.loc[known, "p_holm"] = holm(table.loc[known, "p"].tolist())
    return table.drop(columns="p")


def _difference(lower: Sequence[Cell], upper: Sequence[Cell]) -> dict[str, float]:
    """A difference with interval and p over lines. For shares these are ``paired_interval`` and ``paired_p``, with each
    cell as one sample of every line; otherwise those of a paired t-test on each line's average over the cells."""
    one, other = (np.stack([cell.parts for cell in cells], axis=1) for cells in (lower, upper))
    difference = float(np.mean([cell.value for cell in upper]) - np.mean([cell.value for cell in lower]))
    parts = (other - one).mean(axis=1)
    parts = parts[np.isfinite(parts)]
    if upper[0].is_share:
        low, high = map(float, paired_interval(other[:, None], one[:, None]))
        p = paired_p(other[:, None], one[:, None]) if len(parts) > 1 else np.nan
    else:
        spread, p = _known_mean(parts), mean_p(parts)
        low, high = difference + spread.low - spread.value, difference + spread.high - spread.value
    return {"difference": difference, "low": low, "high": high, "lines": len(parts), "p": p}


def word_statistics(rows: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The study's counts of words (Tables 2 and 3) for each cell: ``template, setting, texts, total_words,
    unique_words, average_words, low, high``; ``low`` and ``high`` are those of the average. All replies with a text
    count, rejected ones too.
    """
    preset = {"augment": "published-stories", "rewrite": "published-rewrites"}[stage]
    table = []
    for (template, setting), cell in rows.groupby(["template", "setting"], sort=False):
        counted = count_words([text for text in cell[TEXT_COLUMNS[stage]] if text], [preset])[preset]
        average = _known_mean(np.array(counted.lengths, float))
        table.append(
            {"template": template, "setting": setting, "texts": counted.texts, "total_words": counted.total,
             "unique_words": len(counted.distinct), "average_words": average.value, "low": average.low,
             "high": average.high}
        )  # fmt: skip
    return pd.DataFrame(table)


def most_different(rows: pd.DataFrame, stage: str, count: int = 5) -> pd.DataFrame:
    """The ``count`` replies of every cell that are least like each other, to show its range.

    The first is the one least like all the rest; each next one is the one whose nearest neighbour among those chosen is
    farthest away (by cosine of tf-idf vectors). Replies without a text are left out.
    """
    rows = rows[rows[TEXT_COLUMNS[stage]] != ""].reset_index(drop=True)
    encoded = text_measures.encode(rows[TEXT_COLUMNS[stage]])
    weights = text_measures.inverse_document_frequencies(encoded)
    chosen = []
    for _, cell in rows.groupby(["template", "setting"], sort=False):
        vectors = text_measures.unit_vectors(encoded, cell.index.to_numpy(), weights)
        chosen.append(cell.iloc[_spread(np.asarray((vectors @ vectors.T).todense()), count)])
    return pd.concat(chosen, ignore_index=True)


def _spread(likeness: np.ndarray, count: int) -> list[int]:
    chosen = [int(likeness.sum(axis=1).argmin())]
    while len(chosen) < min(count, len(likeness)):
        nearest = likeness[:, chosen].max(axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
    return chosen
