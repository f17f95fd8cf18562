"""The studio: edit a prompt beside another one, see what the writer makes of both, save it, run it in bulk.

Plain ipywidgets, so that it works in JupyterLab and in VS Code. The writer is loaded once in a kernel, for the first
reply that is not stored yet; with ``writer.engine=server`` it is never loaded here.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from emogap.config import SAMPLINGS, Config, Sampling
from emogap.emotions import LABELS, NEUTRAL
from emogap.errors import EmogapError, UsageError
from emogap.records import KEPT
from emogap.store.style import DIFFERENCE_COLOURS, VERDICT_COLOURS
from emogap.stories.rows import SAME, raw_beside
from emogap.stories.texts import Prompting, SourceText, Texts
from emogap.text.reading import read_text
from emogap.trial.bulk import RUN, as_command, bulk_config, cost, save_template
from emogap.trial.preview import Trial, chosen, described, sampling_of, texts_of, try_out

LINES_SHOWN = 200
OF_THE_LINE = "of the line"
AS_SET = "as set"
NONE = "none"
_WIDE = widgets.Layout(width="98%")
_LABEL_WHOLE = {"style": {"description_width": "initial"}, "layout": widgets.Layout(width="auto", max_width="16em")}
_HALF = widgets.Layout(width="49%")
_REPLIES = Path(__file__).with_name("replies.html.j2")


def studio(config: Config, stage: str = "augment") -> widgets.VBox:
    """The studio for stories (``augment``) or rewrites (``rewrite``). Raises ``MissingInput`` without lines."""
    return Studio(texts_of(config, stage)).box


class Pane:
    """One of the two templates: chosen, edited, compared with its file, saved, run in bulk."""

    def __init__(self, studio: "Studio", letter: str, name: str):
        self._studio, self._letter = studio, letter
        offered = [*([NONE] if letter == "B" else []), *studio.paths]
        self.chosen = widgets.Dropdown(options=offered, description=f"template {letter}")
        self.text = widgets.Textarea(layout=widgets.Layout(width="98%", height="20em"), continuous_update=False)
        self.text.add_class(f"emogap-template-{letter.lower()}")
        self.placeholders, self.diff, self.cost = widgets.HTML(), widgets.HTML(), widgets.HTML()
        folder = {"augment": "prompts/stories", "rewrite": "prompts/rewrites"}[studio.texts.stage]
        self.path = widgets.Text(value=f"{folder}/mine.txt", layout=widgets.Layout(width="60%"))
        self.save = widgets.Button(description=f"Save {letter} as")
        self.bulk = widgets.Button(description=f"Run {letter} in bulk")
        self.box = widgets.VBox(
            [
                self.chosen,
                self.text,
                self.placeholders,
                widgets.HBox([self.save, self.path]),
                widgets.HBox([self.bulk, self.cost]),
                self.diff,
            ],
            layout=_HALF,
        )
        self.chosen.observe(lambda _: self._load(), names="value")
        self.text.observe(lambda _: self._edited(), names="value")
        self.save.on_click(lambda _: studio.guarded(self._save))
        self.bulk.on_click(lambda _: studio.guarded(self._run))
        self.chosen.value = name
        self._load()

    @property
    def wanted(self) -> bool:
        return self.chosen.value != NONE

    @property
    def title(self) -> str:
        """Whose template it is, and whether it was edited."""
        edited = self.text.value != self._on_disk()
        return f"{self._letter}: {self.chosen.value}{' (edited)' if edited else ''}"

    def prompting(self, sampling: Sampling) -> Prompting:
        """The edited text with a sampling. Raises ``UsageError`` for a text that is no template."""
        return Prompting(self.chosen.value, self._studio.texts.parse(self.text.value, self.chosen.value), sampling)

    def _load(self) -> None:
        self.text.value = self._on_disk()
        self.text.disabled = not self.wanted
        self._describe()

    def _file(self) -> Path:
        return self._studio.paths[self.chosen.value]

    def _on_disk(self) -> str:
        return read_text(self._file()) if self.wanted else ""

    def _edited(self) -> None:
        self.cost.value = ""  # it was measured with another text
        self._describe()

    def _describe(self) -> None:
        """Update the placeholders and the difference that are shown with the text."""
        self.placeholders.value = placeholders_html(self._studio.texts, self.text.value) if self.wanted else ""
        self.diff.value = diff_html(self._on_disk(), self.text.value) if self.wanted else ""

    def _save(self) -> None:
        known = list(self._studio.paths)
        name, file = save_template(self._studio.texts, self.text.value, self.path.value, known)
        self._studio.add(name, file)
        self.chosen.value = name
        self._studio.say(f"saved as {file}; it is called '{name}' here")

    def _run(self) -> None:
        if not self.wanted:
            raise UsageError("no template is chosen; choose one")
        if self.title.endswith("(edited)"):
            raise UsageError("the template differs from its file; save it first, so that the run can be repeated")
        self._studio.run_bulk(self.chosen.value, self._file())


class Studio:
    """The widgets and what they do; ``box`` is what a notebook shows."""

    def __init__(self, texts: Texts):
        self.texts = texts
        self.paths: dict[str, Path] = {name: texts.template_path(name) for name in texts.settings.templates}
        self._sources = {source.id: source for source in texts.first(LINES_SHOWN)}
        self._make_fields()
        second = texts.names[1] if len(texts.names) > 1 else NONE
        self.panes = (Pane(self, "A", texts.names[0]), Pane(self, "B", second))
        self.generate = widgets.Button(description="Generate", button_style="primary")
        self.generate.on_click(lambda _: self.guarded(self._generate))
        self.state, self.replies, self.log = widgets.HTML(), widgets.HTML(), widgets.Output()
        self.box = widgets.VBox(
            [
                self.lines,
                *self.typed.values(),
                widgets.HBox([self.emotion, self.preset, self.count]),
                widgets.HBox(list(self.sampling.values()), layout=widgets.Layout(flex_flow="row wrap")),
                widgets.HBox([pane.box for pane in self.panes]),
                widgets.HBox([self.generate, self.state]),
                self.replies,
                self.log,
            ]
        )

    def _make_fields(self) -> None:
        stories = self.texts.stage == "augment"
        options = [(f"{s.emotion}: {s.text[:100]}", s.id) for s in self._sources.values()]
        first = tuple(self._sources)[:2]
        self.lines = widgets.SelectMultiple(options=options, value=first, rows=6, description="lines", layout=_WIDE)
        fields = (
            {"text": "or type one"} if stories else {"instruction": "or type", "input": "input", "output": "answer"}
        )
        self.typed = {
            name: widgets.Text(description=label, layout=_WIDE, continuous_update=False)
            for name, label in fields.items()
        }
        emotions = [label for label in LABELS if label != NEUTRAL] if stories else list(self.texts.settings.emotions)
        self.emotion = widgets.Dropdown(options=[OF_THE_LINE, *emotions], description="emotion")
        self.preset = widgets.Dropdown(options=[AS_SET, *SAMPLINGS], description="sampling")
        self.sampling = sampling_fields(self.texts.settings.sampling)
        self.preset.observe(lambda _: self._fill_sampling(), names="value")
        count, what = getattr(self.texts.settings, self.texts.amount), f"{self.texts.counted} in bulk (0: all)"
        self.count = widgets.BoundedIntText(value=count, min=0, max=10**9, description=what, **_LABEL_WHOLE)

    def add(self, name: str, file: Path) -> None:
        """Offer a new template in both panes."""
        self.paths[name] = file
        for pane in self.panes:
            value, text = pane.chosen.value, pane.text.value
            pane.chosen.options = [*pane.chosen.options, name]
            pane.chosen.value = value
            pane.text.value = text

    def say(self, text: str) -> None:
        self.state.value = escape(text)

    def guarded(self, action: Callable[[], None]) -> None:
        """Do a button's action, with all buttons disabled meanwhile; an error is shown as one line."""
        buttons = [self.generate, *(button for pane in self.panes for button in (pane.save, pane.bulk))]
        for button in buttons:
            button.disabled = True
        try:
            action()
        except EmogapError as error:
            self.state.value = f"<b>{escape(str(error))}</b>"
        finally:
            for button in buttons:
                button.disabled = False

    def _fill_sampling(self) -> None:
        chosen = sampling_of(None if self.preset.value == AS_SET else self.preset.value, self.texts.settings.sampling)
        for name, value in chosen.model_dump().items():
            self.sampling[name].value = value

    def _sampling(self) -> Sampling:
        return sampling_of({name: field.value for name, field in self.sampling.items()}, Sampling())

    def chosen_sources(self) -> list[SourceText]:
        """The line that is typed, else those that are selected, with the emotion chosen for them."""
        typed = {name: field.value for name, field in self.typed.items() if field.value.strip()}
        asked = "" if self.emotion.value == OF_THE_LINE else self.emotion.value
        if typed:
            return chosen(self.texts, [{**typed, "emotion": asked}])
        if not self.lines.value:
            raise UsageError("no line is chosen; choose some, or type one")
        sources = [self._sources[identifier] for identifier in self.lines.value]
        return [source.wanting(asked) for source in sources] if asked else sources

    def _generate(self) -> None:
        sources, sampling = self.chosen_sources(), self._sampling()
        panes = [pane for pane in self.panes if pane.wanted]
        promptings = [pane.prompting(sampling) for pane in panes]
        bar = _StateBar(self.state, len(sources) * len(promptings))
        trials = [try_out(self.texts, sources, prompting, bar) for prompting in promptings]
        self.replies.value = replies_html(sources, trials, [pane.title for pane in panes])
        fresh = sum(len(trial.fresh) for trial in trials)
        self.say(f"{fresh} replies written, {len(sources) * len(promptings) - fresh} were there")
        for pane, trial in zip(panes, trials, strict=True):
            pane.cost.value = f"<small>{escape(cost(self.texts, trial, self.count.value))}</small>"

    def run_bulk(self, name: str, file: Path) -> None:
        """Run the stage with a template and the sampling shown; every line with its own emotion."""
        config = bulk_config(self.texts, name, file, self._sampling(), self.count.value)
        self.log.clear_output()
        with self.log:
            print(as_command(self.texts, config))
            self.say(f"{name} is run in bulk …")
            self.say(str(RUN[self.texts.stage](config)))


