"""The study on real published texts, at a size that two processors train in an evening.

``python experiments/cpu_study.py`` reads the published stories and rewrites from ``$EMOGAP_TEST_DATA``, draws a part of
them into ``runs/cpu-study/texts/``, and runs the profile ``cpu-study`` from the corpus to the report. What was made is
kept: after a kill the same command goes on. The numbers (no text) are copied to ``results/cpu-study/``.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pandas as pd

from emogap.cli import main as emogap
from emogap.config import Config, load_config
from emogap.data.alpaca import Record, clean, select
from emogap.paths import ROOT

STORIES = {"published-m1": "prompt1.parquet", "published-m3": "prompt3.parquet"}
"""Method → file; the two methods with as many published stories as each other."""
STORIES_EACH = 340
"""Some are rejected by the gates; at least 600 are left."""
REWRITES = 400
RESULTS = ROOT / "results" / "cpu-study"


def main() -> int:
    if "EMOGAP_TEST_DATA" not in os.environ:
        sys.exit("EMOGAP_TEST_DATA is not set; it names the folder with mistral_babylm/ and paper_artifacts/")
    data = Path(os.environ["EMOGAP_TEST_DATA"])
    config = load_config("cpu-study")
    texts = config.home.root / "texts"
    draw_stories(data / "mistral_babylm", texts, config.seed)
    draw_rewrites(data / "paper_artifacts" / "emotion_alpaca_v2.json", texts / "rewrites.json", config.seed)
    profile = ["--profile", "cpu-study", "--set", f"blimp.data={data / 'blimp'}"]
    profile += ["--set", f"emobench.data={data / 'emobench'}"]
    commands = [["import-pickles", str(texts / method), "--method", method, *profile] for method in STORIES]
    commands += [["run", "--only", stage, *profile] for stage in ("corpus", "clm", "sft", "evaluate", "lens", "report")]
    for command in commands:
        code = emogap(command)
        if code:
            return code
    copy_tables(config)
    return 0


def draw_stories(folder: Path, texts: Path, seed: int) -> None:
    """The same number of stories of each method, each from a line of its own, as one chunk."""
    for method, name in STORIES.items():
        target = texts / method / "chunk_0.parquet"
        if not target.exists():
            stories = pd.read_parquet(folder / name).drop_duplicates("text")
            target.parent.mkdir(parents=True, exist_ok=True)
            stories.sample(STORIES_EACH, random_state=seed).to_parquet(target)


def draw_rewrites(source: Path, target: Path, seed: int) -> None:
    """Rewrites of records that the study can use, as Alpaca records."""
    if not target.exists():
        found = json.loads(source.read_text(encoding="utf-8"))
        records = [Record(str(i), r["instruction"], r["input"], r["rewritten_output"]) for i, r in enumerate(found)]
        drawn = select(clean(records).kept, REWRITES, seed)
        rows = [{"instruction": r.instruction, "input": r.input, "output": r.output} for r in drawn]
        target.write_text(json.dumps(rows), encoding="utf-8")


def copy_tables(config: Config) -> None:
    """Every table of the run and the history of every training, without any text that was read or written."""
    for table in sorted(config.home.root.glob("**/tables/*.csv")):
        target = RESULTS / table.relative_to(config.home.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table, target)
    for record in sorted(config.home.root.glob("models/*/training.json")):
        target = RESULTS / "models" / f"{record.parent.name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record, target)


if __name__ == "__main__":
    sys.exit(main())
