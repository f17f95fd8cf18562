"""Two models' answers to the same prompts side by side, and how much they differ."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emogap.text.statistics import bootstrap_interval

PAIR = ["prompt_id", "seed", "sample"]
"""What names a pair; ``seed``: the place of a training among those of its model."""


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


def difference(after: pd.Series, before: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    """``change, low, high``: the mean over prompts of after - before, in percentage points, with its 95 % interval, and
    over how many ``prompts``.

    Both have the index ``PAIR`` and values of 0 to 1; where a value is missing the others of the prompt stand for it,
    and a prompt without any is left out.
    """
    per_prompt = [values.groupby(level="prompt_id").mean() for values in (after, before)]
    change = (per_prompt[0] - per_prompt[1]).dropna().to_numpy()
    low, high = bootstrap_interval(change[:, None], resamples, seed)
    mean = 100 * change.mean() if len(change) else np.nan
    return {"change": mean, "low": 100 * low[0], "high": 100 * high[0], "prompts": len(change)}
