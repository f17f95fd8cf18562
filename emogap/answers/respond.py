"""Answers of every model of the study to every instruction prompt.

Each model is asked in the form it was fine-tuned on, the base models too. The answers under ``responses/`` are the
study's; beside them there may be greedy answers to the same prompts and, as a control, answers to an empty
instruction.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from emogap.config import Config, Sampling
from emogap.device import check_device
from emogap.errors import InputError, ModelError
from emogap.lm import hub
from emogap.lm.answer_form import load_answer_form
from emogap.lm.corrections import replies_rule
from emogap.lm.engines.engine import ChatFormat, Conversation, Engine, Reply
from emogap.lm.loading import kept_open, load_tokenizer, one_model_at_a_time
from emogap.paths import from_root
from emogap.records import RESPONSES, read_rows, row_seed, write_rows
from emogap.store.artefacts import Draft, Recipe
from emogap.store.parts import Rows
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.text.forms import Label, check
from emogap.text.reading import given_file, quoted, read_json
from emogap.train.models import StudyModel, recipe_parts, study_models, weights

CALL_BATCHES = 4
"""Batches given to the engine in one call, so that its slots stay filled; a killed run loses one call at most."""

_FORM = re.compile(r"Instruction:\s*(?P<instruction>.*?)(?:\s+Input:\s*(?P<input>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """One instruction prompt."""

    id: str
    """``<emotion>/<place>``, the place in the file counted from 0."""
    emotion: str | None
    """The emotion it asks for; None for an empty prompt."""
    instruction: str
    input: str


@dataclass(frozen=True)
class Condition:
    """One way of asking: which prompts, how many answers, how they are decoded."""

    suffix: str
    """Appended to the names of its files; empty for the study's own answers."""
    prompts: tuple[Prompt, ...]
    samples: int
    sampling: Sampling


def load_prompts(path: str | Path, per_emotion: int = 0) -> list[Prompt]:
    """Read prompts in the published form: a JSON object, emotion → list of ``Instruction: … Input: …`` strings.

    ``per_emotion``: how many of each to take, from the first on; 0 means all. Raises ``MissingInput``, or
    ``InputError`` naming an emotion that is not among the 28, a prompt not of that form, or one that occurs twice.
    """
    file = given_file(from_root(path), "prompts", "give a file with --set respond.prompts=FILE")
    form = "prompts are an object, emotion → list of 'Instruction: … Input: …'"
    groups = check(dict[Label, list[str]], read_json(file), str(file), form)
    if not groups:
        raise InputError(f"{file} has no emotion; {form}")
    prompts = [
        _parse_prompt(f"{emotion}/{place:02d}", emotion, text, file)
        for emotion, texts in groups.items()
        for place, text in enumerate(texts)
    ]
    _check_unique(prompts, file)
    return [prompt for prompt in prompts if not per_emotion or int(prompt.id.split("/")[1]) < per_emotion]


def _parse_prompt(identifier: str, emotion: str, text: str, file: Path) -> Prompt:
    match = _FORM.fullmatch(text.strip())
    if match is None or not match["instruction"].strip():
        raise InputError(
            f"{file}: prompt {identifier} is {quoted(text)}; write 'Instruction: … ' or 'Instruction: … Input: …'"
        )
    return Prompt(identifier, emotion, match["instruction"].strip(), (match["input"] or "").strip())


def _check_unique(prompts: Sequence[Prompt], file: Path) -> None:
    seen: dict[tuple[str, str], Prompt] = {}
    for prompt in prompts:
        key = (" ".join(prompt.instruction.split()), " ".join(prompt.input.split()))
        if key in seen:
            raise InputError(
                f"{file}: prompt {prompt.id} repeats {seen[key].id} ('{prompt.instruction[:60]}'); remove one of them"
            )
        seen[key] = prompt


