"""A playground for the notebook: type an instruction, see the models' answers side by side with their emotions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets as widgets
import numpy as np

from emogap.answers.respond import answer, conditions, load_prompts, open_model, read_responses
from emogap.config import Config, Sampling
from emogap.emotions import INDEX, LABELS, group_of
from emogap.errors import EmogapError, MissingInput, UsageError
from emogap.records import row_seed
from emogap.store.style import GROUP_COLOURS
from emogap.train.models import check_known, study_models


@dataclass(frozen=True)
class Answer:
    """One model's answer."""

    model: str
    text: str
    finished: bool
    scores: np.ndarray | None
    """float32 (28,), in the order of ``LABELS``; None for an empty answer."""


class LiveModels:
    """The study's models and the first classifier, each loaded when it is first asked and kept.

    All models of an embedded or GPT-2 study together fit in a few GiB.
    """

    def __init__(self, config: Config):
        self._config = config
        self._models = {model.key: model for model in study_models(config)}
        self._prompts = {(p.instruction, p.input): p.id for p in load_prompts(config.respond.prompts)}
        self._engines = {}
        self._classifier = None

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def ask(
        self, name: str, instruction: str, input: str = "", sample: int = 0, sampling: Sampling | None = None
    ) -> Answer:
        """One model's answer to an instruction in the form of fine-tuning. Each ``sample`` has its own seed, so that
        the same number repeats the answer; for a prompt of the study, sample 0 has the seed of the study's first
        answer, and so on. ``sampling``: the study's if not given.

        Raises ``UsageError`` for an empty instruction or an unknown model, ``MissingInput`` for one not trained yet.
        """
        check_known(name, self.names)
        if not instruction.strip():
            raise UsageError("the instruction is empty; type one")
        if name not in self._engines:
            self._engines[name] = open_model(self._config, self._models[name])
        row = {
            "model": name,
            "prompt_id": "playground",
            "sample": sample,
            "instruction": instruction,
            "input": input,
            "seed": self._seed(instruction, input, sample),
        }
        answered = answer(self._config, self._engines[name], [row], sampling or self._config.respond.sampling)[0]
        text = answered["response"]
        return Answer(name, text, answered["finished"], self._read(text) if text else None)

    def _seed(self, instruction: str, input: str, sample: int) -> int:
        prompt = self._prompts.get((instruction, input))
        if prompt:
            return row_seed(self._config.seed, f"{prompt}/{sample}", "respond")
        return row_seed(self._config.seed, f"{instruction}\x1f{input}\x1f{sample}", "playground")

    def _read(self, text: str) -> np.ndarray:
        from emogap.emotion.classify import load

        if self._classifier is None:
            self._classifier = load(self._config.sentiment.classifiers[0])
        return self._classifier.scores([text])[0]

    def close(self) -> None:
        """Give the models' memory back."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()


_ROW = {"flex_flow": "row wrap"}
SHOWN = 4
"""How many of an answer's emotions are shown."""


def playground(config: Config) -> widgets.VBox:
    """The playground with the models of the study. A model is loaded when it is first asked."""
    live = LiveModels(config)
    examples: dict[str, tuple[str, str]] = {}
    for prompt in load_prompts(config.respond.prompts):
        examples.setdefault(prompt.emotion, (prompt.instruction, prompt.input))
    return build(live.names, examples, live.ask, config.respond.sampling, first_emotion(config, examples))


def first_emotion(config: Config, examples: Mapping[str, tuple[str, str]]) -> str:
    """The first emotion to whose prompts no model of the home gave an empty answer; if there is none, or no answers
    yet, the first of all."""
    try:
        answers = read_responses(config, conditions(config)[0])
    except MissingInput:
        return next(iter(examples))
    said = answers["response"].ne("").groupby(answers["instruction_emotion"], sort=False).all()
    return next((emotion for emotion in examples if said.get(emotion, False)), next(iter(examples)))


