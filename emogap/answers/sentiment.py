"""Tables about the emotion of answers: shares by group and by emotion asked for, differences of models, controls.

All but ``language_table`` is made from one frame, one row per answer: ``model, prompt_id, instruction_emotion,
response_emotion``. It comes from a run's own files, or from a file of counts (``read_counts``), so that published
counts pass through the same code. Shares are pooled: a row's percentages are those of all its answers together. An
empty answer has no emotion (``response_emotion`` is missing): it is in no share, and is counted separately; a file of
counts has none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emogap.emotions import GROUPINGS, INDEX, LABELS, group_of, groups_of
from emogap.errors import InputError
from emogap.text import statistics
from emogap.text.forms import Count, Form, Name, check, one_spelling, read_forms
from emogap.text.reading import format_of, given_file, read_json
from emogap.train.models import Comparison

COUNT_COLUMNS = ("model", "instruction_emotion", "response_emotion", "count")
MOST_ANSWERS = 10_000_000
"""The most that a file of counts may have: each answer becomes a row in memory."""
COLUMN_ORDER = {
    "study": ("positive", "neutral", "negative"),
    "goemotions": ("positive", "ambiguous", "neutral", "negative"),
}
"""The order in which a table shows the groups."""
_CHANGE_COLUMNS = [
    "comparison", "model", "against", "row", "outcome", "change", "low", "high", "sd_prompts", "sd_seeds",
    "prompts",
]  # fmt: skip
_PROMPT = ["instruction_emotion", "prompt_id"]
"""The columns that identify a prompt."""


class _Counted(Form):
    """A count of answers."""

    needs = f"counts are a table of {', '.join(COUNT_COLUMNS)}, or an object emotion → model → emotion found → count"

    model: Name
    instruction_emotion: Name
    response_emotion: Name
    count: Count


def read_counts(path: Path, grouping: str = "study") -> pd.DataFrame:
    """Read counts of answers and expand them to one row per answer, each with a prompt id of its own.

    ``response_emotion`` is one of the 28 or already a group of the grouping; ``instruction_emotion`` too, but a count
    for a whole group enters only the table of groups. The file is a table in any format, or JSON as the study's own
    results: an object, emotion asked for → model → emotion found → count. Raises ``MissingInput`` or ``InputError``.
    """
    given_file(path, "counts", f"give a CSV file with the columns {', '.join(COUNT_COLUMNS)}")
    counted = _study_counts(path) if format_of(path) == "JSON" else read_forms(path, _Counted)
    spelt = one_spelling(given.model for _, given in counted)
    seen: dict[tuple[str, str, str], int] = {}
    for where, given in counted:
        if spelt[given.model] != given.model:
            raise InputError(f"{where}: the model '{given.model}' is '{spelt[given.model]}' elsewhere; spell it alike")
        key = (
            given.model,
            _emotion_or_group(given.instruction_emotion, f"{where}: instruction_emotion", grouping),
            _emotion_or_group(given.response_emotion, f"{where}: response_emotion", grouping),
        )
        if key in seen:
            raise InputError(f"{where}: {', '.join(key)} stands twice; add its counts up")
        seen[key] = given.count
    if not 0 < sum(seen.values()) <= MOST_ANSWERS:
        raise InputError(f"{path} counts {sum(seen.values()) or 'no'} answers; it takes 1 to {MOST_ANSWERS:,}")
    counts = pd.DataFrame(list(seen), columns=list(COUNT_COLUMNS[:3]))
    rows = counts.loc[counts.index.repeat(list(seen.values()))]
    return rows.reset_index(drop=True).assign(prompt_id=range(len(rows)))


def _study_counts(path: Path) -> list[tuple[str, _Counted]]:
    """The counts in a JSON list of records, or in the study's results (the detailed form has them under ``counts``)."""
    value = read_json(path)
    if isinstance(value, list):
        return read_forms(path, _Counted)
    results = check(dict[str, dict[str, dict[str, Any]]], value, str(path), _Counted.needs)
    return [
        (where, check(_Counted, dict(zip(COUNT_COLUMNS, (model, asked, found, count), strict=True)), where))
        for asked, models in results.items()
        for model, result in models.items()
        for where in [f"{path}, '{asked}', '{model}'"]
        for found, count in check(dict[str, Any], result.get("counts", result), where, _Counted.needs).items()
    ]


