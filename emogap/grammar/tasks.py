"""Benchmarks that score texts under models: what all of them do. What one of them is, it gives as data (``Task``).

A case is a few texts and what their log-probabilities say; a task makes its cases from files. Scores are kept as they
are finished (``score_cache``), a table of them for each model of the study, or one for models by name. What tables of
accuracies have in common stands at the end: a share with its interval, models against their controls and bases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap.config import Config, HubModel
from emogap.device import check_device
from emogap.errors import InputError
from emogap.lm import hub
from emogap.lm.corrections import scores_rule
from emogap.lm.hub import LocalModel
from emogap.lm.score_cache import open_scorer, remembered_scores
from emogap.records import SCORES, read_rows, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.pieces import Piece, run
from emogap.store.progress import progress
from emogap.store.views import View
from emogap.text import statistics
from emogap.train.models import Comparison, StudyModel, comparisons, recipe_parts, study_models, weights

if TYPE_CHECKING:
    from emogap.lm.sentence_scores import Scored, SentenceScorer

_CONTEXT = "empty context"
OPENED = ("device", "dtype", "token_budget", "empty_context")
"""The settings that a model is opened with to be scored."""


@dataclass(frozen=True)
class Case:
    """Texts that are held against each other."""

    item: str
    group: str
    texts: Sequence[str]
    measure: Callable[[np.ndarray], Mapping[str, float]]
    """Log-probabilities of the texts, float64 of shape (texts,) → metric → value."""
    context: str | None = None
    """What each of the texts follows, itself not scored; None: they are sentences of their own."""
    sample: int = 0
    """Tells the cases of one item apart."""
    encode: "Callable[[SentenceScorer], list[Scored]] | None" = None
    """How the texts become tokens where that is neither as sentences nor behind ``context``."""


@dataclass(frozen=True)
class Measured:
    """What was measured of some models, whatever they are called."""

    scores: pd.DataFrame
    """Rows of ``records.SCORES``."""
    comparisons: Sequence[Comparison]
    """Which of them are held against each other."""
    bases: Sequence[str]
    """Those that were not trained here."""
    contexts: Mapping[str, str]
    """Model → the token that stood for the empty context."""


@dataclass(frozen=True)
class Task:
    """A benchmark: what differs between one and another."""

    name: str
    """The section of its settings; what its recipes and tables of scores are called."""
    title: str
    """What progress calls it."""
    unit: str
    """What progress counts: texts, by their own name."""
    shaping: tuple[str, ...]
    """The settings that shape the scores."""
    longest: int
    """Tokens that none of its texts, with what it follows, has more of."""
    files: Callable[[Config], Mapping[str, Path]]
    """Name → file or folder that the cases are made from."""
    cases: Callable[[Config], list[list[Case]]]
    """The cases, in parts that are kept together: what a killed run has to do again at most."""
    counts: Callable[[pd.DataFrame], dict[str, int]]
    """What the manifest says of a table of scores."""
    is_there: Callable[[Config], bool] = lambda config: True
    """Whether there is anything to measure; a study does without what is not there."""
    opened: Callable[[Any], dict[str, Any]] = lambda settings: {name: getattr(settings, name) for name in OPENED}
    """From the settings of its section, those that a model is opened with."""

    def pieces(self, config: Config) -> list[Piece]:
        """A table of scores for each model of the study; none where there is nothing to measure."""
        return [self._piece(config, model) for model in study_models(config)] if self.is_there(config) else []

    def _piece(self, config: Config, model: StudyModel) -> Piece:
        parts = recipe_parts(config, model)
        identities = parts["identities"] | scores_rule(weights(config, model), self.longest)
        recipe = self._recipe(config, parts["inputs"], identities)
        make = partial(self._make, partial(self._of_study_model, config, model))
        return Piece(config.home.task_scores(model.key, self.name), recipe, make=make)

    def _of_study_model(self, config: Config, model: StudyModel) -> tuple[pd.DataFrame, str]:
        table, context = self._score(config, hub.study_model(config, model.key), self.cases(config), model.key)
        return table.assign(model=model.name, train_seed=model.train_seed), context

    def _recipe(self, config: Config, inputs: Mapping[str, Path], identities: Mapping[str, str]) -> Recipe:
        settings = config.flat(self.name, *self.shaping)
        return Recipe(self.name, {**inputs, **self.files(config)}, settings, dict(identities))

    def check_device(self, config: Config) -> None:
        """Raises ``UsageError`` naming the setting, if the device is not there."""
        check_device(getattr(config, self.name).device, f"{self.name}.device")

    def _make(self, score: Callable[[], tuple[pd.DataFrame, Any]], draft: Draft) -> None:
        table, draft.notes[_CONTEXT] = score()
        write_rows(draft.path, table, SCORES)
        draft.counts |= self.counts(table)

    def tables(self, config: Config) -> dict[str, Path]:
        """Model of the study → its table of scores; none where there is nothing to measure."""
        models = study_models(config) if self.is_there(config) else []
        return {model.key: config.home.task_scores(model.key, self.name) for model in models}

    def of_study(self, config: Config) -> Measured:
        """The tables of all models of the study; of a model's several training seeds each has its rows."""
        tables = [read_rows(path, SCORES) for path in self.tables(config).values()]
        return Measured(pd.concat(tables, ignore_index=True), comparisons(config), list(config.bases), {})

    def of_models(
        self,
        config: Config,
        models: Mapping[str, HubModel],
        pairs: Sequence[Comparison] = (),
        bases: Sequence[str] = (),
    ) -> Measured:
        """Score with models by name (label → model)."""
        self.check_device(config)
        cases, tables, contexts = self.cases(config), [], {}
        for label, model in models.items():
            table, contexts[label] = self._score(config, hub.resolve(model), cases, label)
            tables.append(table.assign(model=label, train_seed=0))
        return Measured(pd.concat(tables, ignore_index=True), pairs, bases, contexts)

    def to_file(
        self,
        config: Config,
        models: Mapping[str, HubModel],
        out: Path,
        pairs: Sequence[Comparison] = (),
        bases: Sequence[str] = (),
    ) -> Measured:
        """The same from the table at ``out``, which is made where it is missing or stale."""
        self.check_device(config)
        identities = {label: hub.identify(model) for label, model in models.items()}
        for model in models.values():
            identities |= scores_rule(model, self.longest)

        def score() -> tuple[pd.DataFrame, Mapping[str, str]]:
            found = self.of_models(config, models, pairs, bases)
            return found.scores, found.contexts

        piece = Piece(out, self._recipe(config, {}, identities), make=partial(self._make, score))
        run(self.name, [piece])
        return Measured(read_rows(out, SCORES), pairs, bases, piece.manifest()["notes"].get(_CONTEXT, {}))

    def _score(
        self, config: Config, local: LocalModel, cases: Sequence[Sequence[Case]], label: str
    ) -> tuple[pd.DataFrame, str]:
        """The scores of one model, and the token that stood for the empty context."""
        scorer = open_scorer(local, **self.opened(getattr(config, self.name)))
        table = score_cases(scorer, cases, f"{self.title}, {label}", self.unit).assign(task=self.name)
        return table, scorer.tokenizer.decode(scorer.prefix) or "none"