class _StateBar:
    """Progress as a line of text in a widget."""

    def __init__(self, state: widgets.HTML, total: int):
        self._state, self._total, self._done = state, total, 0
        self.advance(0)

    def advance(self, pieces: int = 1) -> None:
        self._done += pieces
        self._state.value = f"{self._done} of {self._total} replies …"


def sampling_fields(sampling: Sampling) -> dict[str, widgets.Widget]:
    """Parameter → the field for it."""
    return {
        name: (widgets.IntText if isinstance(value, int) else widgets.FloatText)(
            value=value, description=name.replace("_", " "), **_LABEL_WHOLE
        )
        for name, value in sampling.model_dump().items()
    }


def placeholders_html(texts: Texts, text: str) -> str:
    """Which placeholders a template uses, which it may use besides, or what is wrong with it."""
    try:
        used = texts.parse(text, "template").placeholders
    except EmogapError as error:
        return f'<span style="color:{VERDICT_COLOURS[False]}">{escape(str(error))}</span>'
    here = " ".join(f"<b>{{{name}}}</b>" for name in texts.placeholders if name in used)
    others = " ".join(f"{{{name}}}" for name in texts.placeholders if name not in used)
    return f"<small>uses {here}" + (f"; may use {others}" if others else "") + "</small>"


