"""The playground: what an answer looks like, and the widgets in a notebook in a browser."""

import numpy as np
import pandas as pd
import pytest
from browser import browser, downloads, wait_for  # noqa: F401 (fixtures)
from jupyter_lab import lab_address, lab_is_ready

from emogap.answers import playground
from emogap.answers.playground import Answer, LiveModels, answer_card, build, first_emotion
from emogap.answers.respond import conditions
from emogap.config import Sampling
from emogap.emotions import INDEX
from emogap.errors import MissingInput, UsageError
from emogap.lm.engines.engine import Reply
from emogap.records import row_seed


def made_up(model, text, **scores):
    vector = np.full(28, 0.01, dtype=np.float32)
    for label, score in scores.items():
        vector[INDEX[label]] = score
    return Answer(model, text, True, vector if text else None)


def test_a_card_shows_text_safely_and_the_asked_emotion_wherever_it_stands():
    card = answer_card(made_up("gpt2", "<b>&", joy=0.9, love=0.5, anger=0.4, fear=0.3, grief=0.02), "grief")
    assert "&lt;b&gt;&amp;" in card
    assert card.index(">joy<") < card.index(">love<") < card.index("<b>grief</b>")
    assert "an empty answer" in answer_card(made_up("gpt2", ""), "joy")


def widgets_by_name(box):
    found = {}
    for widget in box.children:
        for inner in getattr(widget, "children", [widget]):
            found[getattr(inner, "description", "") or type(inner).__name__] = inner
    return found


def test_widgets_fill_in_an_example_and_show_an_answer_of_each_model():
    asked = []

    def ask(model, instruction, input, sample, sampling):
        asked.append((model, instruction, input, sample, sampling))
        return made_up(model, f"{model} says so", joy=0.9)

    study = Sampling(temperature=0.7, top_p=0.9, top_k=0, repetition_penalty=1.2, max_new_tokens=48)
    box = build(["gpt2", "gpt2-instr"], {"joy": ("Sing.", ""), "love": ("Write.", "A letter.")}, ask, study, "love")
    parts = widgets_by_name(box)
    assert (parts["instruction"].value, parts["input"].value) == ("Write.", "A letter.")
    parts["sample"].value = 3
    parts["Answer"].click()
    request = ("Write.", "A letter.", 3, study)
    assert asked == [("gpt2", *request), ("gpt2-instr", *request)]
    cards = box.children[-1].children
    assert ["gpt2 says so" in cards[0].value, "gpt2-instr says so" in cards[1].value] == [True, True]
    assert not parts["Answer"].disabled
    parts["temperature"].value, parts["max new tokens"].value = 0.0, 5
    parts["emotion"].value = "joy"
    parts["Answer"].click()
    assert asked[-1] == (
        "gpt2-instr", "Sing.", "", 3, study.model_copy(update={"temperature": 0.0, "max_new_tokens": 5})
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "first"), [(["", "A song."], "love"), (["Yes.", "A song."], "joy"), (["", ""], "joy"), (None, "joy")]
)
def test_the_first_prompt_is_one_that_every_model_has_answered(make_config, monkeypatch, said, first):
    def read(config, condition):
        if said is None:
            raise MissingInput("no answers yet")
        rows = [("joy", "Yes.", "m1"), ("joy", said[0], "m2"), ("love", said[1], "m1"), ("love", said[1], "m2")]
        return pd.DataFrame(rows, columns=["instruction_emotion", "response", "model"])

    monkeypatch.setattr(playground, "read_responses", read)
    assert first_emotion(make_config(), {"joy": ("Sing.", ""), "love": ("Write.", "")}) == first


def test_an_error_is_shown_and_the_button_works_again():
    def ask(*_):
        raise UsageError("the instruction is empty; type one")

    box = build(["gpt2"], {"joy": ("", "")}, ask)
    widgets_by_name(box)["Answer"].click()
    assert "the instruction is empty" in box.children[-2].value
    assert not widgets_by_name(box)["Answer"].disabled


class SeedEngine:
    def __init__(self):
        self.closed = False

    def generate(self, conversations, sampling, on_reply=None):
        self.sampling = sampling
        return [Reply(c.id, f"seed {c.seed}", 1, 2, "stop", 0.0) for c in conversations]

    def close(self):
        self.closed = True


def test_live_models_are_loaded_once_and_repeat_themselves(make_config, monkeypatch):
    opened = []
    monkeypatch.setattr(playground, "open_model", lambda config, model: opened.append(model.key) or SeedEngine())
    monkeypatch.setattr(LiveModels, "_read", lambda self, text: np.zeros(28, dtype=np.float32))
    models = LiveModels(make_config())
    first, again, other = (models.ask("smollm2-135m", "Sing.", sample=sample).text for sample in (0, 0, 1))
    prompt, config = conditions(make_config())[0].prompts[0], make_config()
    seed = row_seed(config.seed, f"{prompt.id}/1", "respond")
    assert models.ask("smollm2-135m", prompt.instruction, prompt.input, sample=1).text == f"seed {seed}"
    assert first == again != other and opened == ["smollm2-135m"]
    with pytest.raises(UsageError, match="'gpt9' is no model of the study"):
        models.ask("gpt9", "Sing.")
    with pytest.raises(UsageError, match="instruction is empty"):
        models.ask("smollm2-135m", "  ")


CELL = """
import numpy as np
from emogap.answers.playground import Answer
from emogap.answers.playground import build
ask = lambda model, instruction, input, sample, sampling: Answer(
    model, f"{model} heard: {instruction}", True, np.linspace(0, 1, 28, dtype=np.float32)
)
build(["gpt2", "gpt2-instr"], {"joy": ("Sing.", ""), "love": ("Write.", "")}, ask)
"""


@pytest.fixture
def notebook_address(tmp_path):
    """A JupyterLab server with a notebook that shows the playground; the notebook's address."""
    with lab_address(tmp_path, CELL) as address:
        yield address


@pytest.mark.slow
def test_playground_in_a_browser(browser, notebook_address):  # noqa: F811
    from selenium.webdriver.common.by import By

    browser.get(notebook_address)
    lab_is_ready(browser)

    def cards():
        return browser.find_elements(By.CSS_SELECTOR, ".emogap-answer")

    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    found = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".widget-textarea textarea"), 120, "the widgets")
    text = found[0]
    assert text.get_attribute("value") == "Sing."
    text.clear()
    text.send_keys("Say <hello>.")
    browser.find_element(By.CSS_SELECTOR, ".widget-button.mod-primary").click()
    wait_for(lambda: len(cards()) == 2, 60, "two answers")
    wait_for(lambda: "Say <hello>." in cards()[1].text, 60, "the second answer")
    assert cards()[0].text.startswith("gpt2\n") and cards()[1].text.startswith("gpt2-instr\n")
    assert "neutral" in cards()[0].text and "1.00" in cards()[0].text
