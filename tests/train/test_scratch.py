"""Models that are trained from scratch, and checkpoints by words seen."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny_models import SENTENCES, save_tiny_gpt2

from emogap.config import CHECKPOINTS, SIZES, Config, load_config
from emogap.errors import DiskError, UsageError
from emogap.home_settings import toml
from emogap.records import CORPUS, write_rows
from emogap.store.artefacts import read_manifest
from emogap.store.exhibits import exhibits, read_table
from emogap.train import checkpoints
from emogap.train.causal_lm import clm, clm_pieces
from emogap.train.exhibits import by_words, curves_by_words
from emogap.train.model_folder import read_record
from emogap.train.models import Comparison, comparisons, known_models, named_models, study_models
from emogap.train.rows import block_rows, cut, words_by_token, wrap
from emogap.train.stage import example, model_piece, training_size
from emogap.train.strategies import runs

NEW = {"name": "small", "parent": "new:gpt2-tiny", "task": "clm", "data": "emotional"}
BABY = {"name": "tiny-baby", "parent": "tiny", "task": "clm", "data": "emotional"}
WORDS = [len(sentence.split()) for sentence in SENTENCES]
TEN = "The dog ran up the hill and saw a boat."
"""Of ten words."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "tiny", dropout=0.1)


@pytest.fixture
def study(tmp_path, tiny, monkeypatch):
    """A home whose corpus holds these texts, four in five of them to train on; settings for the configuration."""
    monkeypatch.setattr("emogap.train.exhibits.training_exhibits", lambda config, task: [])

    def make(*strategies, texts=None, home="home", **settings) -> Config:
        given = {
            "bases": {"tiny": {"name": str(tiny)}}, "controls": False, "strategies": list(strategies or [NEW]),
            "lens.models": ["tiny"], "clm.block_size": 16, "clm.vocabulary": 300, "clm.precision": "fp32",
            "clm.lora.rank": 0, "clm.max_steps": 6, "clm.eval_steps": 2, "clm.batch_size": 2, "clm.accumulation": 1,
            "clm.learning_rate": 1e-3, "clm.device": "cpu",
        } | {key.replace("__", "."): value for key, value in settings.items()}  # fmt: skip
        config = load_config("embedded", tmp_path / home, given)
        texts = texts or [f"{a} {b}" for a in SENTENCES for b in SENTENCES]
        rows = pd.DataFrame(
            {
                "id": [f"d{i}" for i in range(len(texts))], "kind": "line", "source": "s", "line_id": "l", "method": "",
                "emotion": "", "split": ["validation" if i % 5 == 0 else "train" for i in range(len(texts))],
                "text": texts, "words": [len(text.split()) for text in texts],
            }
        )  # fmt: skip
        path = config.home.corpus("emotional")
        if not path.exists():
            path.parent.mkdir(parents=True)
            write_rows(path, rows, CORPUS)
        return config

    return make


def weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    ours, theirs = weights(first), weights(second)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


# Words


def test_every_word_counts_once_in_the_token_that_it_begins_in(tiny):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    texts = [*SENTENCES, "  two\t words\n\n", "naïve 我们 go 🙂🙂 home", "x", ""]
    counted = list(words_by_token(tokenizer, texts))
    assert [words.sum() for words in counted] == [*WORDS, 2, 5, 1, 0]
    for words, ids in zip(counted, wrap(tokenizer, texts), strict=True):
        assert len(words) == len(ids)
    tokens = tokenizer.convert_ids_to_tokens(next(iter(wrap(tokenizer, SENTENCES[:1]))))
    begins = [place == 1 or token.startswith("Ġ") for place, token in enumerate(tokens)]
    assert counted[0].tolist() == [int(begin) for begin in begins]


def test_a_block_has_the_words_that_begin_in_it():
    words = [np.array([0, 1, 0, 1]), np.array([0, 2, 0])]
    blocks = cut([[9, 1, 2, 3], [9, 4, 9]], 3, "test", words)
    assert blocks.words.tolist() == [1, 3] and blocks.dropped == 1
    assert [row["words"] for row in block_rows(blocks, closed=True)] == [1, 3]
    assert "words" not in block_rows(cut([[9, 1, 2]], 3, "test"), closed=False)[0]


def test_checkpoints_are_those_that_the_challenge_asks_for():
    millions = [*range(1, 10), *range(10, 101, 10)]
    assert [checkpoints.marked(mark) for mark in CHECKPOINTS["strict-small"]] == [f"chck_{n}M" for n in millions]
    more = [f"chck_{n}M" for n in range(200, 1001, 100)]
    assert [checkpoints.marked(mark) for mark in CHECKPOINTS["strict"]][len(millions) :] == more
    assert [checkpoints.marked(mark) for mark in (25_000, 1_500_000, 7)] == ["chck_25K", "chck_1500K", "chck_7"]


