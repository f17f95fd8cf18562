"""The report's tables and figures of the lens, drawn from the tables of readings alone."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from emogap.emotions import LABELS
from emogap.lens import emotion_lens, figures
from emogap.lens.reader import MEASURES
from emogap.store.exhibits import Exhibit, Shown

PAGE = 7
"""How many positions of a sentence the report shows."""


def lens_exhibits(
    table: pd.DataFrame,
    openings: pd.DataFrame,
    depths: pd.DataFrame,
    texts: Mapping[str, str],
    bases: dict[str, str],
    known: list[str],
    measure: str = "rank",
    last_positions: int = PAGE,
) -> Iterator[Shown]:
    """Every table and figure.

    ``table``: readings of ``texts`` (prompt id → text); ``openings``: readings of the openings; ``depths``: their
    ``emotion_depths``. ``bases``: model → the one it is compared with; ``known``: the bases, in the order of their
    colours. The heat maps show the ``measure`` at the ``last_positions`` of each text; notebook and command show the
    rest, slice by slice.
    """
    yield from layers(table, known)
    yield from emotions(openings, depths, bases, known)
    yield from words(openings, bases, known)
    yield from ranks(table, bases, texts)
    inside = given(table)
    for prompt_id, text in texts.items():
        one = inside[inside["prompt_id"] == prompt_id]
        yield from heat_maps_of(one, bases, prompt_id, text, measure, last_positions)


def families(models: Sequence[str], bases: Mapping[str, str]) -> list[list[str]]:
    """Models that are drawn together: each after the one that it is compared with; one in no comparison is alone. A
    figure is named after the last of its models, which it is about.

    ``bases``: model → the one that it is compared with, itself for a base. Without that among the models it is alone.
    """
    tuned = [[bases[model], model] for model in models if bases[model] != model and bases[model] in models]
    drawn = {model for family in tuned for model in family}
    return tuned + [[model] for model in models if model not in drawn]


def layers(table: pd.DataFrame, known: list[str]) -> Iterator[Shown]:
    """The measures of each layer, averaged over positions and texts: a table and a figure."""
    caption = "Measures of each layer: means over all positions; for the rank, the median."
    yield Exhibit("by_layer", "table", caption, 80), mean_by_layer(table)
    caption = (
        "From layer to layer: entropy, distance from the last layer, and rank of the next token (mean over positions; "
        "bands: 95 % interval of the mean over texts, Student's t)."
    )
    alt = "three line plots over the layers, one line per model"
    yield Exhibit("by_layer", "figure", caption, 81, alt=alt), figures.layer_curves(table, known)


def emotion_depths(table: pd.DataFrame, bases: dict[str, str], resamples: int, seed: int) -> pd.DataFrame:
    """The depth at which half of the final mass of each quantity is reached; see ``emotion_lens.depths``."""
    mass = emotion_lens.mass_at_ends(table)
    return emotion_lens.depths(mass, bases, [*emotion_lens.quantities(mass), *LABELS], resamples, seed)


def emotions(table: pd.DataFrame, depths: pd.DataFrame, bases: dict[str, str], known: list[str]) -> Iterator[Shown]:
    """The emotion lens: curves, the map of all emotions, and the depth at which half of the final mass is reached."""
    mass = emotion_lens.mass_at_ends(table)
    caption = (
        "The layer from which half of the final mass on an emotion's words is reached, with 95 % intervals over "
        "resampled texts, and the shift in layers (negative: earlier) against the model under `base`. "
        f"{' '.join(emotion_lens.shift_statements(depths))}"
    )
    digits = {"final_mass": 5} | dict.fromkeys(("half_depth", "low", "high", "shift", "shift_low", "shift_high"), 2)
    yield Exhibit("emotion_depth", "table", caption, 82), depths.round(digits)
    curves = emotion_lens.curves(mass, emotion_lens.quantities(mass))
    every = emotion_lens.curves(mass, LABELS)
    rounded = every.assign(**{n: every[n].map(lambda value: float(f"{value:.3g}")) for n in ("mean", "low", "high")})
    yield Exhibit("emotion_mass", "table", "Mean probability mass on emotions' words, layer by layer.", 83), rounded
    for family in families(mass.models, bases):
        title = f"{' and '.join(family)}: the words of an emotion, layer by layer"
        caption = (
            f"{title}. Probability mass on the weighted words of the text's own emotion as the next word, mean over "
            "the texts with 95 % intervals (Student's t)."
        )
        alt = "line plots over the layers, one line per model"
        exhibit = Exhibit(f"emotion_curves_{family[-1]}", "figure", caption, 82, alt=alt)
        yield exhibit, figures.emotion_curves(curves, depths, family, known)
        caption = f"{title}: all emotions, mean over all {len(mass.prompt_ids)} texts."
        alt = "heat maps of emotions against layers"
        yield Exhibit(f"emotion_map_{family[-1]}", "figure", caption, 83, alt=alt), figures.emotion_map(every, family)


def words(table: pd.DataFrame, bases: dict[str, str], known: list[str]) -> Iterator[Shown]:
    """Target words over the layers; nothing if the settings name no word."""
    if not table["measure"].eq("word_probability").any():
        return
    for family in families(list(dict.fromkeys(table["model"])), bases):
        caption = (
            f"{' and '.join(family)}: probability and rank of target words as the next word at the end of the texts, "
            "layer by layer (mean over the texts, 95 % intervals, Student's t)."
        )
        alt = "line plots over the layers, one column per word"
        yield Exhibit(f"words_{family[-1]}", "figure", caption, 84, alt=alt), figures.word_curves(table, family, known)


def ranks(table: pd.DataFrame, bases: dict[str, str], texts: Mapping[str, str]) -> Iterator[Shown]:
    """The rank view of each text that was continued."""
    alt = "a heat map of layers against generated tokens for each model"
    for prompt_id, text in texts.items():
        one = table[(table["prompt_id"] == prompt_id) & table["generated"]]
        caption = (
            f"“{text[:120]}”, continued: rank of each token that the model wrote, by layer (1: the layer's first "
            "choice). Below: the token before it; above: the token itself."
        )
        for family in families(list(dict.fromkeys(one["model"])), bases):
            exhibit = Exhibit(f"lens_ranks_{prompt_id}_{family[-1]}", "figure", caption, 85, alt=alt)
            yield exhibit, figures.rank_view(one[one["model"].isin(family)])


def given(table: pd.DataFrame) -> pd.DataFrame:
    """The readings at positions whose next token is part of the text as given, and so the same for all models."""
    end = table[table["end"]].groupby("prompt_id")["position"].max()
    return table[table["position"] < table["prompt_id"].map(end)]


def heat_maps_of(
    table: pd.DataFrame,
    bases: dict[str, str],
    prompt_id: str,
    text: str,
    measure: str,
    last_positions: int,
) -> Iterator[Shown]:
    """Heat maps of layers × the ``last_positions`` of one text, one figure per slice."""
    positions = sorted(table["position"].unique().tolist())
    for family in families(list(dict.fromkeys(table["model"])), bases):
        one = table[table["model"].isin(family)]
        width = figures.PAIR_POSITIONS if len(family) > 1 else figures.SINGLE_POSITIONS
        for first, last in figures.slices(positions[-last_positions:], width):
            caption = (
                f"“{text[:120]}”, positions {first} to {last}. Colour: {figures.measure_label(measure)}. In each "
                "cell: the layer's first choice; below: the token it follows; above: the token that comes next."
            )
            name = f"lens_{prompt_id}_{measure.replace(':', '-')}_{family[-1]}_{first:04d}"
            alt = "a heat map of layers against positions for each model"
            yield Exhibit(name, "figure", caption, 86, alt=alt), figures.heat_maps(one, measure, first, last)


def mean_by_layer(table: pd.DataFrame) -> pd.DataFrame:
    """model, layer, and the mean over positions of each measure (the median for the rank, which is heavy-tailed)."""
    wide = table[table["measure"].isin(MEASURES)].pivot_table(
        index=["model", "prompt_id", "layer", "position"], columns="measure", values="value", sort=False
    )
    how = {measure: "median" if measure == "rank" else "mean" for measure in MEASURES}
    return wide.groupby(["model", "layer"], sort=False).agg(how).round(3).reset_index()