def _emotion_or_group(name: str, where: str, grouping: str) -> str:
    lowered = name.lower()
    if lowered not in INDEX and lowered not in GROUPINGS[grouping]:
        raise InputError(
            f"{where} '{name}' is neither one of the 28 emotions nor a group; choose among {', '.join(LABELS)} or "
            f"{', '.join(GROUPINGS[grouping])}"
        )
    return lowered


def sentiment_table(answers: pd.DataFrame, by: str, grouping: str = "study") -> pd.DataFrame:
    """Percentages of each group among the answers, one row per model and row of the published tables.

    ``by``: ``group`` (Table 5: the emotions asked for, folded into their groups), ``emotion`` (Table 17) or ``all``
    (one row, whatever was asked). Columns: ``model, row``, a percentage for each group (the mean of the prompts' own,
    so that a prompt with an empty answer counts as much as any), ``n`` (answers that say something),
    ``empty`` (those of a run's own answers that do not), the ends of the 95 % interval ``<group>_low``,
    ``<group>_high`` (see ``statistics``; NaN for a single prompt), ``<group>_count``, and, where a model has several
    training seeds, the standard deviations between prompts and seeds, ``<group>_sd_prompts``, ``<group>_sd_seeds``.
    """
    names = list(COLUMN_ORDER[grouping])
    rows = []
    for (model, row), part in _parts(answers, by, grouping):
        said = part.dropna(subset=names)
        counts, values = said[names].sum().astype(int), statistics.by_prompt(part, names, _PROMPT)
        shares = dict(zip(names, 100 * statistics.centre(values), strict=True))
        record = {"model": model, "row": row, **shares, "n": len(said)}
        record |= {"empty": len(part) - len(said)} if "response" in part else {}
        (low, high), (prompts, seeds) = statistics.share_interval(values), statistics.spreads(values)
        for place, name in enumerate(names):
            record |= {f"{name}_low": 100 * low[place], f"{name}_high": 100 * high[place]}
        record |= {f"{name}_count": count for name, count in counts.items()}
        for place, name in enumerate(names):
            record |= {f"{name}_sd_prompts": 100 * prompts[place], f"{name}_sd_seeds": 100 * seeds[place]}
        rows.append(record)
    return statistics.without_spreads(
        pd.DataFrame(rows) if rows else pd.DataFrame(columns=["model", "row", *names, "n"])
    )


def _parts(answers: pd.DataFrame, by: str, grouping: str) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((model, row), its answers with a column per group: 1 or 0, missing for an empty answer); models in the order of
    ``answers``, rows in that of the tables."""
    found, asked = groups_of(answers["response_emotion"], grouping), answers["instruction_emotion"]
    answers = answers.assign(**indicators(found, COLUMN_ORDER[grouping]))
    rows, order = {
        "group": lambda: (asked.map(lambda name: group_of(name, grouping)), COLUMN_ORDER[grouping]),
        "emotion": lambda: (asked, LABELS),
        "all": lambda: (asked.map(lambda _: "all"), ("all",)),
    }[by]()
    parts = dict(list(answers.groupby([answers["model"], rows], sort=False)))
    yield from (
        ((model, row), parts[model, row])
        for model in answers["model"].unique()
        for row in order
        if (model, row) in parts
    )


def indicators(found: pd.Series, outcomes: Iterable[str]) -> dict[str, pd.Series]:
    """Outcome → 1.0 where it was found, 0.0 where another was, missing where none was."""
    return {outcome: found.eq(outcome).astype(float).where(found.notna()) for outcome in outcomes}


def on_same_prompts(one: pd.DataFrame, other: pd.DataFrame, outcomes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Each model's outcomes (``indicators``) on the prompts to which both say something, in the form of ``by_prompt``:
    float64 of shape (outcomes, prompts, training seeds, samples)."""
    both = [part.dropna(subset=outcomes) for part in (one, other)]
    own, others = (pd.MultiIndex.from_frame(part[_PROMPT]).unique() for part in both)
    after, before = (statistics.by_prompt(part, outcomes, _PROMPT, own[own.isin(others)]) for part in both)
    return after, before


