"""Fine-tuning on models of a few thousand parameters."""

import json
import math
import os
import pickle
import re
import subprocess
import sys
from html import unescape
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from fakes import use_fakes
from tiny_models import SENTENCES, save_tiny_gpt2

from emogap.config import load_config
from emogap.device import pick_dtype
from emogap.errors import DiskError, InputError, MissingInput, ModelError, TrainingError, UsageError
from emogap.lm.answer_form import load_answer_form
from emogap.records import CORPUS, KEPT, REJECTED, REWRITES, write_rows
from emogap.store.artefacts import read_manifest
from emogap.store.exhibits import exhibits, show
from emogap.stories import writing
from emogap.train import checkpoints
from emogap.train.causal_lm import clm, clm_pieces
from emogap.train.exhibits import ask, before_after, training_exhibits
from emogap.train.rows import (
    IGNORED,
    as_seen,
    block_rows,
    cut,
    encode,
    padding_share,
    preflight,
    show_mask,
    token_table,
    wrap,
)
from emogap.train.sft import held_out, sft, sft_pieces, training_records
from emogap.train.stage import example, model_piece, training_arguments, training_size
from emogap.train.strategies import runs

BABY = {"name": "tiny-baby", "parent": "tiny", "task": "clm", "data": "emotional"}
INSTR = {"name": "tiny-instr", "parent": "tiny", "task": "sft", "data": "v3"}
BABY_INSTR = {"name": "tiny-baby-instr", "parent": "tiny-baby", "task": "sft", "data": "v3"}

