"""Adapters: as their library has them, in every place that takes a model, and several laid one on another."""

import json
import shutil

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from tiny_models import SENTENCES, save_tiny_gpt2, save_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from emogap.config import HubModel, Writer
from emogap.errors import ModelError
from emogap.lm.adapters import low_rank_of
from emogap.lm.hub import identify, with_bases
from emogap.lm.loading import load_causal, load_tokenizer, tokenizer_folder

LINEAR = {"target_modules": "all-linear", "fan_in_fan_out": True}
SAVE = ["adapter_config.json", "adapter_model.safetensors"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {"gpt2": save_tiny_gpt2(folder / "gpt2"), "llama": save_tiny_llama(folder / "llama")}


@pytest.fixture(scope="module")
def ids(bases):
    return torch.tensor([AutoTokenizer.from_pretrained(bases["gpt2"])(SENTENCES[0])["input_ids"]])


def adapt(folder, model, seed=0, **settings):
    """An adapter with weights as training leaves them (B is not 0) on a model, in a folder, and its logits' model."""
    torch.manual_seed(seed)
    options = {"task_type": "CAUSAL_LM", "r": 4, "init_lora_weights": False} | settings
    adapted = get_peft_model(model, LoraConfig(**options)).eval()
    for name, parameter in adapted.named_parameters():
        if "modules_to_save" in name or "trainable_tokens" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    return adapted


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(ids).logits


def whole(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


# As their library has them


@pytest.mark.parametrize(
    "settings",
    [
        LINEAR,
        LINEAR | {"use_rslora": True, "lora_alpha": 3, "rank_pattern": {"c_fc": 2}, "alpha_pattern": {"c_proj": 16}},
        {"target_modules": ["wte"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["wte", "c_attn"], "ensure_weight_tying": True, "fan_in_fan_out": True},
        LINEAR | {"modules_to_save": ["lm_head"]},
        LINEAR | {"modules_to_save": ["wte"]},
        LINEAR | {"trainable_token_indices": [1, 2, 3]},
        LINEAR | {"use_dora": True},
        LINEAR | {"bias": "all"},
        LINEAR | {"init_lora_weights": "pissa"},
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items() if k not in LINEAR or "target" in k)[:60],
)
def test_an_adapter_gives_the_logits_that_it_gives_unmerged(bases, ids, tmp_path, settings):
    adapt(tmp_path / "adapter", whole(bases["gpt2"]), **settings)
    wanted = logits(PeftModel.from_pretrained(whole(bases["gpt2"]), tmp_path / "adapter"), ids)
    model = load_causal(tmp_path / "adapter").model
    if settings.get("init_lora_weights") != "pissa":  # as it begins, it leaves the model as it is
        assert not torch.allclose(wanted, logits(whole(bases["gpt2"]), ids), atol=1e-2)
    torch.testing.assert_close(logits(model, ids), wanted, rtol=1e-4, atol=1e-4)
    model.save_pretrained(tmp_path / "whole")  # weights that were one and are two now stay two
    torch.testing.assert_close(logits(whole(tmp_path / "whole"), ids), wanted, rtol=1e-4, atol=1e-4)


def test_an_adapter_in_bf16_keeps_what_the_library_keeps_in_fp32(bases, tmp_path):
    adapt(tmp_path / "adapter", whole(bases["llama"]), target_modules="all-linear")
    model = load_causal(tmp_path / "adapter", dtype=torch.bfloat16).model
    usual = AutoModelForCausalLM.from_pretrained(bases["llama"], dtype=torch.bfloat16)
    assert {n: b.dtype for n, b in model.named_buffers()} == {n: b.dtype for n, b in usual.named_buffers()}
    assert {n: p.dtype for n, p in model.named_parameters()} == {n: p.dtype for n, p in usual.named_parameters()}
    merged = load_causal(tmp_path / "adapter").model
    for name, value in merged.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.bfloat16()), name


def test_an_adapter_on_an_adapter_is_followed_down_to_the_whole_model(bases, ids, tmp_path):
    first = adapt(tmp_path / "first", whole(bases["gpt2"]), **LINEAR).merge_and_unload()
    second = adapt(tmp_path / "second", first, seed=1, **LINEAR, lora_alpha=16)
    wanted = logits(second, ids)
    name_base(tmp_path / "second", tmp_path / "first")
    assert with_bases(tmp_path / "second") == [bases["gpt2"], tmp_path / "first", tmp_path / "second"]
    torch.testing.assert_close(logits(load_causal(tmp_path / "second").model, ids), wanted, rtol=1e-4, atol=1e-4)


def name_base(folder, base, **more):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": str(base)} | more))


def test_the_tokenizer_is_the_adapters_own_or_that_of_what_it_stands_on(bases, tmp_path):
    folder = tmp_path / "adapter"
    adapt(folder, whole(bases["gpt2"]), **LINEAR)
    assert tokenizer_folder(folder) == bases["gpt2"]
    assert load_tokenizer(folder).get_vocab() == AutoTokenizer.from_pretrained(bases["gpt2"]).get_vocab()
    own = AutoTokenizer.from_pretrained(bases["gpt2"])
    own.chat_template = "own"
    own.save_pretrained(folder)
    assert tokenizer_folder(folder) == folder and load_tokenizer(folder).chat_template == "own"
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=f"{folder} has no tokenizer that loads"):
        load_tokenizer(folder)


def test_a_base_may_be_named_from_the_working_directory(bases, tmp_path, monkeypatch):
    adapt(tmp_path / "adapter", whole(bases["gpt2"]), **LINEAR)
    name_base(tmp_path / "adapter", bases["gpt2"].name)
    monkeypatch.chdir(bases["gpt2"].parent)
    assert with_bases(tmp_path / "adapter") == [bases["gpt2"], tmp_path / "adapter"]
    assert "on gpt2@sha256:" in identify(HubModel(name=str(tmp_path / "adapter")))


def test_an_adapter_whose_base_is_gone_names_both(bases, tmp_path):
    adapt(tmp_path / "adapter", whole(bases["gpt2"]), **LINEAR)
    name_base(tmp_path / "adapter", "/gone/base")
    with pytest.raises(
        ModelError, match=r"/adapter is an adapter on '/gone/base', which is not to be had .*; put"
    ) as e:
        load_causal(tmp_path / "adapter")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"base_model_name_or_path": null}', '"x"', "\xff"])
