"""Supervised fine-tuning on the rewritten Alpaca records, in the form that the models are asked in later."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.artefacts import Artefact, Summary
from emogap.config import Config
from emogap.data.alpaca import load_records
from emogap.errors import InputError, MissingInput
from emogap.generate.answer_form import AnswerForm, load_answer_form
from emogap.paths import from_root
from emogap.records import KEPT, REWRITES, read_rows, row_seed
from emogap.train.strategies import Parts, Run, artefact, runs

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from emogap.train.stage import Prepared, Watch

_SEED_RANGE = 2**63
RECORDS = (".json", ".jsonl")


def sft_artefacts(config: Config) -> list[Artefact]:
    """The models of this stage. Raises ``MissingInput`` while rewrites or a parent are not there."""
    return [artefact(config, run) for run in runs(config, "sft")]


def sft(config: Config, watch: "Watch | None" = None) -> Summary:
    """Train every such model that is not fresh. ``watch`` hears of the history at every evaluation.

    Raises ``MissingInput``, ``InputError``, ``ModelError``, ``TrainingError``, ``UsageError``, ``DiskError``,
    ``LockHeld``.
    """
    from emogap.train.stage import train_stage

    return train_stage(config, "sft", watch)


def recipe_parts(config: Config, run: Run) -> Parts:
    template = load_answer_form(config.sft.template).template
    return Parts({"rewrites": _rewrites(config, run)}, {"seed": config.seed}, {"template": template.sha256})


def _rewrites(config: Config, run: Run) -> Path:
    """Where the records lie: the strategy names a version of the rewrites, or a file of Alpaca records."""
    data = run.strategy.data
    if not data.endswith(RECORDS):
        return config.home.require(config.home.rewrite_rows(data))
    if not from_root(data).is_file():
        raise MissingInput(f"{from_root(data)} not found; strategy {run.strategy.name} names it as its records")
    return from_root(data)


def training_records(config: Config, run: Run) -> "pd.DataFrame":
    """What a training learns from: columns ``id, instruction, input, output``. Raises ``MissingInput``."""
    return _records(_rewrites(config, run))


def _records(path: Path) -> "pd.DataFrame":
    """Columns ``id, instruction, input, output`` of the kept rewrites, or of all records of a file."""
    import pandas as pd

    if path.suffix in RECORDS:
        return pd.DataFrame([asdict(record) for record in load_records(str(path))])
    table = read_rows(path, REWRITES)
    return table[table["status"] == KEPT]


@dataclass(frozen=True)
class TrainingRow:
    """A record as the model is given it."""

    id: str
    ids: list[int]
    labels: list[int]
    """Equal to ``ids`` where the token is learnt, else -100."""
    truncated: bool


@dataclass(frozen=True)
class Preflight:
    """What is known of the rows before any step."""

    rows: int
    truncated_share: float
    without_end_share: float
    """Share of rows whose EOS was cut off: the model does not learn to stop from them."""
    tokens: int
    learnt_share: float
    """Share of tokens that the loss counts."""
    example: str
    """The first row, decoded; what is learnt stands between ⟦ and ⟧."""

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows of {self.tokens / self.rows:.0f} tokens on average; {self.truncated_share:.1%} "
            f"truncated, {self.without_end_share:.1%} without EOS; {self.learnt_share:.1%} of the tokens are learnt. "
            f"The first, with what is learnt in ⟦⟧:\n{self.example}"
        )


def held_out(ids: "pd.Series", share: float, run_seed: int) -> set[str]:
    """The instructions that no strategy trains on: by a draw for each id alone, at least one.

    The same ids come out for every strategy, training seed and rewriting version.
    """
    draws = {row_id: row_seed(run_seed, row_id, "sft validation") / _SEED_RANGE for row_id in ids}
    return {row_id for row_id, draw in draws.items() if draw < share} or {min(draws, key=draws.__getitem__)}


def encode(
    rows: "pd.DataFrame", form: AnswerForm, tokenizer: "PreTrainedTokenizerBase", max_length: int, loss_on: str
) -> Iterator[TrainingRow]:
    """Tokens and labels of every record (columns ``id, instruction, input, output``), cut at ``max_length``."""
    for row in rows.itertuples():
        example = form.example(tokenizer, row.instruction, row.input or "", row.output)
        start = example.answer_start if loss_on == "response" else 0
        labels = [-100] * start + example.ids[start:]
        yield TrainingRow(row.id, example.ids[:max_length], labels[:max_length], len(example.ids) > max_length)


def preflight(rows: list[TrainingRow], tokenizer: "PreTrainedTokenizerBase") -> Preflight:
    """Look at the rows before training. Raises ``InputError`` naming the rows that have no token to learn."""
    empty = [row.id for row in rows if all(label == -100 for label in row.labels)]
    if empty:
        shown = ", ".join(empty[:5]) + ("…" if len(empty) > 5 else "")
        raise InputError(
            f"{len(empty)} of {len(rows)} rows have no token to learn, their question fills sft.max_length ({shown}); "
            "raise sft.max_length or take these records out"
        )
    tokens = sum(len(row.ids) for row in rows)
    return Preflight(
        rows=len(rows),
        truncated_share=sum(row.truncated for row in rows) / len(rows),
        without_end_share=sum(row.ids[-1] != tokenizer.eos_token_id for row in rows) / len(rows),
        tokens=tokens,
        learnt_share=sum(label != -100 for row in rows for label in row.labels) / tokens,
        example=show_mask(rows[0], tokenizer),
    )


def show_mask(row: TrainingRow, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The row decoded, with what is learnt between ⟦ and ⟧."""
    parts, start = [], 0
    for end in range(1, len(row.ids) + 1):
        learnt = row.labels[start] != -100
        if end == len(row.ids) or (row.labels[end] != -100) != learnt:
            text = tokenizer.decode(row.ids[start:end])
            parts.append(f"⟦{text}⟧" if learnt else text)
            start = end
    return "".join(parts)


def prepare(config: Config, run: Run, tokenizer: "PreTrainedTokenizerBase") -> "Prepared":
    """Records of the kept rewrites, a share of the instructions held out, after a preflight that is printed."""
    from emogap.train.stage import Prepared, data_facts, is_main

    path = _rewrites(config, run)
    settings, form = config.sft, load_answer_form(config.sft.template)
    table = _records(path)
    if len(table) < 2 or table["id"].nunique() < 2:
        raise InputError(f"{path} has {len(table)} records to learn; training and validation need one each")
    apart = table["id"].isin(held_out(table["id"], settings.validation_share, config.seed))
    train, validation = (
        list(encode(part, form, tokenizer, settings.max_length, settings.loss_on))
        for part in (table[~apart], table[apart])
    )
    seen = {"train": preflight(train, tokenizer), "validation": preflight(validation, tokenizer)}
    if is_main():
        print(f"{run.name}: {seen['train']}")
    facts = data_facts(
        path,
        len(train),
        len(validation),
        preflight={name: asdict(found) for name, found in seen.items()},
        validation_ids=sorted(row.id for row in validation),
    )

    def make_trainer(plan, callbacks):
        from emogap.train.sft_trainer import make_sft_trainer

        return make_sft_trainer(plan, callbacks, train, validation)

    return Prepared(make_trainer, facts, form.render("…", "…"))
