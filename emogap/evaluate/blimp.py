"""Grammar kept or lost: minimal pairs scored by every model of the study.

A pair is decided rightly when the grammatical sentence is the likelier one; a tie counts one half. See
``sentence_scores`` for what a sentence's score is and ``minimal_pairs`` for the data.
"""

from typing import TYPE_CHECKING, Any

from emogap.artefacts import Artefact, Recipe, Summary
from emogap.config import Config
from emogap.evaluate.minimal_pairs import Pair, load_pairs
from emogap.evaluate.models import StudyModel, recipe_parts, study_models
from emogap.exhibits import Exhibit, save_figure, save_table
from emogap.hub import study_model
from emogap.paths import from_root
from emogap.progress import progress
from emogap.records import SCORES, read_rows, write_rows
from emogap.stages import make_each

if TYPE_CHECKING:
    import pandas as pd

TASK = "blimp"


def blimp_artefacts(config: Config) -> list[Artefact]:
    """One table of scores for each model of the study."""
    return [_artefact(config, model) for model in study_models(config)]


def _artefact(config: Config, model: StudyModel) -> Artefact:
    parts = recipe_parts(config, model)
    recipe = Recipe(
        TASK,
        inputs=parts["inputs"] | {"pairs": from_root(config.blimp.data)},
        settings=config.flat("blimp"),
        identities=parts["identities"],
    )
    return Artefact(config.home.task_scores(model.key, TASK), recipe)


def blimp(config: Config) -> Summary:
    """Score the minimal pairs with every model whose scores are missing or stale."""
    models = {config.home.task_scores(model.key, TASK): model for model in study_models(config)}
    return make_each(TASK, blimp_artefacts(config), lambda artefact: _make(config, artefact, models[artefact.path]))


def _make(config: Config, artefact: Artefact, model: StudyModel) -> None:
    import pandas as pd

    from emogap.evaluate.sentence_scores import SentenceScorer

    pairs = load_pairs(from_root(config.blimp.data), config.blimp.items)
    with artefact.making() as draft:
        scorer = SentenceScorer(
            study_model(config, model.key), dtype=config.blimp.dtype, token_budget=config.blimp.token_budget
        )
        rows = [row for pair in score_pairs(scorer, pairs, model.key) for row in pair]
        table = pd.DataFrame(rows)
        table["model"], table["train_seed"], table["task"], table["sample"] = model.name, model.train_seed, TASK, 0
        write_rows(draft.path, table, SCORES)
        draft.counts["pairs"] = len(pairs)
        draft.counts["ties"] = int((table.loc[table["metric"] == "correct", "value"] == 0.5).sum())


def score_pairs(scorer: Any, pairs: list[Pair], label: str) -> list[list[dict[str, Any]]]:
    """Three rows a pair: ``correct`` (0, 0.5 for a tie, 1), ``logprob_good``, ``logprob_bad``."""
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    with progress(f"minimal pairs, {label}", len(set(sentences)), "sentences") as bar:
        scores = scorer.scores(sentences, bar.advance).reshape(-1, 2)
    return [_rows(pair, float(good), float(bad)) for pair, (good, bad) in zip(pairs, scores, strict=True)]


def _rows(pair: Pair, good: float, bad: float) -> list[dict[str, Any]]:
    correct = 0.5 if good == bad else float(good > bad)
    values = {"correct": correct, "logprob_good": good, "logprob_bad": bad}
    return [
        {"item": pair.item, "group": pair.phenomenon, "metric": metric, "value": value}
        for metric, value in values.items()
    ]


