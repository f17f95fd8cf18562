"""What a GPU computes is what a CPU computes, and what happens there alone: half precision, 4 bits, memory, kills."""

import importlib.util
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gpu_kit import GPT2, MISTRAL, ROBERTA, SPEAKING, conversations, give_back_memory, lines, sentence_pairs, train

np = pytest.importorskip("numpy")
for package in ("torch", "transformers", "pydantic", "safetensors", "pandas", "pyarrow"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}", allow_module_level=True)
pytestmark = pytest.mark.slow

SAME = 1e-4
"""Relative, of a sum: rounding in fp32. TF32 would lie ten times further off."""
STILL = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def assert_same(found, expected, tolerance: float = SAME) -> None:
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    apart = np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected))
    assert apart <= tolerance, f"{apart:.1e} apart"


def open_engine(models, device: str, dtype: str = "fp32", batch_size: int = 8, quantization: str = "none", **changes):
    from emogap.lm.engines.transformers_engine import TransformersEngine

    local = models.local(MISTRAL, num_hidden_layers=2) if quantization == "nf4" else models.local(GPT2, **changes)
    return TransformersEngine(local, device=device, dtype=dtype, quantization=quantization, batch_size=batch_size)


def ask(engine, count: int, new_tokens: int = 24, **sampling) -> list:
    from emogap.config import Sampling

    sampling = {"temperature": 0, "repetition_penalty": 1.2} | sampling
    replies = engine.generate(conversations(count), Sampling(max_new_tokens=new_tokens, **sampling))
    assert [reply.error for reply in replies] == [None] * count
    return [reply.text for reply in replies]


def settings(device: str, **changes):
    from emogap.config import Clm

    small = {"block_size": 64, "batch_size": 2, "accumulation": 2, "max_steps": 3, "precision": "fp32"}
    return Clm(**(small | changes), device=device)


def read_lens(local, device: str, dtype: str = "fp32") -> list:
    from emogap.lens.logit_lens import LogitLens

    opened = LogitLens(local, device=device, dtype=dtype)
    return opened.read([opened.encode(line) for line in lines()[:6]])


def classify(models, device: str, dtype: str = "fp32", **options):
    from emogap.emotion.classifier import load_classifier

    return load_classifier(str(models.local(ROBERTA).path), device=device, dtype=dtype).scores(lines()[:48], **options)


def test_scores_of_pairs_are_a_cpu_s_also_where_an_image_has_tf32_on(models, device):
    import torch

    from emogap.lm.sentence_scores import SentenceScorer

    torch.set_float32_matmul_precision("high")
    gpu, cpu = (SentenceScorer(models.local(GPT2), device=where, token_budget=1024) for where in (device, "cpu"))
    assert torch.get_float32_matmul_precision() == "highest"
    sentences = sentence_pairs(60)
    assert_same(gpu.scores(sentences), cpu.scores(sentences))
    assert gpu.shares and gpu.reads_head


def test_greedy_answers_are_a_cpu_s(models, device):
    gpu, cpu = (ask(open_engine(models, where, **SPEAKING), 24) for where in (device, "cpu"))
    assert len(set(gpu)) > 20
    assert sum(a != b for a, b in zip(gpu, cpu, strict=True)) <= 1  # two tokens may be likely to within rounding


def test_the_lens_reads_what_it_reads_on_a_cpu(models, device):
    local = models.local(GPT2, **SPEAKING)
    for gpu, cpu in zip(read_lens(local, device), read_lens(local, "cpu"), strict=True):
        for measure in ("entropy", "kl_to_final", "cross_entropy"):
            assert_same(getattr(gpu, measure), getattr(cpu, measure))
        assert (gpu.top_ids[..., 0] == cpu.top_ids[..., 0]).mean() > 0.99


def test_the_classifier_scores_as_on_a_cpu(models, device):
    assert_same(classify(models, device), classify(models, "cpu"))


def test_training_steps_have_a_cpu_s_loss_and_gradient(models, device, tmp_path):
    local = models.local(GPT2, **STILL)
    gpu, cpu = (train("clm", local, settings(where), tmp_path / where).history for where in (device, "cpu"))
    for key in ("loss", "grad_norm", "eval_loss"):
        assert_same(*([entry[key] for entry in history if key in entry] for history in (gpu, cpu)))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_runs_and_stays_finite(models, device, dtype, tmp_path):
    from emogap.lm.sentence_scores import SentenceScorer

    near, sentences = 0.05, sentence_pairs(20)
    local = models.local(GPT2)
    whole, half = (SentenceScorer(local, device=device, dtype=name).scores(sentences) for name in ("fp32", dtype))
    assert_same(half, whole, near)
    assert_same(classify(models, device, dtype), classify(models, device), near)
    assert np.isfinite(read_lens(local, device, dtype)[0].entropy).all()
    ask(open_engine(models, device, dtype), 12, temperature=0.7, top_p=0.9)
    outcome = train("clm", local, settings(device, precision=dtype), tmp_path)  # it stops at a loss of NaN
    assert outcome.steps == 3
    assert device == "cpu" or outcome.dtype == dtype


