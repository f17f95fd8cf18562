"""Verdicts by hand: a reader accepts or rejects rows; what was decided lives in a file of its own beside the table.

A verdict holds for a row's reply, not for its place: when a row is written anew, its old verdict no longer applies.
The next run of the stage judges the table again with the verdicts; no model writes anything for that.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from emogap.artefacts import sha256_text
from emogap.records import KEPT, REJECTED
from emogap.text.forms import Form, read_forms

BY_HAND = "by hand"
Decision = Literal["accept", "reject"]


class Verdict(Form):
    """What a reader decided about one reply."""

    needs = "a verdict has row, reply_sha, decision, reason and at; mend or delete the line"

    row: str
    reply_sha: str
    decision: Decision
    reason: str
    at: str


def verdicts_path(table: Path) -> Path:
    """``chunk_00003.parquet`` → ``chunk_00003.verdicts.jsonl`` beside it."""
    return table.with_name(table.name.split(".")[0] + ".verdicts.jsonl")


def verdicts_input(table: Path) -> dict[str, Path]:
    """The verdicts as an input of the table's recipe: new ones make the table stale."""
    path = verdicts_path(table)
    return {"verdicts": path} if path.exists() else {}


def read_verdicts(table: Path) -> dict[str, Verdict]:
    """Row id → the latest verdict. Raises ``InputError`` for a line that is none."""
    path = verdicts_path(table)
    if not path.exists() or not path.stat().st_size:
        return {}
    return {verdict.row: verdict for _, verdict in read_forms(path, Verdict)}


def add_verdict(table: Path, row: Mapping[str, str], decision: Decision, reason: str = "") -> Verdict:
    """Write down a verdict on a row (a mapping with ``id`` and ``reply``); a later one on the same row replaces it."""
    verdict = Verdict(
        row=row["id"],
        reply_sha=sha256_text(row["reply"]),
        decision=decision,
        reason=reason,
        at=datetime.now(UTC).isoformat("T", "seconds"),
    )
    with verdicts_path(table).open("a", encoding="utf-8") as file:
        file.write(json.dumps(verdict.model_dump(), ensure_ascii=False) + "\n")
    return verdict


def apply_verdicts(rows: list[dict], verdicts: Mapping[str, Verdict], text: str) -> None:
    """Set ``status`` and ``reason`` of the rows that a reader decided about, and ``verdict`` of all.

    ``text``: the column of the story or answer; a row without any cannot be accepted.
    """
    for row in rows:
        verdict = verdicts.get(row["id"])
        row["verdict"] = None
        if verdict is None or verdict.reply_sha != sha256_text(row["reply"]):
            continue
        row["verdict"] = verdict.decision
        if verdict.decision == "reject":
            row["status"], row["reason"] = REJECTED, f"{BY_HAND}: {verdict.reason}".removesuffix(": ")
        elif row[text]:
            row["status"], row["reason"] = KEPT, None


def undecided(table: Path, rejected: bool = False) -> Iterator[dict]:
    """The rows of a table that nobody decided about: the kept ones, or with ``rejected`` the rejected ones."""
    decided = read_verdicts(table)
    for row in pd.read_parquet(table).to_dict("records"):
        verdict = decided.get(row["id"])
        fresh = verdict is None or verdict.reply_sha != sha256_text(row["reply"])
        if fresh and (row["status"] == REJECTED) == rejected:
            yield row


def review_in_terminal(table: Path, rejected: bool = False) -> int:
    """Show row after row and ask; the number of verdicts given. ``q`` or the end of the input stops."""
    given = 0
    for row in undecided(table, rejected):
        print(f"\n{row['id']}  {row['emotion']}  {_state(row)}\n{described(row)}")
        answer = _ask("[a]ccept, [r]eject, [s]kip, [q]uit? ")
        if answer == "q":
            break
        if answer in ("a", "r"):
            reason = _ask("why? ") if answer == "r" else ""
            add_verdict(table, row, "accept" if answer == "a" else "reject", reason)
            given += 1
    return given


def described(row: Mapping[str, str]) -> str:
    """What a reader needs to see of a row: what it was made from, and what was made of it."""
    if "story" in row:
        return f"  line:  {row['text']}\n  story: {row['story']}"
    return (
        f"  instruction: {row['instruction']}\n  input:       {row['input']}\n"
        f"  original:    {row['original_output']}\n  rewritten:   {row['output']}"
    )


def _state(row: Mapping[str, str]) -> str:
    """``kept``, or ``rejected`` with the reason."""
    return row["status"] if row["status"] == KEPT else f"{row['status']}: {row['reason']}"


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return "q"