def score_cases(
    scorer: "SentenceScorer", parts: Sequence[Sequence[Case]], label: str, unit: str = "texts"
) -> pd.DataFrame:
    """item, sample, group, metric, value of every case. What is finished of a part is kept."""
    encoded = [[one for case in part for one in _encoded(scorer, case)] for part in parts]
    with progress(label, len({one for part in encoded for one in part}), unit) as bar:
        found = np.concatenate(remembered_scores(scorer, encoded, bar.advance))
    cases = [case for part in parts for case in part]
    ends = np.cumsum([len(case.texts) for case in cases])
    return pd.DataFrame([row for case, sums in zip(cases, np.split(found, ends[:-1]), strict=True)
                         for row in _rows(case, sums)])  # fmt: skip


def _encoded(scorer: "SentenceScorer", case: Case) -> "list[Scored]":
    if case.encode is not None:
        return case.encode(scorer)
    if case.context is None:
        return [scorer.encode(text) for text in case.texts]
    return [scorer.encode_after(case.context, text) for text in case.texts]


def _rows(case: Case, sums: np.ndarray) -> list[dict[str, Any]]:
    keys = {"item": case.item, "sample": case.sample, "group": case.group}
    return [{**keys, "metric": metric, "value": float(value)} for metric, value in case.measure(sums).items()]


