"""The report's cards: whose texts stand beside each other, what is told apart, which of them are shown."""

import itertools

import pandas as pd
import pytest

from emogap.emotions import LABELS
from emogap.records import EMOTIONS, RESPONSES, STORIES, write_rows
from emogap.report import texts
from emogap.report.page import report
from emogap.train.models import study_models


def answers(config, texts_of: dict[str, str], asked_for=("joy", "anger")) -> None:
    """One answer of each model to two prompts of each emotion, and what two judges find in it."""
    models = {model.name: model for model in study_models(config)}
    emotions = []
    for name, text in texts_of.items():
        asked = {"model": name, "train_seed": models[name].train_seed, "sample": 0}
        asked_of = [(f"{emotion}/{place:02d}", emotion) for emotion, place in itertools.product(asked_for, (0, 1))]
        said = asked | {"input": "", "response": text, "finished": True}
        rows = [said | {"prompt_id": i, "instruction_emotion": e, "instruction": f"Be {e}"} for i, e in asked_of]
        config.home.responses(models[name].key).parent.mkdir(parents=True, exist_ok=True)
        write_rows(config.home.responses(models[name].key), pd.DataFrame(rows), RESPONSES)
        found = {"classifier": "one", "response_emotion": "joy", "score": 0.914}
        emotions += [{key: row[key] for key in (*asked, "prompt_id")} | found for row in rows]
        emotions += [emotion | {"classifier": "two", "response_emotion": "fear"} for emotion in emotions[-len(rows) :]]
    write_rows(config.home.emotions, pd.DataFrame(emotions), EMOTIONS)


def story(method: str, line: str, reply: str, text: str, reason: str | None = None, **more) -> dict:
    return {"id": f"{method}/{line}", "line_id": line, "source": "s", "text": f"The line {line}.", "emotions": ["joy"],
            "method": method, "prompt_sha": "0", "model": "m", "seed": 0, "reply": reply, "story": text,
            "status": "rejected" if reason else "kept", "reason": reason} | more  # fmt: skip


@pytest.fixture
def stories(config):
    def write(method: str, *rows: dict) -> None:
        file = config.home.chunk(method, 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_rows(file, pd.DataFrame(rows), STORIES)

    return write


def test_every_models_answer_to_the_first_prompt_of_each_emotion(config):
    answers(config, {"smollm2-135m": "Yes!", "smollm2-135m-baby": ""})
    deck = texts.decks(config)["table-5"]
    assert [card.emotion for card in deck.cards] == [label for label in LABELS if label in ("anger", "joy")]
    joy = deck.cards[1]
    assert joy.asked == "Be joy"
    assert [(r.by, r.text, r.verdict) for r in joy.replies] == [
        ("smollm2-135m", "Yes!", "positive"), ("smollm2-135m-baby", "", "empty"),
    ]  # fmt: skip
    assert joy.replies[0].remarks == ("joy 0.91 (one)", "fear 0.91 (two)")


def test_methods_stand_side_by_side_and_raw_replies_apart_from_what_was_kept(config, stories):
    stories("m1", story("m1", "a", "Title: A\n\nOnce.", "Once.", emotion="joy", emotion_score=0.5, found=["fear"],
                  found_scores=[0.25]),
            story("m1", "b", "Only here.", "Only here."))  # fmt: skip
    stories("m2", story("m2", "a", "No.", "No.", "too_short", reasons=["too_short", "no_emotion"]))
    first, second = texts.decks(config)["methods"].cards
    assert [(r.by, r.text, r.raw, r.verdict) for r in first.replies] == [
        ("m1", "Once.", "Title: A\n\nOnce.", "kept"), ("m2", "No.", "", "rejected"),
    ]  # fmt: skip
    assert first.replies[0].remarks == ("joy 0.50", "found fear 0.25")
    assert first.replies[1].remarks == ("too_short", "no_emotion")
    assert first.asked == "The line a." and [r.by for r in second.replies] == ["m1"]


def test_there_is_no_deck_of_nothing_and_a_damaged_file_is_said(config):
    assert texts.decks(config) == {}
    file = config.home.chunk("m1", 0)
    file.parent.mkdir(parents=True)
    file.write_text("no table")
    assert "cannot be shown" in texts.decks(config)["methods"].said
    report(config)
    assert "cannot be shown" in config.home.report.read_text(encoding="utf-8")


def test_what_models_wrote_is_text_on_the_page(config, stories):
    hostile = '<script>alert("x")</script></div><img src=x onerror=alert(1)>'
    answers(config, {"smollm2-135m": hostile})
    stories("m1", story("m1", "a", hostile + " more", hostile, emotion='"><b>joy</b>', emotion_score=0.5))
    report(config)
    html = config.home.report.read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<img src=x" not in html and "<b>joy" not in html
    assert html.count("&lt;script&gt;alert(") == 4, "two answers, the story, its raw reply"


def test_the_templates_of_the_methods_can_be_read(config):
    found = texts.templates(config)
    assert [name for name, _, _ in found["methods"]] == config.augment.methods
    assert all(text and file.startswith("prompts/") for _, file, text in found["methods"] + found["versions"])