def conditions(config: Config) -> list[Condition]:
    """The study's own way of asking, then the optional ones (greedy, empty). Raises what ``load_prompts`` raises."""
    settings = config.respond
    prompts = tuple(load_prompts(settings.prompts, settings.per_emotion))
    found = [Condition("", prompts, settings.samples, settings.sampling)]
    if settings.greedy:
        greedy = settings.sampling.model_copy(update={"temperature": 0.0})
        found.append(Condition("_greedy", prompts, 1, greedy))
    if settings.empty_prompts:
        empty = tuple(Prompt(f"empty/{place:02d}", None, "", "") for place in range(settings.empty_prompts))
        found.append(Condition("_empty", empty, 1, settings.sampling))
    return found


def responses_path(config: Config, condition: Condition, model: StudyModel) -> Path:
    """Where a model's answers under a condition lie."""
    return config.home.responses(model.key, condition.suffix)


def answer_files(config: Config, condition: Condition) -> dict[str, Path]:
    """For recipes: ``responses <key>`` → the answers of every model that is measured."""
    return {f"responses {model.key}": responses_path(config, condition, model) for model in study_models(config)}


def respond_pieces(config: Config) -> list[Piece]:
    """A table of answers for every model and condition, model by model. Raises ``MissingInput`` for a model that is not
    there."""
    asked = conditions(config)
    return [_piece(config, condition, model) for model in study_models(config) for condition in asked]


def _piece(config: Config, condition: Condition, model: StudyModel) -> Piece:
    parts = recipe_parts(config, model)
    settings = config.flat("respond", "per_emotion", "samples", "batch_size", "dtype", "sampling")
    if condition.suffix == "_empty":
        settings = config.flat("respond", "empty_prompts", "batch_size", "dtype", "sampling")
    settings |= {f"respond.sampling.{key}": value for key, value in condition.sampling.shaping().items()}
    parts["inputs"] |= {"form": from_root(config.sft.template)}
    parts["identities"] |= replies_rule(weights(config, model))
    if condition.suffix != "_empty":
        parts["inputs"] |= {"prompts": from_root(config.respond.prompts)}
    recipe = Recipe("respond", settings=settings, seed=config.seed, **parts)
    path, make = responses_path(config, condition, model), partial(_make, config, condition, model)
    return Piece(path, recipe, keep_superseded=True, make=make, parts=path.with_suffix(".partial.jsonl"))


def respond(config: Config) -> Summary:
    """Let every model answer; answers that exist are not asked for again."""
    check_device(config.respond.device, "respond.device")
    with one_model_at_a_time():
        return run("respond", respond_pieces(config))


def _make(config: Config, condition: Condition, model: StudyModel, draft: Draft) -> None:
    """All answers of one model. The journal keeps those of finished engine calls, so that a rerun repeats only whole
    calls: in bf16 an answer depends on which other prompts are in its call."""
    journal = Rows(draft.artefact.parts, draft.artefact.recipe.sha256())
    rows = _rows(config, condition, model)
    if len(journal.rows) < len(rows):
        draft.notes["model"] = _answer_rows(config, condition, model, rows, journal)
    table = pd.DataFrame(journal.rows)
    write_rows(draft.path, table, RESPONSES)
    draft.counts |= {
        "answers": len(table),
        "cut at the limit": int((~table["finished"]).sum()),
        "empty": int((table["response"] == "").sum()),
    }


def _rows(config: Config, condition: Condition, model: StudyModel) -> list[dict[str, Any]]:
    """One row per answer to be given: the columns of ``RESPONSES`` except the answer itself, and the row's seed."""
    return [
        {
            "model": model.name,
            "train_seed": model.train_seed,
            "prompt_id": prompt.id,
            "sample": sample,
            "instruction_emotion": prompt.emotion,
            "instruction": prompt.instruction,
            "input": prompt.input,
            # The same for every model, so that answers differ by the weights, not by the random numbers.
            "seed": row_seed(config.seed, f"{prompt.id}/{sample}", "respond"),
        }
        for prompt in condition.prompts
        for sample in range(condition.samples)
    ]