# From scratch


def test_a_new_model_has_its_own_tokenizer_and_is_a_model_like_any_other(study):
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, set_seed

    texts = ["held out zzyzx zzyzx zzyzx", *[f"learnt abcabc abcabc {sentence}" for sentence in SENTENCES]] * 8
    config = study(texts=texts, clm__seeds=[3])
    assert clm(config).made == ["small.untrained", "small"]
    start, folder = config.home.model("small.untrained"), config.home.model("small")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    learnt, unseen = (tokenizer.tokenize(word) for word in (" abcabc", " zzyzx"))
    assert len(learnt) == 1 < len(unseen) and len(tokenizer) <= 300
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == model.config.eos_token_id == 0
    assert model.config.use_cache
    set_seed(3)
    size = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 512}
    fresh = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **size)).state_dict()
    assert all(np.array_equal(array, fresh[name].numpy()) for name, array in weights(start).items())
    record = read_record(folder)
    assert 0.5 * len(tokenizer) < record["perplexity_before"] < 2 * len(tokenizer), "it knows nothing at first"
    assert record["perplexity_after"] < record["perplexity_before"] and record["parameters"] < 2_000_000
    assert "base_model" not in (folder / "README.md").read_text()
    assert read_manifest(start)["identities"] == {"parent": "new:gpt2-tiny"}
    assert clm(config).fresh == ["small.untrained", "small"]
    stale = study(clm__seeds=[3], clm__vocabulary=299 + 2)
    assert next(iter(clm_pieces(stale))).freshness().reasons == ("clm.vocabulary 300 → 301",)


def test_it_can_be_looked_at_before_it_is_trained(study):
    config = study()
    [run] = runs(config, "clm")
    assert run.parent == "small.untrained"
    size = training_size(config, run).set_index("quantity")["value"]
    tokens = example(config, run)
    assert tokens["text"][0] == "<|endoftext|>" and size["rows to train on"] > 1
    assert clm(config).made == ["small"], "what it begins with was made to be looked at"


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (
            {"parent": "new:gpt3"},
            "'small' is to be a new model of the size 'gpt3', which is unknown; choose among new:",
        ),
        ({"task": "sft", "data": "v1"}, "'small' is to train a new model by sft; train it by clm first"),
    ],
)
def test_what_cannot_be_trained_from_scratch_is_one_line(study, strategy, said):
    with pytest.raises(UsageError, match=said):
        study(NEW | strategy)


def test_it_has_no_base_and_is_the_base_of_what_comes_from_it(study):
    instr = {"name": "small-instr", "parent": "small", "task": "sft", "data": "v1"}
    config = study(NEW, instr, BABY, clm__seeds=[0, 1])
    assert [(one.key, one.base) for one in known_models(config)] == [
        ("tiny", "tiny"), ("tiny-baby.s0", "tiny"), ("tiny-baby.s1", "tiny"), ("small.s0", "small"),
        ("small.s1", "small"), ("small-instr", "small"),
    ]  # fmt: skip
    only = study(NEW, instr, BABY)
    assert comparisons(only) == [
        Comparison("tiny-baby", "tiny", "tuned - base"), Comparison("small-instr", "small", "tuned - base"),
    ]  # fmt: skip
    write_rows(only.home.corpus("emotional"), pd.DataFrame([], columns=[*CORPUS.columns]), CORPUS)
    assert [one.key for one in study_models(study(NEW, **{"respond.models": ["small"]}))] == []


def test_its_controls_are_new_models_too(study):
    config = study(NEW, BABY, controls=True)
    rows = {one.name: (one.parent, one.data) for one in config.strategies if one.control_of == "small"}
    assert rows == {"small-plain": ("new:gpt2-tiny", "plain"), "small-lines": ("new:gpt2-tiny", "lines")}


def test_sizes_are_what_their_line_says():
    from transformers import AutoConfig

    def parameters(size, vocabulary):
        import torch
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SIZES[size], vocab_size=vocabulary))
        return round(model.num_parameters() / 1e6, 1)

    found = {size: (parameters(size, 4096), parameters(size, 16_384)) for size in SIZES}
    assert found == {
        "gpt2-tiny": (1.4, 3.0), "gpt2-mini": (12.4, 17.1), "gpt2-small": (89.0, 98.4), "gpt2-medium": (307.6, 320.1),
    }  # fmt: skip
    assert parameters("gpt2-tiny", 8192) < 2


# Checkpoints by words seen

STEADY = {
    "clm.scheduler": "constant", "clm.checkpoints_by_words": [20, 70, 75, 10_000], "clm.eval_steps": 100,
    "texts": [TEN] * 100,
}  # fmt: skip


