"""Whether an effect comes from the length of answers: the same effects on answers of equal length.

A model that was tuned on anything may answer at greater length, and longer answers show an emotion more often. So each
effect is given three times: on the answers as they are; on both answers of a pair cut to as many words as the
shorter one has; and estimated for answers of the same length, with the number of words in a regression.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from emogap.answers.emotions_found import ANSWER, read_by
from emogap.answers.respond import answer_files, conditions, read_responses
from emogap.answers.sentiment import COLUMN_ORDER, indicators
from emogap.config import Config
from emogap.emotion.classify import classifier_identity
from emogap.emotions import LABELS, groups_of
from emogap.records import EMOTIONS, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.pieces import Piece
from emogap.text.statistics import LEVEL, by_prompt, paired_changes
from emogap.text.words import first_words, plain_words
from emogap.train.models import Comparison, comparisons

CUT = [*ANSWER, "words"]
"""The columns that name an answer cut to a number of words."""
PAIR = ["prompt_id", "seed", "sample"]
"""The columns that name a pair of answers; ``seed``: the number of the training among those of its model, from 0."""
FEWEST_PROMPTS = 10
"""With fewer, no effect at equal length is estimated: its interval would be wider than the range of shares."""


def cut_piece(config: Config) -> Piece:
    """``emotions_cut.parquet``: what the first classifier finds in cut answers, one row per answer and length."""
    recipe = Recipe(
        "emotions of cut answers",
        inputs=answer_files(config, conditions(config)[0]),
        settings={"comparisons": [f"{pair.model} - {pair.other}" for pair in comparisons(config)]},
        identities={"classifier 0": classifier_identity(config.sentiment.classifiers[0])},
    )
    path, make = config.home.evaluation / "emotions_cut.parquet", partial(_make_cut, config)
    return Piece(path, recipe, for_drawings=True, make=make)


def _make_cut(config: Config, draft: Draft) -> None:
    answers = counted(read_responses(config, conditions(config)[0]))
    cut = cut_answers(answers, comparisons(config))
    cut["text"] = [first_words(text, words) for text, words in zip(cut["response"], cut["words"], strict=True)]
    texts = cut["text"].drop_duplicates()
    judge = config.sentiment.classifiers[0]
    found = pd.DataFrame({"text": texts, "classifier": judge.name})
    scores = read_by(judge, texts.tolist(), f"{judge.name} reads cut answers")
    found = found.assign(response_emotion=[LABELS[i] for i in scores.argmax(axis=1)], score=scores.max(axis=1))
    write_rows(draft.path, cut.merge(found, on="text").drop(columns=["response", "text"]), EMOTIONS)
    draft.counts["cut answers classified"] = len(texts)


def counted(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers with a further column ``words``, their number of words."""
    return answers.assign(words=[len(plain_words(text)) for text in answers["response"]])


def pairs(answers: pd.DataFrame, model: str, other: str, columns: Sequence[str]) -> pd.DataFrame:
    """Both models' ``columns``, those of the other one as ``other_<column>``; one row per prompt, training and sample.

    The answers of a model with fewer trainings, such as a base, are repeated to match the other model's trainings.
    """
    trainings = answers.groupby("model")["train_seed"].nunique()
    count = max(trainings.get(model, 0), trainings.get(other, 0))
    own, others = (_by_training(answers, name, count)[list(columns)] for name in (model, other))
    return own.join(others.add_prefix("other_"), how="inner").sort_index()


def _by_training(answers: pd.DataFrame, model: str, count: int) -> pd.DataFrame:
    own = answers[answers["model"] == model]
    seeds = sorted(own["train_seed"].unique())
    trainings = [own[own["train_seed"] == seeds[place % len(seeds)]].assign(seed=place) for place in range(count)]
    return pd.concat(trainings).set_index(PAIR)


