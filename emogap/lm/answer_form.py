"""The form in which a fine-tuned model is asked and answers: one place for training, answering and evaluation.

A text is BOS, the filled template, a space, the answer, EOS. The template (``prompts/answer/sft.txt``) ends in
``Response:``. Prompt and answer are turned into tokens separately, so that a model is asked with exactly the tokens it
was trained on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.errors import ModelError
from emogap.text.templates import Template, load_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLACEHOLDERS = ("instruction", "input_block")


@dataclass(frozen=True)
class Example:
    """A question with its answer, as tokens."""

    ids: list[int]
    answer_start: int
    """Place of the first token of the answer; EOS, the last token, belongs to the answer."""


@dataclass(frozen=True)
class AnswerForm:
    """The template of questions in that form, and the tokens that they become."""

    template: Template

    def render(self, instruction: str, input: str = "") -> str:
        """The text of a question, without BOS; a record without input gets no line for it."""
        input_block = f"Input: {input.strip()}\n" if input.strip() else ""
        return self.template.fill(instruction=instruction.strip(), input_block=input_block).rstrip()

    def question_ids(self, tokenizer: "PreTrainedTokenizerBase", instruction: str, input: str = "") -> list[int]:
        """The tokens that a model is asked with: BOS, where the model has one, and the question."""
        return begin_ids(tokenizer) + _ids(tokenizer, self.render(instruction, input))

    def example(self, tokenizer: "PreTrainedTokenizerBase", instruction: str, input: str, answer: str) -> Example:
        """The tokens of a question with its answer and EOS. Raises ``ModelError`` if the model has no EOS."""
        question = self.question_ids(tokenizer, instruction, input)
        return Example(question + _ids(tokenizer, f" {answer.strip()}") + end_ids(tokenizer), len(question))


def load_answer_form(path: str | Path) -> AnswerForm:
    """Read the template. Raises ``MissingInput`` or ``UsageError``."""
    return AnswerForm(load_template(path, PLACEHOLDERS))


def begin_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """BOS as a list of one token id, empty for a model without it."""
    return [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]


def end_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """EOS as a list of one token id. Raises ``ModelError`` if the model has none: it could never learn to stop."""
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {tokenizer.name_or_path} has no EOS token; choose another base model")
    return [tokenizer.eos_token_id]


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    # verbose=False: a long text is truncated later, so the tokenizer's warning about its length would mislead.
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
