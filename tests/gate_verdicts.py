"""Precision and recall of the gates on real replies that were read and judged by hand.

``tests/data/gate_verdicts.csv`` holds row ids and verdicts, no texts: a file of the published study, a row's place in
it, and the faults that a reader found. Run as a script it prints the table that ``docs/stories.md`` shows.
"""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from emogap.config import RewriteGates
from emogap.stories.gates import REWRITE_GATES, STORY_GATES, Candidate, failures
from emogap.stories.gating import read_reply, similarities

VERDICTS = Path(__file__).parent / "data" / "gate_verdicts.csv"


def verdicts() -> list[tuple[str, int, set[str]]]:
    """(file, row, faults that a reader found)."""
    with VERDICTS.open(newline="") as file:
        return [(row["file"], int(row["row"]), set(row["faults"].split())) for row in csv.DictReader(file)]


def found(real_data: Path) -> Iterator[tuple[str, int, set[str]]]:
    """(file, row, what the gates find), in the order of the verdicts.

    How a published reply ended is not known, so that a missing end of a sentence counts as cut.
    """
    stories = {
        f"prompt{method}": pd.read_parquet(real_data / "mistral_babylm" / f"prompt{method}.parquet")
        for method in (1, 2, 3)
    }
    rewrites = json.loads((real_data / "paper_artifacts" / "emotion_alpaca_v2.json").read_text())
    alpaca = json.loads((real_data / "alpaca" / "alpaca_2000.json").read_text())
    originals = {(record["instruction"], record["input"]): record["output"] for record in alpaca}
    for file, row, _ in verdicts():
        if file == "rewrites":
            record = rewrites[row]
            original = originals.get((record["instruction"], record["input"]), "")
            yield file, row, _judge_rewrite(record["rewritten_output"], original)
        else:
            line = stories[file].iloc[row]
            text, _, cut = read_reply(line["augmented_text"], None, line["text"], "reject")
            yield (
                file,
                row,
                set(failures(Candidate(text, line["text"], cut=cut), RewriteGates(min_words=20), STORY_GATES)),
            )


def _judge_rewrite(reply: str, original: str) -> set[str]:
    text, _, cut = read_reply(reply, None, original, "reject")
    alike = similarities([text], [original])[0] if original else None
    return set(failures(Candidate(text, original, cut=cut, similarity=alike), RewriteGates(), REWRITE_GATES))


def precision_and_recall(real_data: Path) -> pd.DataFrame:
    """``gate, judged faulty, found, right, precision, recall``: a row a gate that was judged or found anywhere."""
    pairs = [(true, got) for (_, _, true), (_, _, got) in zip(verdicts(), found(real_data), strict=True)]
    rows = []
    for gate in dict.fromkeys(g.__name__ for g in (*STORY_GATES, *REWRITE_GATES)):
        judged = sum(gate in true for true, _ in pairs)
        claimed = sum(gate in got for _, got in pairs)
        right = sum(gate in true and gate in got for true, got in pairs)
        if judged or claimed:
            rows.append(
                {
                    "gate": gate,
                    "judged faulty": judged,
                    "found": claimed,
                    "right": right,
                    "precision": f"{right / claimed:.2f}" if claimed else "–",
                    "recall": f"{right / judged:.2f}" if judged else "–",
                }
            )
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


if __name__ == "__main__":
    data = Path(os.environ["EMOGAP_TEST_DATA"])
    print(as_markdown(precision_and_recall(data)))
    for (file, row, true), (_, _, got) in zip(verdicts(), found(data), strict=True):
        if true != got:
            print(f"{file} {row}: missed {sorted(true - got)}, false alarm {sorted(got - true)}")
