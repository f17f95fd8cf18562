"""The emotion lens: at which depth of a model do the words of an emotion become likely, and did fine-tuning move it?

Works on tables of readings alone. It averages the probability mass on an emotion's weighted words at the end of each
text, where the next word is predicted. The depth is the first layer from which on the mean mass never again falls
below half of its value in the last layer, with linear interpolation between two layers. Intervals are over the texts,
which are the same for all models, so that differences are paired: by Student's t for a mass, by resampled texts for a
depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emogap.emotions import EMOTIONS, GROUPINGS, INDEX, LABELS, group_of
from emogap.store.views import cells
from emogap.text.statistics import mean_interval, resampled_interval

OWN = "own"
"""The mass on the words of the emotion that the text was written for."""
ANY = "any"
"""The mass on the words of all emotions but neutral together."""
GROUPING = "goemotions"


@dataclass(frozen=True)
class Mass:
    """Probability mass at the ends of texts."""

    models: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    values: dict[str, np.ndarray]
    """Model → float64 of shape (texts, layers, 28), the labels in their order."""

    def of(self, model: str, quantity: str) -> np.ndarray:
        """The mass of a quantity, shape (texts, layers): an emotion; ``OWN``, only for texts that have an emotion,
        neutral ones left out; the own emotion in the texts of one group (``own positive``); or ``ANY``."""
        values = self.values[model]
        if quantity == ANY:
            return values[:, :, [INDEX[emotion] for emotion in EMOTIONS]].sum(axis=2)
        if quantity in INDEX:
            return values[:, :, INDEX[quantity]]
        return np.stack([values[row, :, INDEX[emotion]] for row, emotion in self.own_rows(quantity)])

    def own_rows(self, quantity: str) -> list[tuple[int, str]]:
        """(row, emotion) of each text that counts for ``OWN``, or for the own emotion of one group."""
        group = quantity.removeprefix(OWN).strip()
        found = [(row, prompt_id.split("/")[0]) for row, prompt_id in enumerate(self.prompt_ids)]
        return [
            (row, emotion)
            for row, emotion in found
            if emotion in EMOTIONS and (not group or group_of(emotion, GROUPING) == group)
        ]


def mass_at_ends(table: pd.DataFrame) -> Mass:
    """The mass at the end of each text from long readings (``records.LENS`` with the column ``end``)."""
    rows = table[(table["measure"] == "emotion_mass") & table["end"]]
    models, prompt_ids = tuple(rows["model"].unique()), tuple(rows["prompt_id"].unique())
    values = {}
    for model in models:
        wide = rows[rows["model"] == model].pivot(index="prompt_id", columns=["layer", "token"], values="value")
        wide = wide.reindex(index=prompt_ids)
        layers = wide.columns.get_level_values("layer").unique().sort_values()
        values[model] = np.stack([wide[layer].reindex(columns=LABELS).to_numpy(float) for layer in layers], axis=1)
    return Mass(models, prompt_ids, values)


def quantities(mass: Mass) -> list[str]:
    """The quantities that these texts allow: ``OWN``, over all and in each group, if any has one; else ``ANY``."""
    if not mass.own_rows(OWN):
        return [ANY]
    groups = [group for group in GROUPINGS[GROUPING] if mass.own_rows(f"{OWN} {group}")]
    return [OWN, *(f"{OWN} {group}" for group in groups)]


def curves(mass: Mass, wanted: Sequence[str]) -> pd.DataFrame:
    """model, quantity, layer, mean, low, high, texts: the mean mass over the texts with its 95 % interval (Student's t,
    between 0 and 1)."""
    rows = []
    for model in mass.models:
        for quantity in wanted:
            values = mass.of(model, quantity)
            low, high = np.clip(mean_interval(values.T[:, :, None]), 0, 1)
            part = pd.DataFrame(
                {"layer": range(values.shape[1]), "mean": values.mean(axis=0), "low": low, "high": high}
            )
            rows.append(part.assign(model=model, quantity=quantity, texts=len(values)))
    return pd.concat(rows, ignore_index=True)[["model", "quantity", "layer", "mean", "low", "high", "texts"]]


def half_depth(curve: np.ndarray) -> np.ndarray:
    """The depth from which on a curve has half of its final mass: curves of shape (…, layers) → layers, shape (…)."""
    curve = np.asarray(curve, dtype=float)
    half = curve[..., -1:] / 2
    below = curve < half
    # The last layer that is below half; the final layer never is.
    last_below = curve.shape[-1] - 1 - np.argmax(below[..., ::-1], axis=-1)
    before = np.take_along_axis(curve, last_below[..., None], -1)[..., 0]
    after = np.take_along_axis(curve, np.minimum(last_below + 1, curve.shape[-1] - 1)[..., None], -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = last_below + (half[..., 0] - before) / (after - before)
    return np.where(below.any(axis=-1), depth, 0.0)


def depths(mass: Mass, bases: dict[str, str], wanted: Sequence[str], resamples: int, seed: int) -> pd.DataFrame:
    """At which layer half of the final mass is reached, and how much earlier or later than in another model.

    ``bases``: model → the model it is compared with (itself for a base). Columns: model, quantity, texts, final_mass,
    layers (how many blocks there are), half_depth, low, high, base, shift (layers; negative is earlier), shift_low,
    shift_high; the shift is NaN if ``base`` is the model itself. Intervals: 95 %, the same resampled texts for all
    models (see ``statistics.resampled_interval``).
    """
    rows = []
    for quantity in wanted:
        values = {model: mass.of(model, quantity) for model in mass.models}
        texts = len(values[mass.models[0]])
        weights = np.random.default_rng(seed).multinomial(texts, np.full(texts, 1 / texts), resamples) / texts
        points = {model: float(half_depth(own.mean(axis=0))) for model, own in values.items()}
        resampled = {model: half_depth(weights @ own) for model, own in values.items()}
        for model, own in values.items():
            base = bases[model]
            low, high = resampled_interval(resampled[model], texts)
            row = {"model": model, "quantity": quantity, "texts": texts, "final_mass": own[:, -1].mean()}
            row |= {"layers": own.shape[1] - 1, "half_depth": points[model], "low": low, "high": high, "base": base}
            if base != model:
                shift_low, shift_high = resampled_interval(resampled[model] - resampled[base], texts)
                row |= {"shift": points[model] - points[base], "shift_low": shift_low, "shift_high": shift_high}
            rows.append(row)
    columns = ["model", "quantity", "texts", "final_mass", "layers", "half_depth", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "base", "shift", "shift_low", "shift_high"])


def shift_statements(table: pd.DataFrame) -> list[str]:
    """A statement for each model with a shift: whether it reaches half of the first quantity earlier than its ``base``.

    ``table``: what ``depths`` gives.
    """
    first = table["quantity"].iloc[0]
    rows = table[(table["quantity"] == first) & table["shift"].notna()]
    masses = table[table["quantity"] == first].set_index("model")["final_mass"]
    what = "their own emotion" if first == OWN else "any emotion"
    return [
        f"{row.model}: half of the final mass on the words of {what} is there at layer {row.half_depth:.1f} of "
        f"{row.layers} ({row.base}: {row.half_depth - row.shift:.1f}). {_verdict(row)} ({so_many_texts(row.texts)}). "
        f"The final mass is {row.final_mass:.2%} ({row.base}: {masses[row.base]:.2%})."
        for row in rows.itertuples()
    ]


def so_many_texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count} texts"


def _verdict(row) -> str:
    if np.isnan(row.shift_low):
        return f"The shift of {row.shift:+.2f} layers has no interval, the texts are too few"
    ends = {"shift": row.shift, "low": row.shift_low, "high": row.shift_high}
    interval = f"{cells(pd.DataFrame([ends])).loc[0, 'shift']} layers with its 95 % interval"
    if row.shift_high < 0:
        return f"Fine-tuning moved it earlier: {interval}"
    if row.shift_low > 0:
        return f"Fine-tuning moved it later: {interval}"
    return f"Whether fine-tuning moved it stays open: {interval}"