FAST = {
    f"{task}.{key}": value
    for task in ("clm", "sft")
    for key, value in {
        "precision": "fp32", "device": "cpu", "lora.rank": 0, "max_steps": 6, "eval_steps": 2, "batch_size": 2,
        "learning_rate": 1e-3,
    }.items()
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tiny GPT-2."""
    return save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def drawn(monkeypatch):
    """The stages whose curves were asked for; they are not drawn, which would take longer than the training."""
    tasks = []
    monkeypatch.setattr("emogap.train.exhibits.training_exhibits", lambda config, task: tasks.append(task) or [])
    return tasks


@pytest.fixture
def study(tmp_path, tiny, drawn):
    """A home with a small corpus and small rewrites; call it with settings for the configuration."""
    texts = [f"{a} {b}" for a in SENTENCES for b in SENTENCES] * 2
    corpus = pd.DataFrame(
        {
            "id": [f"d{i}" for i in range(len(texts))], "kind": "story", "source": "s", "line_id": "l", "method": "m1",
            "emotion": "joy", "split": ["validation" if i % 5 == 0 else "train" for i in range(len(texts))],
            "text": texts, "words": [len(text.split()) for text in texts],
        }
    )  # fmt: skip
    rewrites = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(24)], "instruction": [f"Say sentence {i}." for i in range(24)],
            "input": ["", "softly"] * 12, "original_output": "No.", "emotion": "joy", "version": "v3", "reply": "x",
            "output": SENTENCES * 6, "status": [REJECTED, *[KEPT] * 23], "reason": "",
        }
    )  # fmt: skip

    def make(*strategies, **settings):
        overrides = {
            "bases": {"tiny": {"name": str(tiny)}}, "controls": False,
            "strategies": list(strategies or (BABY, INSTR, BABY_INSTR)),
            "clm.block_size": 32, "sft.max_length": 128, **FAST,
        } | {key.replace("__", "."): value for key, value in settings.items()}  # fmt: skip
        return load_config("embedded", tmp_path / "home", overrides)

    home = make().home
    for path, rows, row_type in (
        (home.corpus("emotional"), corpus, CORPUS),
        (home.rewrite_rows("v3"), rewrites, REWRITES),
    ):
        path.parent.mkdir(parents=True)
        write_rows(path, rows, row_type)
    return make


@pytest.fixture
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def record_of(config, name):
    return json.loads((config.home.model(name) / "training.json").read_text())


def weights_of(config, name):
    from safetensors.numpy import load_file

    return load_file(config.home.model(name) / "model.safetensors")


def curve(config, name, *keys):
    return [[entry[key] for key in keys] for entry in record_of(config, name)["history"] if keys[0] in entry]


# Blocks


def test_no_token_is_lost_but_the_last_remainder():
    blocks = cut([[1, 2, 3], [4], [], [5, 6, 7, 8, 9]], 4, "test")
    assert blocks.ids.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert blocks.positions.tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert blocks.dropped == 1


def test_a_document_cut_by_a_block_begins_anew_in_the_next():
    assert cut([[1], [2, 3, 4, 5]], 3, "test").positions.tolist() == [[0, 0, 1]]
    assert cut([[1], [2, 3, 4, 5, 6]], 3, "test").positions.tolist() == [[0, 0, 1], [0, 1, 2]]


def test_less_than_a_block_makes_one_shorter_block():
    assert cut([[1, 2, 3]], 8, "test").ids.tolist() == [[1, 2, 3]]


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(InputError, match="corpus has no text"):
        cut([[7]], 8, "corpus")


def test_documents_stand_between_begin_and_end(tokenizer):
    (ids,) = wrap(tokenizer, [SENTENCES[0]])
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[1:-1]) == SENTENCES[0]


def test_closed_documents_do_not_see_each_other(tiny, tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    documents = list(wrap(tokenizer, SENTENCES[:2]))
    blocks = cut(documents, sum(map(len, documents)), "test")
    alone = model(torch.tensor([documents[1]])).logits[0]
    start = len(documents[0])

    def in_block(closed):
        inputs = {name: torch.tensor(values)[None] for name, values in block_rows(blocks, closed)[0].items()}
        return model(**inputs, use_cache=False).logits[0, start:]

    assert torch.allclose(in_block(closed=True), alone, atol=1e-5)
    assert not torch.allclose(in_block(closed=False), alone, atol=1e-2)
    assert block_rows(blocks, True)[0]["labels"][start] == IGNORED


# Which models are trained


def test_several_seeds_are_several_models_each_from_the_parent_of_its_seed(study):
    config = study(clm__seeds=[0, 7], sft__seeds=[7])
    assert [run.name for run in runs(config, "clm")] == ["tiny-baby.s0", "tiny-baby.s7"]
    assert [(run.name, run.parent) for run in runs(config, "sft")] == [
        ("tiny-instr", "tiny"),
        ("tiny-baby-instr", "tiny-baby.s7"),
    ]


def test_one_parent_serves_all_seeds(study):
    config = study(sft__seeds=[3, 4])
    assert [run.parent for run in runs(config, "sft") if run.strategy.parent == "tiny-baby"] == ["tiny-baby"] * 2


def test_a_seed_without_a_parent_is_an_error(study):
    with pytest.raises(UsageError, match="no parent for seed 5.*seeds 0, 1"):
        runs(study(clm__seeds=[0, 1], sft__seeds=[5]), "sft")


def test_a_missing_parent_and_a_missing_corpus_say_what_makes_them(study):
    with pytest.raises(MissingInput, match=r"models/tiny-baby not found.*run casual_lm"):
        list(sft_pieces(study()))
    with pytest.raises(MissingInput, match="other.parquet not found.*run pretrain_data_corpus"):
        list(clm_pieces(study(BABY | {"data": "other"}, corpus__name="other")))


def test_any_order_of_trainings_is_a_matter_of_rows(study):
    instr_baby = {"name": "tiny-instr-baby", "parent": "tiny-instr", "task": "clm", "data": "emotional"}
    baby_again = {"name": "tiny-baby-baby", "parent": "tiny-baby", "task": "clm", "data": "emotional"}
    config = study(BABY, INSTR, instr_baby, baby_again, clm__max_steps=2, sft__max_steps=2)
    assert clm(config).made == ["tiny-baby", "tiny-baby-baby"]
    assert sft(config).made == ["tiny-instr", "tiny-instr-baby"]
    assert record_of(config, "tiny-instr-baby")["task"] == "clm"
    assert clm(config).made == sft(config).made == []


def test_the_published_settings_go_by_name():
    config = load_config("embedded", settings={"clm": {"published": "notebook"}, "sft": {"published": "report"}})
    assert (config.clm.learning_rate, config.clm.scheduler, config.clm.batch_size) == (5e-5, "linear", 64)
    assert (config.sft.learning_rate, config.sft.scheduler, config.sft.accumulation) == (2e-5, "cosine", 8)
    with pytest.raises(UsageError, match="published 'blog' is unknown; choose among notebook, report"):
        load_config("embedded", settings={"clm.published": "blog"})


# Causal LM from end to end


def test_clm_learns_and_leaves_a_model_that_needs_nothing_of_ours(study):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = study(clm__max_steps=30, clm__eval_steps=10)
    clm(config)
    folder, record = config.home.model("tiny-baby"), record_of(config, "tiny-baby")
    assert record["perplexity_after"] < 0.7 * record["perplexity_before"]
    assert record["parent"]["identity"].startswith("tiny@sha256:")
    assert record["data"]["train_rows"] == 25 and record["data"]["validation_rows"] == 7
    assert AutoModelForCausalLM.from_pretrained(folder).config.use_cache
    assert AutoTokenizer.from_pretrained(folder).bos_token == "<|endoftext|>"
    assert "validation perplexity" in (folder / "README.md").read_text()
    assert not checkpoints.folder(folder).exists()
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".csv", ".md", ".txt"}


def test_perplexity_after_is_that_of_the_weights_on_disk(study, tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    config = study(BABY)
    clm(config)
    documents = pd.read_parquet(config.home.corpus("emotional"))
    texts = documents.loc[documents["split"] == "validation", "text"].tolist()
    ids = torch.from_numpy(cut(wrap(tokenizer, texts), 32, "test").ids)
    model = AutoModelForCausalLM.from_pretrained(config.home.model("tiny-baby")).eval()
    with torch.no_grad():
        loss = model(ids, labels=ids).loss.item()
    assert record_of(config, "tiny-baby")["perplexity_after"] == pytest.approx(math.exp(loss), rel=1e-4)


def test_what_is_fresh_is_not_trained_again_and_what_changed_is_named(study, capsys):
    clm(study(BABY))
    left_by_a_kill = checkpoints.folder(study().home.model("tiny-baby"))
    left_by_a_kill.mkdir()
    assert clm(study(BABY)).made == [] and not left_by_a_kill.exists()
    assert clm(study(BABY, clm__report_to="none", clm__device="auto")).made == []
    assert clm(study(BABY, clm__learning_rate=5e-4)).made == ["tiny-baby"]
    assert "clm.learning_rate 0.001 → 0.0005" in capsys.readouterr().out


def test_another_seed_leaves_the_first_one_fresh(study):
    clm(study(BABY, clm__seeds=[0, 1]))
    assert clm(study(BABY, clm__seeds=[0, 1, 2])).made == ["tiny-baby.s2"]
    config = study(BABY, clm__seeds=[0, 1, 2])
    assert read_manifest(config.home.model("tiny-baby.s2"))["seed"] == 2
    assert curve(config, "tiny-baby.s0", "loss") != curve(config, "tiny-baby.s1", "loss")


def test_curves_and_tables_are_registered(study, drawn):
    config = study()
    clm(config)
    sft(config)
    assert drawn == ["clm", "sft"]
    for task in ("clm", "sft"):
        show(config.home.models, training_exhibits(config, task))
    found = {exhibit.name: exhibit.kind for exhibit in exhibits(config.home.root / "models")}
    assert found == {
        "training_clm": "table", "curves_clm": "figure", "history_clm": "table",
        "training_sft": "table", "curves_sft": "figure", "history_sft": "table",
    }  # fmt: skip
    history = pd.read_csv(config.home.root / "models/tables/history_clm.csv")
    assert history["step"].tolist() == [0, 2, 4, 6]
    assert history["validation_perplexity"].iloc[0] == pytest.approx(
        record_of(config, "tiny-baby")["perplexity_before"]
    )


# SFT


def sft_rows(count=12):
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(count)], "instruction": "Say it.", "input": "",
            "output": [SENTENCES[i % 4] for i in range(count)],
        }
    )  # fmt: skip


@pytest.fixture
def form():
    return load_answer_form("prompts/answer/sft.txt")


def test_masks_round_trip(form, tokenizer):
    for row in encode(sft_rows(4), form, tokenizer, 128, "response"):
        learnt = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(learnt).strip() in {f"{sentence}<|endoftext|>" for sentence in SENTENCES}
        assert [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED] == learnt
        assert not row["truncated"]
    (whole, *_) = encode(sft_rows(1), form, tokenizer, 128, "text")
    assert whole["labels"] == [IGNORED, *whole["input_ids"][1:]]


def test_the_preflight_shows_the_mask_and_counts_what_is_cut(form, tokenizer):
    rows = list(encode(sft_rows(4), form, tokenizer, 128, "response"))
    found = preflight(rows, tokenizer)
    assert found.example.endswith(f"Response:⟦ {SENTENCES[0]}<|endoftext|>⟧")
    assert found.truncated_share == found.without_end_share == 0
    lengths = sorted(len(row["input_ids"]) for row in rows)
    found = preflight(list(encode(sft_rows(4), form, tokenizer, lengths[2], "response")), tokenizer)
    assert lengths[2] < lengths[3] and found.truncated_share == found.without_end_share == 0.25


def test_rows_without_a_label_stop_the_run_by_name(study):
    with pytest.raises(InputError, match=r"rows have no token to learn.*\(r1, .*raise sft.max_length"):
        sft(study(INSTR, sft__max_length=16))


def test_mask_of_several_parts_is_shown(tokenizer):
    ids = tokenizer("The old dog")["input_ids"]
    labels = [IGNORED, *ids[1:-1], IGNORED]
    shown = show_mask({"input_ids": ids, "labels": labels}, tokenizer)
    assert shown.replace("⟦", "").replace("⟧", "") == "The old dog" and shown.count("⟦") == 1


def test_the_same_instructions_are_held_out_everywhere():
    ids = pd.Series([f"r{i}" for i in range(2000)])
    held = held_out(ids, 0.1, 0)
    assert 150 < len(held) < 250
    assert held_out(ids[::2], 0.1, 0) == held & set(ids[::2])
    assert held_out(ids, 0.1, 1) != held
    assert len(held_out(ids[:3], 1e-9, 0)) == 1


def test_holding_out_everything_is_an_error(study):
    with pytest.raises(InputError, match="sft.validation_share=0.999999 holds out all 23 records of .*; lower it"):
        sft(study(INSTR, sft__validation_share=0.999999))


def test_both_sft_models_are_compared_on_the_same_text(study, capsys):
    config = study()
    clm(config)
    capsys.readouterr()
    sft(config)
    first, second = record_of(config, "tiny-instr"), record_of(config, "tiny-baby-instr")
    assert first["data"]["validation_ids"] == second["data"]["validation_ids"]
    assert first["data"]["validation_rows"] + first["data"]["train_rows"] == 23
    baby = record_of(config, "tiny-baby")
    inherits = f"validation perplexity {baby['perplexity_before']:.2f} → {baby['perplexity_after']:.2f}"
    assert inherits in capsys.readouterr().out and inherits in second["parent"]["inherited"]
    assert "Response:" in (config.home.model("tiny-instr") / "README.md").read_text()


def test_original_answers_are_those_of_the_rewrites_that_were_kept_on_the_same_sides(study):
    original = {
        "name": "tiny-orig",
        "parent": "tiny",
        "task": "sft",
        "data": "original:v3",
        "control_of": INSTR["name"],
    }
    config = study(INSTR, original)
    rewritten, answered = (training_records(config, run) for run in runs(config, "sft"))
    assert answered["id"].tolist() == rewritten["id"].tolist() == [f"r{i}" for i in range(1, 24)]
    assert set(answered["output"]) == {"No."} and set(rewritten["output"]) == set(SENTENCES)
    sft(config)
    ours, theirs = (record_of(config, name)["data"] for name in ("tiny-orig", INSTR["name"]))
    same = ("validation_ids", "train_rows", "validation_rows")
    assert [ours[key] for key in same] == [theirs[key] for key in same] and ours["name"] == "original:v3"
    assert record_of(config, "tiny-orig")["steps"] == record_of(config, INSTR["name"])["steps"]
    recipes = [model_piece(config, run).recipe for run in runs(config, "sft")]
    assert [recipe.settings.get("answers") for recipe in recipes] == [None, "original"]


def test_a_file_of_records_is_trained_on_as_it_is(study, tmp_path):
    file = tmp_path / "own.json"
    records = [{"instruction": f"Say {i}.", "input": "", "output": s} for i, s in enumerate(SENTENCES)]
    file.write_text(json.dumps(records))
    config = study(INSTR | {"data": str(file)})
    sft(config)
    data = record_of(config, "tiny-instr")["data"]
    assert data["validation_rows"] + data["train_rows"] == len(SENTENCES)
    file.unlink()
    with pytest.raises(MissingInput, match="own.json"):
        sft(config)


def test_a_tiny_model_overfits_one_batch(study, tmp_path):
    tiny = save_tiny_gpt2(tmp_path / "tiny", dropout=0.0)
    config = study(
        INSTR, bases={"tiny": {"name": str(tiny)}}, sft__max_steps=60, sft__eval_steps=60, sft__learning_rate=1e-2,
        sft__batch_size=8, sft__accumulation=1,
    )  # fmt: skip
    path = config.home.rewrite_rows("v3")
    write_rows(path, pd.read_parquet(path).iloc[1:6], REWRITES)
    sft(config)
    losses = [loss for (loss,) in curve(config, "tiny-instr", "loss")]
    assert losses[0] > 5 and losses[-1] < 0.1


def test_packed_rows_are_full_and_do_not_see_each_other(study):
    config = study(INSTR, sft__packing=True, sft__batch_size=1, sft__max_steps=2)
    sft(config)
    packed = record_of(config, "tiny-instr")
    assert packed["padding_share"] == 0
    plain = study(INSTR, sft__max_steps=2)
    sft(plain)
    assert packed["perplexity_before"] == pytest.approx(record_of(plain, "tiny-instr")["perplexity_before"], rel=1e-5)


# Adapters


def test_merged_adapters_give_the_logits_of_unmerged_ones(study, tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([tokenizer(SENTENCES[0])["input_ids"]])
    logits = {}
    for merge in (True, False):
        config = study(BABY, **{"clm.lora.rank": 4, "clm.lora.merge": merge})
        clm(config)
        folder = config.home.model("tiny-baby")
        assert (folder / "adapter_config.json").exists() != merge
        logits[merge] = AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits
    assert torch.allclose(logits[True], logits[False], atol=1e-5)


ALL_ADAPTERS = {
    f"{task}.{key}": value
    for task in ("clm", "sft")
    for key, value in {"lora.rank": 4, "lora.merge": False, "max_steps": 30, "eval_steps": 15}.items()
}


def validation_ids(config, tokenizer):
    documents = pd.read_parquet(config.home.corpus("emotional"))
    texts = documents.loc[documents["split"] == "validation", "text"].tolist()
    return cut(wrap(tokenizer, texts), config.clm.block_size, "test").ids


def perplexity(model, ids):
    import torch

    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(ids)).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(ids)[:, 1:].flatten())
    return math.exp(loss.item())


def by_hand(base, *states):
    """A GPT-2 with low-rank updates added to its weights, which it keeps transposed: scaling times (B A)ᵀ."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    for folder in states:
        from safetensors.torch import load_file

        settings = json.loads((folder / "adapter_config.json").read_text())
        weights = load_file(folder / "adapter_model.safetensors")
        for name, a in weights.items():
            if name.endswith("lora_A.weight"):
                module = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
                update = weights[name.replace("lora_A", "lora_B")] @ a
                module.weight.data += settings["lora_alpha"] / settings["r"] * update.T
    return model


def test_adapters_kept_on_one_another_are_one_adapter_on_the_base(study, tiny, tokenizer, monkeypatch):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    from emogap.lm.loading import load_causal
    from emogap.train import model_folder

    trained, write = [], model_folder._write_adapter

    def keep_both(folder, model, parent, below):
        """The trained adapter alone too, as it is before it is put together with its parent's."""
        if "rehearsal" not in folder.name:
            trained.append(folder.parent / f"alone-{len(trained)}")
            model.save_pretrained(trained[-1])
        write(folder, model, parent, below)

    monkeypatch.setattr(model_folder, "_write_adapter", keep_both)
    again = {"name": "tiny-baby-again", "parent": "tiny-baby", "task": "clm", "data": "emotional"}
    third = {"name": "tiny-third", "parent": "tiny-baby-again", "task": "clm", "data": "emotional"}
    config = study(BABY, again, third, **ALL_ADAPTERS)
    clm(config)
    ids = validation_ids(config, tokenizer)
    for depth, name in enumerate(("tiny-baby", "tiny-baby-again", "tiny-third"), start=1):
        folder = config.home.model(name)
        recorded = record_of(config, name)["perplexity_after"]
        settings = json.loads((folder / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == str(tiny) and settings["r"] == 4 * depth
        elsewhere = folder.rename(config.home.root / f"moved-{name}")
        for load in (AutoPeftModelForCausalLM.from_pretrained, AutoModelForCausalLM.from_pretrained):
            assert perplexity(load(elsewhere), ids) == pytest.approx(recorded, rel=1e-4)
        assert perplexity(load_causal(elsewhere).model, ids) == pytest.approx(recorded, rel=1e-4)
        elsewhere.rename(folder)
        assert perplexity(by_hand(tiny, *trained[:depth]), ids) == pytest.approx(recorded, rel=1e-4)
        assert recorded < 0.99 * record_of(config, name)["perplexity_before"]


def test_sft_on_a_kept_adapter_answers_as_its_record_says(study):
    few = {"clm.max_steps": 8, "clm.eval_steps": 4, "sft.max_steps": 2, "sft.eval_steps": 2}
    config = study(BABY, BABY_INSTR, **ALL_ADAPTERS | few | {"sft.lora.rank": 2, "sft.lora.alpha": 5})
    clm(config)
    sft(config)
    baby, child = config.home.model("tiny-baby"), config.home.model("tiny-baby-instr")
    assert json.loads((child / "adapter_config.json").read_text())["r"] == 6
    # What is trained on begins where its parent stands: a step too small to matter leaves the parent's logits.
    config = study(BABY, BABY_INSTR, **ALL_ADAPTERS | few | {"sft.learning_rate": 1e-12})
    sft(config)
    import torch
    from peft import AutoPeftModelForCausalLM

    ids = torch.tensor([[5, 6, 7, 8, 9]])
    before, after = (AutoPeftModelForCausalLM.from_pretrained(folder).eval()(ids).logits for folder in (baby, child))
    assert torch.allclose(before, after, atol=1e-4)


def test_an_adapter_of_somebody_else_as_the_base_is_held_too(study, tiny, tokenizer, tmp_path):
    from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    theirs = LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=7, use_rslora=True, target_modules=["c_attn"], modules_to_save=["ln_f"],
        init_lora_weights=False, fan_in_fan_out=True,
    )  # fmt: skip
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), theirs)
    adapted.base_model.model.transformer.ln_f.modules_to_save["default"].weight.data *= 1.5
    adapted.save_pretrained(tmp_path / "theirs")
    config = study(BABY, **ALL_ADAPTERS | {"bases": {"tiny": {"name": str(tmp_path / "theirs")}}, "clm.max_steps": 6})
    clm(config)
    folder, record = config.home.model("tiny-baby"), record_of(config, "tiny-baby")
    ids = validation_ids(config, tokenizer)
    assert record["perplexity_before"] == pytest.approx(perplexity(adapted, ids), rel=1e-4)
    model = AutoPeftModelForCausalLM.from_pretrained(folder)
    assert record["perplexity_after"] == pytest.approx(perplexity(model, ids), rel=1e-4)
    assert "library_name: peft" in (folder / "README.md").read_text()
    assert "rule adapter on adapter" in read_manifest(folder)["identities"]