def marked(study, *strategies, **settings):
    """A study whose blocks hold ten words each, so that a step of two has twenty."""
    from transformers import AutoTokenizer

    config = study(*strategies or [BABY], **STEADY | settings)
    if not strategies:
        tokenizer = AutoTokenizer.from_pretrained(config.bases["tiny"].name)
        length = len(next(iter(wrap(tokenizer, [TEN]))))
        config = study(BABY, **STEADY | {"clm.block_size": length} | settings)
    return config


def test_checkpoints_are_the_model_as_it_was_after_so_many_words(study):
    config = marked(study)
    clm(config)
    folder = config.home.model("tiny-baby")
    kept = read_record(folder)["checkpoints"]
    assert [(one["name"], one["words"], one["step"]) for one in kept] == [
        ("chck_20", 20, 1), ("chck_70", 80, 4), ("chck_75", 80, 4),
    ]  # fmt: skip
    assert [entry["words"] for entry in read_record(folder)["history"] if "loss" in entry] == [20, 40, 60, 80, 100, 120]
    assert read_record(folder)["data"]["words_an_epoch"] == 800
    short = marked(study, home="short", **{"clm.max_steps": 4, "clm.checkpoints_by_words": "none"})
    clm(short)
    ended = read_record(short.home.model("tiny-baby"))
    assert same(folder / "chck_70", short.home.model("tiny-baby")) and same(folder / "chck_70", folder / "chck_75")
    assert kept[1]["validation_loss"] == pytest.approx(ended["loss_after"], abs=1e-6)
    assert json.loads((folder / "chck_20" / "checkpoint.json").read_text()) == kept[0]
    assert json.loads((folder / "chck_20" / "config.json").read_text())["use_cache"]
    assert "checkpoints" not in ended and "words" not in ended["history"][0]
    table = by_words([read_record(folder), ended])
    assert table["words"].tolist() == [20, 80, 80]
    assert table["validation_perplexity"][1] == pytest.approx(math.exp(kept[1]["validation_loss"]))
    [axis] = curves_by_words(table, ["tiny"]).axes
    assert axis.get_lines()[0].get_xdata().tolist() == [20, 80, 80]


def test_a_training_with_checkpoints_ends_as_one_without_and_old_ones_stay_fresh(study):
    without, config = marked(study, home="without", **{"clm.checkpoints_by_words": "none"}), marked(study)
    clm(without)
    clm(config)
    assert same(without.home.model("tiny-baby"), config.home.model("tiny-baby"))
    [run] = runs(without, "clm")
    recipe = model_piece(without, run).recipe.settings
    assert not {"clm.vocabulary", "clm.checkpoints_by_words"} & recipe.keys()
    of_both = marked(study, home="without")
    reason = model_piece(of_both, runs(of_both, "clm")[0]).freshness().reasons
    assert reason == ("clm.checkpoints_by_words null → [20, 70, 75, 10000]",)


class Killed(BaseException):
    pass


