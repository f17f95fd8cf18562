"""The one form in which fine-tuned models are trained, asked and measured."""

import pytest

from emogap.errors import ModelError
from emogap.lm.answer_form import AnswerForm, load_answer_form
from emogap.text.templates import parse_template


class Characters:
    """A tokenizer of one token a character; 1 begins, 2 ends."""

    bos_token_id, eos_token_id, name_or_path = 1, 2, "characters"

    def __call__(self, text, add_special_tokens, verbose):
        assert not add_special_tokens
        return {"input_ids": [ord(character) for character in text]}


@pytest.fixture
def form() -> AnswerForm:
    return AnswerForm(
        parse_template("Q: {instruction}\n{input_block}Response:", "test", ["instruction", "input_block"])
    )


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_a_record_with_input_gets_a_line_for_it(form):
    assert form.render(" Sort them. ", "b, a ") == "Q: Sort them.\nInput: b, a\nResponse:"


def test_a_record_without_input_gets_none(form):
    assert form.render("Say hello.", "  ") == "Q: Say hello.\nResponse:"


def test_braces_in_a_record_are_text(form):
    assert form.render("Print {x}.") == "Q: Print {x}.\nResponse:"


def test_question_and_answer_stand_between_begin_and_end(form):
    example = form.example(Characters(), "Say hello.", "", " Hello! ")
    assert example.ids[0] == 1 and example.ids[-1] == 2
    assert text_of(example.ids[1:-1]) == form.render("Say hello.") + " Hello!"
    assert text_of(example.ids[example.answer_start : -1]) == " Hello!"


def test_a_model_is_asked_with_the_tokens_it_was_trained_on(form):
    example = form.example(Characters(), "Sort.", "b, a", "a, b")
    assert form.question_ids(Characters(), "Sort.", "b, a") == example.ids[: example.answer_start]


def test_a_model_without_begin_token_gets_none(form):
    tokenizer = Characters()
    tokenizer.bos_token_id = None
    assert form.question_ids(tokenizer, "Go.")[0] == ord("Q")


def test_a_model_that_cannot_stop_is_refused(form):
    tokenizer = Characters()
    tokenizer.eos_token_id = None
    with pytest.raises(ModelError, match="characters has no EOS"):
        form.example(tokenizer, "Go.", "", "Gone.")


def test_the_shipped_template_ends_where_the_answer_begins():
    shipped = load_answer_form("prompts/answer/sft.txt")
    assert shipped.template.placeholders == {"instruction", "input_block"}
    assert shipped.render("Say hello.").endswith("Response:")
    assert "Input:" not in shipped.render("Say hello.")
    assert shipped.render("Say hello.", "now").count("Input: now\n") == 1