def test_what_cannot_be_kept_on_an_adapter_is_refused_before_any_training(study, tiny, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], use_dora=True, fan_in_fan_out=True)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config).save_pretrained(tmp_path / "dora")
    settings = {"bases": {"tiny": {"name": str(tmp_path / "dora")}}}
    with pytest.raises(ModelError, match=r"dora.* cannot be kept as one adapter \(it has use_dora=True\); merge"):
        clm(study(BABY, **ALL_ADAPTERS | settings), watch=lambda *_: pytest.fail("trained"))
    assert clm(study(BABY, **settings)).made == ["tiny-baby"]


def test_only_adapters_kept_on_adapters_are_stale_by_the_rule_for_them(study, tiny, tmp_path):
    from emogap.store.artefacts import write_json

    config = study(BABY, INSTR, BABY_INSTR, **ALL_ADAPTERS | {"clm.max_steps": 2, "sft.max_steps": 2})
    clm(config)
    sft(config)
    for name in ("tiny-baby", "tiny-instr", "tiny-baby-instr"):  # as it was written before
        manifest = read_manifest(config.home.model(name))
        manifest["identities"].pop("rule adapter on adapter", None)
        write_json(config.home.model(name).with_name(f"{name}.manifest.json"), manifest)
    pieces = [piece for piece in (*clm_pieces(config), *sft_pieces(config)) if not piece.is_drawing]
    states = {piece.path.name: piece.freshness() for piece in pieces}
    assert {name: state.state for name, state in states.items()} == {
        "tiny-baby": "fresh", "tiny-instr": "fresh", "tiny-baby-instr": "stale",
    }  # fmt: skip
    assert states["tiny-baby-instr"].reasons == ('rule adapter on adapter "1" → "2 (one adapter holds both)"',)


