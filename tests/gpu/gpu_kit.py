"""Models of the published shapes with random weights, texts for them, and the floors of what a card can do."""

import csv
import gc
import io
import json
import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from emogap.store.artefacts import write_text
from emogap.study.plan import RATE_COLUMNS, read_rates

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
GPT2, MEDIUM = "openai-community/gpt2", "openai-community/gpt2-medium"
ROBERTA, MISTRAL = "SamLowe/roberta-base-go_emotions", "mistralai/Mistral-7B-Instruct-v0.1"
"""The models as the profile ``paper`` names them."""
PARAMETERS = {GPT2: 124_439_808, MEDIUM: 354_823_168, ROBERTA: 124_667_164, MISTRAL: 7_241_732_096}
"""What the published models have; a misspelt size would be taken for nothing."""
_SIZES: dict[str, dict[str, Any]] = {
    GPT2: {},
    MEDIUM: {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    ROBERTA: {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    MISTRAL: {"sliding_window": 4096, "max_position_embeddings": 32768},
}
_TINY: dict[str, dict[str, Any]] = {
    **{key: {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256} for key in (GPT2, MEDIUM)},
    ROBERTA: {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    MISTRAL: {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
              "num_key_value_heads": 1},
}  # fmt: skip


WORDS = 3000
"""Tokens that the sample makes at most."""
SPEAKING = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0}
SPEAKING |= {"tie_word_embeddings": False, "initializer_range": 0.05}
"""A random GPT-2 that does not say the last token again and again, nor tokens that its tokenizer has not."""


class Models:
    """Model folders, each made when it is first asked for: of the published shapes, or tiny ones on a CPU."""

    def __init__(self, device: str):
        self.device, self.tiny = device, device == "cpu"
        self._root = Path(mkdtemp(prefix="emogap-gpu-"))  # pytest would keep 15 GB of it for three runs

    def remove(self) -> None:
        shutil.rmtree(self._root)

    def config(self, name: str, **changes: Any) -> Any:
        from transformers import GPT2Config, MistralConfig, RobertaConfig

        from emogap.emotions import LABELS

        sizes = _SIZES[name] | ({"vocab_size": WORDS} | _TINY[name] if self.tiny else {}) | changes
        if name == ROBERTA:
            return RobertaConfig(**sizes, id2label=dict(enumerate(LABELS)), problem_type="multi_label_classification")
        return (MistralConfig if name == MISTRAL else GPT2Config)(**sizes)

    def local(self, name: str, **changes: Any) -> Any:
        """The model as the project takes one; ``changes``: settings of its configuration."""
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        from emogap.lm.hub import LocalModel

        folder = self._root / re.sub(r"\W+", "-", f"{name} {changes}")
        if not folder.exists():
            torch.manual_seed(0)
            auto = AutoModelForSequenceClassification if name == ROBERTA else AutoModelForCausalLM
            dtype = torch.bfloat16 if name == MISTRAL else torch.float32
            with torch.device(self.device):
                model = auto.from_config(self.config(name, **changes), dtype=dtype)
            count = sum(p.numel() for p in model.parameters())
            assert count < 1_000_000 if self.tiny else changes or count == PARAMETERS[name], f"{name}: {count:,}"
            if name == MISTRAL:  # so peaked that the likeliest thousand tokens are nearly all of it, as if trained
                model.lm_head.weight.data *= 4
            model.save_pretrained(folder)
            tokenizer(name).save_pretrained(folder)
            del model
            give_back_memory()
        return LocalModel(folder, name)

    def matmul_weights(self, name: str) -> int:
        """Weights that each token is multiplied with: all matrices but the tables of embeddings, and the head."""
        import torch
        from transformers import AutoModel

        config = self.config(name)
        with torch.device("meta"):
            body = AutoModel.from_config(config)
        matrices = {key: weight for key, weight in body.named_parameters() if weight.ndim == 2}
        inside = sum(weight.numel() for key, weight in matrices.items() if not re.search("emb|wte|wpe", key))
        return inside + (0 if name == ROBERTA else config.vocab_size * config.hidden_size)


@cache
def lines() -> list[str]:
    """Lines of ordinary English of the length that BabyLM's have."""
    files = sorted((SAMPLE / "babylm").glob("*.train"))
    return [line.strip() for file in files for line in file.read_text("utf-8").splitlines() if len(line.split()) > 2]


def records() -> list[dict[str, str]]:
    return json.loads((SAMPLE / "alpaca.json").read_text("utf-8"))


@cache
def tokenizer(name: str) -> Any:
    """Byte pairs learnt from the sample: the published vocabularies are not to be had without a hub."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    from emogap.lens.reader import load_emotion_words

    listed = [f" {word}" for words in load_emotion_words().values() for word in words] * 2
    marks = ["<s>", "<pad>", "</s>"] if name == ROBERTA else ["<|endoftext|>"]
    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator([*lines(), *listed], vocab_size=WORDS, special_tokens=marks)
    inner = pairs._tokenizer
    if name == ROBERTA:
        inner.post_processor = TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
        return PreTrainedTokenizerFast(
            tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", eos_token="</s>", model_max_length=512
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=marks[0], eos_token=marks[0])


def sentence_pairs(count: int) -> list[str]:
    """Twice as many sentences, each pair alike but for a word, as minimal pairs are."""
    draw, words = random.Random(0), sorted({word for line in lines() for word in line.split()})
    found = []
    for _ in range(count):
        good = draw.choices(words, k=draw.randint(6, 12))
        place = draw.randint(len(good) // 2, len(good) - 1)
        found += [" ".join(good), " ".join([*good[:place], draw.choice(words), *good[place + 1 :]])]
    return found


def conversations(count: int, beginning: str = "") -> list[Any]:
    from emogap.lm.engines.engine import Conversation

    texts = [f"{beginning}{lines()[i % len(lines())]} {i}" for i in range(count)]
    return [Conversation(str(i), ({"role": "user", "content": t},), i, plain=True) for i, t in enumerate(texts)]


def train(task: str, local: Any, settings: Any, folder: Path, watch: Any = None) -> Any:
    """A training of the study on the sample's texts, over and over; its ``Outcome``."""
    import pandas as pd
    from transformers import set_seed

    from emogap.lm.answer_form import load_answer_form
    from emogap.lm.loading import load_causal
    from emogap.train.causal_lm import make_clm_trainer
    from emogap.train.rows import block_rows, cut, encode, wrap
    from emogap.train.trainer import Plan, fit

    model, words = load_causal(local.path)
    needed = settings.batch_size * (settings.accumulation * settings.max_steps + 1)
    if task == "clm":
        once = block_rows(cut(wrap(words, lines() * 4), settings.block_size, "the sample"), closed=False)
        make = make_clm_trainer
    else:
        from emogap.train.sft import make_sft_trainer as make

        table = pd.DataFrame(records()).assign(id=lambda rows: rows.index.astype(str))
        form = load_answer_form(settings.template)
        once = list(encode(table, form, words, settings.max_length, settings.loss_on))
    rows = (once * (needed // len(once) + 1))[:needed]
    held_out = settings.batch_size

    def make_trainer(plan: Plan, callbacks: list) -> Any:
        return make(plan, callbacks, rows[held_out:], rows[:held_out])

    set_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    return fit(Plan("check", task, settings, 0, folder, model, words, make_trainer, watch))


# What a card can do at most


@dataclass(frozen=True)
class Card:
    """Peaks: operations a second of dense bf16 matrices and of fp32 without TF32, bytes a second of its memory."""

    bf16: float
    fp32: float
    memory: float


_AMPERE, _HOPPER = (312e12, 19.5e12), (989e12, 67e12)
CARDS = {
    # NVIDIA's data sheets of each card; those give matrices with sparsity, at twice the dense rate.
    "NVIDIA H100 80GB HBM3": Card(*_HOPPER, 3.35e12),
    "NVIDIA H100 NVL": Card(835e12, 60e12, 3.9e12),
    "NVIDIA H100 PCIe": Card(756e12, 51e12, 2.0e12),
    "NVIDIA H200": Card(*_HOPPER, 4.8e12),
    "NVIDIA A100-SXM4-40GB": Card(*_AMPERE, 1.555e12),
    "NVIDIA A100-SXM4-80GB": Card(*_AMPERE, 2.039e12),
    "NVIDIA A100-PCIE-40GB": Card(*_AMPERE, 1.555e12),
    "NVIDIA A100 80GB PCIe": Card(*_AMPERE, 1.935e12),
    "NVIDIA L40S": Card(362e12, 91.6e12, 0.864e12),
    "NVIDIA L4": Card(121e12, 30.3e12, 0.3e12),
    # NVIDIA's white paper on the Ada architecture, matrices with sums in fp32.
    "NVIDIA GeForce RTX 4090": Card(165.2e12, 82.6e12, 1.008e12),
    "NVIDIA GeForce RTX 4080": Card(97.5e12, 48.7e12, 0.7168e12),
}
"""By the whole name that torch gives: a part of a card (MIG), or one for a laptop, does less."""


def floor_rate(card: str, operations: float, moved: float = 0.0, peak: str = "bf16") -> float | None:
    """Units a second that the card allows, each of so many operations and bytes; None for a card that is not listed."""
    if card not in CARDS:
        return None
    return 1 / max(operations / getattr(CARDS[card], peak), moved / CARDS[card].memory)


@dataclass
class Measured:
    seconds: float = 0.0
    gigabytes: float | None = None


def give_back_memory() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def measured(device: str) -> Iterator[Measured]:
    """Seconds that a block takes until the device is done, and the most memory that it held."""
    import torch

    give_back_memory()
    found, on_gpu = Measured(), device != "cpu"
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    yield found
    if on_gpu:
        torch.cuda.synchronize(device)
        found.gigabytes = torch.cuda.max_memory_allocated(device) / 1e9
    found.seconds = time.perf_counter() - started


# --- tables of rates -------------------------------------------------------------------------------------------------

MEASURED = ("floor", "GB", "versions")
"""Further columns that are no settings: the rate that the card's peak operations and bandwidth allow, empty for a card
whose peaks are not known; the most memory that was held; what was measured with."""


def write_rates(file: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write a card's table anew: the columns that every row has, then the settings that any has."""
    settings = {key for row in rows for key in row} - {*RATE_COLUMNS, *MEASURED}
    text = io.StringIO()
    table = csv.DictWriter(text, [*RATE_COLUMNS, *MEASURED, *sorted(settings)], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(file, text.getvalue())


def markdown(file: Path) -> str:
    """The table as a document shows it, with each rate's share of its floor."""
    lines = ["| work | model | settings | rate | of the floor | GB |", "|---|---|---|---|---|---|"]
    for _, row in read_rates([file]):
        settings = [f"{key} {value}" for key, value in row.items() if value and key not in (*RATE_COLUMNS, *MEASURED)]
        share = f"{float(row['rate']) / float(row['floor']):.0%}" if row.get("floor") else "–"
        rate, gigabytes = f"{float(row['rate']):,.0f} {row['unit']}", row.get("GB") or "–"
        lines.append(f"| {row['work']} | {row['model']} | {', '.join(settings)} | {rate} | {share} | {gigabytes} |")
    return "\n".join(lines)
