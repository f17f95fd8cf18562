"""What a profile would cost in hours and disk, judged by what was done in a home that has begun it, or a similar one.

Manifests, journals and checkpoints hold the seconds of what was done. A price is the profile's own size times what one
item took under the same settings. Where too little was done, or under other settings, that is said instead of a number.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from emogap.answers import respond
from emogap.config import Config, Section
from emogap.controls import ORIGINAL
from emogap.emotion import classify
from emogap.errors import EmogapError, InputError, MissingInput
from emogap.grammar import blimp
from emogap.lm import hub
from emogap.paths import ROOT
from emogap.published import published
from emogap.records import RESPONSES, REWRITES, STORIES, read_rows
from emogap.store.artefacts import counted, home_manifests, portable
from emogap.stories import augment, rewrite, writing
from emogap.text import alpaca
from emogap.train import checkpoints, exhibits, model_folder, models, strategies
from emogap.train.stage import model_piece

RATES = ROOT / "results" / "gpu"
"""Tables of how fast GPUs are: one CSV file per card, one rate per row. `make test-gpu` writes them."""
RATE_COLUMNS = ("card", "work", "model", "rate", "unit")
"""``work`` is one of ``KINDS``, ``model`` as a profile names it, ``unit`` such as ``tokens/s``. Further columns are
settings (``writer.batch_size``) that the rate holds for; an empty cell stands for any value."""
SECONDS, LOADED_SECONDS, STEPS = 30, 120, 10
"""The least that must have been timed: seconds, seconds that include loading a model, or steps of a training. In less,
what happens only once, such as choosing kernels and allocating memory, would decide."""
KINDS = {
    "classify": ("process", "classified", "lines", None),
    "stories": ("augment", "lines", "stories", STORIES),
    "rewrites": ("rewrite", "records", "rewrites", REWRITES),
    "clm": ("clm", "models", "words", None),
    "sft": ("sft", "models", "records", None),
    "answers": ("respond", "answers", "answers", RESPONSES),
    "pairs": ("blimp", "pairs", "pairs", None),
}
"""Kind of work → stage of its manifests, name of their count, what its items are, type of rows that hold seconds."""
SPEED = {"model", "method", "version", "engine", "dtype", "quantization", "batch_size", "max_new_tokens", "rank",
         "token_budget", "block_size", "boundaries", "max_length", "packing", "accumulation", "precision"}  # fmt: skip
"""Last words of the settings that shape how fast work goes."""
LEFT_OUT = "cleaning, gates, the corpus, EmoBench, BabyLM's tasks, emotions of answers, lens, statistics, the report"


class Work(NamedTuple):
    """Work of one kind with one model; names are those that manifests use.

    ``count``: how many items there are in all (of a training: words or records, also those held out); 0 where that is
    not known. ``star``: ``*`` if it is the published number. ``piece``: items of one artefact. ``call``: items that one
    call of the model takes when it is full.
    """

    kind: str
    name: str
    model: str
    count: int
    star: str = ""
    piece: int = 0
    call: int = 1
    run: strategies.Run | None = None


class Seen(NamedTuple):
    """What was done of some work in one place. ``problems``: why no price follows from it. ``rate``: the pace in words;
    empty until it is checked whether enough was done to tell."""

    path: Path
    items: float
    seconds: float  # of loading too, if ``loads``
    problems: tuple[str, ...] = ()
    loads: bool = False
    size: int = 0  # in bytes, 0 where that is not known
    machine: str = ""
    rate: str = ""


def works(config: Config) -> Iterator[Work]:
    """All work that is priced, at the profile's own size."""
    home, wanted, writer = config.home, config.augment, hub.identify(config.writer.model)
    lines = counted(home.lines, "lines drawn", "lines kept")
    yield Work("classify", "", classify.classifier_identity(config.process.classifier), lines, piece=lines)
    lines, star = _sized(lambda: counted(home.filtered, "emotional, drawn", "emotional"), "process", "emotional")
    star = "" if wanted.lines or wanted.chunks != "all" else star
    call = writing.BATCHES_A_CALL * config.writer.batch_size
    for method, chunks in augment.chunk_ends(wanted, lines).items():
        sizes = [end - first for first, end in chunks.values()]
        yield Work("stories", method, writer, sum(sizes), star, sizes[0], call)
    for version in config.rewrite.versions:
        known = counted(home.rewrite_rows(version), "records") or config.rewrite.count
        records, star = _sized(lambda known=known: known, "rewrite", "kept")
        yield Work("rewrites", version, writer, records, star, records, call)
    model = {base: hub.identify(config.bases[base]) for base in config.bases}
    for run in (*strategies.runs(config, "clm"), *strategies.runs(config, "sft")):
        own = model[run.strategy.name] = model.get(run.strategy.parent, run.strategy.parent)  # or new:SIZE itself
        yield Work(run.strategy.task, run.name, own, *_learnt(config, run), run=run)
    answering, pairs = config.respond, _sized(lambda: len(blimp.chosen_pairs(config)), "evaluate", "pairs")
    prompts, star = _sized(lambda: len(respond.conditions(config)[0].prompts), "evaluate", "answers")
    measured = [one.base for one in models.study_models(config)]
    for base in dict.fromkeys((*config.bases, *measured)):
        number, own = measured.count(base), prompts * answering.samples
        answers = number * (own + prompts * answering.greedy + answering.empty_prompts)
        yield Work("answers", base, model[base], answers, star, own, respond.CALL_BATCHES * answering.batch_size)
        yield Work("pairs", base, model[base], number * pairs[0], pairs[1], pairs[0])