def test_an_adapter_can_be_a_parent(study):
    config = study(BABY, BABY_INSTR, **{"clm.lora.rank": 4, "clm.lora.merge": False})
    clm(config)
    sft(config)
    baby, child = record_of(config, "tiny-baby"), record_of(config, "tiny-baby-instr")
    assert baby["trainable"] < baby["parameters"] and child["trainable"] == child["parameters"]


# What could fail only when it is saved


@pytest.mark.parametrize("rank", [0, 4])
def test_a_base_whose_defaults_for_generation_contradict_each_other_is_trained_and_saved(study, tiny, tmp_path, rank):
    import shutil

    from transformers import AutoModelForCausalLM

    base = shutil.copytree(tiny, tmp_path / "base")
    (base / "generation_config.json").write_text('{"eos_token_id": [0, 3], "do_sample": false, "temperature": 0.7}')
    config = study(BABY, bases={"tiny": {"name": str(base)}}, clm__lora={"rank": rank})

    def kill(name, history):
        if history[-1]["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        clm(config, watch=kill)
    assert clm(config).made == ["tiny-baby"]
    saved = AutoModelForCausalLM.from_pretrained(config.home.model("tiny-baby")).generation_config
    assert saved.eos_token_id == [0, 3] and saved.temperature is None


@pytest.mark.parametrize("part", ["PreTrainedTokenizerFast.save_pretrained", "PreTrainedConfig.save_pretrained"])
def test_what_cannot_be_saved_is_said_before_the_first_step(study, monkeypatch, part):
    import transformers

    owner, name = part.split(".")

    def refuse(*_, **__):
        raise TypeError("Object of type set is not JSON serializable")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(transformers, owner), name, refuse)
        with pytest.raises(ModelError, match=r"trained from .*tiny could not be saved \(Object of type set"):
            clm(study(BABY), watch=lambda *_: pytest.fail("trained"))
    assert clm(study(BABY)).made == ["tiny-baby"]