def test_four_bits_load_and_write(models, device):
    pytest.importorskip("bitsandbytes", exc_type=ImportError)
    engine = open_engine(models, device, "bf16", quantization="nf4")
    assert any(type(weight).__name__ == "Params4bit" for weight in engine._model.parameters())
    ask(engine, 4, 8)


def test_instructions_are_learnt(models, device, tmp_path):
    for package in ("trl", "datasets"):
        pytest.importorskip(package, exc_type=ImportError)
    from emogap.config import Sft

    small = {"batch_size": 2, "accumulation": 2, "max_steps": 3, "max_length": 128, "loss_on": "text"}
    for packing in (False, True):
        chosen = Sft(**small, packing=packing, device=device)
        outcome = train("sft", models.local(GPT2), chosen, tmp_path / f"{packing}")
        assert outcome.steps == 3 and outcome.loss_after < outcome.loss_before + 1


class Killed(BaseException):
    """Stands for a kill: nothing of the project's catches it."""


def test_a_killed_training_goes_on_as_if_nothing_had_been(models, device, tmp_path):
    chosen = settings(device, max_steps=6, eval_steps=2)  # with dropout, so that the GPU's random state counts

    def kill(history) -> None:
        if history[-1]["step"] == 4:
            raise Killed

    undisturbed = train("clm", models.local(GPT2), chosen, tmp_path / "undisturbed").history
    with pytest.raises(Killed):
        train("clm", models.local(GPT2), chosen, tmp_path / "killed", kill)
    history = train("clm", models.local(GPT2), chosen, tmp_path / "killed").history
    for key in ("step", "loss", "grad_norm", "eval_loss"):
        assert_same(*([entry[key] for entry in run if key in entry] for run in (history, undisturbed)))


def test_the_writer_s_memory_is_free_before_training(models, device, tmp_path):
    import torch

    held = (lambda: torch.cuda.memory_reserved(device)) if device != "cpu" else (lambda: 0)
    give_back_memory()
    before = held()
    engine = open_engine(models, device, batch_size=16)
    ask(engine, 16)
    writer = weakref.ref(engine._model)
    engine.close()
    assert writer() is None
    assert held() - before < 150 * 2**20  # cuBLAS keeps some room; the weights alone are 500 MB
    train("clm", models.local(GPT2), settings(device), tmp_path)


@contextmanager
def little_memory(device: str, model) -> Iterator[None]:
    """512 MiB more than are in use; on a CPU, a model that takes four rows at a time."""
    import torch

    computed: list[weakref.ref] = []

    def refuse(_module, _args, inputs) -> None:
        assert not any(one() is not None for one in computed), "what a batch had computed outlives its failure"
        if len(inputs["input_ids"]) > 4:
            hidden = torch.zeros(1)
            computed.append(weakref.ref(hidden))
            raise torch.OutOfMemoryError

    if device == "cpu":
        hook = model.register_forward_pre_hook(refuse, with_kwargs=True)
        yield
        hook.remove()
        return
    give_back_memory()
    number = torch.device(device).index or 0
    total = torch.cuda.get_device_properties(number).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(number) + 2**29) / total, number)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, number)


def test_out_of_memory_writing_goes_on_with_fewer_rows(models, device, capsys):
    engine = open_engine(models, device, batch_size=64, **SPEAKING)
    rows, new_tokens = (64, 200) if device != "cpu" else (16, 8)
    with little_memory(device, engine._model):
        found = ask(engine, rows, new_tokens)
    assert f"Out of memory on {device} with " in capsys.readouterr().out
    roomy = ask(open_engine(models, device, batch_size=16 if device != "cpu" else 4, **SPEAKING), rows, new_tokens)
    assert sum(a != b for a, b in zip(found, roomy, strict=True)) <= rows // 16


def test_out_of_memory_classifying_goes_on_with_smaller_batches(models, device):
    from emogap.emotion.classifier import load_classifier

    judge = load_classifier(str(models.local(ROBERTA).path), device=device, dtype="fp32")
    texts = [line for line in lines() for _ in range(1 if device == "cpu" else 20)]
    few = judge.scores(texts, token_budget=512)
    with little_memory(device, judge.model):
        assert_same(judge.scores(texts, token_budget=2**20), few)


def test_a_device_that_is_not_there_is_refused_in_one_line(device, tmp_path):
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "texts.txt").write_text("One line.\n", encoding="utf-8")
    words = ["--in", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "out.parquet"), "--device", "cuda:99"]
    done = subprocess.run(
        [sys.executable, "-m", "emogap", "classify", *words], cwd=root, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path[1:]])},
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr[-2000:]
    assert "there is no device cuda:99 on this machine" in done.stderr
