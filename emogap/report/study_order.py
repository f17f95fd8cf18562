"""The study in its order, as data: a place for each question, with the exhibits that answer it, open or folded."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Place:
    """One place of the study: its question, what of a run is shown there, and what that is compared with."""

    anchor: str
    title: str
    stages: tuple[str, ...]
    """The stages whose work is shown; the state of the first is that of the place."""
    open: tuple[str, ...]
    """The exhibits that answer it: ``<folder>/tables/<name>`` or ``<folder>/figures/<name>``, also as shell patterns,
    in the order of the page."""
    folded: tuple[str, ...] = ()
    """The exhibits that are folded away until they are clicked, named in the same way."""
    published: tuple[str, ...] = ()
    """Keys of ``published.toml`` that are shown here, whether or not the run has something to compare with them."""
    compared: str = ""
    """Name of the comparison in ``emogap.report.comparison``, if rows of the run and of the study mean the same."""
    beside: str = ""
    """What the columns of the comparison mean, where that needs to be said."""
    shaped_by: tuple[str, ...] = ()
    """Settings that must be equal for two numbers to mean the same; the page names those that differ."""
    remark: str = ""
    """How the published numbers differ beyond settings."""
    how: str = ""
    """What to do where there is nothing yet; empty: run the stage."""

    @property
    def exhibits(self) -> tuple[str, ...]:
        return self.open + self.folded

    def holds(self, name: str) -> bool:
        """Whether the exhibit ``<folder>/<kind>s/<name>`` has its place here."""
        return any(fnmatchcase(name, pattern) for pattern in self.exhibits)

    def is_open(self, name: str) -> bool:
        """Whether the exhibit is seen before anything is clicked."""
        return any(fnmatchcase(name, pattern) for pattern in self.open)

    def rank(self, name: str) -> int:
        """Position of an exhibit within the place: that of the first pattern that fits its name."""
        return next(i for i, pattern in enumerate(self.exhibits) if fnmatchcase(name, pattern))


_STORIES = ("process.raw_dirs", "process.classifier", "process.threshold", "augment.lines", "writer.model",
            "writer.quantization", "augment.templates", "augment.sampling", "augment.gates")  # fmt: skip
_REWRITES = ("rewrite.records", "rewrite.count", "rewrite.versions", "rewrite.templates", "writer.model",
             "writer.quantization", "rewrite.sampling", "rewrite.gates")  # fmt: skip
_TRAINING = ("bases", "clm", "sft")
_ANSWERS = ("bases", "respond.prompts", "respond.per_emotion", "respond.sampling", "sentiment.classifiers")
_NOT_PUBLISHED = (
    "Models of the published names are held against them as they are. Where the base is another, what both trainings "
    "in sequence changed from it, in points, stands beside what they changed in the published gpt2-medium."
)

_ANALYSIS, _LENS = "quantitative_analysis", "model_analysis"

EFFECT = Place(
    "effect", "What came out", ("evaluate", "clm", "sft"),
    (f"{_ANALYSIS}/figures/effects",), (f"{_ANALYSIS}/tables/effects",),
    remark="The published study had no controls: its numbers are models against their bases.",
)  # fmt: skip
"""The first screen."""
PLACES: tuple[Place, ...] = (
    EFFECT,
    Place(
        "lines", "Which lines of the text are emotional?", ("process",),
        ("processed_data/figures/emotions_by_source", "processed_data/tables/cleaning"),
        ("processed_data/tables/emotions_by_source",),
        published=("filtered_lines",),
        shaped_by=("process.raw_dirs", "process.classifier", "process.threshold", "process.min_words"),
    ),
    Place(
        "methods", "What does the writer make of a line? (Tables 7 to 13)", ("augment",),
        ("babylm_augment/figures/story_outcomes", "babylm_augment/figures/story_emotions"),
        ("babylm_augment/tables/story_*", "babylm_augment/*/grid_*"),
        shaped_by=_STORIES,
        remark="The published texts are not shipped; `emogap fetch published` brings all 49,647.",
    ),
    Place(
        "versions", "What becomes of an answer that is rewritten? (Tables 7 to 13)", ("rewrite",),
        ("alpaca-instruction/figures/rewrite_outcomes",),
        ("alpaca-instruction/tables/rewrite_*", "alpaca-instruction/*/grid_*"),
        shaped_by=_REWRITES,
        remark="The published texts are not shipped; `emogap fetch published` brings them.",
    ),
    Place(
        "composition", "What is the corpus made of?", ("corpus", "augment"),
        ("babylm_pretrain_corpus/figures/composition",),
        ("babylm_pretrain_corpus/tables/composition", "babylm_pretrain_corpus/tables/corpora",
         "babylm_pretrain_corpus/figures/composition_*", "babylm_pretrain_corpus/tables/composition_*"),
        published=("composition", "corpus_10m"), compared="composition",
        shaped_by=(*_STORIES, "corpus.factual", "corpus.words"),
        remark="Published, each wiki file was one sample; here an article is a document.",
    ),
    Place(
        "curves", "Did the models learn it?", ("clm", "sft"),
        ("models/figures/curves_*", "models/tables/training_*"), ("models/tables/history_*",), shaped_by=_TRAINING,
    ),
    Place(
        "table-5", "Are the answers more emotional? (Table 5)", ("evaluate", "clm", "sft"),
        (f"{_ANALYSIS}/figures/sentiment_groups",),
        (f"{_ANALYSIS}/tables/sentiment_groups", f"{_ANALYSIS}/tables/sentiment_change_groups",
         f"{_ANALYSIS}/tables/sentiment_judges", f"{_ANALYSIS}/tables/sentiment_length",
         f"{_ANALYSIS}/tables/sentiment_conditions", f"{_ANALYSIS}/tables/sentiment_shuffled",
         f"{_ANALYSIS}/tables/classifier_agreement", f"{_ANALYSIS}/tables/other_grouping_groups"),
        published=("sentiment_groups",), compared="sentiment_groups", beside=_NOT_PUBLISHED,
        shaped_by=(*_ANSWERS, *_TRAINING),
        remark="How the published answers were decoded is not known, and their judge also chose the training text.",
    ),
    Place(
        "table-17", "Which emotions? (Tables 16 and 17)", ("evaluate", "clm", "sft"),
        (f"{_ANALYSIS}/figures/sentiment_change",),
        (f"{_ANALYSIS}/tables/sentiment_emotions", f"{_ANALYSIS}/tables/sentiment_change_emotions",
         f"{_ANALYSIS}/tables/other_grouping_emotions", f"{_ANALYSIS}/*/asked_and_found*"),
        published=("sentiment_emotions", "sentiment_earlier_run"), compared="sentiment_emotions",
        beside=_NOT_PUBLISHED, shaped_by=(*_ANSWERS, *_TRAINING),
        remark="The earlier run, over seven emotions, is not the one of Table 17 and stands here for orientation.",
    ),
    Place(
        "table-4", "Which answers do people prefer? (Table 4)", ("evaluate",),
        (f"{_ANALYSIS}/figures/preference",), (f"{_ANALYSIS}/tables/preference*",),
        published=("preference",), compared="preference", shaped_by=_ANSWERS,
        how="ask people: `emogap questionnaire build`, then `emogap questionnaire analyse FILE.csv…`",
    ),
    Place(
        "table-6", "What did it cost in grammar? (Tables 6 and 15)", ("evaluate", "clm", "sft"),
        (f"{_ANALYSIS}/figures/blimp_differences", f"{_ANALYSIS}/tables/blimp_beside_published"),
        (f"{_ANALYSIS}/tables/blimp_accuracy", f"{_ANALYSIS}/*/blimp_*"),
        published=("blimp",), compared="grammar",
        beside="This base was not published, so what each training changed from it, in points, stands beside what it "
        "changed in the published gpt2.",
        shaped_by=("bases", "blimp.data", "blimp.items", *_TRAINING),
        remark="The published items are BabyLM 2023's filtered ones, 57,812 pairs; other items give other numbers.",
    ),
    Place(
        "language", "What did it cost in plain language?", ("evaluate", "clm", "sft"),
        (f"{_ANALYSIS}/figures/language",), (f"{_ANALYSIS}/tables/language",),
    ),
    Place(
        "understanding", "Do the models understand emotions?", ("evaluate", "clm", "sft"),
        (f"{_ANALYSIS}/figures/emobench_accuracy",), (f"{_ANALYSIS}/*/emobench_*",),
    ),
    Place(
        "figures-3-4", "Where in the models does it come up? (Figures 3 and 4)", ("lens", "clm", "sft"),
        (f"{_LENS}/figures/by_layer",), (f"{_LENS}/figures/emotion_*", f"{_LENS}/tables/*", f"{_LENS}/figures/*"),
        shaped_by=("bases", "lens.sentences", "lens.models", *_TRAINING),
        remark="The published figures show one sentence, which is not in the project's own list; it stands in the "
        "study's report, which `emogap fetch published` brings, and goes to `emogap lens --text`.",
    ),
    Place(
        "table-2", "What are the stories like? (Table 2)", ("babylm-stats", "augment"),
        ("prompt_analysis_babylm/figures/profile",),
        ("prompt_analysis_babylm/tables/word_counts", "prompt_analysis_babylm/*"),
        published=("story_statistics", "story_counts"), compared="story_words", shaped_by=_STORIES,
        remark="Totals and different words grow with the number of stories; only the average can be compared as it is. "
        "The published methods did not write from the same sources.",
    ),
    Place(
        "table-3", "What are the rewrites like? (Table 3)", ("alpaca-stats", "rewrite"),
        ("prompt_analysis/figures/profile",), ("prompt_analysis/tables/word_counts", "prompt_analysis/*"),
        published=("rewrite_statistics",), compared="rewrite_words", shaped_by=_REWRITES,
        remark="The published rows are three temperatures of one prompt, those of a run its prompt versions; what can "
        "be held against them is a grid over these (`emogap grid --stage rewrite --vary temperature=0.3,0.9,1.2`).",
    ),
)  # fmt: skip
"""All places that are filled by stages. The section after them, on models and data, is made in ``page.py``."""


def place_of(name: str) -> Place | None:
    """The place of an exhibit ``<folder>/<kind>s/<name>``; None if no place has it: it is a user's own measurement."""
    return next((place for place in PLACES if place.holds(name)), None)