def test_a_file_of_the_record_s_name_in_a_base_is_not_taken_for_a_record(study, tiny, tmp_path):
    import shutil

    for content in ("{", "[]", '{"task": "clm"}'):
        base = shutil.copytree(tiny, tmp_path / "base", dirs_exist_ok=True)
        (base / "training.json").write_text(content)
        config = study(BABY, bases={"tiny": {"name": str(base)}}, clm__max_steps=2)
        clm(config)
        assert record_of(config, "tiny-baby")["parent"]["inherited"] == ""


@pytest.mark.parametrize("task, stage", [("clm", clm), ("sft", sft)])
def test_a_device_that_is_not_there_is_said_before_anything_is_read(study, task, stage):
    with pytest.raises(UsageError, match=rf"{task}.device: there is no device cuda:7 on this machine, .*; use auto"):
        stage(study(BABY, INSTR, **{f"{task}.device": "cuda:7"}))


# Kills, bad luck, bad settings


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@pytest.mark.parametrize(
    "task, rank",
    [
        ("clm", 0),
        ("sft", 4),
        pytest.param("clm", 4, marks=pytest.mark.slow),
        pytest.param("sft", 0, marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_goes_on_as_if_nothing_had_been(study, task, rank):
    strategy, stage = (BABY, clm) if task == "clm" else (INSTR, sft)
    settings = {f"{task}.lora.rank": rank, f"{task}.lora.dropout": 0.1, f"{task}.max_steps": 8}
    keys = ("loss", "learning_rate", "grad_norm", "step")
    config = study(strategy, **settings, **{f"{task}.seeds": [5]})
    stage(config)
    undisturbed = curve(config, strategy["name"], *keys), weights_of(config, strategy["name"])

    tokens = record_of(config, strategy["name"])["tokens"]
    config.home.model(strategy["name"]).rename(config.home.root / "undisturbed")

    def kill(name, history):
        if history[-1]["step"] == 6:
            raise Killed

    with pytest.raises(Killed):
        stage(config, watch=kill)
    folder = checkpoints.folder(config.home.model(strategy["name"]))
    kept = sorted(folder.glob("checkpoint-*"), key=checkpoints.step_of)
    assert checkpoints.step_of(kept[-1]) == 4 and len(kept) <= 2
    assert not list(folder.rglob("training_args.bin"))
    (kept[-1].with_name("checkpoint-5")).mkdir()  # as a kill in the middle of writing leaves it
    seen = []
    stage(config, watch=lambda name, history: seen.append(history[-1]["step"]))
    assert seen[0] == 6
    assert record_of(config, strategy["name"])["tokens"] == tokens
    assert curve(config, strategy["name"], *keys) == undisturbed[0]
    weights = weights_of(config, strategy["name"])
    assert all(np.array_equal(weights[name], array) for name, array in undisturbed[1].items())


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("clm", {"scheduler": "constant"}),
        ("clm", {"learning_rate": 1e-12, "patience": 2, "max_steps": 30}),
        ("sft", {"lora.rank": 4, "scheduler": "constant"}),
    ],
)
def test_a_training_killed_after_its_last_step_does_no_step_more(study, monkeypatch, task, settings):
    strategy, stage = (BABY, clm) if task == "clm" else (INSTR, sft)
    config = study(strategy, **{f"{task}.{key}": value for key, value in settings.items()})
    stage(config)
    name, timed = strategy["name"], {"seconds", "training_seconds"}
    undisturbed = [{k: v for k, v in e.items() if k not in timed} for e in record_of(config, name)["history"]]
    weights = weights_of(config, name)
    config.home.model(name).rename(config.home.root / "undisturbed")

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("emogap.train.trainer.StudyTrainer._load_best_model", kill)
        with pytest.raises(Killed):
            stage(config)
    stage(config)
    record = record_of(config, name)
    assert [{k: v for k, v in e.items() if k not in timed} for e in record["history"]] == undisturbed
    again = weights_of(config, name)
    assert all(np.array_equal(again[name], array) for name, array in weights.items())


def test_a_best_checkpoint_that_is_gone_is_said(study):
    import shutil

    config = study(BABY)
    folder = checkpoints.folder(config.home.model("tiny-baby"))

    def lose_the_best(name, history):
        if history[-1]["step"] == 6:
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)

    with pytest.raises(TrainingError, match="tiny-baby: its best checkpoint .*checkpoint-.* is gone; delete"):
        clm(study(BABY, clm__learning_rate=1e-12, clm__max_steps=6, clm__patience=9), watch=lose_the_best)


