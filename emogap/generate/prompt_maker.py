"""Prompts that a model writes: evaluation tasks and seed rewrites for every emotion, checked for form and repeats."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emogap.artefacts import Artefact, Draft, Recipe, Summary
from emogap.config import Config, Sampling
from emogap.emotions import LABELS, REWRITE_EMOTIONS, check_label
from emogap.errors import UsageError
from emogap.generate.engines import Conversation
from emogap.generate.judging import JUDGING_RULE
from emogap.generate.prompts import Template, load_template
from emogap.generate.quality import without_reasoning
from emogap.generate.writing import engine_on_demand
from emogap.hub import identify
from emogap.progress import progress
from emogap.records import KEPT, REJECTED, row_seed
from emogap.stages import make_each
from emogap.text.near_duplicates import near_duplicates

MAX_NEW_TOKENS = 2048
"""Thirty tasks of one or two sentences need about half of that."""
_TASK = re.compile(r"\s*\d+[.)]\s*Instruction:\s*(?P<instruction>.+?)(?:\s+Input:\s*(?P<input>.*))?\s*")
_SEED = re.compile(
    r"Instruction:[ \t]*(?P<instruction>[^\n]+)\nInput:[ \t]*(?P<input>[^\n]*)\n"
    r"Answer:[ \t]*(?P<output>[^\n]+)\nRewritten answer:[ \t]*(?P<rewritten>[^\n]+)"
)


@dataclass(frozen=True)
class Kind:
    """One kind of prompts that can be made."""

    name: str
    template: str
    file: str
    emotions: tuple[str, ...]


KINDS = {
    "evaluation": Kind("evaluation", "prompts/make/evaluation_prompts.txt", "evaluation_prompts.json", LABELS),
    "seeds": Kind("seeds", "prompts/make/seed_tasks.txt", "seed_rewrites.json", REWRITE_EMOTIONS),
}


def make_prompts(config: Config, kind_name: str, emotions: Iterable[str] = ()) -> Summary:
    """Write ``prompts/<file>.json`` under the home: emotion → prompts, with every line of every reply beside it.

    The result can be named in ``respond.prompts`` or ``rewrite.seeds`` once somebody has read it.
    Raises ``UsageError`` for an unknown kind or emotion.
    """
    if kind_name not in KINDS:
        raise UsageError(f"unknown kind of prompts '{kind_name}'; choose among {', '.join(KINDS)}")
    kind = KINDS[kind_name]
    wanted = tuple(check_label(emotion, "--emotions") for emotion in emotions) or kind.emotions
    template = load_template(kind.template, ["emotion"])
    sampling = config.augment.sampling.model_copy(update={"max_new_tokens": MAX_NEW_TOKENS})
    recipe = Recipe(
        stage="prompts",
        settings={
            "prompts.kind": kind.name,
            "prompts.emotions": list(wanted),
            "prompts.sampling": sampling.model_dump(),
            **config.flat_writer("engine", "dtype", "quantization", "batch_size"),
        },
        identities={"writer.model": identify(config.writer.model), f"prompt {kind.name}": template.sha256}
        | JUDGING_RULE,
        seed=config.seed,
    )
    artefact = Artefact(config.home.root / "prompts" / kind.file, recipe, keep_superseded=True)

    def make(artefact: Artefact) -> None:
        with artefact.making() as draft:
            _write(draft, checked(_ask(config, kind, wanted, template, sampling), kind))

    return make_each("prompts", [artefact], make)


def _ask(
    config: Config, kind: Kind, emotions: tuple[str, ...], template: Template, sampling: Sampling
) -> dict[str, str]:
    conversations = [
        Conversation(
            f"{kind.name}/{emotion}",
            tuple(template.messages(emotion=emotion)),
            row_seed(config.seed, f"{kind.name}/{emotion}", "prompt making"),
        )
        for emotion in emotions
    ]
    with engine_on_demand(config.writer) as engine, progress("prompts", len(emotions), "emotions") as bar:
        replies = engine().generate(conversations, sampling, on_reply=lambda _: bar.advance())
    return {emotion: reply.text for emotion, reply in zip(emotions, replies, strict=True)}


def checked(replies: dict[str, str], kind: Kind) -> list[dict[str, Any]]:
    """A row a prompt found in the replies: ``emotion, text, status, reason`` and the prompt's parts.

    Reasons: ``form`` (a line or block that is no prompt, or reasoning), ``duplicate`` (equal to or nearly like an
    earlier one, of whatever emotion).
    """
    parse = _tasks if kind.name == "evaluation" else _seeds
    rows = []
    for emotion, reply in replies.items():
        thought, said = without_reasoning(reply)
        found = [*({"text": block, "parts": None} for block in thought), *parse(said)]
        rows += [{"emotion": emotion, **row} for row in found]
    for number, row in enumerate(rows):
        row |= {
            "id": str(number),
            "status": KEPT if row["parts"] else REJECTED,
            "reason": None if row["parts"] else "form",
        }
    whole = {row["id"]: " ".join(row["parts"].values()) for row in rows if row["parts"]}
    repeats = {identifier for identifier, _ in near_duplicates(whole.items())}
    for row in rows:
        if row["id"] in repeats:
            row |= {"status": REJECTED, "reason": "duplicate"}
    return rows


def _tasks(reply: str) -> list[dict[str, Any]]:
    rows = []
    for line in filter(str.strip, reply.splitlines()):
        match = _TASK.fullmatch(line)
        rows.append({"text": line, "parts": {k: v or "" for k, v in match.groupdict().items()} if match else None})
    return rows


def _seeds(reply: str) -> list[dict[str, Any]]:
    rows = []
    for block in filter(str.strip, re.split(r"\n\s*\n", reply)):
        match = _SEED.fullmatch(block.strip())
        rows.append({"text": block, "parts": match.groupdict() if match else None})
    return rows


def _write(draft: Draft, rows: list[dict[str, Any]]) -> None:
    kept: dict[str, list] = {row["emotion"]: [] for row in rows}
    for row in rows:
        if row["status"] == KEPT:
            kept[row["emotion"]].append(_as_published(row["parts"]))
    draft.path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    companion = draft.companion(draft.path.name.strip(".").split(".")[0] + ".rows.json")
    companion.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.counts |= {"kept": sum(map(len, kept.values())), "rejected": sum(row["status"] == REJECTED for row in rows)}


def _as_published(parts: dict[str, str]) -> str | dict[str, str]:
    """An evaluation task as one string, a seed rewrite as a record."""
    if "rewritten" in parts:
        return parts
    return f"Instruction: {parts['instruction']} Input: {parts['input']}".removesuffix(" Input: ")
