"""The study on real published texts at a size that two processors train, one model at a time.

``python experiments/cpu_study.py`` reads the published stories and rewrites from ``$EMOGAP_TEST_DATA``, samples a part
of them into ``runs/cpu-study/texts/``, then trains and measures one model after another. A model's measured rows are
small files under ``results/cpu-study/models/``: numbers, and no text. A model whose rows are there, made from the same
data and settings, is not trained again, so that a fresh clone continues with the models that are missing.
``--models N`` stops after N models; if some are named (``smollm2-135m-instr.s1``), only these are measured. After each
model the tables of all measured models are written beside ``models/``; ``--tables`` only writes these. The tables of
docs/experiment.md are written from them by ``experiments/cpu_study_page.py``.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emogap.answers import judges, length, sentiment
from emogap.answers.emotions_found import ANSWER, read_answers
from emogap.answers.respond import conditions
from emogap.commands.cli import main as emogap
from emogap.config import Config, load_config
from emogap.controls import PLAIN
from emogap.emotion.classify import classifier_identity
from emogap.emotions import groups_of
from emogap.grammar import blimp_tables, emobench_tables, tasks
from emogap.lens.emotion_lens import ANY, OWN, half_depth, mass_at_ends
from emogap.lens.stage import opening_readings
from emogap.lm.hub import identify
from emogap.paths import ROOT, from_root
from emogap.records import SCORES, read_rows
from emogap.store.artefacts import content_hashes
from emogap.store.exhibits import DPI
from emogap.study.effects import effects_figure
from emogap.study.stages import stage
from emogap.study.state import take_over_before
from emogap.text import statistics
from emogap.text.alpaca import Record, clean, load_records, select
from emogap.train.models import Comparison, comparisons
from emogap.train.strategies import Run, runs

PROFILE = "cpu-study"
SEEDS = (0, 1, 2)
STORIES = {"published-m1": "prompt1.parquet", "published-m3": "prompt3.parquet"}
"""Method → file of its published stories; the two methods have equally many."""
STORIES_EACH = 340
"""Stories sampled of each method. The gates reject some; of both together at least 600 are left."""
REWRITES = 400
ALPACA = ROOT / "data" / "alpaca" / "alpaca_cleaned.json"
"""Where ``emogap fetch alpaca`` puts it."""
MEASURED = ("respond", "sentiment", "blimp", "emobench", "lens")
"""The sections of settings that shape a model's measured rows."""
RESULTS = ROOT / "results" / "cpu-study"