def _answer_rows(
    config: Config, condition: Condition, model: StudyModel, rows: list[dict[str, Any]], journal: Rows
) -> str:
    """Answer the rows that the journal does not hold yet, call by call; returns the identity of the model."""
    title = f"{model.key} answers{condition.suffix.replace('_', ', ')}"
    engine = kept_open(("engine", model.key), partial(open_model, config, model))
    with progress(title, len(rows), "answers") as bar:
        bar.advance(len(journal.rows))
        step = CALL_BATCHES * config.respond.batch_size
        for start in range(len(journal.rows), len(rows), step):
            batch = rows[start : start + step]
            journal.append(answer(config, engine, batch, condition.sampling))
            bar.advance(len(batch))
        return engine.identity


def open_model(config: Config, model: StudyModel) -> Engine:
    """An engine with a model of the study loaded. Raises ``ModelError`` or ``MissingInput`` if it cannot be loaded."""
    from emogap.lm.engines.transformers_engine import TransformersEngine

    settings = config.respond
    return TransformersEngine(
        hub.study_model(config, model.key),
        device=settings.device,
        dtype=settings.dtype,
        quantization="none",
        batch_size=settings.batch_size,
    )


def answer(config: Config, engine: Engine, rows: Sequence[dict[str, Any]], sampling: Sampling) -> list[dict[str, Any]]:
    """The rows with their answers: the text after the prompt, up to the model's end mark.

    ``finished`` is false where the answer was cut at ``max_new_tokens``.
    """
    replies = engine.generate([conversation(config, row) for row in rows], sampling)
    return [row | _answered(row, reply) for row, reply in zip(rows, replies, strict=True)]


def conversation(config: Config, row: dict[str, Any]) -> Conversation:
    """A row as a request to the engine: its prompt in the form of fine-tuning, as plain text."""
    text = load_answer_form(config.sft.template).render(row["instruction"], row["input"])
    return Conversation(
        id=f"{row['prompt_id']}/{row['sample']}",
        messages=({"role": "user", "content": text},),
        seed=row["seed"],
        plain=True,
    )


def as_asked(config: Config, prompt: Prompt) -> pd.DataFrame:
    """A prompt as the models of the study read it, one row for all models that read the same: ``models``, ``tokens``
    (their number), ``text`` (with special tokens).

    Raises ``ModelError`` or ``MissingInput`` if a tokenizer cannot be loaded.
    """
    row = {"prompt_id": prompt.id, "sample": 0, "instruction": prompt.instruction, "input": prompt.input, "seed": 0}
    asked, readers = conversation(config, row), {}
    for model in study_models(config):
        tokenizer = load_tokenizer(hub.study_model(config, model.key).path)
        ids = ChatFormat(tokenizer).encode(asked)
        readers.setdefault((len(ids), tokenizer.decode(ids)), []).append(model.key)
    rows = [(", ".join(models), *seen) for seen, models in readers.items()]
    return pd.DataFrame(rows, columns=["models", "tokens", "text"])


def _answered(row: dict[str, Any], reply: Reply) -> dict[str, Any]:
    if reply.finish == "error":
        raise ModelError(f"{row['model']}: the answer to prompt {row['prompt_id']} failed: {reply.error}")
    return {
        "response": reply.text.strip(),
        "finished": reply.finish == "stop",
        "new_tokens": reply.new_tokens,
        "seconds": reply.seconds,
    }


def read_responses(config: Config, condition: Condition) -> pd.DataFrame:
    """The answers of all models under a condition, in the study's order. Raises ``MissingInput``."""
    paths = [responses_path(config, condition, model) for model in study_models(config)]
    return pd.concat([read_rows(config.home.require(path), RESPONSES) for path in paths], ignore_index=True)