def diff_html(on_disk: str, text: str) -> str:
    """The lines that differ from the file, with two lines around them."""
    if text == on_disk:
        return "<small>as on disk</small>"
    lines = list(difflib.unified_diff(on_disk.splitlines(), text.splitlines(), n=2, lineterm=""))[2:]
    colours = [DIFFERENCE_COLOURS.get(line[:1], "inherit") for line in lines]
    spans = (f'<span style="color:{c}">{escape(line)}</span>' for c, line in zip(colours, lines, strict=True))
    body = "\n".join(spans)
    return f'<pre class="emogap-diff" style="white-space:pre-wrap;font-size:85%;line-height:1.3">{body}</pre>'


def replies_html(sources: Sequence[SourceText], trials: Sequence[Trial], titles: Sequence[str]) -> str:
    """The replies of all promptings side by side, one row for each line; ``titles``: the columns' headings."""
    from jinja2 import Environment

    def of_line(place: int, source: SourceText) -> Iterator[tuple[dict[str, Any], bool]]:
        for trial in trials:
            row = trial.rows[place]
            shown = described(source, trial.prompting.name, row)
            yield shown | {"raw": raw_beside(row.answer.reply, shown["text"])}, row.id in trial.fresh

    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_REPLIES.read_text("utf-8"))
    rows = [(source, list(of_line(place, source))) for place, source in enumerate(sources)]
    return page.render(rows=rows, titles=titles, colours=VERDICT_COLOURS, kept=KEPT, same=SAME)
