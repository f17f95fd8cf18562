"""The lens on any texts and any models: what ``emogap lens --model … --text …`` does."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emogap.config import Config
from emogap.errors import UsageError
from emogap.lens import exhibits as lens_exhibits
from emogap.lens.emotion_lens import shift_statements
from emogap.lens.reader import TextReader
from emogap.lm import hub
from emogap.records import LENS, write_rows
from emogap.store.exhibits import show
from emogap.train.models import named_models

READINGS = "readings.parquet"
_STRONGEST = 3


def read_models(
    models: dict[str, hub.LocalModel], texts: dict[str, str], words: Sequence[str], top_k: int, new_tokens: int
) -> pd.DataFrame:
    """Readings of all texts through each model, one after the other, in long form (``records.LENS``)."""
    from emogap.lens.logit_lens import LogitLens

    tables = []
    for name, local in models.items():
        reader = TextReader(LogitLens(local), words, top_k)
        tables.append(reader.read_all(texts, f"logit lens, {name}", new_tokens).assign(model=name))
    return pd.concat(tables, ignore_index=True)


def lens_of_texts(
    config: Config,
    names: Sequence[str],
    texts: dict[str, str],
    out: Path,
    measure: str = "rank",
    positions: int = 28,
) -> list[str]:
    """Read the texts, write ``readings.parquet``, tables and figures to ``out``; what was found, in lines.

    ``names``: the first is the base, with which each of the others is compared. ``measure``: the colour of the heat
    maps. ``positions``: how many of a text's last positions are drawn. Raises what opening and reading raise.
    """
    _check_measure(measure, config.lens.words)
    models = {label: hub.resolve(model) for label, model in named_models(config, names).items()}
    settings = config.lens
    table = read_models(models, texts, settings.words, settings.top_k, settings.new_tokens)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / READINGS, table, LENS)
    shown = list(models)
    bases = dict.fromkeys(shown, shown[0])
    known = shown[:1]
    depths = lens_exhibits.emotion_depths(table, bases, settings.bootstrap, config.seed)
    show(out, lens_exhibits.layers(table, known))
    show(out, lens_exhibits.emotions(table, depths, bases, known))
    show(out, lens_exhibits.words(table, bases, known))
    show(out, lens_exhibits.ranks(table, bases, texts))
    inside, lines = lens_exhibits.given(table), []
    for prompt_id, text in texts.items():
        one = inside[inside["prompt_id"] == prompt_id]
        show(out, lens_exhibits.heat_maps_of(one, bases, prompt_id, text, measure, positions))
        count = one["position"].nunique()
        if count > positions:
            lines.append(f"{prompt_id}: the last {positions} of {count} positions are drawn; --positions N draws more")
        lines += [f"{prompt_id} {model}: {what_follows(table, prompt_id, model)}" for model in shown]
    return [*lines, *shift_statements(depths), f"{out}: {READINGS}, tables/ and figures/ written"]


def _check_measure(measure: str, words: Sequence[str]) -> None:
    from emogap.emotions import check_label
    from emogap.lens.figures import CELL_MEASURES

    kind, _, name = measure.partition(":")
    if kind == "emotion":
        check_label(name, "--measure")
    elif measure not in CELL_MEASURES and not (kind == "word" and name in words):
        known = [*CELL_MEASURES, "emotion:<label>", *(f"word:{word}" for word in words)]
        raise UsageError(f"--measure '{measure}' is unknown; choose among {', '.join(known)}")


def what_follows(table: pd.DataFrame, prompt_id: str, model: str) -> str:
    """What the model would say at the end of a text, and on which emotions' words it lays most."""
    end = table[(table["prompt_id"] == prompt_id) & (table["model"] == model) & table["end"]]
    end = end[end["layer"] == end["layer"].max()]
    tops = end[end["measure"].str.startswith("top_")].sort_values("value", ascending=False)
    masses = end[end["measure"] == "emotion_mass"].sort_values("value", ascending=False).head(_STRONGEST)
    likely = ", ".join(f"{token!r} {value:.1%}" for token, value in zip(tops["token"], tops["value"], strict=True))
    felt = ", ".join(f"{token} {value:.2%}" for token, value in zip(masses["token"], masses["value"], strict=True))
    return f"next {likely}; mass on the words of {felt}"


class LiveLens:
    """The study's models of ``lens.models``, each opened when it is first read through, and kept."""

    def __init__(self, config: Config):
        from emogap.lens.stage import lens_models

        self._config = config
        self._readers: dict[str, TextReader] = {}
        self.names = [model.key for model in lens_models(config)]

    def read(self, name: str, text: str) -> pd.DataFrame:
        """Readings of every position of one text through one model. Raises ``MissingInput`` or ``InputError``."""
        from emogap.lens.logit_lens import LogitLens

        if name not in self._readers:
            opened = LogitLens(hub.study_model(self._config, name))
            self._readers[name] = TextReader(opened, self._config.lens.words, self._config.lens.top_k)
        return self._readers[name].read_all({"text": text}, f"logit lens, {name}").assign(model=name)
