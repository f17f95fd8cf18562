"""The published study's tables and figures in its order, as data: which exhibits of a run stand in which place."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Place:
    """One place of the study: its title, what of a run is shown there, and what that is held against."""

    anchor: str
    title: str
    stages: tuple[str, ...]
    """Whose work is shown; the first one's state is the place's."""
    exhibits: tuple[str, ...]
    """``<folder>/tables/<name>`` or ``<folder>/figures/<name>``, also as shell patterns, in the order of the page."""
    published: tuple[str, ...] = ()
    """Keys of ``published.toml`` that are shown here, whether or not the run has something to hold against them."""
    compared: str = ""
    """Name of the comparison in ``emogap.report.comparison``, where rows of both can be told to be the same thing."""
    beside: str = ""
    """What the comparison's columns are, where they need saying."""
    shaped_by: tuple[str, ...] = ()
    """Settings that must be equal before two numbers mean the same; what differs of them is said."""
    remark: str = ""
    """How the published numbers differ beyond settings."""
    how: str = ""
    """What to do where there is nothing yet; empty: run the stage."""

    def holds(self, name: str) -> bool:
        """Whether the exhibit ``<folder>/<kind>s/<name>`` has its place here."""
        return any(fnmatchcase(name, pattern) for pattern in self.exhibits)

    def rank(self, name: str) -> int:
        """Where in the place an exhibit stands: that of the first pattern that fits."""
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

EFFECT = Place(
    "effect", "What emotion did", ("evaluate", "clm", "sft"),
    ("quantitative_analysis/figures/effects", "quantitative_analysis/tables/effects"),
    remark="The published study had no controls: its numbers are models against their bases.",
)  # fmt: skip
"""Before all others, where models have controls; without them the page says that there are none."""
PLACES: tuple[Place, ...] = (
    EFFECT,
    Place(
        "lines", "The text and its emotional lines", ("process",),
        ("processed_data/tables/cleaning", "processed_data/figures/emotions_by_source"),
        published=("filtered_lines",),
        shaped_by=("process.raw_dirs", "process.classifier", "process.threshold", "process.min_words"),
    ),
    Place(
        "composition", "Composition of the corpus", ("corpus", "augment"),
        ("babylm_pretrain_corpus/figures/composition", "babylm_pretrain_corpus/tables/composition",
         "babylm_pretrain_corpus/tables/corpora", "babylm_pretrain_corpus/figures/composition_*",
         "babylm_pretrain_corpus/tables/composition_*"),
        published=("composition", "corpus_10m"), compared="composition",
        shaped_by=(*_STORIES, "corpus.factual", "corpus.words"),
        remark="Published, each wiki file was one sample; here an article is a document.",
    ),
    Place(
        "table-2", "Words of the stories (Table 2)", ("babylm-stats", "augment"),
        ("prompt_analysis_babylm/tables/word_counts", "babylm_augment/tables/grid_words"),
        published=("story_statistics", "story_counts"), compared="story_words", shaped_by=_STORIES,
        remark="Totals and different words grow with the number of stories; only the average can be compared as it is. "
        "The published methods did not write from the same sources.",
    ),
    Place(
        "table-3", "Words of the rewrites (Table 3)", ("alpaca-stats", "rewrite"),
        ("prompt_analysis/tables/word_counts", "alpaca-instruction/tables/grid_words"),
        published=("rewrite_statistics",), compared="rewrite_words", shaped_by=_REWRITES,
        remark="The published rows are three temperatures of one prompt, those of a run its prompt versions; what can "
        "be held against them is a grid over these (`emogap grid --stage rewrite --vary temperature=0.3,0.9,1.2`).",
    ),
    Place(
        "methods", "One line, every method (Tables 7 to 13)", ("augment",),
        ("babylm_augment/tables/story_examples", "babylm_augment/tables/grid_one_line"), shaped_by=_STORIES,
        remark="The published texts are not shipped; `emogap fetch published` brings all 49,647.",
    ),
    Place(
        "versions", "One record, every version (Tables 7 to 13)", ("rewrite",),
        ("alpaca-instruction/tables/rewrite_examples", "alpaca-instruction/tables/grid_one_line"), shaped_by=_REWRITES,
        remark="The published texts are not shipped; `emogap fetch published` brings them.",
    ),
    Place(
        "table-4", "People's preference (Table 4)", ("evaluate",),
        ("quantitative_analysis/*/preference", "quantitative_analysis/tables/preference_raters"),
        published=("preference",), compared="preference", shaped_by=_ANSWERS,
        how="ask people: `emogap questionnaire build`, then `emogap questionnaire analyse FILE.csv…`",
    ),
    Place(
        "table-5", "Emotion of the answers, by group (Table 5)", ("evaluate", "clm", "sft"),
        ("quantitative_analysis/tables/sentiment_change_groups", "quantitative_analysis/tables/sentiment_length",
         "quantitative_analysis/tables/sentiment_judges", "quantitative_analysis/figures/sentiment_groups",
         "quantitative_analysis/tables/sentiment_groups"),
        published=("sentiment_groups",), compared="sentiment_groups", beside=_NOT_PUBLISHED,
        shaped_by=(*_ANSWERS, *_TRAINING),
        remark="How the published answers were decoded is not known, and their judge also chose the training text.",
    ),
    Place(
        "table-6", "Grammar (Table 6)", ("evaluate", "clm", "sft"),
        ("quantitative_analysis/tables/blimp_accuracy", "quantitative_analysis/tables/blimp_beside_published"),
        published=("blimp",), compared="grammar",
        beside="This base was not published, so what each training changed from it, in points, stands beside what it "
        "changed in the published gpt2.",
        shaped_by=("bases", "blimp.data", "blimp.items", *_TRAINING),
        remark="The published items are BabyLM 2023's filtered ones, 57,812 pairs; other items give other numbers.",
    ),
    Place(
        "tables-15-17", "Details: grammar by phenomenon, emotion by emotion (Tables 15 to 17)",
        ("evaluate", "clm", "sft"),
        ("quantitative_analysis/figures/blimp_differences", "quantitative_analysis/tables/blimp_differences",
         "quantitative_analysis/figures/sentiment_change", "quantitative_analysis/tables/sentiment_change_emotions",
         "quantitative_analysis/tables/sentiment_emotions"),
        published=("sentiment_emotions", "sentiment_earlier_run"), compared="sentiment_emotions",
        beside=_NOT_PUBLISHED, shaped_by=(*_ANSWERS, "blimp.data", *_TRAINING),
        remark="The earlier run, over seven emotions, is not the one of Table 17 and stands here for orientation.",
    ),
    Place(
        "figures-3-4", "Inside the models (Figures 3 and 4)", ("lens", "clm", "sft"),
        ("model_analysis/figures/lens_*",), shaped_by=("bases", "lens.sentences", "lens.models", *_TRAINING),
        remark="The published figures show one sentence, which is not in the project's own list; it stands in the "
        "study's report, which `emogap fetch published` brings, and goes to `emogap lens --text`.",
    ),
    Place(
        "curves", "Training curves", ("clm", "sft"),
        ("models/figures/curves_*", "models/tables/training_*"), shaped_by=_TRAINING,
    ),
)  # fmt: skip
"""All places that are filled by stages. The workflow and Table 1 stand before them and are made by the page."""


def place_of(name: str) -> Place | None:
    """The place of an exhibit ``<folder>/<kind>s/<name>``; None if it goes beyond the study."""
    return next((place for place in PLACES if place.holds(name)), None)