def _sized(count: Callable[[], int], stage: str, name: str) -> tuple[int, str]:
    """How many there are, and no star; if not known, the published number (0 if there is none), and a star."""
    with suppress(MissingInput):
        if known := count():
            return known, ""
    return next((row[3] for row in published("sizes").rows if row[:2] == (stage, name)), 0), "*"


def _learnt(config: Config, run: strategies.Run) -> tuple[int, str]:
    data, home = run.strategy.data.removeprefix(ORIGINAL), config.home
    if run.strategy.task == "clm":
        budget = corpus_words(config, data)
        return _sized(lambda: counted(home.corpus(data), "words") or budget, "corpus", "words")
    if strategies.is_file_of_records(run.strategy):
        return _sized(lambda: len(alpaca.load_records(data)), "", "")
    return _sized(lambda: counted(home.rewrite_rows(data), "kept") or config.rewrite.count, "rewrite", "kept")


def corpus_words(config: Config, name: str) -> int:
    """The word budget that the settings give a corpus of that name; 0 where they give none."""
    corpus = next((one for one in config.all_corpora if one.name == name), None)
    if corpus is None:
        return 0
    return corpus_words(config, corpus.model_corpus) if corpus.model_corpus else int(corpus.words)


def done(config: Config, work: Work, manifests: dict[Path, dict]) -> Iterator[Seen]:
    """What was made, and what was begun, of this work in the home of ``config``."""
    stage, count, _, rows = KINDS[work.kind]
    alone = rows and (work.kind == "answers" or config.writer.engine == "transformers")
    for path, made in manifests.items():
        if made["stage"] == stage and made["counts"].get(count):
            problems = _differing(config, work, made["settings"] | {"model": models.model_identity(config.home, made)})
            size = sum(file.stat().st_size for file in (path, *path.glob("*")))
            seen = Seen(path, made["counts"][count], made["seconds"], problems, not alone, size, made["machine"])
            if alone and not problems:
                seen = seen._replace(seconds=read_rows(path, rows, ["seconds"])["seconds"].sum())
            yield _trained(config, work, seen) if work.run else seen
    if work.run or (alone and work.kind != "answers"):
        yield from _begun(config, work)


def _differing(config: Config, work: Work, found: dict[str, Any]) -> tuple[str, ...]:
    """Which of the settings (and model) in ``found`` that shape speed are not the profile's, a phrase for each."""
    wanted = found | {"augment.method": work.name, "rewrite.version": work.name, "model": work.model}
    for name, value in config:
        wanted |= config.flat(name) if isinstance(value, Section) else {}
    keys = [key for key in found if key.rpartition(".")[2] in SPEED and str(found[key]) != str(wanted[key])]
    return tuple(f"{key} {found[key]!s:.60}, not {wanted[key]!s:.60}" for key in keys)


