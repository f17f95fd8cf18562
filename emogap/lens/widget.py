"""The lens in the notebook: choose a text, a pair of models, what the colour means, and the slice to look at."""

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd

from emogap.config import Config
from emogap.emotions import LABELS
from emogap.errors import EmogapError
from emogap.lens import figures
from emogap.lens.logit_lens import LogitLens
from emogap.lens.reader import TextReader
from emogap.lens.stage import lens_models, load_sentences
from emogap.lm import hub

Read = Callable[[str, str], pd.DataFrame]
"""(model, text) → its readings in long form."""
_ALONE = "(alone)"


class LiveLens:
    """The study's models of ``lens.models``, each loaded when it is first used, and kept."""

    def __init__(self, config: Config):
        self._config = config
        self._readers: dict[str, TextReader] = {}
        self.names = [model.key for model in lens_models(config)]

    def read(self, name: str, text: str) -> pd.DataFrame:
        """Readings of every position of one text through one model. Raises ``MissingInput`` or ``InputError``."""
        if name not in self._readers:
            opened = LogitLens(hub.study_model(self._config, name))
            self._readers[name] = TextReader(opened, self._config.lens.words, self._config.lens.top_k)
        return self._readers[name].read_all({"text": text}, f"logit lens, {name}").assign(model=name)


def lens_widget(config: Config) -> widgets.VBox:
    """The widget with the study's models and sentences. A model is loaded when it is first used."""
    live = LiveLens(config)
    sentences = {text: text for text in load_sentences(config.lens.sentences)}
    return build(live.names, sentences, live.read, config.lens.words)


def build(models: Sequence[str], sentences: Mapping[str, str], read: Read, words: Sequence[str] = ()) -> widgets.VBox:
    """The widgets. ``sentences``: label → text, put into the field when chosen; ``words``: target words of ``read``."""
    wide = widgets.Layout(width="98%")
    sentence = widgets.Dropdown(options=list(sentences), description="sentence", layout=wide)
    text = widgets.Textarea(description="text", layout=wide)
    base = widgets.Dropdown(options=list(models), description="base")
    other = widgets.Dropdown(options=[_ALONE, *models], value=models[1] if len(models) > 1 else _ALONE,
                             description="beside it")  # fmt: skip
    named = [*figures.CELL_MEASURES, *(f"emotion:{label}" for label in LABELS), *(f"word:{word}" for word in words)]
    measure = widgets.Dropdown(
        options=[(figures.measure_label(name), name) for name in named], description="colour", layout=wide
    )
    part = widgets.Dropdown(options=[], description="positions", layout=wide)
    button = widgets.Button(description="Read", button_style="primary")
    state = widgets.HTML()
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", display="none"))
    shown: dict[str, pd.DataFrame] = {}

    def fill(_change: object = None) -> None:
        text.value = sentences[sentence.value]

    def run(_button: object) -> None:
        button.disabled = True
        try:
            pair = list(dict.fromkeys(name for name in (base.value, other.value) if name != _ALONE))
            tables = []
            for name in pair:
                state.value = f"{escape(name)} is being read …"
                tables.append(read(name, text.value))
            shown.clear()  # so that nothing is drawn until the new slices are set
            part.options = _parts(tables[0], figures.PAIR_POSITIONS if len(pair) > 1 else figures.SINGLE_POSITIONS)
            part.index = 0
            shown["table"] = pd.concat(tables, ignore_index=True)
            draw()
            state.value = ""
        except EmogapError as error:
            state.value = f"<b>{escape(str(error))}</b>"
        finally:
            button.disabled = False

    def draw(_change: object = None) -> None:
        if shown:
            picture.value = _png(shown["table"], measure.value, *part.value)
            picture.layout.display = ""

    sentence.observe(fill, names="value")
    measure.observe(draw, names="value")
    part.observe(draw, names="value")
    button.on_click(run)
    fill()
    return widgets.VBox([sentence, text, widgets.HBox([base, other]), button, measure, part, state, picture])


def _parts(table: pd.DataFrame, width: int) -> list[tuple[str, tuple[int, int]]]:
    """The slices as options of a menu: a label of the positions and the first letters → first and last position."""
    texts = table.drop_duplicates("position").set_index("position")["input"].to_dict()
    ends = figures.slices(list(texts), width)
    begins = ["".join(texts[place] for place in range(first, last + 1))[:40] for first, last in ends]
    return [(f"{first}-{last} {text}", (first, last)) for (first, last), text in zip(ends, begins, strict=True)]


def _png(table: pd.DataFrame, measure: str, first: int, last: int) -> bytes:
    figure = figures.heat_maps(table, measure, first, last)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    return stream.getvalue()
