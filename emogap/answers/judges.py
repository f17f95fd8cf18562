"""The judges compared: the lexicon's polarity of each answer, how far all agree, the effects as each sees them.

The lexicon knows only positive, neutral and negative, so tables by emotion leave it out.
"""

from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from emogap.answers.emotions_found import ANSWER
from emogap.answers.respond import answer_files, conditions, read_responses
from emogap.answers.sentiment import indicators, on_same_prompts
from emogap.config import Config
from emogap.emotion.lexicon import VADER, compound_scores, lexicon_identity, polarity
from emogap.emotions import groups_of
from emogap.records import EMOTIONS, read_rows, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.pieces import Piece
from emogap.text.statistics import paired_changes, without_spreads
from emogap.train.models import Comparison

OUTCOMES = ["positive", "negative"]
_AGREEMENT_COLUMNS = [
    "model", "judge", "second", "n", "same_emotion", "kappa_emotion", "same_group", "kappa_group",
]  # fmt: skip
_EFFECT_COLUMNS = [
    "comparison", "model", "against", "outcome", "judge", "change", "low", "high", "sd_prompts", "sd_seeds", "prompts",
]  # fmt: skip


def polarity_pieces(config: Config) -> list[Piece]:
    """``polarity.parquet``: what the lexicon finds in the study's own answers; no piece if none is set."""
    if config.sentiment.lexicon == "none":
        return []
    inputs = answer_files(config, conditions(config)[0])
    recipe = Recipe("polarity", inputs=inputs, identities={"lexicon": lexicon_identity()})
    path, make = config.home.evaluation / "polarity.parquet", partial(_make_polarity, config)
    return [Piece(path, recipe, for_drawings=True, make=make)]


def _make_polarity(config: Config, draft: Draft) -> None:
    """Rows like a classifier's, but ``response_emotion`` is a polarity and ``score`` the compound score; both are
    missing for an empty answer."""
    responses = read_responses(config, conditions(config)[0])
    said = responses["response"] != ""
    table = responses[ANSWER].assign(classifier=VADER, response_emotion=None, score=np.nan)
    scores = compound_scores(responses.loc[said, "response"].tolist())
    table.loc[said, "score"] = scores
    table.loc[said, "response_emotion"] = [polarity(score) for score in scores]
    write_rows(draft.path, table, EMOTIONS)
    draft.counts["answers read by the lexicon"] = len(scores)


def with_lexicon(config: Config, answers: pd.DataFrame) -> pd.DataFrame:
    """The study's own answers as ``read_answers`` gives them, followed by the lexicon's rows if one is set."""
    tables = [read_rows(config.home.require(piece.path), EMOTIONS) for piece in polarity_pieces(config)]
    texts = answers.drop(columns=["classifier", "response_emotion", "score", "scores"]).drop_duplicates(ANSWER)
    found = [table.merge(texts, on=ANSWER, how="inner", validate="one_to_one") for table in tables]
    return pd.concat([answers, *found], ignore_index=True)


def agreement_table(answers: pd.DataFrame, grouping: str = "study") -> pd.DataFrame:
    """How far every two judges agree about the same answers, one row per pair and model; empty ones are left out.

    ``same_emotion``, ``same_group`` in percent, and Cohen's kappa of both (agreement beyond chance). In pairs with the
    lexicon, which has no emotions, the group ``ambiguous`` counts as neutral: neither positive nor negative.
    ``answers`` has one row per answer and judge, the first judge's rows first.
    """
    found = answers.set_index([*ANSWER, "classifier"])["response_emotion"].unstack("classifier")
    rows = []
    for first, second in combinations(answers["classifier"].unique(), 2):
        for model in answers["model"].unique():
            pair = found.loc[[model], [first, second]].dropna()
            groups = pair.apply(groups_of, grouping=grouping)
            has_emotions = VADER not in (first, second)
            if not has_emotions:
                groups = groups.replace("ambiguous", "neutral")
            same = _agreement(pair) if has_emotions else (np.nan, np.nan)
            rows.append((model, first, second, len(pair), *same, *_agreement(groups)))
    return pd.DataFrame(rows, columns=_AGREEMENT_COLUMNS)


def _agreement(pair: pd.DataFrame) -> tuple[float, float]:
    """Percent of equal labels in the two columns, NaN where there are no rows; and Cohen's kappa, NaN also where only
    one label occurs."""
    from sklearn.metrics import cohen_kappa_score

    first, second = (pair[name] for name in pair)
    has_several = len({*first, *second}) > 1
    return 100 * first.eq(second).mean(), cohen_kappa_score(first, second) if has_several else np.nan


def effects_by_judge(answers: pd.DataFrame, compared: Sequence[Comparison], grouping: str = "study") -> pd.DataFrame:
    """Effects on the share of positive and of negative answers as each judge sees them: ``change`` in percentage points
    with its paired 95 % interval, over the ``prompts`` to which both models say something.

    ``answers``: one row per answer and judge. Where a model has several training seeds, ``sd_prompts`` and ``sd_seeds``
    are those of ``change_table``.
    """
    answers = answers.assign(**indicators(groups_of(answers["response_emotion"], grouping), OUTCOMES))
    parts = dict(list(answers.groupby(["classifier", "model"], sort=False)))
    rows = []
    for pair in compared:
        both = {
            judge: on_same_prompts(parts[judge, pair.model], parts[judge, pair.other], OUTCOMES)
            for judge in answers["classifier"].unique()
        }
        changes = {judge: paired_changes(*arrays) for judge, arrays in both.items() if arrays[0].shape[1]}
        for place, outcome in enumerate(OUTCOMES):
            for judge, found in changes.items():
                numbers = {name: 100 * values[place] for name, values in found.items()}
                row = {"outcome": outcome, "judge": judge, **numbers, "prompts": both[judge][0].shape[1]}
                rows.append(pair.columns | row)
    return without_spreads(pd.DataFrame(rows, columns=_EFFECT_COLUMNS))