def blimp_exhibits(config: Config) -> None:
    """Draw accuracy per phenomenon, and the difference of each model to its base, from the tables of scores."""
    from emogap.show.blimp_figures import differences_figure

    models = study_models(config)
    scores = _correct(config, models)
    folder = config.home.evaluation
    accuracy = accuracy_table(scores)
    save_table(
        folder,
        Exhibit(
            "blimp_accuracy",
            "table",
            "Accuracy on minimal pairs in percent, with 95 % intervals (items pooled): the share of pairs whose "
            "grammatical sentence is the likelier one; ties count one half.",
            70,
            published="blimp",
        ),
        accuracy,
    )
    bases = {model.key: model.base for model in models}
    differences = difference_table(scores, bases)
    save_table(
        folder,
        Exhibit(
            "blimp_differences",
            "table",
            "Accuracy of each fine-tuned model minus its base, in percentage points over the same pairs, with 95 % "
            "bootstrap intervals.",
            71,
        ),
        differences,
    )
    save_figure(
        folder,
        Exhibit(
            "blimp_differences",
            "figure",
            "What fine-tuning did to grammar: difference in accuracy to the base model, per phenomenon, with 95 % "
            "intervals over the same pairs.",
            72,
            alt="for each of twelve phenomena, points for each fine-tuned model around a zero line",
        ),
        differences_figure(differences, list(config.bases)),
    )


def _correct(config: Config, models: list[StudyModel]) -> "pd.DataFrame":
    """model (its key), item, group, value: whether each pair was decided rightly."""
    import pandas as pd

    tables = []
    for model in models:
        table = read_rows(config.home.task_scores(model.key, TASK), SCORES)
        tables.append(table[table["metric"] == "correct"].assign(model=model.key))
    return pd.concat(tables, ignore_index=True)


def accuracy_table(scores: "pd.DataFrame") -> "pd.DataFrame":
    """A row a phenomenon (then the mean over them, unweighted), a column a model: accuracy [interval] in percent.

    The interval is Wilson's (1927) for pooled items, and a bootstrap over items for the mean.
    """
    import pandas as pd

    rows = []
    models = list(dict.fromkeys(scores["model"]))
    for phenomenon, of_phenomenon in scores.groupby("group", sort=True):
        row: dict[str, Any] = {"phenomenon": phenomenon}
        for model in models:
            values = of_phenomenon.loc[of_phenomenon["model"] == model, "value"]
            low, high = wilson_interval(values.sum(), len(values))
            row["pairs"] = len(values)
            row[model] = f"{100 * values.mean():.1f} [{100 * low:.0f}, {100 * high:.0f}]"
        rows.append(row)
    mean: dict[str, Any] = {"phenomenon": "mean of phenomena", "pairs": scores["item"].nunique()}
    for model in models:
        mean[model] = f"{100 * scores[scores['model'] == model].groupby('group')['value'].mean().mean():.1f}"
    return pd.DataFrame([*rows, mean])


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927); it stays within 0 and 1 and is sane at 0 or all successes."""
    from math import sqrt

    z = 1.959964
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (middle - spread) / scale, (middle + spread) / scale


def difference_table(scores: "pd.DataFrame", bases: dict[str, str], draws: int = 2000) -> "pd.DataFrame":
    """model, base, phenomenon, pairs, difference, low, high (percentage points): paired over the same items.

    Intervals: percentile bootstrap over items (Efron & Tibshirani 1993), seeded, so that the table is reproducible.
    """
    import numpy as np
    import pandas as pd

    wide = scores.pivot(index=["group", "item"], columns="model", values="value")
    rows = []
    for model in [name for name in dict.fromkeys(scores["model"]) if bases[name] != name]:
        paired = 100 * (wide[model] - wide[bases[model]])
        for phenomenon, values in paired.groupby(level="group"):
            drawn = np.random.default_rng(0).choice(values.to_numpy(), (draws, len(values))).mean(axis=1)
            low, high = np.percentile(drawn, [2.5, 97.5])
            rows.append(
                {"model": model, "base": bases[model], "phenomenon": phenomenon, "pairs": len(values),
                 "difference": values.mean(), "low": low, "high": high}
            )  # fmt: skip
    return pd.DataFrame(rows)