# --- tables of accuracies ---------------------------------------------------------------------------------------------

DIFFERENCES = View({"difference": 2, "low": 2, "high": 2, "sd_prompts": 2, "sd_seeds": 2})
"""How tables of models against each other are shown."""


def array(values: pd.DataFrame, items: pd.MultiIndex | None = None) -> np.ndarray:
    """Values of one model, one row an item, training seed and sample: item, train_seed, value → shape (items, seeds,
    samples)."""
    return statistics.by_prompt(values, ["value"], ["item"], items)[0]


def seeds(values: pd.DataFrame) -> int:
    """How many training seeds the model with the most of them has."""
    return int(values.groupby("model")["train_seed"].nunique().max())


def accuracy(values: np.ndarray) -> dict[str, float]:
    """accuracy, low, high in percent: the mean of values between 0 and 1, shape (items, seeds, samples), with its
    interval, and how far items and seeds spread around it, sd_prompts and sd_seeds."""
    names = ("accuracy", "low", "high", "sd_prompts", "sd_seeds")
    numbers = (statistics.centre(values), *statistics.share_interval(values), *statistics.spreads(values))
    return {name: 100 * float(number) for name, number in zip(names, numbers, strict=True)}


def difference(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """The same of a difference over the same items, with the paired test's p."""
    changes = statistics.paired_changes(after, before)
    numbers = {name: 100 * float(number) for name, number in changes.items()}
    return {"difference": numbers.pop("change"), **numbers, "p": statistics.paired_p(after, before)}


def paired(before: pd.DataFrame, after: pd.DataFrame, by: str | list[str]) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Group → the values of two models over the same items (``array``), the later one's first."""
    old, found = dict(list(before.groupby(by))), {}
    for group, new in after.groupby(by, sort=True):
        items = pd.MultiIndex.from_arrays([new["item"].unique()], names=["item"])
        found[group] = array(new, items), array(old[group], items)
    return found


def told(row: Any, what: str, corrected: str) -> str:
    """A row of differences as the command line says it."""
    return (
        f"{row.model} - {row.against}, {what}: {row.difference:+.2f} points [{row.low:+.2f}, {row.high:+.2f}], "
        f"p = {row.p:.2g} ({row.p_holm:.2g} corrected {corrected})"
    )


def compared_values(
    values: pd.DataFrame,
    comparisons: Sequence[Comparison],
    keys: list[str],
    compare: Callable[[pd.DataFrame, pd.DataFrame], Iterable[dict[str, Any]]],
    columns: Sequence[str],
) -> pd.DataFrame:
    """comparison, model, against, what ``compare`` says of the other's and the model's rows (``columns``, ``p`` among
    them), p_holm.

    ``values``: model, train_seed, keys, value. ``p_holm`` is corrected over all rows of a kind of comparison. Raises
    ``InputError`` if models were measured on different items.
    """
    items = values[["model", "train_seed", *keys]].drop_duplicates()
    if (items.groupby(["model", "train_seed"]).size() != len(items[keys].drop_duplicates())).any():
        raise InputError("the models were scored on different items; score them in one call, or on the same list")
    of_model = dict(list(values.groupby("model", sort=False)))
    rows = [pair.columns | row for pair in comparisons for row in compare(of_model[pair.other], of_model[pair.model])]
    table = pd.DataFrame(rows, columns=["comparison", "model", "against", *columns])
    return statistics.without_spreads(table.assign(p_holm=statistics.holm_by(table["comparison"], table["p"])))
