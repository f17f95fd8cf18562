"""The report's tables and figures about the emotion of answers: which there are, and what their captions say."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emogap.answers import sentiment
from emogap.answers.emotions_found import emotions_path, empty_rule, judged, read_answers
from emogap.answers.judges import agreement_table, effects_by_judge, polarity_pieces, with_lexicon
from emogap.answers.length import counted, cut_piece, length_table
from emogap.answers.respond import answer_files, conditions
from emogap.config import Config
from emogap.emotion.lexicon import VADER
from emogap.emotions import GROUPINGS
from emogap.records import EMOTIONS, SCORES, read_rows
from emogap.store.artefacts import write_text
from emogap.store.exhibits import Drawing, Exhibit, Shown, drawing
from emogap.store.latex import to_latex
from emogap.store.views import View
from emogap.text.statistics import INTERVALS_RULE, what_is_sampled
from emogap.train.models import CORRECTED, Comparison, compared, comparisons, separated, study_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CONDITIONS = {"": "asked, sampled", "_greedy": "asked, greedy", "_empty": "nothing asked"}
_INTERVALS = "in percent, every prompt counts the same, with 95 % intervals (Wilson's) {over}"
_EMPTY = "; n: non-empty answers; the empty ones are counted beside"
_CHANGES = "95 % intervals (Newcombe's, paired) {over}"
_TESTS = f"{_CHANGES}; paired test over the same prompts, p also corrected {CORRECTED}"

VIEW = View({"": 2, "p": ".3g", "p_holm": ".3g"})
"""Percentages with at most two decimals, as the published tables have; a p-value supports at most three digits."""
_VIEWS = {
    "asked_and_found": View(),
    "sentiment_length": View({"": 2, "words": 1, "words_against": 1}),
    "language": View({"": 2, "words": 1, "distinct_1": 3, "distinct_2": 3, "bits_per_character": 3}),
}

# Name → place in the report, caption. {judge}, {grouping}, {model}, {what}, {separated} and {over} are filled in.
_TABLES = {
    "sentiment_groups": (60, f"Emotions that {{judge}} found, by the group asked for, {_INTERVALS}{_EMPTY}."),
    "sentiment_emotions": (62, f"Emotions that {{judge}} found, by the emotion asked for, {_INTERVALS}{_EMPTY}."),
    "sentiment_change_groups": (61, f"{{what}}, in percentage points; {_TESTS}.{{separated}}"),
    "sentiment_change_emotions": (
        63,
        f"{{what}}: change of the positive share, by emotion asked for; {_TESTS}.{{separated}}",
    ),
    "other_grouping_groups": (64, f"The groups of answers once more in the grouping '{{grouping}}', {_INTERVALS}."),
    "other_grouping_emotions": (64, f"The same by emotion asked for, grouping '{{grouping}}', {_INTERVALS}."),
    "asked_and_found": (65, "For each emotion asked for, how often each emotion was found."),
    "sentiment_conditions": (66, f"All answers together beside other ways of asking, {_INTERVALS}{_EMPTY}."),
    "sentiment_shuffled": (67, "Control: the emotions asked for shuffled over the prompts, in percent."),
    "classifier_agreement": (
        68,
        "Agreement of every two judges about the same answers, without empty ones, in percent; kappa: beyond chance. "
        f"{VADER}, a lexicon, knows only groups; against it an ambiguous emotion counts as neutral.",
    ),
    "sentiment_judges": (
        61,
        "{what}: change of the positive and the negative share as each judge sees it, in percentage points, over all "
        f"prompts to which both models say something; {_CHANGES}.{{separated}}",
    ),
    "sentiment_length": (
        61,
        "{what}: change of the share of each group that {judge} finds, in percentage points, in pairs of answers "
        f"that both say a word: as they are, and cut to the length of the shorter one, {_CHANGES}; and at equal length "
        "(linear regression on model and logarithm of words within prompts, 95 % intervals by the jackknife over "
        "prompts and training seeds).{separated}",
    ),
    "language": (
        69,
        "Asked emotion found, cut and empty answers, variety of words, perplexity of plain text; 95 % intervals "
        "{over} (shares: Wilson's; perplexity: Student's t over passages).",
    ),
}
_FIGURES = {
    "sentiment_groups": (60, "What each model answers to prompts of each group, as {judge} finds it.",
                         "Stacked bars, one per model, in a panel for each group of emotions asked for."),
    "sentiment_change": (63, "{what}: change of the positive share, by emotion asked for; "
                             f"{_CHANGES}.{{separated}}",
                         "Points with intervals, one row per group or emotion, one panel per fine-tuned model."),
    "asked_and_found": (65, "Emotion asked for and emotion found in the answers of {model}.",
                        "Heat map with 28 rows (asked) and 28 columns (found)."),
    "language": (69, "Share of positive answers beside accuracy, variety and perplexity.",
                 "Scatter plots with a point for each model."),
}  # fmt: skip


def sentiment_drawings(config: Config) -> Iterator[Drawing]:
    """Every table and figure about the answers, with the files of the run that each is drawn from."""
    own, *others = conditions(config)
    emotions = {path.stem: path for path in (emotions_path(config, condition) for condition in (own, *others))}
    answers = dict(list(emotions.items())[:1])
    answers |= answer_files(config, own)
    settings, cached = config.flat("sentiment", "grouping", "bootstrap"), cache(partial(read_answers, config, own))

    def one(
        name: str,
        lead: str,
        inputs: Mapping[str, Path],
        draw: Callable[..., Iterator[Shown]],
        rules: Mapping[str, str] = INTERVALS_RULE,
    ) -> Drawing:
        shown = lambda: draw(config, cached())  # noqa: E731
        rules = {**rules, **empty_rule(path for name, path in inputs.items() if name in emotions)}
        lead = f"tables/{lead}"
        return drawing(config.home.evaluation, name, lead, inputs, shown, settings, config.seed, rules=rules)

    judges = answers | {piece.path.stem: piece.path for piece in polarity_pieces(config)}
    yield one("sentiment", "sentiment_groups", answers, _shares)
    yield one("change", "sentiment_change_groups", answers, _changes)
    yield one("judges", "sentiment_judges", judges, _effects_by_judge)
    yield one("length", "sentiment_length", answers | {"emotions cut": cut_piece(config).path}, _at_equal_length)
    yield one("asked-and-found", "asked_and_found", answers, _asked_and_found, {})
    yield one("conditions", "sentiment_conditions", answers | emotions, _controls)
    yield one("agreement", "classifier_agreement", judges, _agreement, {})
    yield one("language", "language", answers | _language_files(config), _language)


def _filled(config: Config, text: str, **values: str) -> str:
    seeds = Counter(model.name for model in study_models(config))
    over = what_is_sampled(max(seeds.values(), default=1))
    return text.format(judge=config.sentiment.classifiers[0].name, over=over, **values)


def _table(config: Config, name: str, table: pd.DataFrame, **values: str) -> Shown:
    order, caption = _TABLES[name]
    view = _VIEWS.get(name, VIEW)
    return Exhibit(name, "table", _filled(config, caption, **values), order, view=view), table


def _figure(config: Config, name: str, figure: "Figure", model: str = "", **values: str) -> Shown:
    order, caption, alt = _FIGURES[name]
    caption = _filled(config, caption, model=model, **values)
    name = f"{name}_{model}" if model else name
    return Exhibit(name, "figure", caption, order, alt=alt), figure


def _agreement(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    table = agreement_table(with_lexicon(config, everyone), config.sentiment.grouping)
    yield _table(config, "classifier_agreement", table)


def _effects_by_judge(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    pairs = comparisons(config)
    table = effects_by_judge(with_lexicon(config, everyone), pairs, config.sentiment.grouping)
    yield _table(config, "sentiment_judges", table, **_said(pairs))


def _at_equal_length(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    answers, cut = counted(judged(config, everyone)), read_rows(cut_piece(config).path, EMOTIONS)
    pairs = comparisons(config)
    table = length_table(answers, cut, pairs, config.sentiment.grouping)
    yield _table(config, "sentiment_length", table, **_said(pairs))


def _shares(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    from emogap.answers.sentiment_figures import stacked_groups

    answers = judged(config, everyone)
    for grouping in GROUPINGS:
        name = "sentiment" if grouping == config.sentiment.grouping else "other_grouping"
        groups = sentiment.sentiment_table(answers, "group", grouping)
        emotions = sentiment.sentiment_table(answers, "emotion", grouping)
        yield _table(config, f"{name}_groups", groups, grouping=grouping)
        yield _table(config, f"{name}_emotions", emotions, grouping=grouping)
        if name == "sentiment":
            yield _figure(config, "sentiment_groups", stacked_groups(groups))


def _said(pairs: Sequence[Comparison]) -> dict[str, str]:
    """What captions say of these comparisons."""
    return {"what": compared(pairs), "separated": separated(pairs)}


def _changes(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    from emogap.answers.sentiment_figures import change_per_emotion

    answers, pairs, grouping = judged(config, everyone), comparisons(config), config.sentiment.grouping
    groups = sentiment.change_table(answers, pairs, "group", grouping)
    emotions = sentiment.change_table(answers, pairs, "emotion", grouping)
    said = _said(pairs)
    yield _table(config, "sentiment_change_groups", groups, **said)
    yield _table(config, "sentiment_change_emotions", emotions, **said)
    yield _figure(config, "sentiment_change", change_per_emotion(emotions, groups, list(config.bases)), **said)


def _asked_and_found(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    from emogap.answers.sentiment_figures import asked_found_heatmap

    answers = judged(config, everyone)
    table = sentiment.asked_and_found(answers)
    yield _table(config, "asked_and_found", table)
    for model in answers["model"].unique():
        yield _figure(config, "asked_and_found", asked_found_heatmap(table, model), model)


def _controls(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    grouping = config.sentiment.grouping
    tables = []
    for condition in conditions(config):
        own = judged(config, read_answers(config, condition))
        table = sentiment.sentiment_table(own, "all", grouping)
        tables.append(table.drop(columns="row").assign(condition=_CONDITIONS[condition.suffix]))
    together = pd.concat(tables, ignore_index=True)
    together.insert(1, "condition", together.pop("condition"))
    yield _table(config, "sentiment_conditions", together)
    shuffled = sentiment.shuffled_control(judged(config, everyone), grouping, config.sentiment.bootstrap, config.seed)
    yield _table(config, "sentiment_shuffled", shuffled)


def _language(config: Config, everyone: pd.DataFrame) -> Iterator[Shown]:
    from emogap.answers.sentiment_figures import language_and_sentiment

    answers = judged(config, everyone)
    scores = pd.concat([read_rows(path, SCORES) for path in _language_files(config).values()], ignore_index=True)
    language = sentiment.language_table(scores)
    positive = sentiment.sentiment_table(answers, "all", config.sentiment.grouping)
    yield _table(config, "language", language)
    bases = {model.name: model.base for model in study_models(config)}
    yield _figure(config, "language", language_and_sentiment(positive, language, bases))


def _language_files(config: Config) -> dict[str, Path]:
    tasks = ("sentiment", "answers", "plain_text")
    return {f"{m.key} {task}": config.home.task_scores(m.key, task) for m in study_models(config) for task in tasks}


def counts_exhibits(counts: Path, out: Path, grouping: str) -> list[Path]:
    """Tables (CSV, LaTeX) and the stacked bars from a file of counts alone; the paths of the CSV files.

    Raises ``MissingInput`` or ``InputError``.
    """
    from emogap.answers.sentiment_figures import stacked_groups

    answers = sentiment.read_counts(counts, grouping)
    tables = {f"sentiment_{by}s": sentiment.sentiment_table(answers, by, grouping) for by in ("group", "emotion")}
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False))
        write_text(out / f"{name}.tex", to_latex(table, VIEW))
    stacked_groups(tables["sentiment_groups"]).savefig(out / "sentiment_groups.png", dpi=200, bbox_inches="tight")
    return [out / f"{name}.csv" for name in tables]
