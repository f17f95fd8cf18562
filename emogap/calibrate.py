"""Rates of this machine: each kind of work is done for some seconds by the functions of its stage, on shipped texts.

What the work is (model, device, number format, settings) is what ``plan`` will ask for, so that the rate fits. The
first piece of each kind warms up and is not timed. What cannot be measured is said with its reason and gets no rate.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, redirect_stdout, suppress
from dataclasses import asdict, replace
from io import StringIO
from itertools import cycle, groupby, islice
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from emogap.config import Config, Sampling, Strategy
from emogap.data.alpaca import FIELDS
from emogap.emotions import EMOTIONS
from emogap.errors import EmogapError, MissingInput, ModelError, UsageError, one_line
from emogap.paths import ROOT
from emogap.plan import Work, placed, sizes, works
from emogap.rates import UNITS, Kind, Rate, Rates, dtype_name, keep, own_rates, this_machine

if TYPE_CHECKING:
    from emogap.generate.judging import Judging
    from emogap.generate.writing import Ask
    from emogap.records import RowType

SECONDS = 10.0
"""How long each kind is timed; one call of an engine, or two steps of a training, may take longer."""
SAMPLE = ROOT / "data/sample/babylm"
CLEANED_BYTES = 16 << 20
SHARD = 1024
"""Lines that are classified in the first timed round."""
LINES_A_DOCUMENT = 10
MOST_RECORDS = 2000
PAIRS = 100
"""Minimal pairs of the first timed round."""
STEPS = 3
"""Steps of a training in its first round; the first one is not timed."""


class Measured(NamedTuple):
    """A piece of work: how many units (``UNITS``) it had, how long it took; the rest as in ``Rate``."""

    units: float
    seconds: float
    per_item: float = 1.0
    validation_per_second: float | None = None
    note: str = ""
    bytes_each: float | None = None
    bytes_meanwhile: float | None = None


def calibrate(config: Config, only: Sequence[str] | None = None, seconds: float = SECONDS) -> Rates:
    """Measure, print and keep a rate for all work of a profile, or for the kinds named; all rates of this machine.

    Raises ``UsageError`` for a kind that there is not, or if the rates that were kept are another machine's.
    """
    import torch

    for kind in only or ():
        if kind not in UNITS:
            raise UsageError(f"--only {kind}: no such kind of work; choose among {', '.join(UNITS)}")
    own_rates()
    for work in works(config, sizes(config)[0]):
        if only and work.kind not in only:
            continue
        label = " ".join(filter(None, (work.kind, work.name)))
        try:
            rate = measure(config, work, seconds)
        except (EmogapError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            print(f"{label}: cannot be measured: {one_line(error)}", flush=True)
        else:
            keep(rate)
            print(f"{label}: {rate.per_second:,.4g} {UNITS[work.kind]}/s", flush=True)
        _give_memory_back()
    return own_rates()


def measure(config: Config, work: Work, seconds: float) -> Rate:
    """The rate of this work here. Raises what its stage raises, ``UsageError`` if it needs a GPU and there is none."""
    import torch

    from emogap.device import pick_dtype

    device, dtype = placed(work, this_machine())
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"its device is {device} and this machine has no GPU")
    if dtype == "auto":
        dtype = dtype_name(pick_dtype(device))
    with TemporaryDirectory() as folder:
        found = MEASURES[work.kind](config, work, Path(folder), seconds)
    return Rate(
        work=work.kind, model=work.model, device=device, dtype=dtype, settings=work.settings,
        per_second=found.units / found.seconds, per_item=found.per_item,
        validation_per_second=found.validation_per_second, bytes_each=found.bytes_each,
        bytes_meanwhile=found.bytes_meanwhile, note=found.note,
    )  # fmt: skip


def _give_memory_back() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def timed(work: Callable[[int], float], count: int, seconds: float, warm_up: int = 1) -> Measured:
    """``work(count)`` does so many items and says how many units that was. As many rounds at once as fill the time."""
    work(warm_up)
    found = _clocked(work, count)
    rounds = int(seconds / found.seconds)
    return _clocked(work, count * rounds) if rounds > 1 else found


def _clocked(work: Callable[[int], float], count: int) -> Measured:
    started = time.perf_counter()
    units = work(count)
    return Measured(units, time.perf_counter() - started, units / count)


# --- text ------------------------------------------------------------------------------------------------------------


def _clean(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """A file of the sample's words; those are counted, those of lines that are dropped too."""
    from emogap.benchmarks.clean import make_text
    from emogap.data.babylm import write_kept
    from emogap.data.clean import Rules, clean
    from emogap.data.raw import Source

    file = folder / "made.train"
    make_text(file, CLEANED_BYTES)
    words = len(file.read_bytes().split())
    settings = config.process
    rules = Rules(**{name: getattr(settings, name) for name in Rules.__dataclass_fields__})

    def read(times: int) -> float:
        for _ in range(times):
            kept = clean([Source("made", file)], rules, workers=settings.workers, reports=[])
            write_kept(folder / "lines.parquet", kept)
        return words * times

    return timed(read, 1, seconds)._replace(per_item=1.0)


