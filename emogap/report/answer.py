"""The first screen of the report: the findings in a few sentences, made by rules from the tables of the stages.

No sentence says more than its numbers: a difference is called an effect only if it holds after correction, what was not
measured is called missing, and without controls nothing is called an effect of emotion.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from emogap.config import Config
from emogap.report.entries import Read
from emogap.store.views import cells
from emogap.study.effects import PAIRS, POSITIVE
from emogap.train.models import CONTROLLED, NOT_SEPARATED, TUNED, comparisons, separated, study_models

EFFECTS, LANGUAGE = "quantitative_analysis/effects", "quantitative_analysis/language"
_MEASURES = {POSITIVE: "Positive answers", PAIRS: "Grammar (minimal pairs)"}
_OTHERS, _PLAIN = "Understanding (EmoBench)", "Plain text"
_NAMED = 3
"""How many differences a sentence names at most; it gives the number of all."""
_LEVEL = 0.05


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer and the table that it rests on."""

    about: str
    text: str
    table: str = ""
    """``<folder>/<name>``; empty where it rests on none."""

    @property
    def anchor(self) -> str:
        """The anchor of that table on the page."""
        return self.table.replace("/", "-table-")


def answer(config: Config, read: Read) -> list[Sentence]:
    """At most five sentences: emotion, grammar, understanding, plain text, and what a run of this size cannot tell."""
    effects = read(EFFECTS)
    if effects is None or effects.empty:
        return [_missing("Effects", separated(comparisons(config))), *_limits(config, None)]
    kind = CONTROLLED if CONTROLLED in set(effects["comparison"]) else TUNED
    ours = effects[effects["comparison"] == kind]
    understood = ours[~ours["measure"].isin(_MEASURES)]
    return [
        _effect(_MEASURES[POSITIVE], ours[ours["measure"] == POSITIVE], kind, f" {NOT_SEPARATED}." * (kind == TUNED)),
        _effect(_MEASURES[PAIRS], ours[ours["measure"] == PAIRS], kind),
        *([] if understood.empty else [_effect(_OTHERS, understood, kind)]),
        _plain_text(ours, read(LANGUAGE)),
        *_limits(config, ours),
    ]


def _missing(about: str, further: str = "") -> Sentence:
    return Sentence(about, f"not measured yet; run `emogap evaluate`.{further}")


def _effect(about: str, part: pd.DataFrame, kind: str, further: str = "") -> Sentence:
    """The differences of one measure that hold after correction, else those whose own interval leaves out zero."""
    if part.empty:
        return _missing(about, further)
    cause = "emotion in the training text" if kind == CONTROLLED else "training"
    other = "control" if kind == CONTROLLED else "base"
    compared = f"{len(part)} comparison{'s' if len(part) > 1 else ''} with a {other}"
    part = part.loc[part["change"].abs().sort_values(ascending=False, kind="stable").index]
    told, holds = part[(part["low"] > 0) | (part["high"] < 0)], part[part["p_holm"] < _LEVEL]
    named = "; ".join(_said(row) for _, row in (told if holds.empty else holds)[:_NAMED].iterrows())
    if not holds.empty:
        text = (
            f"changed with {cause}, by {named}. {len(holds)} of {compared} can be told after correction for all tests "
            "of their kind."
        )
    elif not told.empty:
        text = (
            f"no effect of {cause} can be told after correction for all tests of its kind; before it the intervals of "
            f"{len(told)} of {compared} leave out zero: {named}."
        )
    else:
        text = f"no effect of {cause} can be told; the largest of {compared} is {_said(part.iloc[0])}."
    return Sentence(about, text + further, EFFECTS)


def _said(row: pd.Series) -> str:
    """``+12 [3, 21] points (gpt2-baby against gpt2-plain)``."""
    shown = cells(pd.DataFrame([row[["change", "low", "high"]].astype(float)]))["change"].iloc[0]
    measure = "" if row["measure"] in _MEASURES else f", {row['measure']}"
    return f"{'+' if row['change'] > 0 else ''}{shown} points ({row['model']} against {row['against']}{measure})"


def _plain_text(compared: pd.DataFrame, language: pd.DataFrame | None) -> Sentence:
    """What training cost in plain text. Two perplexities count as different if their intervals do not overlap."""
    columns = ["perplexity", "perplexity_low", "perplexity_high"]
    if language is None or not {*columns} <= {*language}:
        return _missing(_PLAIN)
    of = language.drop_duplicates("model").set_index("model")[columns].dropna()
    pairs = compared[["model", "against"]].drop_duplicates().itertuples(index=False, name=None)
    pairs = [pair for pair in pairs if {*pair} <= {*of.index}]
    if not pairs:
        return _missing(_PLAIN)
    pairs.sort(key=lambda pair: -abs(of["perplexity"][pair[0]] - of["perplexity"][pair[1]]))
    apart = [pair for pair in pairs if _are_apart(of, *pair)]
    shown = cells(of)["perplexity"]
    named = [f"{shown[model]} for {model}, {shown[other]} for {other}" for model, other in apart[:_NAMED] or pairs[:1]]
    if apart:
        told = f"in {len(apart)} of {len(pairs)} comparisons the intervals of its perplexity lie apart"
        return Sentence(_PLAIN, f"{told}: {'; '.join(named)}.", LANGUAGE)
    text = f"no cost can be told: intervals of its perplexity overlap in all comparisons, most apart are {named[0]}."
    return Sentence(_PLAIN, text, LANGUAGE)


def _are_apart(of: pd.DataFrame, model: str, other: str) -> bool:
    lows, highs = of["perplexity_low"], of["perplexity_high"]
    return bool(lows[model] > highs[other] or lows[other] > highs[model])


def _limits(config: Config, compared: pd.DataFrame | None) -> Iterator[Sentence]:
    """What a run of this size cannot tell: effects below half the width of its intervals, and how trainings vary."""
    said = []
    if compared is not None:
        half = ((compared["high"] - compared["low"]) / 2).groupby(compared["measure"], sort=False).median().dropna()
        reach = ", ".join(f"{width:.2g} points ({measure})" for measure, width in half.items())
        said += [f"effects smaller than an interval reaches to one side: {reach}."] if reach else []
    trainings = Counter(model.name for model in study_models(config) if model.name != model.base)
    if trainings and max(trainings.values()) == 1:
        said.append("Each model was trained once: its numbers are one model's, not those of every such training.")
    if said:
        yield Sentence("What this run cannot tell", " ".join(said), "" if compared is None else EFFECTS)
