"""Whether an effect is one of length: the same effects on answers of equal length.

A model that was tuned on anything may answer at greater length, and who says more shows an emotion more often. So the
effects stand here three times: on the answers as they are; on both answers of a pair cut to as many words as the
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
"""The columns that name an answer cut to so many words."""
PAIR = ["prompt_id", "seed", "sample"]
"""What names a pair; ``seed``: the place of a training among those of its model."""
FEWEST_PROMPTS = 10
"""From fewer no number is estimated at equal length: its interval would be wider than the range of shares."""


def cut_piece(config: Config) -> Piece:
    """``emotions_cut.parquet``: what the first classifier finds in answers that are cut, a row an answer and length."""
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
    """Answers with ``words``, how many each has."""
    return answers.assign(words=[len(plain_words(text)) for text in answers["response"]])


def pairs(answers: pd.DataFrame, model: str, other: str, columns: Sequence[str]) -> pd.DataFrame:
    """Both models' ``columns``, those of the other one as ``other_<column>``; a row a prompt, training and sample.

    The answers of a model that was trained fewer times, such as a base, stand beside those of every training.
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
    """Which answers are cut, and to how many words: ``CUT`` and ``response``, each once.

    Of each pair the longer answer is cut to the words of the shorter one; where one says no word nothing is cut.
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
    """Effects on the share of each group, in percentage points, a row a comparison and ``outcome``.

    ``pairs``: of answers to the same prompt of which both say a word, and how many are ``left_out``; ``words`` and
    ``words_against``: the mean of the two models over these pairs; ``empty``, ``empty_against``: how many answers of
    each say no word. ``change``: the effect on these pairs as they are; ``cut``: both answers cut to the words of the
    shorter one; ``equal_length``: as ``at_equal_length`` says, or the ``reason`` why there is none. All with the ends
    of their 95 % intervals.

    ``answers``: of one judge, as ``counted`` gives them; ``cut``: what it finds in ``cut_answers``.
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
    """Outcome → ``change, change_low, change_high``; all missing where there is no pair. Index of both: ``PAIR``."""
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
    """The group of one side's answers at so many words; ``one``: what the names of its columns begin with."""
    places = both.index.to_frame(index=False)
    named = [both[f"{one}model"], both[f"{one}train_seed"], places["prompt_id"], places["sample"], words]
    found = cut.reindex(pd.MultiIndex.from_arrays(named, names=CUT)).to_numpy()
    return both[f"{one}group"].where(both[f"{one}words"].eq(words), found)


def at_equal_length(both: pd.DataFrame, outcome: str) -> dict[str, float | str]:
    """The effect on an outcome between answers of as many words: ``equal_length`` in percentage points with its 95 %
    interval, and the ``reason`` where there is none.

    A linear regression of yes or no on the model and the logarithm of the number of words, within prompts: each prompt
    has a level of its own (fixed effects). Answers to one prompt are not independent, and neither are those of one
    training: the variance over prompts and, where there are several, over trainings (crossed clusters: Cameron & Miller
    2015) is the jackknife's, one left out at a time (CV3: MacKinnon, Nielsen & Webb 2023). Each is taken times the
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
    """The regression's ``model`` (1 or 0), ``words`` (their logarithm) and ``found``, of one side's answers."""
    words = np.log(both[f"{one}words"].astype(float))
    found = both[f"{one}group"].eq(outcome).astype(float)
    return pd.DataFrame({"model": 0.0 if one else 1.0, "words": words, "found": found})


def _products(table: pd.DataFrame) -> np.ndarray:
    """Sums of products of the three columns of ``_regressed``, less their means, by prompt: (prompts, 3, 3)."""
    prompts, _ = pd.factorize(table.index.get_level_values("prompt_id"))
    centred = (table - table.groupby(prompts).transform("mean")).to_numpy()
    sums = np.zeros((prompts.max() + 1, 3, 3))
    np.add.at(sums, prompts, centred[:, :, None] * centred[:, None, :])
    return sums


def _effect(products: np.ndarray) -> np.ndarray:
    """The model's coefficient, from products summed over prompts, (…, 3, 3); NaN where the words tell which it is."""
    (model, both, by_model), (_, words, by_words) = np.moveaxis(products[..., :2, :], (-2, -1), (0, 1))
    rest = model * words - both**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(rest > 1e-9 * model * words, (by_model * words - by_words * both) / rest, np.nan)