def build(
    models: Sequence[str],
    examples: Mapping[str, tuple[str, str]],
    ask: Callable[[str, str, str, int, Sampling], Answer],
    sampling: Sampling | None = None,
    first: str | None = None,
) -> widgets.VBox:
    """The widgets. ``examples``: emotion → (instruction, input), put into the fields when that emotion is chosen;
    ``first``: the emotion chosen at the start. ``ask``: (model, instruction, input, sample, sampling) → its answer.
    ``sampling``: initial values of the sampling fields."""
    wide = widgets.Layout(width="98%")
    emotion = widgets.Dropdown(options=list(examples), value=first or next(iter(examples)), description="emotion")
    fields = _sampling_fields(sampling or Sampling())
    instruction = widgets.Textarea(description="instruction", layout=wide)
    input_text = widgets.Text(description="input", layout=wide)
    chosen = widgets.SelectMultiple(
        options=list(models), value=tuple(models), description="models", rows=min(8, len(models))
    )
    sample = widgets.BoundedIntText(value=0, min=0, max=10_000, description="sample")
    button = widgets.Button(description="Answer", button_style="primary")
    state = widgets.HTML()
    answers = widgets.HBox(layout=_ROW)

    def fill(_change: object = None) -> None:
        instruction.value, input_text.value = examples[emotion.value]

    def run(_button: object) -> None:
        button.disabled, answers.children = True, ()
        try:
            for model in chosen.value:
                state.value = f"{escape(model)} is answering …"
                wanted = Sampling(**{name: field.value for name, field in fields.items()})
                answer = ask(model, instruction.value, input_text.value, sample.value, wanted)
                answers.children += (widgets.HTML(answer_card(answer, emotion.value)),)
            state.value = "" if chosen.value else "choose a model"
        except EmogapError as error:
            state.value = f"<b>{escape(str(error))}</b>"
        finally:
            button.disabled = False

    emotion.observe(fill, names="value")
    button.on_click(run)
    fill()
    above = [widgets.HBox([emotion, sample]), instruction, input_text, widgets.HBox([*fields.values()], layout=_ROW)]
    return widgets.VBox([*above, chosen, button, state, answers])


def _sampling_fields(sampling: Sampling) -> dict[str, widgets.Widget]:
    """A field for each setting of a sampling, under the setting's name."""
    small = {"layout": widgets.Layout(width="14em"), "style": {"description_width": "initial"}}
    kinds = {
        "temperature": (widgets.BoundedFloatText, {"min": 0, "max": 10, "step": 0.1}),
        "top_p": (widgets.BoundedFloatText, {"min": 0.01, "max": 1, "step": 0.05}),
        "top_k": (widgets.BoundedIntText, {"min": 0, "max": 1_000_000}),
        "repetition_penalty": (widgets.BoundedFloatText, {"min": 0.1, "max": 10, "step": 0.1}),
        "max_new_tokens": (widgets.BoundedIntText, {"min": 1, "max": 4096}),
    }
    return {
        name: kind(value=getattr(sampling, name), description=name.replace("_", " "), **ends, **small)
        for name, (kind, ends) in kinds.items()
    }


def answer_card(answer: Answer, asked: str) -> str:
    """One answer as HTML: its text, its strongest emotions as bars, and the emotion asked for even if it is weak."""
    text = escape(answer.text) if answer.text else "<i>an empty answer</i>"
    cut = "" if answer.finished else ' <span title="cut at the limit">…</span>'
    bars = (
        "" if answer.scores is None else "".join(_bar(label, answer.scores, asked) for label in _shown(answer, asked))
    )
    return (
        '<div class="emogap-answer" style="width:20em;margin:.4em;padding:.6em;border:1px solid #bbb;line-height:1.35">'
        f"<b>{escape(answer.model)}</b><p>{text}{cut}</p>{bars}</div>"
    )


def _shown(answer: Answer, asked: str) -> list[str]:
    """The highest-scored labels, and the one asked for if it is not among them."""
    first = [LABELS[i] for i in np.argsort(-answer.scores, kind="stable")[:SHOWN]]
    return first if asked in first else [*first, asked]


def _bar(label: str, scores: np.ndarray, asked: str) -> str:
    score = float(scores[INDEX[label]])
    name = f"<b>{label}</b>" if label == asked else label
    colour = GROUP_COLOURS[group_of(label)]
    return (
        '<div style="display:flex;gap:.4em;font-size:90%">'
        f'<span style="width:8em">{name}</span>'
        f'<span style="width:{8 * score:.2f}em;background:{colour}"></span><span>{score:.2f}</span></div>'
    )
