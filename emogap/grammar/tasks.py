"""What all benchmarks that score texts under models have in common; each single one is described by data (``Task``).

A case is a few texts and a function of their log-probabilities; a task makes its cases from files. Scores are cached
as they are finished (``score_cache``) and become a table for each model of the study, or one for models given by name.
The end of this file has what tables of accuracies share: an accuracy with its interval, differences between models.
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
"""The settings with which a scorer is opened."""


@dataclass(frozen=True)
class Case:
    """Texts whose log-probabilities are compared with each other."""

    item: str
    group: str
    texts: Sequence[str]
    measure: Callable[[np.ndarray], Mapping[str, float]]
    """Log-probabilities of the texts, float64 of shape (texts,) → metric → value."""
    context: str | None = None
    """The text that each of them continues, itself not scored; None: each is a sentence of its own."""
    sample: int = 0
    """Distinguishes several cases of one item, such as orders of its choices."""
    encode: "Callable[[SentenceScorer], list[Scored]] | None" = None
    """Turns the texts into tokens; None: as sentences, or as continuations of ``context``."""


@dataclass(frozen=True)
class Measured:
    """The measurements of some models, of the study or any others."""

    scores: pd.DataFrame
    """Rows of ``records.SCORES``."""
    comparisons: Sequence[Comparison]
    """Which of the models are compared with each other."""
    bases: Sequence[str]
    """The models that were not trained here."""
    contexts: Mapping[str, str]
    """Model → the token that stood for the empty context."""


@dataclass(frozen=True)
class Task:
    """A benchmark: what differs between one and another."""

    name: str
    """Names its section of the settings, its recipes and its tables of scores."""
    title: str
    """Its name in progress bars."""
    unit: str
    """What progress bars count: the texts, by this benchmark's name for them."""
    shaping: tuple[str, ...]
    """The settings that shape the scores."""
    longest: int
    """Upper bound of the tokens that any of its texts has, context included."""
    files: Callable[[Config], Mapping[str, Path]]
    """Name → file or folder that the cases are made from."""
    cases: Callable[[Config], list[list[Case]]]
    """The cases, in groups whose scores are cached together; a killed run need not repeat the cached groups."""
    counts: Callable[[pd.DataFrame], dict[str, int]]
    """What the manifest counts in a table of scores."""
    is_there: Callable[[Config], bool] = lambda config: True
    """Whether its data are there; if not, a study goes without this benchmark."""
    opened: Callable[[Any], dict[str, Any]] = lambda settings: {name: getattr(settings, name) for name in OPENED}
    """Takes from the settings of its section those with which a scorer is opened."""

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
        """The scores of all models of the study; each training seed of a model has rows of its own."""
        tables = [read_rows(path, SCORES) for path in self.tables(config).values()]
        return Measured(pd.concat(tables, ignore_index=True), comparisons(config), list(config.bases), {})

    def of_models(
        self,
        config: Config,
        models: Mapping[str, HubModel],
        pairs: Sequence[Comparison] = (),
        bases: Sequence[str] = (),
    ) -> Measured:
        """Score models given by name (label → model)."""
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
        """Like ``of_models``, but from the table at ``out``, which is made if it is missing or stale."""
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
    """item, sample, group, metric, value of every case. ``parts``: cases whose scores are cached together."""
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
"""How tables of differences between models are shown."""


def array(values: pd.DataFrame, items: pd.MultiIndex | None = None) -> np.ndarray:
    """The values of one model as an array of shape (items, seeds, samples), from rows with the columns item, train_seed
    and value, one row per item, training seed and sample."""
    return statistics.by_prompt(values, ["value"], ["item"], items)[0]


def seeds(values: pd.DataFrame) -> int:
    """How many training seeds the model with the most of them has."""
    return int(values.groupby("model")["train_seed"].nunique().max())


def accuracy(values: np.ndarray) -> dict[str, float]:
    """accuracy, low, high in percent: the mean of values between 0 and 1, shape (items, seeds, samples), with its
    interval; and the standard deviations between items (sd_prompts) and between seeds (sd_seeds)."""
    names = ("accuracy", "low", "high", "sd_prompts", "sd_seeds")
    numbers = (statistics.centre(values), *statistics.share_interval(values), *statistics.spreads(values))
    return {name: 100 * float(number) for name, number in zip(names, numbers, strict=True)}


def difference(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """Like ``accuracy``, for the difference of two models over the same items, with the paired test's p."""
    changes = statistics.paired_changes(after, before)
    numbers = {name: 100 * float(number) for name, number in changes.items()}
    return {"difference": numbers.pop("change"), **numbers, "p": statistics.paired_p(after, before)}


def paired(before: pd.DataFrame, after: pd.DataFrame, by: str | list[str]) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Group → (``after``, ``before``): the values of both models over the same items, as ``array`` gives them."""
    old, found = dict(list(before.groupby(by))), {}
    for group, new in after.groupby(by, sort=True):
        items = pd.MultiIndex.from_arrays([new["item"].unique()], names=["item"])
        found[group] = array(new, items), array(old[group], items)
    return found


def told(row: Any, what: str, corrected: str) -> str:
    """A row of differences as a sentence for the command line."""
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
    """A table of comparisons: comparison, model, against, ``columns`` (``p`` among them), p_holm.

    ``values``: model, train_seed, keys, value. ``compare`` takes the other model's and the model's rows of these and
    gives rows with ``columns``. ``p_holm`` is corrected over all rows of a kind of comparison. Raises ``InputError`` if
    models were measured on different items.
    """
    items = values[["model", "train_seed", *keys]].drop_duplicates()
    if (items.groupby(["model", "train_seed"]).size() != len(items[keys].drop_duplicates())).any():
        raise InputError("the models were scored on different items; score them in one call, or on the same list")
    of_model = dict(list(values.groupby("model", sort=False)))
    rows = [pair.columns | row for pair in comparisons for row in compare(of_model[pair.other], of_model[pair.model])]
    table = pd.DataFrame(rows, columns=["comparison", "model", "against", *columns])
    return statistics.without_spreads(table.assign(p_holm=statistics.holm_by(table["comparison"], table["p"])))