def _trained(config: Config, work: Work, seen: Seen) -> Seen:
    """``seen``, a trained model, with the seconds that the profile's training would take at the pace of its own."""
    clm, record = work.kind == "clm", model_folder.read_record(seen.path)
    share = config.corpus.validation_share if clm else config.sft.validation_share
    train, held = (record["data"][f"{part}_{'tokens' if clm else 'rows'}"] for part in ("train", "validation"))
    items = counted(config.home.corpus(record["data"]["name"]), "words") if clm else train + held
    gone = () if items else (f"its corpus is gone, and with it how many words its {train:,} tokens were",)
    grown, last = work.count * (train + held) / (items or 1), record["history"][-1]
    steps = round(getattr(config, work.kind).epochs * last["step"] / last["epoch"] * grown * (1 - share) / train)
    seen = seen._replace(problems=seen.problems + gone)
    return _at_pace(config, work, seen, record["history"], steps, grown * share / held)


def _at_pace(config: Config, work: Work, seen: Seen, entries: list[dict], steps: int, held_out: float) -> Seen:
    pace, settings = exhibits.pace(entries), getattr(config, work.kind)
    steps = min(steps, settings.max_steps) if settings.max_steps > 0 else steps
    enough = pace.timed >= (STEPS if steps > entries[-1]["step"] else 1)
    problems = seen.problems or (() if enough else (f"{pace.timed} steps timed, under {STEPS}: too few to tell",))
    rate = f"{steps:,} steps of {pace.step:.3g} s, evaluations of {pace.evaluation * held_out:.3g} s"
    seconds = pace.seconds(steps, settings.eval_steps, held_out)
    return seen._replace(items=work.count, seconds=seconds, problems=problems, rate=rate)


def _begun(config: Config, work: Work) -> Iterator[Seen]:
    """Unfinished work: the last checkpoint of this very training, or the answers in journals."""
    begun = [] if work.run else list(writing.begun(config.home.root, work.name))
    recipes: set[str] = set()
    with suppress(EmogapError):  # an input is missing, or gives fewer chunks than are set
        if work.run:
            recipe, model = model_piece(config, work.run).recipe.sha256(), config.home.model(work.name)
            if state := checkpoints.last_state(model, recipe):
                seen = Seen(checkpoints.folder(model), work.count, 0)
                yield _at_pace(config, work, seen, state["log_history"], state["max_steps"], 1)
        elif begun:
            parts = augment.story_chunks(config) if work.kind == "stories" else rewrite.rewrite_versions(config)
            recipes = {part.parts_recipe.sha256() for part in parts}
    for path, recipe, rows in begun:
        problems = () if recipe in recipes else ("begun, not known to be under these settings",)
        yield Seen(path, sum(not row.attempt for row in rows), sum(row.seconds for row in rows), problems)


def tables(source: Path) -> list[Path]:
    """The file itself, or the tables of a folder; none, if it is something else."""
    return [source] if source.suffix == ".csv" else sorted(source.glob("*.csv"))


