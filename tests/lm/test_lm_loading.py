"""What a folder must hold to be a model here, and what is made of its defaults for generation."""

import json
import shutil

import pytest
import torch
from tiny_models import save_tiny_gpt2
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from emogap.errors import ModelError
from emogap.lm.attention_reach import context_length
from emogap.lm.engines.engine import end_tokens
from emogap.lm.loading import load_causal, load_encoder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_gpt2(tmp_path_factory.mktemp("loading") / "tiny")


@pytest.fixture
def copy(tiny, tmp_path):
    """A copy of the tiny model that may be damaged."""
    return shutil.copytree(tiny, tmp_path / "copy")


# Defaults for generation

OWN_TOKENS = {"bos_token_id": 3, "eos_token_id": [4, 0], "pad_token_id": 5}
DAMAGED = {
    "temperature without sampling": {"do_sample": False, "temperature": 0.7},
    "beams alone": {"num_beams": 1, "early_stopping": True, "length_penalty": 2.0},
    "several greedy answers": {"num_return_sequences": 3},
    "nothing to write": {"max_new_tokens": 0},
    "a number as text": {"max_new_tokens": "5"},
    "a list for a choice": {"early_stopping": []},
    "an argument of generate": {"streamer": "x"},
    "an unknown cache": {"cache_implementation": "fast"},
    "half a watermark": {"watermarking_config": {"colour": "green"}},
}


@pytest.mark.parametrize("values", DAMAGED.values(), ids=DAMAGED)
def test_defaults_that_could_not_be_saved_are_reduced_to_the_ids_of_tokens(copy, tmp_path, capsys, values):
    (copy / "generation_config.json").write_text(json.dumps(OWN_TOKENS | values))
    model, tokenizer = load_causal(copy)
    said = [line for line in capsys.readouterr().out.splitlines() if "generation_config.json" in line]
    assert len(said) == 1 and "left out but for the ids of tokens" in said[0]
    model.save_pretrained(tmp_path / "saved")
    saved = GenerationConfig.from_pretrained(tmp_path / "saved")
    assert {name: getattr(saved, name) for name in OWN_TOKENS} == OWN_TOKENS
    for name in values:
        assert getattr(saved, name, None) is None
    assert end_tokens(copy, tokenizer) == {4, 0}


@pytest.mark.parametrize("content", ["{", "", "[1]", "3", "\xff", "null"], ids=repr)
def test_a_file_of_defaults_that_is_none_is_left_out_for_the_configuration(copy, tmp_path, capsys, content):
    described = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(described | {"eos_token_id": 7}))
    (copy / "generation_config.json").write_bytes(content.encode("latin-1"))
    model, tokenizer = load_causal(copy)
    assert capsys.readouterr().out.count("is left out but for the ids of tokens") == 1
    model.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == 7
    assert end_tokens(copy, tokenizer) == {7, tokenizer.eos_token_id}


@pytest.mark.parametrize("wrong", ["2", 2.5, -1, [3, "4"], {}, True])
def test_ids_of_tokens_that_are_none_come_from_the_configuration(copy, wrong):
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong, "pad_token_id": -1}))
    model, tokenizer = load_causal(copy)
    assert model.generation_config.eos_token_id == model.config.eos_token_id
    assert model.generation_config.pad_token_id is None
    assert end_tokens(copy, tokenizer) == {tokenizer.eos_token_id}


def test_defaults_in_an_old_configuration_are_reduced_too(copy, tmp_path, capsys):
    (copy / "generation_config.json").unlink()
    described = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(described | {"temperature": 0.7, "num_beams": 1, "pad_token_id": -1}))
    model, _ = load_causal(copy)
    model.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == model.config.eos_token_id


def test_defaults_that_hold_are_kept_with_what_is_not_known(copy, tmp_path, capsys):
    values = OWN_TOKENS | {"do_sample": True, "temperature": 0.7, "a_new_field": [1, 2]}
    (copy / "generation_config.json").write_text(json.dumps(values))
    load_causal(copy).model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert {name: saved[name] for name in values} == values
    assert "left out" not in capsys.readouterr().out


