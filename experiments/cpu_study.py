"""The study on real published texts, at a size that two processors train in an evening.

``python experiments/cpu_study.py`` reads the published stories and rewrites from ``$EMOGAP_TEST_DATA``, draws a part of
them into ``runs/cpu-study/texts/``, and runs the profile ``cpu-study`` from the corpus to the report. What was made is
kept: after a kill the same command goes on. The numbers, and no text, are copied to ``results/cpu-study/``.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emogap.answers.emotions_found import read_answers
from emogap.answers.respond import conditions
from emogap.commands.cli import main as emogap
from emogap.config import Config, load_config
from emogap.emotions import group_of
from emogap.paths import ROOT
from emogap.records import SCORES, read_rows
from emogap.text.alpaca import Record, clean, select

STORIES = {"published-m1": "prompt1.parquet", "published-m3": "prompt3.parquet"}
"""Method → file; the two methods with as many published stories as each other."""
STORIES_EACH = 340
"""Some are rejected by the gates; at least 600 are left."""
REWRITES = 400
TABLES = {
    "babylm_pretrain_corpus": ("composition",),
    "babylm_augment": ("story_outcomes",),
    "models": ("training_clm", "training_sft", "history_clm", "history_sft"),
    "quantitative_analysis": (
        "sentiment_groups", "sentiment_change_groups", "sentiment_change_emotions", "sentiment_conditions",
        "sentiment_shuffled", "other_grouping_groups", "classifier_agreement", "language",
        "blimp_accuracy", "blimp_differences", "emobench_accuracy", "emobench_differences", "emobench_positions",
    ),
    "model_analysis": ("by_layer", "emotion_depth"),
}  # fmt: skip
"""Folder of the home → its tables that hold no text that was read or written."""
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
    """The tables that hold numbers alone and the history of every training: nothing that was read or written."""
    for folder, names in TABLES.items():
        for name in names:
            source = config.home.require(config.home.root / folder / "tables" / f"{name}.csv")
            RESULTS.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, RESULTS / source.name)
    trainings = {path.parent.name: _without_text(path) for path in config.home.root.glob("models/*/training.json")}
    (RESULTS / "trainings.json").write_text(json.dumps(trainings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    effects(config).to_csv(RESULTS / "effects.csv", index=False)


def _without_text(training: Path) -> dict[str, Any]:
    """A training's record but for what its preflight showed: a row of the data, decoded."""
    record = json.loads(training.read_text(encoding="utf-8"))
    record["data"].pop("preflight", None)
    return record


def effects(config: Config) -> pd.DataFrame:
    """What each training seed changed against the base: ``measure, model, base_value``, the value of each seed
    (``seed_0`` …), and the mean, least and greatest change over the seeds."""
    values = pd.concat([_answers(config), _scored(config)], ignore_index=True)
    wide = values.pivot_table(index=["measure", "model"], columns="train_seed", values="value", sort=False)
    (base,) = config.bases
    rows = []
    for (measure, model), seeds in wide.drop(index=base, level="model").iterrows():
        before = wide.loc[(measure, base), 0]
        change = seeds - before
        found = {"measure": measure, "model": model, "base_value": before}
        found |= {f"seed_{seed}": value for seed, value in seeds.items()}
        rows.append(found | {"change": change.mean(), "least": change.min(), "greatest": change.max()})
    return pd.DataFrame(rows).round(2)


def _answers(config: Config) -> pd.DataFrame:
    """Share of each group among the answers that say something, in percent, as every judge finds it, for both ways of
    asking."""
    tables = []
    for condition in conditions(config):
        answers = read_answers(config, condition).dropna(subset="response_emotion")
        asked = "nothing asked" if condition.suffix else "asked"
        group = answers["response_emotion"].map(lambda label: group_of(label, config.sentiment.grouping))
        for name in ("positive", "negative"):
            measure = f"{name}, {asked}, " + answers["classifier"]
            tables.append(answers.assign(measure=measure, value=100.0 * (group == name)))
    keys = ["measure", "model", "train_seed"]
    return pd.concat(tables).groupby(keys, sort=False)["value"].mean().reset_index()


def _scored(config: Config) -> pd.DataFrame:
    """Accuracies in percent, by phenomenon and over all, and the perplexity of plain text."""
    scores = read_rows(config.home.require(config.home.scores), SCORES)
    keys = ["model", "train_seed"]
    right = scores[scores["metric"].isin(["correct", "correct_unlisted", "top1"])]
    part = right["item"].where(right["task"] == "emobench", "").str.split("/").str[0]
    measure = (right["task"] + " " + part).str.strip() + ", " + right["metric"]
    tables = [right.assign(measure=measure, value=100 * right["value"])]
    pairs = right[right["task"] == "blimp"]
    tables.append(pairs.assign(measure="blimp, " + pairs["group"], value=100 * pairs["value"]))
    means = pd.concat(tables).groupby(["measure", *keys], sort=False)["value"].mean().reset_index()
    plain = scores[scores["task"] == "plain_text"].pivot_table(
        index=keys, columns="metric", values="value", aggfunc="sum"
    )
    perplexity = np.exp(plain["nats"] / plain["tokens"]).rename("value").reset_index()
    return pd.concat([means, perplexity.assign(measure="plain text, perplexity")], ignore_index=True)


if __name__ == "__main__":
    sys.exit(main())