def test_an_adapter_that_names_no_base_is_one_line(tmp_path, content):
    (tmp_path / "adapter_config.json").write_bytes(content.encode("latin-1"))
    for read in (load_causal, lambda folder: identify(HubModel(name=str(folder)))):
        with pytest.raises(ModelError, match="names no model that the adapter stands on; write it there"):
            read(tmp_path)


def test_adapters_that_stand_on_one_another_are_one_line(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
        name_base(tmp_path / name, tmp_path / other)
    for read in (load_causal, lambda folder: identify(HubModel(name=str(folder)))):
        with pytest.raises(ModelError, match="stands, by way of others, on itself"):
            read(tmp_path / "a")


def test_a_whole_model_and_an_adapter_in_one_folder_are_told_apart_by_the_user(bases, tmp_path):
    shutil.copytree(bases["gpt2"], tmp_path / "both")
    adapt(tmp_path / "both", whole(bases["gpt2"]), **LINEAR)
    with pytest.raises(ModelError, match="holds a whole model and an adapter; move the one"):
        load_causal(tmp_path / "both")


def test_an_adapter_made_for_another_model_is_refused(bases, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "adapter"
    adapt(folder, whole(bases["gpt2"]), **LINEAR)
    weights = load_file(folder / "adapter_model.safetensors")
    left_out = next(iter(weights))
    save_file({k: v for k, v in weights.items() if k != left_out}, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="1 weights of the adapter are missing or have no place"):
        load_causal(folder)
    renamed = {k.replace("h.0", "h.9"): v for k, v in weights.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="weights of the adapter are missing or have no place"):
        load_causal(folder)
    name_base(folder, bases["llama"])
    with pytest.raises(ModelError, match="is no causal language model that loads on cpu") as caught:
        load_causal(folder)
    assert "\n" not in str(caught.value)


# Identities


def test_an_adapters_identity_changes_with_what_it_stands_on(bases, tmp_path):
    shutil.copytree(bases["gpt2"], tmp_path / "base")
    adapt(tmp_path / "adapter", whole(tmp_path / "base"), **LINEAR)
    base, adapter = (identify(HubModel(name=str(tmp_path / name))) for name in ("base", "adapter"))
    assert adapter.startswith("adapter@sha256:") and adapter.endswith(f" on {base}") and " on " not in base
    save_tiny_gpt2(tmp_path / "base", seed=9)
    changed = identify(HubModel(name=str(tmp_path / "adapter")))
    assert changed != adapter and changed.partition(" on ")[0] == adapter.partition(" on ")[0]
    name_base(tmp_path / "adapter", "someone/base", revision="abc")
    assert identify(HubModel(name=str(tmp_path / "adapter"))).endswith(" on someone/base@abc")


# Kept on top of one another


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "below",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["c_fc", "up_proj"], "r": 2, "lora_alpha": 5, "use_rslora": True, "lora_dropout": 0.3},
        {
            "target_modules": "all-linear", "r": 3, "rank_pattern": {"c_fc": 2, "up_proj": 5},
            "alpha_pattern": {"h.0.attn.c_attn": 16, "layers.1.self_attn.q_proj": 9},
        },
        {"target_modules": "all-linear", "modules_to_save": ["lm_head"]},
        {"target_modules": ["wte", "embed_tokens", "lm_head"]},
    ],
    ids=["all", "rslora", "patterns", "modules_to_save", "embeddings"],
)  # fmt: skip
def test_two_adapters_are_one_with_their_ranks_side_by_side(bases, ids, tmp_path, kind, below):
    base = bases[kind]
    fan = kind == "gpt2" and below["target_modules"] != ["wte", "embed_tokens", "lm_head"]
    adapt(tmp_path / "below", whole(base), **below, fan_in_fan_out=fan)
    options = {"target_modules": "all-linear", "r": 2, "lora_alpha": 7, "fan_in_fan_out": kind == "gpt2"}
    above = adapt(tmp_path / "above", load_causal(tmp_path / "below").model, seed=1, **options)
    wanted = logits(above, ids)
    name_base(tmp_path / "above", tmp_path / "below")
    low_rank_of(tmp_path / "above").write(tmp_path / "one", base, 0.1, kind == "gpt2")
    shutil.rmtree(tmp_path / "below")
    moved = shutil.move(tmp_path / "one", tmp_path / "elsewhere")
    for load in (AutoPeftModelForCausalLM.from_pretrained, whole, lambda folder: load_causal(folder).model):
        torch.testing.assert_close(logits(load(moved), ids), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"trainable_token_indices": [1]}, r"trainable_token_indices=\[1\]"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"lora_bias": True}, "lora_bias=True"),
    ],
)
def test_what_is_more_than_low_rank_is_refused(bases, tmp_path, settings, why):
    adapt(tmp_path / "adapter", whole(bases["gpt2"]), **LINEAR | settings)
    with pytest.raises(ModelError, match=f"cannot be kept as one adapter .it has {why}.; merge .* clm.lora.merge=true"):
        low_rank_of(tmp_path / "adapter")