def _classify(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    from emogap.data.classify import load

    settings = config.process
    classifier = load(settings.classifier, settings.device, settings.dtype)
    lines = _lines()

    def score(count: int) -> float:
        shard = list(islice(cycle(lines), count))
        classifier.scores(shard, token_budget=settings.token_budget or None)
        return sum(len(line.split()) for line in shard)

    return timed(score, SHARD, seconds)._replace(per_item=1.0, bytes_each=_processed_bytes(config.in_home(folder)))


def _processed_bytes(config: Config) -> float:
    """Bytes of all tables that the stage writes of the shipped sample, for each word that its raw files have."""
    from emogap.data.babylm import process

    settings = config.process.model_copy(update={"raw_dirs": [str(SAMPLE)], "extensions": [".train"], "sample": 0})
    with redirect_stdout(StringIO()):
        process(config.model_copy(update={"process": settings}))
    words = sum(len(file.read_bytes().split()) for file in SAMPLE.glob("*.train"))
    return sum(file.stat().st_size for file in config.home.processed.parent.glob("*.parquet")) / words


def _lines() -> list[str]:
    from emogap.benchmarks.classify import sample_lines

    return sample_lines(10_000)


# --- writing ---------------------------------------------------------------------------------------------------------


def _stories(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """Every method in turn. Which emotion a prompt names is no matter here: they are named in turn."""
    import pandas as pd

    from emogap.generate.augment import check_examples, story_asks, story_judging, story_template
    from emogap.generate.prompts import load_examples
    from emogap.records import STORIES

    settings, examples = config.augment, load_examples(config.augment.examples)
    templates = {method: story_template(settings, method) for method in settings.methods}
    for template in templates.values():
        check_examples(template, EMOTIONS, examples)
    texts = _lines()

    def asks(count: int) -> "list[Ask]":
        numbers = range(ceil(count / len(templates)))
        lines = pd.DataFrame(
            {
                "id": [f"line:{i}" for i in numbers],
                "source": "sample",
                "text": [texts[i % len(texts)] for i in numbers],
                "emotions": [[EMOTIONS[i % len(EMOTIONS)]] for i in numbers],
            }
        )
        by_method = [
            story_asks(lines, method, template, examples, config.seed) for method, template in templates.items()
        ]
        return [ask for of_line in zip(*by_method, strict=True) for ask in of_line][:count]

    return _written(config, asks, config.augment.sampling, story_judging(config, {}), STORIES, folder, seconds)


def _rewrites(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """Every version in turn, of the profile's own records."""
    from emogap.generate.prompts import load_examples
    from emogap.generate.rewrite import cleaned_records, rewrite_asks, rewrite_judging, rewrite_template
    from emogap.records import REWRITES

    settings, seeds = config.rewrite, load_examples(config.rewrite.seeds)
    templates = {version: rewrite_template(settings, version) for version in settings.versions}
    records = cleaned_records(config).kept

    def asks(count: int) -> "list[Ask]":
        numbers = range(ceil(count / len(templates)))
        chosen = [replace(records[i % len(records)], id=f"record:{i}") for i in numbers]
        by_version = [
            rewrite_asks(chosen, version, template, seeds, settings.emotions, config.seed)
            for version, template in templates.items()
        ]
        return [ask for of_record in zip(*by_version, strict=True) for ask in of_record][:count]

    return _written(config, asks, settings.sampling, rewrite_judging(config, {}), REWRITES, folder, seconds)


def _written(
    config: Config,
    asks: Callable[[int], "list[Ask]"],
    sampling: Sampling,
    judging: "Judging",
    row_type: "RowType",
    folder: Path,
    seconds: float,
) -> Measured:
    """Replies in calls as large as the stage's, judged; units are the tokens that the model drew."""
    import pandas as pd

    from emogap.generate.judging import judge
    from emogap.generate.open_engine import open_engine
    from emogap.generate.writing import BATCHES_A_CALL, answered_row, answers_to, batches
    from emogap.progress import Unseen
    from emogap.records import write_rows

    rows: list[dict] = []
    call = config.writer.batch_size * BATCHES_A_CALL

    def write(count: int) -> float:
        rows.clear()
        for part in batches(asks(count), call):
            answers = answers_to(part, 0, engine, sampling, config.seed, Unseen())
            failed = next((answer["error"] for answer in answers if answer["finish"] == "error"), None)
            if failed:
                raise ModelError(f"{engine.identity}: a reply failed: {failed}")
            answered = [answered_row(ask, answer) for ask, answer in zip(part, answers, strict=True)]
            rows.extend(judge(answered, rows, {ask.id: ask.shown for ask in part}, judging))
        return sum(row["new_tokens"] for row in rows)

    with closing(open_engine(config.writer)) as engine:
        found = timed(write, call, seconds)
    table = folder / "rows.parquet"
    write_rows(table, pd.DataFrame(rows), row_type)
    return found._replace(bytes_each=table.stat().st_size / len(rows))


# --- training --------------------------------------------------------------------------------------------------------


def _clm(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    config = config.in_home(folder)
    words = _make_corpus(config)
    found, record = _trained(config, work, config.corpus.name, seconds)
    data = record["data"]
    return found._replace(
        per_item=data["train_tokens"] / words,
        validation_per_second=data["validation_tokens"] / _last_evaluation(record),
    )


def _make_corpus(config: Config) -> int:
    """A corpus of the sample's lines, some of a source to a document, one in five held out; words of the others."""
    import pandas as pd

    from emogap.records import CORPUS, write_rows

    texts = []
    for file in sorted(SAMPLE.glob("*.train")):
        lines = file.read_text(encoding="utf-8").splitlines()
        texts += [" ".join(lines[start : start + LINES_A_DOCUMENT]) for start in range(0, len(lines), LINES_A_DOCUMENT)]
    rows = [
        {"id": f"sample:{i}", "kind": "story", "source": "sample", "line_id": None, "method": None, "emotion": None,
         "split": "train" if i % 5 else "validation", "text": text, "words": len(text.split())}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    path = config.home.corpus(config.corpus.name)
    path.parent.mkdir()
    write_rows(path, pd.DataFrame(rows), CORPUS)
    return sum(row["words"] for row in rows if row["split"] == "train")


def _sft(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """On what the profile's strategies learn from, if that is there; else on the records that are to be rewritten."""
    from emogap.artefacts import write_json

    records, note = _learnt_records(config)
    file = folder / "records.json"
    write_json(file, [{key: row[key] for key in FIELDS} for row in records[:MOST_RECORDS]])
    found, record = _trained(config.in_home(folder), work, str(file), seconds)
    train, validation = (record["data"]["preflight"][split] for split in ("train", "validation"))
    computed = 1 / (1 - record["padding_share"])
    return found._replace(
        per_item=train["tokens"] / train["rows"] * computed,
        validation_per_second=validation["tokens"] * computed / _last_evaluation(record),
        note=note,
    )


def _learnt_records(config: Config) -> tuple[list[dict], str]:
    """Records of Alpaca's form, and a note if they are not those that are learnt from in the end."""
    from emogap.generate.rewrite import cleaned_records
    from emogap.train.sft import training_records
    from emogap.train.strategies import runs

    with suppress(MissingInput):
        records = training_records(config, runs(config, "sft")[0]).to_dict("records")
        if len(records) > 1:
            return records, ""
    records = [asdict(record) for record in cleaned_records(config).kept]
    return records, "measured on the records before they are rewritten; longer answers take longer"


def _trained(config: Config, work: Work, data: str, seconds: float) -> tuple[Measured, dict]:
    """The stage itself, as often as fills the time, and the record of its training, which says what each step took."""
    from emogap.stages import stage
    from emogap.train.checkpoints import bytes_needed
    from emogap.train.model_folder import read_record

    settings = getattr(config, work.kind)
    if settings.processes > 1:
        raise UsageError(f"one process is measured; set {work.kind}.processes=1, or give a rate of your own")
    strategy = Strategy(name="calibration", parent=work.name, task=work.kind, data=data)
    model = config.home.model(strategy.name)

    def train(steps: int) -> dict:
        once = {"max_steps": steps, "eval_steps": steps, "seeds": [0], "report_to": "none"}
        changed = {"strategies": [strategy], work.kind: settings.model_copy(update=once)}
        with redirect_stdout(StringIO()):
            stage(work.kind).run(config.model_copy(update=changed))
        return read_record(model)

    record = train(STEPS)
    rounds = int(seconds / _after_first_step(record)[1])
    if rounds > 1:
        record = train(1 + (STEPS - 1) * rounds)
    found = Measured(
        *_after_first_step(record),
        bytes_each=sum(file.stat().st_size for file in model.rglob("*") if file.is_file()),
        bytes_meanwhile=bytes_needed(0, record["trainable"]),
    )
    return found, record


def _after_first_step(record: dict) -> tuple[int, float]:
    """Tokens, padding included, and seconds of all steps but the first, which warms up."""
    first, *_, last = (entry for entry in record["history"] if "loss" in entry)
    return last["slots"] - first["slots"], last["seconds"] - first["seconds"]


def _last_evaluation(record: dict) -> float:
    """Seconds of the evaluation after the last step."""
    step, evaluation = record["history"][-2:]
    return evaluation["seconds"] - step["seconds"]


# --- measurements ----------------------------------------------------------------------------------------------------


def _answers(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """The profile's prompts over and over, in calls as large as the stage's."""
    from emogap.benchmarks.respond import conversations
    from emogap.evaluate.models import StudyModel
    from emogap.evaluate.respond import CALL_BATCHES, load_prompts, open_model

    settings = config.respond
    asked = conversations(config, len(load_prompts(settings.prompts)))
    call = settings.batch_size * CALL_BATCHES

    def answer(count: int) -> float:
        for start in range(0, count, call):
            engine.generate(list(islice(cycle(asked), start, min(start + call, count))), settings.sampling)
        return count

    with closing(open_model(config, StudyModel(work.name, 0, work.name, work.name))) as engine:
        return timed(answer, call, seconds)


def _pairs(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """The first pairs of every paradigm, as many as there is time for; nothing is taken from the cache of scores."""
    from emogap.benchmarks.blimp import own_scores
    from emogap.evaluate.blimp import chosen_pairs
    from emogap.evaluate.sentence_scores import SentenceScorer
    from emogap.hub import study_model

    settings = config.blimp
    by_paradigm = [list(group) for _, group in groupby(chosen_pairs(config), key=lambda pair: pair.uid)]
    options = {"dtype": settings.dtype, "token_budget": settings.token_budget, "empty_context": settings.empty_context}
    scorer = SentenceScorer(study_model(config, work.name), device=settings.device, **options)

    def score(count: int) -> float:
        done = 0
        while done < count:
            each = ceil((count - done) / len(by_paradigm))
            pairs = [pair for paradigm in by_paradigm for pair in paradigm[:each]]
            own_scores(scorer, pairs)
            done += len(pairs)
        return done

    return timed(score, PAIRS, seconds)._replace(per_item=1.0)


def _lens(config: Config, work: Work, folder: Path, seconds: float) -> Measured:
    """All sentences and openings once: that is all that the stage reads with a model."""
    from emogap.evaluate.lens import TextReader, load_openings, load_sentences
    from emogap.evaluate.logit_lens import LogitLens
    from emogap.hub import study_model

    settings = config.lens
    reader = TextReader(LogitLens(study_model(config, work.name)), settings.words, settings.top_k)
    sentences = {f"s{number}": text for number, text in enumerate(load_sentences(settings.sentences))}
    openings = load_openings(settings.prompts)
    reader.read_ends(dict(islice(openings.items(), 1)), "warming up")
    started = time.perf_counter()
    reader.read_all(sentences, "sentences", settings.new_tokens)
    reader.read_ends(openings, "openings")
    return Measured(len(sentences) + len(openings), time.perf_counter() - started)


MEASURES: Mapping[Kind, Callable[[Config, Work, Path, float], Measured]] = {
    "clean": _clean, "classify": _classify, "stories": _stories, "rewrites": _rewrites, "clm": _clm, "sft": _sft,
    "answers": _answers, "pairs": _pairs, "lens": _lens,
}  # fmt: skip