def test_checkpoints_of_other_settings_are_not_gone_on_with(study, capsys):
    def kill(name, history):
        if history[-1]["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        clm(study(BABY), watch=kill)
    config = study(BABY, clm__learning_rate=2e-3)
    clm(config)
    assert "other settings or inputs are removed" in capsys.readouterr().out
    assert curve(config, "tiny-baby", "learning_rate")[0] == [2e-3]


def test_training_stops_when_held_out_text_gets_no_better(study):
    config = study(BABY, clm__learning_rate=1e-12, clm__patience=2, clm__max_steps=30)
    clm(config)
    assert record_of(config, "tiny-baby")["steps"] < 30


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(study, monkeypatch):
    from emogap.train.trainer import StudyTrainer

    real = StudyTrainer.compute_loss

    def broken(self, *args, **kwargs):
        loss = real(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 4 and self.model.training else loss

    monkeypatch.setattr(StudyTrainer, "compute_loss", broken)
    config = study(BABY)
    with pytest.raises(TrainingError, match=r"loss is nan at step 5; .*checkpoint-4; lower clm.learning_rate"):
        clm(config)
    assert not config.home.model("tiny-baby").exists()
    assert (checkpoints.folder(config.home.model("tiny-baby")) / "checkpoint-4/model.safetensors").exists()


def test_out_of_memory_says_what_to_lower(study, monkeypatch):
    import torch

    from emogap.train.trainer import StudyTrainer

    def full(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(StudyTrainer, "training_step", full)
    with pytest.raises(TrainingError, match=r"memory ran out at clm.batch_size=2.*halve clm.batch_size and double"):
        clm(study(BABY))


def test_disk_is_checked_before_the_first_step(study, monkeypatch):
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskError, match=r"training tiny-baby needs .* GB .* free some"):
        clm(study(BABY))


def test_the_writer_of_a_preview_gives_its_memory_back_before_training(study, monkeypatch):
    closed = []
    engine = use_fakes(monkeypatch, lambda conversation: "")
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    config = study(BABY, clm__max_steps=1)
    assert writing.kept_engine(config.writer) is engine and not closed
    clm(config)
    assert closed == [True]
    assert clm(config).made == [] and closed == [True]


def test_half_precision_on_a_processor_is_what_the_processor_has(study, capsys):
    config = study(BABY, clm__precision="fp16", clm__max_steps=1)
    clm(config)
    has = str(pick_dtype("cpu")).removeprefix("torch.")
    assert capsys.readouterr().out.count(f"clm.precision=fp16 is for GPUs; computed in {has} here") == 1
    notes = read_manifest(config.home.model("tiny-baby"))["notes"]
    assert notes["dtype"] == {"bfloat16": "bf16", "float32": "fp32"}[has]


def test_a_corpus_without_validation_is_an_error(study):
    config = study(BABY)
    path = config.home.corpus("emotional")
    documents = pd.read_parquet(path)
    write_rows(path, documents.assign(split="train", line_id=documents["id"]), CORPUS)
    with pytest.raises(InputError, match="no validation documents"):
        clm(config)


def test_processes_share_a_step(study):
    from emogap.config import Clm
    from emogap.train.checks import shared_batches

    def share(batch_size, accumulation, processes):
        return shared_batches("clm", Clm(batch_size=batch_size, accumulation=accumulation), processes)

    assert share(4, 8, 2) == (4, 4)
    assert share(4, 1, 2) == (2, 1)
    with pytest.raises(UsageError, match="3 processes cannot share"):
        share(4, 8, 3)


@pytest.mark.parametrize(
    "task, rank", [pytest.param("clm", 0, marks=pytest.mark.pipeline), pytest.param("sft", 4, marks=pytest.mark.slow)]
)
def test_two_processes_train_as_one_does(study, tmp_path, task, rank):
    strategy = BABY if task == "clm" else INSTR
    tiny = save_tiny_gpt2(tmp_path / "tiny", dropout=0.0)  # each process draws its own dropout
    settings = {
        "controls": False, "bases": {"tiny": {"name": str(tiny)}}, "strategies": [strategy], **FAST,
        "clm.block_size": 32, "sft.max_length": 128,
        f"{task}.lora.rank": rank, f"{task}.accumulation": 2, f"{task}.max_steps": 8,
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={toml(value)}")]
    make_whole_steps(study(**settings), rows_a_step=4)
    curves = {}
    for processes in (1, 2):
        config = load_config("embedded", tmp_path / "home", settings)
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] * (processes > 1)
        command = [sys.executable, *launcher, "-m", "emogap", task, "--home", str(config.home.root), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
        assert done.returncode == 0, done.stderr
        assert record_of(config, strategy["name"])["processes"] == processes
        curves[processes] = {
            key: curve(config, strategy["name"], key) for key in ("loss", "eval_loss", "learning_rate", "grad_norm")
        }
        config.home.model(strategy["name"]).rename(tmp_path / f"trained-by-{processes}")
    for key, alone in curves[1].items():
        assert np.allclose(alone, curves[2][key], atol=1e-3, rtol=0), key


def make_whole_steps(config, rows_a_step):
    """Take rows away until an epoch is a whole number of steps: several processes fill up a smaller last step."""
    path = config.home.rewrite_rows("v3")
    rows = pd.read_parquet(path).query("status == @KEPT")
    learnt = ~rows["id"].isin(held_out(rows["id"], config.sft.validation_share, config.seed))
    spare = learnt.sum() % rows_a_step
    write_rows(path, rows.drop(index=rows.index[learnt][:spare]), REWRITES)


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


# What is seen before and after a training


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ({"max_gradnorm": 1}, "max_gradnorm=1: TrainingArguments has no argument 'max_gradnorm'; did you mean 'max_gr"),
        ({"max_grad_norm": "x"}, 'max_grad_norm="x": input should be a valid number'),
        ({"optim": "nope"}, 'optim="nope": TrainingArguments does not take it .nope is not a valid'),
        ({"adam_beta1": 2.0}, "adam_beta1=2.0: TrainingArguments does not take it .Invalid beta parameter"),
        ({"lr_scheduler_kwargs": {"nope": 1}}, 'lr_scheduler_kwargs=. "nope" = 1 .: .*nope'),
        ({"learning_rate": 1e-3}, "learning_rate=0.001: this is the study's to set; use clm.learning_rate$"),
        ({"data_seed": 3}, "use clm.seeds$"),
        ({"save_strategy": "no"}, "use clm.eval_steps$"),
        ({"output_dir": "x"}, "use --home DIR$"),
        ({"save_only_model": True}, "the same for every training; take it out of clm.trainer$"),
    ],
)
def test_a_further_argument_that_cannot_be_is_one_line_before_a_model_is_loaded(study, monkeypatch, further, said):
    monkeypatch.setattr("emogap.train.stage.load_causal", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=said) as error:
        clm(study(BABY, clm__trainer=further))
    assert str(error.value).startswith("clm.trainer.") and "\n" not in str(error.value)


def test_what_toml_cannot_hold_is_no_further_argument(study):
    for value in (None, float("inf"), object()):
        with pytest.raises(UsageError, match=r"setting 'clm\.trainer"):
            study(BABY, clm__trainer={"lr_scheduler_kwargs": {"min_lr": value}})


def test_the_table_of_arguments_is_what_the_training_was_given(study):
    from transformers import TrainerCallback

    given = []

    class Spy(TrainerCallback):
        def on_train_begin(self, args, state, control, **_):
            given.append(args)

    further = {"max_grad_norm": 0.25, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 0.5}}
    config = study(BABY, clm__trainer=further, clm__max_steps=2)
    table = training_arguments(config, runs(config, "clm")[0], everything=True).set_index("argument")
    clm(config, callbacks=[Spy()])
    (used,) = given
    for name in ("max_grad_norm", "learning_rate", "seed", "eval_steps", "adam_beta2", "max_steps", "fp16"):
        assert table.loc[name, "value"] == json.dumps(getattr(used, name))
    assert table["from"][["max_grad_norm", "seed", "load_best_model_at_end", "adam_beta2"]].tolist() == [
        "clm.trainer", "clm.seeds", "the study", "default of the library",
    ]  # fmt: skip
    assert table["published"][["learning_rate", "fp16", "bf16", "max_steps"]].tolist() == ["2e-05", "true", "false", ""]
    assert "adam_beta2" not in set(training_arguments(config, runs(config, "clm")[0])["argument"])
    # Half a cosine from 0.001 to 0.5 is in its middle after one step of two.
    assert curve(config, "tiny-baby", "learning_rate")[-1] == [pytest.approx((0.001 + 0.5) / 2)]
    made = read_manifest(config.home.model("tiny-baby"))
    assert made["settings"]["clm.trainer.max_grad_norm"] == 0.25 and made["notes"]["callbacks"] == ["Spy"]
    assert next(piece.freshness().state for piece in clm_pieces(study(BABY, clm__max_steps=2))) == "stale"