def test_adapters_of_another_kind_are_refused_beneath_one(bases, tmp_path):
    from peft import LoHaConfig

    config = LoHaConfig(task_type="CAUSAL_LM", target_modules=["lm_head"], init_weights=False)
    get_peft_model(whole(bases["gpt2"]), config).save_pretrained(tmp_path / "loha")
    with pytest.raises(ModelError, match="cannot be kept as one adapter .it is of the kind .*LOHA"):
        low_rank_of(tmp_path / "loha")


# In every place that takes a model


@pytest.fixture(scope="module")
def pair(bases, tmp_path_factory):
    """An adapter's folder without a tokenizer, and a folder of what it makes of its base."""
    folder = tmp_path_factory.mktemp("pair")
    adapted = adapt(folder / "adapter", whole(bases["gpt2"]), **LINEAR)
    adapted.merge_and_unload().save_pretrained(folder / "merged")
    AutoTokenizer.from_pretrained(bases["gpt2"]).save_pretrained(folder / "merged")
    return folder / "adapter", folder / "merged"


def test_an_adapter_scores_reads_and_answers_as_what_it_makes_of_its_base(pair, make_config):
    from emogap.answers.respond import open_model
    from emogap.config import Sampling
    from emogap.lens.logit_lens import LogitLens
    from emogap.lm.engines.engine import Conversation
    from emogap.lm.hub import resolve
    from emogap.lm.sentence_scores import SentenceScorer
    from emogap.train.models import study_models

    scores, readings, replies = [], [], []
    asked = [Conversation(str(i), ({"role": "user", "content": s},), i, plain=True) for i, s in enumerate(SENTENCES)]
    for folder in pair:
        local = resolve(HubModel(name=str(folder)))
        scores.append(SentenceScorer(local, device="cpu").scores(SENTENCES))
        lens = LogitLens(local, device="cpu")
        readings.append(lens.read([lens.encode(SENTENCES[0])], starts=[0], top_k=2)[0].cross_entropy)
        config = make_config()
        settings = {"bases": {"own": HubModel(name=str(folder))}, "strategies": []}
        settings["respond"] = config.respond.model_copy(update={"device": "cpu", "dtype": "fp32"})
        config = config.model_copy(update=settings)
        engine = open_model(config, study_models(config)[0])
        replies.append([r.text for r in engine.generate(asked, Sampling(temperature=0, max_new_tokens=8))])
    torch.testing.assert_close(torch.tensor(scores[0]), torch.tensor(scores[1]), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        torch.tensor(readings[0]), torch.tensor(readings[1]), rtol=1e-4, atol=1e-4, equal_nan=True
    )
    assert replies[0] == replies[1] and any(replies[0])