def cut_answers(answers: pd.DataFrame, compared: Sequence[Comparison]) -> pd.DataFrame:
    """The answers to cut and the number of words to cut each to: columns ``CUT`` and ``response``, no row twice.

    In each pair the longer answer is cut to the length of the shorter one; where one has no word nothing is cut.
    ``answers``: as ``counted`` gives them.
    """
    tables = [answers[[*CUT, "response"]].head(0)]
    for pair in compared:
        both = pairs(answers, pair.model, pair.other, ["model", "train_seed", "response", "words"]).reset_index()
        for one, two in (("", "other_"), ("other_", "")):
            cut = both[both[f"{one}words"].gt(both[f"{two}words"]) & both[f"{two}words"].gt(0)]
            named = {name: cut[f"{one}{name}"] for name in ("model", "train_seed", "response")}
            tables.append(cut[["prompt_id", "sample"]].assign(**named, words=cut[f"{two}words"]))
    return pd.concat(tables, ignore_index=True).drop_duplicates(CUT)[[*CUT, "response"]]


def length_table(
    answers: pd.DataFrame, cut: pd.DataFrame, compared: Sequence[Comparison], grouping: str = "study"
) -> pd.DataFrame:
    """Effects on the share of each group (``outcome``), in percentage points, one row per comparison and group.

    ``pairs``: how many pairs of answers to the same prompt both have a word; ``left_out``: how many do not; ``words``,
    ``words_against``: each model's mean over these pairs; ``empty``, ``empty_against``: each model's number of answers
    without a word. ``change``: the effect on these pairs as they are; ``cut``: on both answers cut to the words of the
    shorter one; ``equal_length``: see ``at_equal_length``, or the ``reason`` why there is none. The three effects come
    with the ends of their 95 % intervals.

    ``answers``: one judge's, as ``counted`` gives them; ``cut``: what this judge finds in ``cut_answers``.
    """
    answers = answers.assign(group=groups_of(answers["response_emotion"], grouping))
    cut = cut.assign(group=groups_of(cut["response_emotion"], grouping)).set_index(CUT)["group"]
    wordless, outcomes = answers["words"].eq(0).groupby(answers["model"]).sum(), COLUMN_ORDER[grouping]
    rows = []
    for pair in compared:
        both = pairs(answers, pair.model, pair.other, ["model", "train_seed", "words", "group"])
        said = both[both["words"].gt(0) & both["other_words"].gt(0)]
        shorter = said[["words", "other_words"]].min(axis=1)
        as_is = _changes(said["group"], said["other_group"], outcomes)
        when_cut = _changes(*(_group_when_cut(said, one, shorter, cut) for one in ("", "other_")), outcomes)
        counts = {
            "words": said["words"].mean(), "words_against": said["other_words"].mean(), "pairs": len(said),
            "left_out": len(both) - len(said), "empty": wordless[pair.model], "empty_against": wordless[pair.other],
        }  # fmt: skip
        for outcome in outcomes:
            row = pair.columns | {"outcome": outcome}
            row |= as_is[outcome] | {name.replace("change", "cut"): value for name, value in when_cut[outcome].items()}
            rows.append(row | at_equal_length(said, outcome) | counts)
    return pd.DataFrame(rows, columns=_COLUMNS).rename(columns={"change_low": "low", "change_high": "high"})


