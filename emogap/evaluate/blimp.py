"""Grammar kept or lost: minimal pairs scored by models, those of the study or any others.

A pair is decided rightly when the grammatical sentence is the likelier one; a tie counts one half. See
``sentence_scores`` for what a sentence's score is, ``minimal_pairs`` for the data, ``score_cache`` for how an
interrupted run goes on, ``blimp_tables`` for the statistics.
"""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogap import hub
from emogap.artefacts import Artefact, Recipe, Summary
from emogap.config import Config, HubModel
from emogap.device import check_device
from emogap.evaluate.minimal_pairs import Pair, load_pairs, read_subset
from emogap.evaluate.models import StudyModel, recipe_parts, study_models, weights
from emogap.hub import LocalModel
from emogap.lm.corrections import SENTENCE, scores_rule
from emogap.paths import from_root
from emogap.progress import progress
from emogap.records import SCORES, write_rows
from emogap.stages import make_each

if TYPE_CHECKING:
    import pandas as pd

    from emogap.evaluate.sentence_scores import SentenceScorer

TASK = "blimp"
_SHAPING = ("items", "empty_context", "dtype")


def blimp_artefacts(config: Config) -> list[Artefact]:
    """One table of scores for each model of the study."""
    return [_artefact(config, model) for model in study_models(config)]


def _artefact(config: Config, model: StudyModel) -> Artefact:
    parts = recipe_parts(config, model)
    identities = parts["identities"] | scores_rule(weights(config, model), SENTENCE)
    recipe = _recipe(config, parts["inputs"], identities)
    return Artefact(config.home.task_scores(model.key, TASK), recipe)


def _recipe(config: Config, inputs: Mapping[str, Path], identities: Mapping[str, str]) -> Recipe:
    inputs = {**inputs, "pairs": from_root(config.blimp.data)}
    if config.blimp.subset:
        inputs["list of items"] = from_root(config.blimp.subset)
    return Recipe(TASK, inputs=inputs, settings=config.flat("blimp", *_SHAPING), identities=dict(identities))


def blimp(config: Config) -> Summary:
    """Score the minimal pairs with every model whose scores are missing or stale."""
    check_device(config.blimp.device, "blimp.device")
    models = {config.home.task_scores(model.key, TASK): model for model in study_models(config)}

    def make(artefact: Artefact) -> None:
        model = models[artefact.path]
        pairs = chosen_pairs(config)
        with artefact.making() as draft:
            local = hub.study_model(config, model.key)
            table, context = score_model(config, local, pairs, model.key)
            write_rows(draft.path, _labelled(table, model.name, model.train_seed), SCORES)
            draft.notes["empty context"] = context
            draft.counts |= counts(table)

    return make_each(TASK, blimp_artefacts(config), make)


def scores_file(config: Config, models: Mapping[str, HubModel], out: Path) -> Artefact:
    """Score the minimal pairs with models by name, into one table at ``out``."""
    check_device(config.blimp.device, "blimp.device")
    identities = {label: hub.identify(model) for label, model in models.items()}
    for model in models.values():
        identities |= scores_rule(model, SENTENCE)
    artefact = Artefact(out, _recipe(config, {}, identities))

    def make(artefact: Artefact) -> None:
        with artefact.making() as draft:
            table, contexts = score_models(config, models)
            write_rows(draft.path, table, SCORES)
            draft.notes["empty context"] = contexts
            draft.counts |= counts(table)

    make_each(TASK, [artefact], make)
    return artefact


def score_models(config: Config, models: Mapping[str, HubModel]) -> tuple["pd.DataFrame", dict[str, str]]:
    """One long table of scores of all these models, and the empty context of each."""
    import pandas as pd

    check_device(config.blimp.device, "blimp.device")
    pairs, tables, contexts = chosen_pairs(config), [], {}
    for label, model in models.items():
        table, contexts[label] = score_model(config, hub.resolve(model), pairs, label)
        tables.append(_labelled(table, label, 0))
    return pd.concat(tables, ignore_index=True), contexts


def counts(table: "pd.DataFrame") -> dict[str, int]:
    correct = table.loc[table["metric"] == "correct", "value"]
    return {"pairs": len(correct), "ties": int((correct == 0.5).sum())}


def _labelled(table: "pd.DataFrame", model: str, train_seed: int) -> "pd.DataFrame":
    return table.assign(model=model, train_seed=train_seed, task=TASK, sample=0)


def chosen_pairs(config: Config) -> list[Pair]:
    """The pairs that the settings ask for."""
    subset = read_subset(from_root(config.blimp.subset)) if config.blimp.subset else None
    return load_pairs(from_root(config.blimp.data), config.blimp.items, subset)


def score_model(config: Config, local: LocalModel, pairs: list[Pair], label: str) -> tuple["pd.DataFrame", str]:
    """Scores of the pairs (item, group, metric, value), and the token that stands for the empty context."""
    from emogap.evaluate.sentence_scores import SentenceScorer

    scorer = SentenceScorer(
        local,
        device=config.blimp.device,
        dtype=config.blimp.dtype,
        token_budget=config.blimp.token_budget,
        empty_context=config.blimp.empty_context,
    )
    return score_pairs(scorer, pairs, label), scorer.tokenizer.decode(scorer.prefix) or "none"


def score_pairs(scorer: "SentenceScorer", pairs: list[Pair], label: str) -> "pd.DataFrame":
    """Three rows a pair: ``correct`` (0, 0.5 for a tie, 1), ``logprob_good``, ``logprob_bad``.

    Paradigm by paradigm: what is finished of one is kept.
    """
    import pandas as pd

    from emogap.evaluate.score_cache import remembered_scores

    paradigms = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.uid)]
    encoded = [[scorer.encode(text) for pair in group for text in (pair.good, pair.bad)] for group in paradigms]
    with progress(f"minimal pairs, {label}", len({one for group in encoded for one in group}), "sentences") as bar:
        scores = np.concatenate(remembered_scores(scorer, encoded, bar.advance)).reshape(-1, 2)
    return pd.DataFrame(
        [row for pair, (good, bad) in zip(pairs, scores, strict=True) for row in _rows(pair, good, bad)]
    )


def _rows(pair: Pair, good: float, bad: float) -> list[dict[str, Any]]:
    correct = 0.5 if good == bad else float(good > bad)
    values = {"correct": correct, "logprob_good": float(good), "logprob_bad": float(bad)}
    return [
        {"item": pair.item, "group": pair.phenomenon, "metric": metric, "value": value}
        for metric, value in values.items()
    ]