def test_without_further_arguments_and_callbacks_nothing_says_so(study):
    config = study(BABY)
    (piece,) = [piece for piece in clm_pieces(config) if not piece.is_drawing]
    assert not [key for key in piece.recipe.settings if "trainer" in key]


def test_callbacks_are_for_one_process_and_of_the_library(study, monkeypatch):
    from transformers import EarlyStoppingCallback

    with pytest.raises(UsageError, match=r"callbacks \(EarlyStoppingCallback\) .*set clm.processes=1"):
        clm(study(BABY, clm__processes=2), callbacks=[EarlyStoppingCallback()])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"one process and sft has 2"):
        sft(study(INSTR), callbacks=[EarlyStoppingCallback])
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(UsageError, match="no TrainerCallback"):
        clm(study(BABY), callbacks=[print])


@pytest.mark.parametrize("packing", [False, True])
def test_the_size_of_a_training_is_what_it_then_takes(study, packing):
    wanted = {"sft.max_steps": -1, "sft.epochs": 1.5, "sft.accumulation": 3, "sft.max_length": 256}
    config = study(INSTR, **wanted, sft__packing=packing)
    size = training_size(config, runs(config, "sft")[0]).set_index("quantity")["value"]
    sft(config)
    record = record_of(config, "tiny-instr")
    assert size["steps at most"] == record["steps"]
    assert size["epochs at most"] == pytest.approx(record["history"][-1]["epoch"], abs=0.2)
    assert size["rows to train on"] == record["data"]["train_rows"]
    assert size["tokens to train on"] == record["data"]["preflight"]["train"]["tokens"]
    assert size["share of them that the loss counts"] == record["data"]["preflight"]["train"]["learnt_share"]
    assert size["rows a step"] == 6
    assert (size["rows through the model"] < size["rows to train on"]) == packing
    if packing:
        assert size["share of padding"] == record["padding_share"] == 0
        assert 0 < size["share of the rows that is filled"] <= 1