def _changes(found: pd.Series, other: pd.Series, outcomes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Outcome → ``change, change_low, change_high``; nothing if there is no pair. Index of both series: ``PAIR``."""
    if found.empty:
        return {outcome: {} for outcome in outcomes}
    tables = [pd.DataFrame(indicators(groups, outcomes)).reset_index() for groups in (found, other)]
    changes = paired_changes(*(by_prompt(table, outcomes, PAIR[:1], repeated="seed") for table in tables))
    named = {"change": changes["change"], "change_low": changes["low"], "change_high": changes["high"]}
    return {
        outcome: {name: 100 * values[place] for name, values in named.items()} for place, outcome in enumerate(outcomes)
    }


_COLUMNS = [
    "comparison", "model", "against", "outcome", "change", "change_low", "change_high", "cut", "cut_low", "cut_high",
    "equal_length", "equal_length_low", "equal_length_high", "reason", "words", "words_against", "pairs", "left_out",
    "empty", "empty_against",
]  # fmt: skip


def _group_when_cut(both: pd.DataFrame, one: str, words: pd.Series, cut: pd.Series) -> pd.Series:
    """The group of one model's answers cut to ``words``; ``one``: the prefix of its columns, none or ``other_``."""
    places = both.index.to_frame(index=False)
    named = [both[f"{one}model"], both[f"{one}train_seed"], places["prompt_id"], places["sample"], words]
    found = cut.reindex(pd.MultiIndex.from_arrays(named, names=CUT)).to_numpy()
    return both[f"{one}group"].where(both[f"{one}words"].eq(words), found)


def at_equal_length(both: pd.DataFrame, outcome: str) -> dict[str, float | str]:
    """The effect on an outcome between answers of equal length: ``equal_length`` in percentage points with its 95 %
    interval, and the ``reason`` where there is none.

    A linear regression of the outcome (1 or 0) on the model and the logarithm of the number of words, with fixed
    effects of prompts. Answers to one prompt are not independent, and neither are those of one training: these are
    crossed clusters (Cameron & Miller 2015). The variance over prompts and, if there are several, that over trainings
    come from the jackknife, leaving out one at a time (CV3: MacKinnon, Nielsen & Webb 2023). Each is multiplied by the
    square of its own quantile of Student's t, and the two are added (Howe 1974), as in all intervals over both.
    """
    from scipy.stats import t

    prompts = both.index.get_level_values("prompt_id")
    if prompts.nunique() < FEWEST_PROMPTS:
        return _none(f"fewer than {FEWEST_PROMPTS} prompts")
    table = pd.concat([_regressed(both, one, outcome) for one in ("", "other_")])
    own = _products(table)
    whole, trainings = own.sum(axis=0), table.index.unique("seed")
    left_out = [_effect(whole - own)]
    if len(trainings) > 1:
        left_out.append(_effect(np.array([_products(table.drop(one, level="seed")).sum(axis=0) for one in trainings])))
    effect = _effect(whole)
    if np.isnan([effect, *np.concatenate(left_out)]).any():
        return _none("model and length cannot be told apart")
    freedom = np.array([len(some) - 1 for some in left_out])
    variances = np.array([((some - effect) ** 2).mean() for some in left_out]) * freedom
    if np.isclose(variances.sum(), 0):
        return _none("no answer differs" if np.isclose(effect, 0) else "all answers differ alike")
    half = np.sqrt((t.ppf((1 + LEVEL) / 2, freedom) ** 2 * variances).sum())
    low, high = np.clip([effect - half, effect + half], -1, 1)
    return dict(zip(_EQUAL, (100 * effect, 100 * low, 100 * high, ""), strict=True))


_EQUAL = ("equal_length", "equal_length_low", "equal_length_high", "reason")


def _none(reason: str) -> dict[str, float | str]:
    return dict(zip(_EQUAL, (np.nan, np.nan, np.nan, reason), strict=True))


def _regressed(both: pd.DataFrame, one: str, outcome: str) -> pd.DataFrame:
    """The regression's variables for one model's answers: ``model`` (1; the other's 0), ``words`` (log), ``found``."""
    words = np.log(both[f"{one}words"].astype(float))
    found = both[f"{one}group"].eq(outcome).astype(float)
    return pd.DataFrame({"model": 0.0 if one else 1.0, "words": words, "found": found})


def _products(table: pd.DataFrame) -> np.ndarray:
    """Each prompt's sums of products of the three columns of ``_regressed``, centred by prompt: (prompts, 3, 3)."""
    prompts, _ = pd.factorize(table.index.get_level_values("prompt_id"))
    centred = (table - table.groupby(prompts).transform("mean")).to_numpy()
    sums = np.zeros((prompts.max() + 1, 3, 3))
    np.add.at(sums, prompts, centred[:, :, None] * centred[:, None, :])
    return sums


def _effect(products: np.ndarray) -> np.ndarray:
    """The coefficient of ``model``, from products summed over prompts, (…, 3, 3); NaN if ``words`` is collinear."""
    (model, both, by_model), (_, words, by_words) = np.moveaxis(products[..., :2, :], (-2, -1), (0, 1))
    rest = model * words - both**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(rest > 1e-9 * model * words, (by_model * words - by_words * both) / rest, np.nan)
