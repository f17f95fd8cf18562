"""How fast the project's work goes on this card at published size, beside what the card allows: a row a rate.

The table lies in ``$OUT`` if that is set, else in ``results/gpu``. A rate under a quarter of its floor is named, and
fails nothing: the settings of the study may ask for it (four rows a batch leave a large card waiting for Python).
"""

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpu_kit import (
    GPT2,
    MEDIUM,
    MISTRAL,
    ROBERTA,
    conversations,
    floor_rate,
    give_back_memory,
    lines,
    markdown,
    measured,
    sentence_pairs,
    train,
    write_rates,
)

for package in ("torch", "transformers", "pydantic", "safetensors", "pandas", "pyarrow"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}", allow_module_level=True)
pytestmark = pytest.mark.slow

TOKENS_A_WORD = 1.245
"""Of GPT-2's own tokenizer on the shipped sample of BabyLM; the one at hand here is another."""
Add = Callable[..., None]


@pytest.fixture(scope="module")
def add(device, tmp_path_factory) -> Iterator[Add]:
    """Adds a rate to the card's table, which is written anew with each."""
    import torch
    import transformers

    from emogap.study.plan import RATES

    card = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    folder = tmp_path_factory.mktemp("rates") if device == "cpu" else Path(os.environ.get("OUT") or RATES)
    file, rows = folder / f"{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}.csv", []
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.version.cuda or 'no CUDA'}"

    def add_row(work, model, rate, unit, found, operations=None, moved=0.0, peak="bf16", **settings) -> None:
        floor = operations and floor_rate(card, operations, moved, peak)
        row = {"card": card, "work": work, "model": model, "rate": f"{rate:.5g}", "unit": unit, "versions": versions}
        row |= {"floor": f"{floor:.5g}" if floor else "", "GB": found.gigabytes and f"{found.gigabytes:.3g}"}
        rows.append(row | {key.replace("__", "."): value for key, value in settings.items()})
        write_rates(file, rows)
        if floor and rate < floor / 4:
            print(f"\nUnder a quarter of the floor: {work} {model}, {rate:,.0f} of {floor:,.0f} {unit}")

    yield add_row
    unknown = (
        f"; no floors: {card} is in no table of cards here" if rows and not any(row["floor"] for row in rows) else ""
    )
    if rows:
        print(f"\n{card}, {versions}{unknown}\n{file}\n{markdown(file)}")


@pytest.fixture(scope="module")
def paper():
    from emogap.config import load_config

    return load_config("paper")


def test_lines_classified(models, device, add, paper):
    from emogap.emotion.classifier import load_classifier

    judge = load_classifier(str(models.local(ROBERTA).path), device=device)
    texts = (lines() * 200)[: 200 if models.tiny else 60_000]
    tokens = sum(len(row) for row in judge.tokenizer(texts)["input_ids"]) / len(texts)
    judge.scores(texts[:4000], token_budget=paper.process.token_budget)
    with measured(device) as found:
        judge.scores(texts, token_budget=paper.process.token_budget)
    operations = 2 * models.matmul_weights(ROBERTA) * tokens
    add("classify", ROBERTA, len(texts) / found.seconds, "lines/s", found, operations,
        process__token_budget=paper.process.token_budget)  # fmt: skip