def change_table(
    answers: pd.DataFrame, comparisons: Sequence[Comparison], by: str, grouping: str = "study"
) -> pd.DataFrame:
    """Differences between models, in percentage points, on the prompts to which both say something.

    One row per comparison, row and outcome (every group for ``by="group"``, else ``positive`` alone): ``change`` with
    its paired 95 % interval; where a model has several training seeds, its standard deviations between prompts and
    between seeds (``sd_prompts``, ``sd_seeds``); the paired test's ``p`` (see ``statistics``) and ``p_holm``,
    corrected for all tests of the same kind of comparison.
    """
    parts = dict(_parts(answers, by, grouping))
    outcomes = list(COLUMN_ORDER[grouping]) if by == "group" else ["positive"]
    rows = []
    for pair, row in [(pair, row) for pair in comparisons for model, row in parts if model == pair.model]:
        if (pair.other, row) not in parts:
            continue
        after, before = on_same_prompts(parts[pair.model, row], parts[pair.other, row], outcomes)
        prompts = after.shape[1]
        if not prompts:
            continue
        keys = pair.columns | {"row": row}
        changes = statistics.paired_changes(after, before)
        for place, outcome in enumerate(outcomes):
            numbers = {name: 100 * values[place] for name, values in changes.items()}
            p = statistics.paired_p(after[place], before[place])
            rows.append(keys | {"outcome": outcome, **numbers, "prompts": prompts, "p": p})
    table = pd.DataFrame(rows, columns=[*_CHANGE_COLUMNS, "p"])
    return statistics.without_spreads(table.assign(p_holm=statistics.holm_by(table["comparison"], table["p"])))


def asked_and_found(answers: pd.DataFrame) -> pd.DataFrame:
    """How often each emotion was found where each was asked for: ``model, asked, found, count, share`` (of the answers
    to prompts that asked for it), all 28 × 28 pairs of every model."""
    tables = []
    for model in answers["model"].unique():
        own = answers[answers["model"] == model]
        counts = pd.crosstab(own["instruction_emotion"], own["response_emotion"]).reindex(
            index=LABELS, columns=LABELS, fill_value=0
        )
        long = counts.rename_axis(index="asked", columns="found").stack().rename("count").reset_index()
        long["share"] = long["count"] / long.groupby("asked")["count"].transform("sum")
        tables.append(long.assign(model=model))
    return pd.concat(tables, ignore_index=True)[["model", "asked", "found", "count", "share"]]


def shuffled_control(answers: pd.DataFrame, grouping: str, shuffles: int, seed: int) -> pd.DataFrame:
    """What the same answers would show if the prompts had asked for other emotions.

    The emotions asked for are shuffled over the prompts. Two measures for each model, of answers that say something:
    ``top-1 hit`` (the emotion found is the one asked for) and ``positive, asked positive - asked negative`` (how far
    the answers follow the group asked for). Columns: ``observed``, the shuffles' mean and central 95 %, and ``p``: the
    share of shuffles that reach the observed value, which is itself counted as one (Phipson & Smyth 2010).
    """
    rows, answers = [], answers.dropna(subset="response_emotion")
    for model in answers["model"].unique():
        own = answers[answers["model"] == model]
        prompts, owner = np.unique(own["prompt_id"].to_numpy(dtype=str), return_inverse=True)
        asked = own.groupby("prompt_id")["instruction_emotion"].first().reindex(prompts).map(INDEX).to_numpy()
        measure = _following(own, owner, grouping)
        rng = np.random.default_rng(seed)
        shuffled = np.array([measure(rng.permutation(asked)) for _ in range(shuffles)])
        observed = measure(asked)
        for place, name in enumerate(("top-1 hit", "positive, asked positive - asked negative")):
            by_chance = shuffled[:, place]
            if np.isnan(observed[place]):
                continue
            rows.append(
                {
                    "model": model,
                    "measure": name,
                    "observed": 100 * observed[place],
                    "shuffled": 100 * by_chance.mean(),
                    "shuffled_low": 100 * np.quantile(by_chance, 0.025),
                    "shuffled_high": 100 * np.quantile(by_chance, 0.975),
                    "p": (1 + (by_chance >= observed[place]).sum()) / (1 + shuffles),
                }
            )
    columns = ["model", "measure", "observed", "shuffled", "shuffled_low", "shuffled_high", "p"]
    return pd.DataFrame(rows, columns=columns)