def test_an_adapter_has_the_defaults_of_what_it_stands_on(copy, tmp_path):
    from peft import LoraConfig, get_peft_model

    (copy / "generation_config.json").write_text(json.dumps(OWN_TOKENS | {"do_sample": False, "top_p": 0.5}))
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", fan_in_fan_out=True)
    get_peft_model(AutoModelForCausalLM.from_pretrained(copy), config).save_pretrained(tmp_path / "adapter")
    model, tokenizer = load_causal(tmp_path / "adapter")
    model.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == [4, 0]
    assert end_tokens(tmp_path / "adapter", tokenizer) == {4, 0}


# How long a text may be


def tiny_config(kind, positions):
    size = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "max_position_embeddings": positions,
    }  # fmt: skip
    narrow = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 40, "n_positions": positions}
    roberta = size | {"is_decoder": True, "pad_token_id": 3}
    return {
        "gpt2": narrow, "openai-gpt": narrow | {"dff": 16}, "gptj": narrow | {"rotary_dim": 4},
        "ctrl": narrow | {"dff": 16}, "opt": size | {"ffn_dim": 16, "word_embed_proj_dim": 16},
        "mpt": {"d_model": 16, "n_layers": 1, "n_heads": 2, "vocab_size": 40, "max_seq_len": positions},
        "roberta": roberta, "xlm-roberta": roberta | {"pad_token_id": 1}, "camembert": roberta | {"pad_token_id": 0},
        "data2vec-text": roberta, "roberta-prelayernorm": roberta, "xlm-roberta-xl": roberta,
        "bert": size | {"is_decoder": True}, "biogpt": size,
        "xlm": {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "n_words": 40, "max_position_embeddings": positions},
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["gpt2", "openai-gpt", "gptj", "ctrl", "opt", "mpt", "roberta", "xlm-roberta", "camembert", "data2vec-text",
     "roberta-prelayernorm", "xlm-roberta-xl", "bert", "biogpt", "xlm"],
)  # fmt: skip
def test_the_longest_text_is_the_longest_that_the_model_reads(kind):
    config = AutoConfig.for_model(kind, **tiny_config(kind, 24))
    model, longest = AutoModelForCausalLM.from_config(config).eval(), context_length(config)
    with torch.no_grad():
        assert model(torch.full((1, longest), 7)).logits.shape[1] == longest
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 7))


@pytest.mark.parametrize("kind", ["xlnet", "bloom", "mamba"])
def test_a_model_without_a_longest_text_has_none(kind):
    assert context_length(AutoConfig.for_model(kind)) is None


def test_a_window_is_no_limit():
    assert context_length(AutoConfig.for_model("mistral", sliding_window=16, max_position_embeddings=64)) == 64


# Tokens and weights


def test_a_token_in_use_without_a_row_is_refused(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match=rf"1 tokens .* beyond the model's {rows} rows \('\[PAD\]' is {rows}\); save"):
        load_causal(copy)
    model = AutoModelForCausalLM.from_pretrained(copy)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(copy)
    assert load_causal(copy).tokenizer.pad_token_id == rows


def test_a_mark_that_no_text_has_is_refused_where_a_text_has_it(copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(copy)
    model, tokenizer = load_causal(copy)
    with torch.no_grad():
        model(torch.tensor([tokenizer("a dog")["input_ids"]]))
        with pytest.raises(ModelError, match="a text has the token of id .* take that mark out of the text"):
            model(torch.tensor([tokenizer("a dog<image>")["input_ids"]]))


def test_weights_that_would_be_random_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights.pop("transformer.h.1.mlp.c_fc.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of the model's weights \(transformer.h.1.mlp.c_fc.weight…\)"):
        load_causal(copy)
    with pytest.raises(ModelError, match="lacks 1 of the model's weights"):
        load_encoder(copy)