@dataclass(frozen=True)
class One:
    """A model of the study with one training seed, or a base."""

    name: str
    seed: int
    config: Config
    """Settings of the seed's own home, with only the strategies that lead to this model; only it is measured."""

    @property
    def folder(self) -> Path:
        """Where its measured rows lie."""
        is_base = self.name in self.config.bases
        return RESULTS / "models" / (self.name if is_base else f"{self.name}.s{self.seed}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=0, metavar="N", help="stop after so many models (0: all)")
    parser.add_argument("only", nargs="*", metavar="MODEL", help="these alone, in this order: processes share the work")
    parser.add_argument("--tables", action="store_true", help="write the tables of what is measured, and stop")
    arguments = parser.parse_args()
    if "EMOGAP_TEST_DATA" not in os.environ:
        sys.exit("EMOGAP_TEST_DATA is not set; it names the folder with mistral_babylm/ and paper_artifacts/")
    data = Path(os.environ["EMOGAP_TEST_DATA"])
    prepare_texts(data)
    by_name = {one.folder.name: one for one in models(data)}
    if unknown := [name for name in arguments.only if name not in by_name]:
        sys.exit(f"no model of the study is called {', '.join(unknown)}; there are {', '.join(by_name)}")
    write_tables(by_name.values())
    missing = [name for name in arguments.only or by_name if not is_measured(by_name[name])]
    for name in [] if arguments.tables else missing[: arguments.models or None]:
        measure(by_name[name])
        write_tables(by_name.values())
    return 0


def models(data: Path) -> Iterator[One]:
    """The bases, then seed by seed every strategy, after its parent; those that need stories of the embedded writer
    come last."""
    first = of_seed(SEEDS[0], data)
    yield from (One(base, SEEDS[0], _alone(first, base)) for base in first.bases)
    every = [
        One(strategy.name, seed, _alone(config, strategy.name))
        for seed in SEEDS
        for config in [of_seed(seed, data)]
        for strategy in config.strategies
    ]
    yield from sorted(every, key=lambda one: _is_written(one.config))


def of_seed(seed: int, data: Path) -> Config:
    """The study with one training seed, in a home of its own; the first seed's home has the texts of all."""
    home = ROOT / "runs" / PROFILE
    settings = {
        "clm.seeds": [seed], "sft.seeds": [seed],
        "blimp.data": str(data / "blimp"), "emobench.data": str(data / "emobench"),
    }  # fmt: skip
    if seed == SEEDS[0]:
        return load_config(PROFILE, home, settings)
    return load_config(PROFILE, home.with_name(f"{PROFILE}.s{seed}"), settings, on=home)


def _alone(config: Config, name: str) -> Config:
    """The study reduced to one model: only the strategies that lead to it, and only it is measured."""
    by_name, chain = {strategy.name: strategy for strategy in config.strategies}, []
    while (above := chain[0].parent if chain else name) in by_name:
        chain.insert(0, by_name[above])
    texts = {strategy.data for strategy in chain}
    changed = {
        "strategies": chain,
        "corpora": [corpus for corpus in config.corpora if corpus.name in texts],
        "respond": config.respond.model_copy(update={"models": [name]}),
        "lens": config.lens.model_copy(update={"models": [name]}),
    }
    alone = config.model_copy(update=changed)
    alone._home, alone._source = config._home, config._source
    return alone


def _is_written(config: Config) -> bool:
    """Whether a model's texts, or those of its parents, are stories of the embedded writer."""
    return any(PLAIN in corpus.methods for corpus in config.corpora)


def prepare_texts(data: Path) -> None:
    """Sample the texts, import the stories and find the emotional lines, unless that is done already."""
    config = of_seed(SEEDS[0], data)
    texts = config.home.root / "texts"
    draw_stories(data / "mistral_babylm", texts, config.seed)
    draw_lines(data / "mistral_babylm", texts / "lines")
    draw_rewrites(data, texts, config.seed)
    for method in STORIES:
        if emogap(["import-pickles", str(texts / method), "--method", method, "--profile", PROFILE]):
            sys.exit(f"the stories of {method} could not be taken in")
    stage("process").run(config)


def draw_stories(folder: Path, texts: Path, seed: int) -> None:
    """Sample the same number of stories of each method, no two from the same line, into one chunk file."""
    for method, name in STORIES.items():
        target = texts / method / "chunk_0.parquet"
        if not target.exists():
            stories = pd.read_parquet(folder / name).drop_duplicates("text")
            target.parent.mkdir(parents=True, exist_ok=True)
            stories.sample(STORIES_EACH, random_state=seed).to_parquet(target)


def draw_lines(folder: Path, target: Path) -> None:
    """Write all lines that the published stories of both methods were made from, each once, one file per source."""
    if not target.exists():
        found = pd.concat([pd.read_parquet(folder / name, columns=["source", "text"]) for name in STORIES.values()])
        draft = target.with_name("lines.tmp")
        draft.mkdir(parents=True, exist_ok=True)
        for source, lines in found.groupby("source")["text"]:
            (draft / Path(source).name).write_text("\n".join(sorted(set(lines))) + "\n", encoding="utf-8")
        draft.rename(target)


def draw_rewrites(data: Path, texts: Path, seed: int) -> None:
    """Sample rewrites of records that the study can use, as Alpaca records, and write the data of their control.

    These are the original answers of the same records if ``emogap fetch alpaca`` has brought them, as the published
    rewrites do not contain them. Without that file they are as many other records of Alpaca, which have nothing but
    their origin in common with the rewrites.
    """
    found = json.loads((data / "paper_artifacts" / "emotion_alpaca_v2.json").read_text(encoding="utf-8"))
    records = [Record(str(i), r["instruction"], r["input"], r["rewritten_output"]) for i, r in enumerate(found)]
    originals = {(r.instruction, r.input): r for r in load_records(str(ALPACA))} if ALPACA.exists() else {}
    if originals:
        records = [record for record in records if (record.instruction, record.input) in originals]
    drawn = select(clean(records).kept, REWRITES, seed)
    if originals:
        controls = [originals[record.instruction, record.input] for record in drawn]
    else:
        rewritten = {record.instruction for record in records}
        others = clean(load_records(str(data / "alpaca" / "alpaca_2000.json"))).kept
        controls = select([record for record in others if record.instruction not in rewritten], REWRITES, seed)
    for name, rows in (("rewrites", drawn), ("originals", controls)):
        target = texts / f"{name}.json"
        if not target.exists():
            shown = [{"instruction": r.instruction, "input": r.input, "output": r.output} for r in rows]
            target.write_text(json.dumps(shown), encoding="utf-8")


def rests_on(one: One) -> str:
    """The hash of all that determines a model's rows: texts, settings, parents, judges; known before anything is
    written or trained."""
    config = one.config
    chain = [[run.seed, config.flat(run.strategy.task), _data(config, run)] for run in _runs(config)]
    parent = [[identify(model) for model in config.bases.values()], chain]
    settings = {key: value for section in MEASURED for key, value in config.flat(section).items()}
    files = (config.respond.prompts, config.sentiment.plain_text, config.blimp.data, config.emobench.data,
             config.lens.prompts, config.sft.template)  # fmt: skip
    judges = [classifier_identity(model) for model in config.sentiment.classifiers]
    names = ("respond.models", "lens.models", "respond.prompts", "blimp.data", "emobench.data")
    settings = {key: value for key, value in settings.items() if key not in names}
    return _sha256([parent, settings, [content_hashes(from_root(file)) for file in files], judges])


def _runs(config: Config) -> list[Run]:
    return [run for task in ("clm", "sft") for run in runs(config, task)]


def _data(config: Config, run: Run) -> Any:
    """What determines a training's data: a file of records, or how a corpus is made from the sampled texts.

    It is not the corpus itself, because on another machine the writer writes other stories.
    """
    corpora = {corpus.name: corpus.model_dump() for corpus in config.all_corpora}
    if run.strategy.data not in corpora:
        return content_hashes(from_root(run.strategy.data))
    drawn = [content_hashes(ROOT / "runs" / PROFILE / "texts" / name) for name in (*STORIES, "lines")]
    written = config.flat("augment", "methods", "lines", "sampling") if _is_written(config) else {}
    return [corpora[run.strategy.data], written, drawn]


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def is_measured(one: One) -> bool:
    """Whether a model's rows are there, made from the same data and settings."""
    record = one.folder / "record.json"
    return record.exists() and json.loads(record.read_text(encoding="utf-8"))["rests_on"] == rests_on(one)


def measure(one: One) -> None:
    """Train a model, measure it, and store its rows, either all of them or none."""
    print(f"== {one.folder.name}", flush=True)
    written = ["augment"] if _is_written(one.config) else []
    trained = ["corpus", "clm", "sft"] if one.config.strategies else []
    for name in (*written, *trained, "evaluate", "lens"):
        take_over_before(one.config, name)
        stage(name).run(one.config)
    draft = one.folder.with_name(f".{one.folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    answers_without_text(one.config).to_parquet(draft / "answers.parquet", compression="zstd")
    read_rows(one.config.home.scores, SCORES).to_parquet(draft / "scores.parquet", compression="zstd")
    lens_at_ends(one.config).to_parquet(draft / "lens.parquet", compression="zstd")
    record = {"rests_on": rests_on(one), "training": _training_record(one)}
    (draft / "record.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(one.folder, ignore_errors=True)
    draft.rename(one.folder)


def write_tables(every: Collection[One]) -> None:
    """Write the tables of all models whose rows are there: ``values.csv``, by seed, and the effects, over all seeds,
    which are also drawn. Rows that were made from other texts or settings are left out."""
    measured = [one for one in every if is_measured(one)]
    print(f"{len(measured)} of {len(every)} models are measured", flush=True)
    if not measured:
        return
    config = load_config(PROFILE, ROOT / "runs" / PROFILE, {"clm.seeds": [*SEEDS], "sft.seeds": [*SEEDS]})
    answers, scores, lens = (_all_rows(measured, name) for name in ("answers", "scores", "lens"))
    there = set(answers["model"])
    pairs = [pair for pair in comparisons(config) if {pair.model, pair.other} <= there]
    own = answers[answers["condition"] == ""]
    judge = config.sentiment.classifiers[0].name
    first = own[own["classifier"] == judge]
    of = dict(list(scores.groupby("task")))
    correct, questions = blimp_tables.correct_pairs(of["blimp"]), emobench_tables.by_question(of["emobench"])
    tables = {
        "values": values_by_seed(answers, correct, questions, of["plain_text"], lens),
        "effects": effects(first, correct, questions, lens, pairs),
        "effects_by_group": sentiment.change_table(first, pairs, "group"),
        "effects_by_emotion": sentiment.change_table(first, pairs, "emotion"),
        "effects_by_judge": judges.effects_by_judge(own, pairs),
        "effects_at_equal_length": at_equal_length(first, pairs),
        "judges": judges.agreement_table(own),
        "blimp": blimp_tables.differences(correct, pairs),
        "emobench": emobench_tables.differences(questions, pairs),
    }
    for name, table in tables.items():
        table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g")
    told = tables["effects"]
    figure = effects_figure(told[~told["measure"].str.startswith("EmoBench")])
    figure.savefig(RESULTS / "effects.png", dpi=DPI, bbox_inches="tight")
    plt.close(figure)


def _all_rows(measured: Collection[One], name: str) -> pd.DataFrame:
    """One kind of rows of all measured models, with their model and training seed."""
    files = {one.folder / f"{name}.parquet": one for one in measured}
    tables = [
        pd.read_parquet(file).assign(model=files[file].name, train_seed=files[file].seed) for file in sorted(files)
    ]
    return pd.concat(tables, ignore_index=True)


def values_by_seed(
    answers: pd.DataFrame, correct: pd.DataFrame, questions: pd.DataFrame, plain: pd.DataFrame, lens: pd.DataFrame
) -> pd.DataFrame:
    """measure, model, and a column of values for each training seed; in shares every prompt counts the same."""
    keys = ["measure", "model", "train_seed"]
    found = groups_of(answers["response_emotion"], "study")
    asked = answers["condition"].map(lambda suffix: "asked" if not suffix else suffix.strip("_"))
    said, tables = found.notna(), []
    for group in ("positive", "negative"):
        measure = f"{group} answers %, {{}}, " + answers["classifier"]
        measure = [text.format(way) for text, way in zip(measure, asked, strict=True)]
        shares = answers.assign(measure=measure, value=100.0 * found.eq(group))[said]
        tables.append(shares.groupby([*keys, "prompt_id"], as_index=False)["value"].mean())
    own = answers[answers["condition"].eq("") & answers["classifier"].eq(answers["classifier"].iloc[0])]
    tables.append(own.assign(measure="empty answers %", value=100.0 * own["empty"]))
    tables.append(own.assign(measure="words of an answer", value=own["words"]))
    tables.append(correct.assign(measure="minimal pairs %", value=100 * correct["value"]))
    named = "EmoBench " + questions["task"] + " %, " + questions["way"]
    tables.append(questions.assign(measure=named, value=100 * questions["value"]))
    ends = lens[lens["layer"] == lens["layer"].max()]
    mass = "lens, mass on the own emotion's words in the last layer %"
    tables.append(ends.assign(measure=mass, value=100 * ends["own"]))
    values = pd.concat(tables).groupby(keys, sort=False)["value"].mean()
    curves = lens.groupby(["model", "train_seed", "layer"])["own"].mean().unstack("layer")
    depths = pd.Series(half_depth(curves.to_numpy()), curves.index)
    plain = plain.pivot_table(index=keys[1:], columns="metric", values="value", aggfunc="sum")
    more = {"lens, layers to half of it": depths, "plain text, perplexity": np.exp(plain["nats"] / plain["tokens"])}
    return (
        pd.concat([values, *(pd.concat({name: one}, names=keys[:1]) for name, one in more.items())])
        .unstack()
        .reset_index()
    )


def effects(
    answers: pd.DataFrame, correct: pd.DataFrame, questions: pd.DataFrame, lens: pd.DataFrame, pairs: list[Comparison]
) -> pd.DataFrame:
    """Every comparison over all prompts, pairs and questions, in percentage points, and the model's number of seeds."""
    every = blimp_tables.differences(correct, pairs)
    asked = emobench_tables.differences(questions, pairs)
    ends = lens[lens["layer"] == lens["layer"].max()].dropna(subset="own").rename(columns={"prompt_id": "item"})
    tables = [
        sentiment.change_table(answers, pairs, "all").assign(measure="positive answers"),
        every[every["group"] == blimp_tables.ALL].assign(measure="minimal pairs"),
        asked.assign(measure="EmoBench " + asked["task"] + ", " + asked["way"]),
        pd.DataFrame([_lens_change(ends, pair) for pair in pairs]),
    ]
    columns = ["comparison", "model", "against", "measure", "change", "low", "high", "sd_prompts", "sd_seeds", "p"]
    table = pd.concat([one.rename(columns={"difference": "change"}).reindex(columns=columns) for one in tables])
    seeds = answers.groupby("model")["train_seed"].nunique()
    return table.assign(p_holm=statistics.holm_by(table["comparison"], table["p"]), seeds=table["model"].map(seeds))


def _lens_change(ends: pd.DataFrame, pair: Comparison) -> dict[str, Any]:
    """The mass on words of the own emotion in the last layer, in percentage points."""
    both = ends.assign(value=100 * ends["own"]).groupby("model")
    after, before = (tasks.array(both.get_group(name))[..., 0] for name in (pair.model, pair.other))
    return pair.columns | {"measure": "lens, own emotion's words"} | statistics.paired_mean(after, before)


def at_equal_length(answers: pd.DataFrame, pairs: list[Comparison]) -> pd.DataFrame:
    """comparison, model, against, outcome, and the effect between answers of equal length (a regression)."""
    answers = answers.assign(group=groups_of(answers["response_emotion"], "study"))
    rows = []
    for pair in pairs:
        both = length.pairs(answers, pair.model, pair.other, ["words", "group"])
        said = both[both["words"].gt(0) & both["other_words"].gt(0)]
        for outcome in judges.OUTCOMES:
            counts = {"words": said["words"].mean(), "words_against": said["other_words"].mean(), "pairs": len(said)}
            rows.append(pair.columns | {"outcome": outcome} | length.at_equal_length(said, outcome) | counts)
    return pd.DataFrame(rows)


def answers_without_text(config: Config) -> pd.DataFrame:
    """One row per answer and judge, for every way of asking: emotion found, number of words, whether it is empty."""
    tables = []
    for condition in conditions(config):
        answers = read_answers(config, condition)
        answers = length.counted(answers if condition.suffix else judges.with_lexicon(config, answers))
        columns = [*ANSWER, "instruction_emotion", "classifier", "response_emotion", "score", "finished", "words"]
        tables.append(answers[columns].assign(condition=condition.suffix, empty=answers["response"].eq("")))
    return pd.concat(tables, ignore_index=True)


def lens_at_ends(config: Config) -> pd.DataFrame:
    """prompt_id, layer, own, any: at the end of every opening the mass on words of its own emotion, and of all."""
    mass = mass_at_ends(opening_readings(config))
    (model,) = mass.models
    own = np.full(mass.values[model].shape[:2], np.nan)
    own[[row for row, _ in mass.own_rows(OWN)]] = mass.of(model, OWN)
    prompts, layers = own.shape
    keys = {"prompt_id": np.repeat(mass.prompt_ids, layers), "layer": np.tile(np.arange(layers), prompts)}
    return pd.DataFrame(keys | {"own": own.ravel(), "any": mass.of(model, ANY).ravel()})


def _training_record(one: One) -> dict[str, Any] | None:
    """A training's record without its preflight, which shows a row of the data as text; None for a base."""
    if one.name in one.config.bases:
        return None
    record = json.loads((one.config.home.model(one.name) / "training.json").read_text(encoding="utf-8"))
    record["data"].pop("preflight", None)
    return record


if __name__ == "__main__":
    sys.exit(main())