def _following(answers: pd.DataFrame, owner: np.ndarray, grouping: str) -> Callable[[np.ndarray], np.ndarray]:
    """The two measures of ``shuffled_control`` as a function of which emotion each prompt asked for."""
    found = answers["response_emotion"].map(INDEX).to_numpy()
    group = np.array([group_of(label, grouping) for label in LABELS])
    positive = group[found] == "positive"

    def measure(asked: np.ndarray) -> np.ndarray:
        wanted = asked[owner]
        asked_positive, asked_negative = group[wanted] == "positive", group[wanted] == "negative"
        if not (asked_positive.any() and asked_negative.any()):
            contrast = np.nan
        else:
            contrast = positive[asked_positive].mean() - positive[asked_negative].mean()
        return np.array([(found == wanted).mean(), contrast])

    return measure


def language_table(scores: pd.DataFrame) -> pd.DataFrame:
    """What sentiment alone does not show, one row per model, from the long table of scores: how often the emotion asked
    for is found (among the ``n`` answers that say something), how many answers are cut or empty, how varied they are,
    and how well plain text is still predicted."""
    rows, scores = [], of_said(scores)
    for model in scores["model"].unique():
        own = scores[scores["model"] == model]
        row = {"model": model, "n": int((own["metric"] == "top1").sum())}
        for metric in ("top1", "top3"):
            (values,) = statistics.by_prompt(own[own["metric"] == metric], ["value"], ["item"])
            low, high = statistics.share_interval(values)
            row |= {metric: 100 * statistics.centre(values), f"{metric}_low": 100 * low, f"{metric}_high": 100 * high}
        mean = own[own["task"] == "answers"].groupby("metric")["value"].mean()
        row |= {
            "words": mean["words"],
            "cut": 100 * (1 - mean["finished"]),
            "empty": int(own.loc[own["metric"] == "empty", "value"].sum()),
            "distinct_1": mean.get("distinct_1"),
            "distinct_2": mean.get("distinct_2"),
            "repeated_3": 100 * mean.get("repeated_3", np.nan),
        }
        rows.append(row | _plain_text(own))
    return pd.DataFrame(rows)


def of_said(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores without the ``sentiment`` rows of empty answers, which these rows count as neutral."""
    answers = pd.MultiIndex.from_frame(scores[["model", "train_seed", "item", "sample"]])
    is_empty = answers.isin(answers[scores["metric"].eq("empty") & scores["value"].eq(1)])
    return scores[~is_empty | scores["task"].ne("sentiment")]


def _plain_text(scores: pd.DataFrame) -> dict[str, float]:
    """Perplexity per token of the plain text with its 95 % interval over passages (and seeds), and bits per character,
    which can be compared between models of different tokenizers.

    The interval is that of nats per token, a ratio of sums (``statistics.parts_of_ratio``).
    """
    wide = scores[scores["task"] == "plain_text"].pivot_table(
        index=["train_seed", "item"], columns="metric", values="value"
    )
    if wide.empty:
        return {}
    nats = wide["nats"]
    parts = statistics.parts_of_ratio(nats, wide["tokens"])
    low, high = statistics.mean_interval(parts.unstack("train_seed").to_numpy())
    return {
        "perplexity": float(np.exp(parts.mean())),
        "perplexity_low": float(np.exp(low)),
        "perplexity_high": float(np.exp(high)),
        "bits_per_character": float(nats.sum() / np.log(2) / wide["characters"].sum()),
    }