def test_a_killed_training_keeps_its_checkpoints_and_goes_on_with_them(study):
    undisturbed, config = (marked(study, home=home, **{"clm.eval_steps": 2}) for home in ("undisturbed", "killed"))
    clm(undisturbed)

    def kill(name, history):
        if history[-1]["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        clm(config, watch=kill)
    unfinished = checkpoints.folder(config.home.model("tiny-baby"))
    assert [one["name"] for one in checkpoints.kept(unfinished)] == ["chck_20", "chck_70", "chck_75"]
    clm(config)
    ours, theirs = (one.home.model("tiny-baby") for one in (config, undisturbed))
    assert read_record(ours)["checkpoints"] == read_record(theirs)["checkpoints"]
    assert all(same(ours / name, theirs / name) for name in ("chck_20", "chck_70", "chck_75"))
    assert not unfinished.exists()


@pytest.mark.parametrize("settings", [{"clm.lora.rank": 4}, {"clm.boundaries": "closed"}], ids=["adapters", "closed"])
def test_adapters_are_merged_and_closed_documents_counted(study, settings):
    from transformers import AutoModelForCausalLM

    config = marked(study, **settings)
    clm(config)
    folder = config.home.model("tiny-baby")
    assert [one["words"] for one in read_record(folder)["checkpoints"]] == [20, 80, 80]
    model = AutoModelForCausalLM.from_pretrained(folder / "chck_70")
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert not same(folder / "chck_20", folder / "chck_70")


def test_checkpoints_that_no_training_reaches_are_said_and_room_for_the_others_is_asked(study, monkeypatch, capsys):
    config = marked(study, **{"clm.checkpoints_by_words": "strict"})
    clm(config)
    assert (
        "tiny-baby: no checkpoint by words: 800 an epoch, and the first is after 1,000,000" in capsys.readouterr().out
    )
    assert "checkpoints" not in read_record(config.home.model("tiny-baby"))
    free = read_record(config.home.model("tiny-baby"))["parameters"] * 4 * 10  # 40 n, which does without checkpoints
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Disk", (), {"free": free}))
    with pytest.raises(DiskError, match="training tiny-baby needs"):
        clm(marked(study, home="full"))


def test_a_checkpoint_is_a_model_by_name_and_its_curve_is_shown(study, monkeypatch):
    monkeypatch.undo()
    config = marked(study)
    clm(config)
    [(label, model)] = named_models(config, ["tiny-baby/chck_70"]).items()
    assert label == "tiny-baby/chck_70" and model.name == str(config.home.model("tiny-baby") / "chck_70")
    table = read_table(config.home.models / "tables" / "words_clm.csv")
    assert table["words"].tolist() == [20, 80, 80]
    assert {one.name for one in exhibits(config.home.models)} >= {"words_clm", "curves_clm"}


@pytest.mark.slow
def test_two_processes_begin_with_one_model_and_count_the_words_of_both(study):
    settings = {"clm.accumulation": 2, "clm.batch_size": 1, "clm.checkpoints_by_words": [30, 60, 100]}
    found = []
    for processes in (1, 2):
        config = study(NEW, home=f"by-{processes}", texts=[f"{TEN} {word}" for word in TEN.split() * 8], **settings)
        given = {"bases": {"tiny": {"name": config.bases["tiny"].name}}, "strategies": [NEW], "controls": False}
        given |= {"clm.block_size": 16, "clm.vocabulary": 300, "clm.precision": "fp32", "clm.lora.rank": 0,
                  "clm.max_steps": 6, "clm.eval_steps": 2, "clm.device": "cpu", "lens.models": ["tiny"]}  # fmt: skip
        words = [word for key, value in (given | settings).items() for word in ("--set", f"{key}={toml(value)}")]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] * (processes > 1)
        command = [sys.executable, *launcher, "-m", "emogap", "clm", "--home", str(config.home.root), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
        assert done.returncode == 0, done.stderr
        record = read_record(config.home.model("small"))
        assert record["processes"] == processes
        found.append([(one["name"], one["words"], one["step"]) for one in record["checkpoints"]])
        found.append([entry["words"] for entry in record["history"] if "loss" in entry])
    assert found[:2] == found[2:] and len(found[0]) == 3
    assert same(*(config.home.root.parent / f"by-{n}" / "models" / "small.untrained" for n in (1, 2)))


# What it learns


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_under_two_million_parameters_learn_from_real_text_on_one_core(real_data, tmp_path):
    """Some eight minutes: a million and a third words, once. The easiest phenomena are then above chance."""
    from emogap.babylm.process import process
    from emogap.corpus.compile import corpus
    from emogap.grammar.blimp import BLIMP

    given = {
        "process.raw_dirs": [str(real_data / "babylm_sample")], "process.min_words": 0, "process.strict": False,
        "process.classifier": {"name": "emotion-tfidf"}, "corpus.name": "babylm", "corpus.lines": "all",
        "corpus.factual": [], "corpus.validation_share": 0.02, "controls": False,
        "strategies": [NEW | {"data": "babylm"}], "clm.vocabulary": 4096, "clm.block_size": 128,
        "clm.batch_size": 16, "clm.max_steps": -1, "clm.epochs": 1, "clm.eval_steps": 250, "clm.learning_rate": 2e-3,
        "clm.warmup_steps": 50, "clm.lora.rank": 0, "clm.checkpoints_by_words": [250_000, 1_000_000],
        "blimp.data": str(real_data / "blimp"), "blimp.items": 100,
    }  # fmt: skip
    config = load_config("embedded", tmp_path / "home", given)
    process(config)
    corpus(config)
    clm(config)
    record = read_record(config.home.model("small"))
    assert record["parameters"] < 2_000_000
    names = ["small.untrained", "small/chck_250K", "small/chck_1M", "small"]
    scores = BLIMP.of_models(config, named_models(config, names)).scores
    correct = scores[scores["metric"] == "correct"].assign(uid=lambda rows: rows["item"].str.split("/").str[0])
    table = correct.groupby(["group", "model"], sort=False)["value"].mean().unstack()[names]
    print(table.round(3).to_string(), correct.groupby("model")["value"].mean(), record["seconds"], sep="\n")
    losses = [one["validation_loss"] for one in record["checkpoints"]]
    assert losses == sorted(losses, reverse=True) and losses[-1] > record["loss_after"]
    easiest = table.loc[["irregular_forms", "filler_gap"]]
    assert (easiest["small"] > 0.6).all() and (easiest["small.untrained"] < 0.57).all()