def decoding(models, name: str, rows: int, columns: float, weight_bytes: float = 2.0) -> dict[str, float]:
    """Operations and bytes of a token that is decoded among so many rows, with so many tokens before it on average."""
    config, weights = models.config(name), models.matmul_weights(name)
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    kept = 2 * config.num_hidden_layers * heads * (config.hidden_size // config.num_attention_heads)  # keys and values
    attention = 4 * config.num_hidden_layers * config.hidden_size * columns
    return {"operations": 2 * weights + attention, "moved": weight_bytes * weights / rows + 2 * kept * columns}


def tokens_a_second(engine, asked, sampling, device) -> tuple[float, float, object]:
    """Rate, mean number of tokens that a new one has before it, and what was measured."""
    engine.generate(asked[: max(2, len(asked) // 4)], sampling.model_copy(update={"max_new_tokens": 4}))
    with measured(device) as found:
        replies = engine.generate(asked, sampling)
    assert not [reply.error for reply in replies if reply.error]
    new = sum(reply.new_tokens for reply in replies)
    before = sum(reply.new_tokens * (reply.prompt_tokens + reply.new_tokens / 2) for reply in replies) / new
    return new / found.seconds, before, found


BEGINNING = "Write a short story for a small child in which somebody feels what this line says. " * 10


@pytest.mark.parametrize(("quantization", "rows"), [("none", 16), ("none", 64), ("nf4", 16)])
def test_stories_written(models, device, add, paper, quantization, rows):
    import torch

    from emogap.lm.engines.transformers_engine import TransformersEngine

    if quantization == "nf4":
        pytest.importorskip("bitsandbytes", exc_type=ImportError)
    if device != "cpu" and torch.cuda.get_device_properties(device).total_memory < 20e9:
        pytest.skip("7 billion weights of 16 bits are made on the card, which takes 20 GB of its memory")
    if not models.tiny and shutil.disk_usage(tempfile.gettempdir()).free < 25e9:
        pytest.skip("7 billion weights of 16 bits are kept in the folder for temporary files: 25 GB; set TMPDIR")
    engine = TransformersEngine(
        models.local(MISTRAL), device=device, dtype="auto", quantization=quantization, batch_size=rows
    )
    sampling = paper.augment.sampling.model_copy(update={"max_new_tokens": 4 if models.tiny else 256})
    rate, before, found = tokens_a_second(engine, conversations(rows, BEGINNING), sampling, device)
    engine.close()
    work = decoding(models, MISTRAL, rows, before, 0.56 if quantization == "nf4" else 2.0)
    add("stories", MISTRAL, rate, "tokens/s", found, **work, writer__engine="transformers", writer__batch_size=rows,
        writer__quantization=quantization)  # fmt: skip


def test_stories_written_by_vllm(models, device, add, paper):
    import torch

    from emogap.config import HubModel, Writer
    from emogap.errors import ModelError
    from emogap.lm.engines.vllm_engine import VllmEngine, check_installed

    writer = Writer(
        model=HubModel(name=MISTRAL), engine="vllm", vllm=os.environ.get("EMOGAP_GPU_VLLM", ""),
        vllm_options=("--load-format", "dummy"),
    )  # fmt: skip
    try:
        check_installed(writer)
    except ModelError as error:
        pytest.skip(str(error))
    local, rows = models.local(MISTRAL), 8 if models.tiny else 256
    free = (lambda: torch.cuda.mem_get_info(device)[0]) if device != "cpu" else (lambda: 0)
    give_back_memory()
    before_it = free()
    engine = VllmEngine(local, writer)
    try:
        sampling = paper.augment.sampling.model_copy(update={"max_new_tokens": 4 if models.tiny else 256})
        rate, before, found = tokens_a_second(engine, conversations(rows, BEGINNING), sampling, device)
    finally:
        engine.close()
    give_back_memory()
    assert before_it - free() < 1e9  # what trains next finds the memory free
    found.gigabytes = None  # another process held it
    add("stories", MISTRAL, rate, "tokens/s", found, **decoding(models, MISTRAL, rows, before), writer__engine="vllm",
        writer__quantization="none")  # fmt: skip


@pytest.mark.parametrize("batches", [(4, 8), (32, 1)], ids=["as published", "the same step in one batch"])
@pytest.mark.parametrize("task", ["clm", "sft"])
@pytest.mark.parametrize("name", [GPT2, MEDIUM])
def test_tokens_trained(models, device, add, paper, name, task, batches, tmp_path):
    from emogap.errors import TrainingError
    from emogap.train.exhibits import pace

    if task == "sft":
        for package in ("trl", "datasets"):
            pytest.importorskip(package, exc_type=ImportError)
    rows, accumulation = (2, 1) if models.tiny else batches
    settings = (paper.clm if task == "clm" else paper.sft).model_copy(
        update={
            "batch_size": rows,
            "accumulation": accumulation,
            "max_steps": 4 if models.tiny else 12,
            "device": device,
        }
    )
    length = {"block_size": 64} if task == "clm" else {"max_length": 128}
    settings = settings.model_copy(update=length if models.tiny else {})
    try:
        with measured(device) as found:
            outcome = train(task, models.local(name), settings, tmp_path)
    except TrainingError as error:
        if "memory" not in str(error):
            raise
        pytest.skip(str(error))
    tokens, seconds = outcome.tokens / outcome.steps, pace(outcome.history).step
    config, together = models.config(name), tokens / (rows * accumulation)
    forward = 2 * models.matmul_weights(name) + 2 * config.num_hidden_layers * config.hidden_size * together
    same = {f"{task}.{key}": getattr(settings, key) for key in ("batch_size", "accumulation", *length)}
    add(task, name, tokens / seconds, "tokens/s", found, 3 * forward, **same)
    items = (tokens / TOKENS_A_WORD, "words/s") if task == "clm" else (rows * accumulation, "records/s")
    a_floor = 3 * forward * tokens / items[0]
    add(task, name, items[0] / seconds, items[1], found, a_floor, **same)


def test_answers_written(models, device, add, paper):
    from emogap.lm.engines.transformers_engine import TransformersEngine

    rows, sampling = paper.respond.batch_size, paper.respond.sampling
    engine = TransformersEngine(models.local(GPT2), device=device, dtype="auto", quantization="none", batch_size=rows)
    sampling = sampling.model_copy(update={"max_new_tokens": 4 if models.tiny else sampling.max_new_tokens})
    rate, before, found = tokens_a_second(engine, conversations(8 if models.tiny else 4 * rows), sampling, device)
    engine.close()
    a_token = decoding(models, GPT2, rows, before)
    a_reply = {key: value * sampling.max_new_tokens for key, value in a_token.items()}
    add("answers", GPT2, rate / sampling.max_new_tokens, "answers/s", found, **a_reply, respond__batch_size=rows)


def test_pairs_scored(models, device, add, paper):
    from emogap.lm.score_cache import scored_in_groups
    from emogap.lm.sentence_scores import SentenceScorer

    scorer = SentenceScorer(models.local(GPT2), device=device, token_budget=paper.blimp.token_budget)
    encoded = [scorer.encode(sentence) for sentence in sentence_pairs(40 if models.tiny else 6000)]
    groups = [encoded[start : start + 2000] for start in range(0, len(encoded), 2000)]  # 1,000 pairs, as a paradigm has
    list(scored_in_groups(scorer, groups[:1], lambda count: None))
    with measured(device) as found:
        list(scored_in_groups(scorer, groups, lambda count: None))
    pairs = len(encoded) / 2
    operations = 2 * models.matmul_weights(GPT2) * sum(len(one.ids) for one in encoded) / pairs
    add("pairs", GPT2, pairs / found.seconds, "pairs/s", found, operations, peak="fp32",
        blimp__token_budget=paper.blimp.token_budget)  # fmt: skip


def test_texts_read_by_the_lens(models, device, add, paper):
    from emogap.lens.logit_lens import LogitLens
    from emogap.lens.reader import TextReader

    opened = LogitLens(models.local(GPT2), device=device)
    reader = TextReader(opened, [], paper.lens.top_k)
    texts = {str(i): f"{line} {lines()[-1 - i]}" for i, line in enumerate(lines()[: 6 if models.tiny else 300])}
    reader.read_all(dict(list(texts.items())[:4]), "warming up")
    with measured(device) as found:
        table = reader.read_all(texts, "lens")
    read = int((table["measure"] == "entropy").sum())
    config = models.config(GPT2)
    operations = 2 * config.vocab_size * config.hidden_size + 2 * models.matmul_weights(GPT2) / opened.layers
    add("lens", GPT2, read / found.seconds, "distributions/s", found, operations, 8 * config.vocab_size, peak="fp32")