@pytest.mark.parametrize(("lengths", "batch_size"), [([1, 2, 5, 9], 2), ([3, 8, 4, 4, 1], 2), ([2, 7], 4), ([3, 5], 1)])
def test_padding_is_the_mean_over_all_orders_of_the_rows(lengths, batch_size):
    orders = list(permutations(lengths))
    slots = [
        sum(len(batch) * max(batch) for batch in (order[i : i + batch_size] for i in range(0, len(order), batch_size)))
        for order in orders
    ]
    assert padding_share(lengths, batch_size) == pytest.approx(1 - sum(lengths) / (sum(slots) / len(orders)))


def test_a_block_is_shown_token_by_token_as_the_model_sees_it(study, tokenizer):
    config = study(BABY, clm__boundaries="closed")
    run = runs(config, "clm")[0]
    tokens = example(config, run, 1)
    assert len(tokens) == 32 and "".join(tokens["text"]) == tokenizer.decode(tokens["id"].tolist())
    assert tokens["special"].tolist() == [id_ == tokenizer.eos_token_id for id_ in tokens["id"]]
    assert tokens["document"].is_monotonic_increasing and tokens["document"].iloc[0] == 1
    first = ~tokens["document"].duplicated()
    assert tokens["learnt"].tolist() == (~first).tolist()
    with pytest.raises(UsageError, match="tiny-baby has no train row 999; it has"):
        example(config, run, 999)


@pytest.mark.parametrize("loss_on", ["response", "text"])
def test_an_example_shows_which_part_of_it_is_learnt(study, loss_on):
    config = study(INSTR, sft__loss_on=loss_on)
    tokens = example(config, runs(config, "sft")[0], split="validation")
    learnt = "".join(tokens["text"][tokens["learnt"]])
    assert learnt.startswith(" " if loss_on == "response" else "Give a response")
    assert learnt.removesuffix("<|endoftext|>").endswith(tuple(SENTENCES))
    assert tokens["special"].tolist() == [True, *[False] * (len(tokens) - 2), True]


def test_a_text_of_a_notebook_is_escaped_and_whole(tokenizer):
    text = '<b>"grey" & näïve</b>\n\n  two'
    ids = [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]
    shown = as_seen(token_table(ids, [IGNORED, *ids[1:]], tokenizer)).data
    assert "<b>" not in shown and "two" in shown
    assert unescape(re.sub(r"<[^>]+>", "", shown)).endswith(f"<|endoftext|>{text}")


def test_before_and_after_are_the_likeliest_tokens_of_both_models(study, tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    config = study(BABY, INSTR)
    clm(config), sft(config)
    opening, instruction = "The old dog", "Say sentence 1."
    form = load_answer_form("prompts/answer/sft.txt")
    asked = {"clm": (opening, opening), "sft": (instruction, form.render(instruction))}
    for task, (given, question) in asked.items():
        run = runs(config, task)[0]
        table = before_after(config, run, [given], new_tokens=5)
        assert list(table.columns) == ["opening" if task == "clm" else "instruction", "tiny", run.name]
        for name, folder in (("tiny", config.bases["tiny"].name), (run.name, config.home.model(run.name))):
            model = AutoModelForCausalLM.from_pretrained(folder).eval()
            ids = start = [tokenizer.bos_token_id, *tokenizer(question)["input_ids"]]
            while len(ids) < len(start) + 5 and not (len(ids) > len(start) and ids[-1] == tokenizer.eos_token_id):
                with torch.no_grad():
                    ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
            assert table[name].item() == tokenizer.decode(ids[len(start) :], skip_special_tokens=True)


def test_a_text_that_cannot_be_gone_on_with_is_one_line(tiny):
    from emogap.lm.loading import load_causal

    loaded = load_causal(tiny)
    with pytest.raises(UsageError, match="is empty"):
        ask(loaded, " \n")
    with pytest.raises(UsageError, match="the model reads 256; shorten it"):
        ask(loaded, "word " * 400)


@pytest.mark.slow
def test_processes_can_be_started_after_a_look_at_what_they_will_be_given(study):
    """In a process of its own, as a notebook's kernel is one: where Trainer was loaded, a device was taken, or a model
    asked, none can be forked, and a training that is run again there is started all the same."""
    config = study(BABY, clm__processes=2)
    code = """if __name__ == "__main__":
        import os, pickle, sys
        from accelerate import Accelerator
        from emogap.train import causal_lm, stage, strategies
        # As CUDA does where it has been asked whether there is a GPU.
        os.register_at_fork(after_in_child=lambda: os._exit(9))
        Accelerator(cpu=True)
        config = pickle.loads(bytes.fromhex(sys.argv[1]))
        run = strategies.runs(config, "clm")[0]
        arguments = stage.training_arguments(config, run).set_index("argument")["value"]
        print(arguments["per_device_train_batch_size"], len(stage.example(config, run)))
        size = stage.training_size(config, run).set_index("quantity")["value"]
        causal_lm.clm(config)
        print(size["rows a step"], size["steps at most"])
    """
    script = config.home.root / "look.py"
    script.write_text(code)
    found = subprocess.run([sys.executable, script, pickle.dumps(config).hex()], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0] == "1 32" and found.stdout.splitlines()[-1] == "2 6"
    assert record_of(config, "tiny-baby")["processes"] == 2