def test_tokens_are_counted_with_the_tokenizer_of_what_an_adapter_stands_on(pair):
    import pandas as pd

    from emogap.textstats.scan import Job, scan_batch

    counted = [scan_batch(pd.Series(SENTENCES), Job((), tokenizer_folder(folder)))[1]["tokens"] for folder in pair]
    assert (
        counted[0].tolist() == counted[1].tolist() == [len(load_tokenizer(pair[1])(s)["input_ids"]) for s in SENTENCES]
    )


def test_vllm_takes_no_adapter(pair):
    from emogap.lm.engines.open_engine import open_engine

    with pytest.raises(
        ModelError, match="adapter, which writer.engine=vllm does not load; .*writer.engine=transformers"
    ):
        open_engine(Writer(model=HubModel(name=str(pair[0])), engine="vllm"))
    with pytest.raises(ModelError, match="an adapter, which cannot be merged into nf4 weights"):
        load_causal(pair[0], device="cuda", quantization="nf4")


def test_an_adapter_on_the_hub_brings_what_it_stands_on(pair, bases, ids, tmp_path, monkeypatch):
    import huggingface_hub

    from emogap.lm.engines.open_engine import open_engine

    shutil.copytree(pair[0], tmp_path / "adapter")
    name_base(tmp_path / "adapter", "someone/base", revision="b" * 40)
    fetched = []

    def download(name, revision, allow_patterns):
        fetched.append((name, revision, "*.safetensors" in allow_patterns))
        return str(tmp_path / "adapter" if name == "someone/adapter" else bases["gpt2"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    writer = Writer(model=HubModel(name="someone/adapter", revision="a" * 40), device="cpu", dtype="fp32")
    engine = open_engine(writer)
    assert fetched[:2] == [("someone/adapter", "a" * 40, False), ("someone/base", "b" * 40, False)]
    assert {("someone/adapter", "a" * 40, True), ("someone/base", "b" * 40, True)} < set(fetched[2:])
    torch.testing.assert_close(logits(engine._model, ids), logits(whole(pair[1]), ids), rtol=1e-4, atol=1e-4)