def read_rates(files: Sequence[Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    """(file, row) of each rate. Raises ``InputError`` naming a line that lacks a value or whose rate is not over 0."""
    for file in files:
        for number, row in enumerate(csv.DictReader(file.read_text(encoding="utf-8").splitlines()), start=2):
            missing = [column for column in RATE_COLUMNS if not row.get(column)]
            if missing:
                raise InputError(
                    f"{file}, line {number}: no {', '.join(missing)}; a row needs {', '.join(RATE_COLUMNS)}"
                )
            if not _is_over_zero(row["rate"]):
                raise InputError(f"{file}, line {number}: the rate is '{row['rate']}'; give a number over 0")
            yield file, row


def _is_over_zero(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _rated(config: Config, work: Work, files: Sequence[Path]) -> Iterator[Seen]:
    """Rates of this work with this model, for the worst case: replies of full length, words read in every epoch."""
    stage, _, unit, _ = KINDS[work.kind]
    epochs = getattr(getattr(config, stage), "epochs", 1)
    units = {f"{unit}/s": epochs, "tokens/s": config.flat(stage).get(f"{stage}.sampling.max_new_tokens")}
    for table, row in read_rates(files):
        if (row.pop("work"), row.pop("model")) == (work.kind, work.model.split("@")[0]):
            each, rate = units.get(row["unit"]), f"{row['rate']} {row['unit']}"
            problems = _differing(config, work, {key: value for key, value in row.items() if value})
            problems += () if each else (f"{rate} do not tell {unit}",)
            rate += f", up to {each:g} each" if each and each > 1 else ""
            yield Seen(table, float(row["rate"]), each or 1, problems, machine=row["card"], rate=rate)


def price(config: Config, work: Work, manifests: dict[Path, dict]) -> Seen | None:
    """What gives the price of this work, from that home or the tables there; its ``problems`` say if nothing can. None
    if nothing of the work is there."""
    seen = list(_rated(config, work, files) if (files := tables(config.home.root)) else done(config, work, manifests))
    good = [one for one in seen if not one.problems]
    if not good:
        return min(seen, key=lambda one: len(one.problems), default=None)
    # The slowest: scores of others may have come from the cache. What was timed without loading is added up.
    found = max(good, key=lambda one: (one.path.name == work.name, one.seconds / one.items))
    if found.rate:
        return found
    if not found.loads:
        found = found._replace(**{key: sum(getattr(one, key) for one in good) for key in ("items", "seconds", "size")})
        found = found._replace(path=good[0].path.parent if len(good) > 1 else found.path)
    largest, unit = max(one.items for one in good), KINDS[work.kind][2]
    loading, needed = (" with loading", LOADED_SECONDS) if found.loads else ("", SECONDS)
    few = f"fewer than a call of {work.call}" if largest < work.call else f"under {needed} s"
    if not found.seconds or (largest < work.piece and (largest < work.call or found.seconds < needed)):
        few = f"{found.items:,} {unit} in {found.seconds:.3g} s{loading}, {few}: too few to tell"
        return found._replace(problems=(few,))
    return found._replace(rate=f"{found.items / found.seconds:.3g} {unit}/s{loading}")


def plan(config: Config, sources: Sequence[Path]) -> Iterator[str]:
    """Lines: a table of all work, the sum of what is known, and what is not known, with the reasons."""
    places = [(there, home_manifests(there.home)) for there in map(config.in_home, sources)]
    table, unknown, machines = [], {}, {}
    for work in works(config):
        stage, _, unit, _ = KINDS[work.kind]
        amount = f"{work.count:,} {unit}{work.star}" if work.count else f"? {unit}"
        row = {"stage": stage, "what": f"{work.kind} {work.name}", "how much": amount}
        priced = [seen for there, made in places if work.count and (seen := price(there, work, made))]
        if found := next((one for one in priced if not one.problems), None):
            times, gigabytes = work.count / found.items, work.count / found.items * found.size / 1e9 or None
            row |= {"rate": found.rate, "hours": times * found.seconds / 3600, "GB": gigabytes}
            row["from"], machines[found.machine] = portable(found.path), None
        else:
            why = "nothing of it is there" if work.count else "how much it is, is known once what it reads is there"
            why = "; ".join(f"{portable(one.path)}: {'; '.join(one.problems)}" for one in priced) or why
            unknown.setdefault(why, []).append(row["what"].strip())
        table.append(row)
    frame = pd.DataFrame(table, columns=["stage", "what", "how much", "rate", "hours", "GB", "from"])
    yield from frame.to_string(index=False, na_rep="–", float_format=lambda value: f"{value:.3g}").splitlines()
    hours, gigabytes = frame["hours"], frame["GB"].sum()
    yield f"Known: {hours.sum():.3g} hours ({hours.count()} of {len(frame)} rows), {gigabytes:.3g} GB. *: published."
    yield f"Made on: {'; '.join(filter(None, machines)) or '–'}. Not priced: {LEFT_OUT}."
    yield from (f"Not known: {', '.join(names)}: {why}" for why, names in unknown.items())
    if unknown and RATES not in sources:
        yield f"{portable(RATES)} {'has rates of cards, for --from' if tables(RATES) else 'holds no rates of a card'}"
