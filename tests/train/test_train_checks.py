"""Trainings of small models of many architectures, held against plain torch, and what is refused before a step."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, save_tiny_gpt2

from emogap.config import Clm, Sft, load_config
from emogap.errors import InputError, ModelError, UsageError
from emogap.lm import corrections
from emogap.store.artefacts import RULE
from emogap.train import checks, packing
from emogap.train.causal_lm import make_clm_trainer, trainer_arguments
from emogap.train.rows import IGNORED, block_rows, cut, wrap
from emogap.train.sft import make_sft_trainer
from emogap.train.stage import module_of
from emogap.train.trainer import Plan, Setup, fit

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SIZE | {"num_key_value_heads": 2, "max_position_embeddings": 256}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
KINDS = {
    "gpt2": GPT2 | NO_DROPOUT,
    "gptj": GPT2 | NO_DROPOUT | {"rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
        "window_size": 8, "max_position_embeddings": 256, "embed_dropout": 0.0, "resid_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "gpt_neox": LLAMA,
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": 16},
    "gemma2": LLAMA | {"head_dim": 8, "sliding_window": 16},
    "qwen3": LLAMA | {"head_dim": 8},
    "mixtral": LLAMA | {"num_local_experts": 2},
    "opt": {
        "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32,
        "max_position_embeddings": 256, "dropout": 0.0, "attention_dropout": 0.0,
    },
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 256},
    "falcon": SIZE | {"alibi": True, "multi_query": False, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "lfm2": LLAMA | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "bart": {
        "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "dropout": 0.0,
        "max_position_embeddings": 256,
    },
    "bert": SIZE | {"max_position_embeddings": 256},
    "openai-gpt": GPT2 | NO_DROPOUT,
    "roberta": SIZE | {"max_position_embeddings": 66, "is_decoder": True, "pad_token_id": 1},
}  # fmt: skip
"""Model type → a configuration of a few thousand parameters; dropout is off, so that a loss can be counted again."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "tiny"))


def tiny_model(kind, tokenizer):
    from transformers import AutoConfig, AutoModelForCausalLM

    end = tokenizer.eos_token_id
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = AutoConfig.for_model(kind, **ids | {"vocab_size": len(tokenizer)} | KINDS[kind])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) < 200_000
    return model


def clm_rows(tokenizer, texts, block_size, closed):
    return block_rows(cut(wrap(tokenizer, texts), block_size, "test"), closed)


def sft_rows(tokenizer, texts, hidden=1):
    """Whole texts as rows; ``hidden`` tokens at their beginning are not learnt."""
    return [{"input_ids": ids, "labels": [IGNORED] * hidden + ids[hidden:]} for ids in wrap(tokenizer, texts)]


def trained(folder, model, tokenizer, task, train, validation, **settings):
    """One step with these rows and settings, or as many as the settings say."""
    usual = {"precision": "fp32", "device": "cpu", "max_steps": 1, "batch_size": 4, "accumulation": 1}
    kind, make = (Clm, make_clm_trainer) if task == "clm" else (Sft, make_sft_trainer)
    made = []

    def make_trainer(plan, callbacks):
        made.append(make(plan, callbacks, train, validation))
        return made[0]

    plan = Plan("tiny-new", task, kind(**usual | settings), 0, folder / "checkpoints", model, tokenizer, make_trainer)
    return fit(plan), made[0]


def by_hand(model, documents, labels=None):
    """Mean loss a predicted token of documents that are read one by one, and the norm of its gradient."""
    model.eval()
    model.zero_grad()
    labels = labels or [[IGNORED, *document[1:]] for document in documents]
    wanted = sum(label != IGNORED for row in labels for label in row[1:])
    total = 0.0
    for document, learnt in zip(documents, labels, strict=True):
        logits = model(input_ids=torch.tensor([document])).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(learnt[1:]), reduction="sum") / wanted
        loss.backward()
        total += loss.item()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()
    model.zero_grad()
    return total, norm


def parts_of(rows):
    """The documents, or parts of documents, in blocks that are closed."""
    return [
        part.tolist()
        for row in rows
        for part in np.split(row["input_ids"], np.flatnonzero(row["position_ids"] == 0)[1:])
    ]


# The loss of a step


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 1), (2, 2)])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "bart", "openai-gpt"])
def test_loss_and_gradient_of_blocks_are_means_over_what_is_predicted(
    tmp_path, tokenizer, kind, batch_size, accumulation
):
    model = tiny_model(kind, tokenizer)
    rows = clm_rows(tokenizer, SENTENCES, 16, closed=False)[:4]
    assert len(rows) == 4
    loss, norm = by_hand(model, [row["input_ids"].tolist() for row in rows])
    outcome, _ = trained(
        tmp_path, model, tokenizer, "clm", rows, rows, batch_size=batch_size, accumulation=accumulation
    )
    assert outcome.history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.history[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert outcome.loss_before == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mixtral", "bart"])
@pytest.mark.parametrize("hidden", [1, 3])
def test_loss_and_gradient_of_examples_are_means_over_what_is_predicted(tmp_path, tokenizer, kind, hidden):
    """Rows of very different lengths in the batches of one step: a mean of the batches' means would be another one."""
    model = tiny_model(kind, tokenizer)
    rows = sft_rows(tokenizer, [SENTENCES[0], SENTENCES[1][:9], SENTENCES[2] * 2, SENTENCES[3][:12]], hidden)
    loss, norm = by_hand(model, [row["input_ids"] for row in rows], [row["labels"] for row in rows])
    outcome, _ = trained(tmp_path, model, tokenizer, "sft", rows, rows, batch_size=1, accumulation=4)
    assert outcome.history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.history[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert outcome.loss_before == pytest.approx(loss, rel=1e-5)
    assert not getattr(model.config, "output_router_logits", False)


# Documents that must not see each other

APART = ["gpt2", "gptj", "gpt_neo", "mistral", "gemma2"]
"""They make an attention mask of positions that begin anew."""
TOGETHER = ["opt", "bloom", "mpt", "mamba", "lfm2", "bart"]
BY_RELEASE = ["falcon"]
"""Newer releases of transformers give its mask the positions."""


@pytest.mark.parametrize("kind", APART + TOGETHER + BY_RELEASE)
def test_closed_documents_are_learnt_and_measured_as_if_each_stood_alone(tmp_path, tokenizer, kind, capsys):
    model = tiny_model(kind, tokenizer)
    rows = clm_rows(tokenizer, SENTENCES, 24, closed=True)
    held_out = clm_rows(tokenizer, SENTENCES[::-1], 24, closed=True)
    loss, norm = by_hand(model, parts_of(rows))
    before, _ = by_hand(model, parts_of(held_out))
    outcome, trainer = trained(tmp_path, model, tokenizer, "clm", rows, held_out, batch_size=len(rows))
    assert outcome.loss_before == pytest.approx(before, rel=1e-5)
    assert outcome.history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.history[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert outcome.tokens == sum(row["input_ids"].size for row in rows)
    made_apart = isinstance(trainer.data_collator, packing.InRowsOfTheirOwn)
    assert kind in BY_RELEASE or made_apart == (kind in TOGETHER)
    assert ("does not tell documents of one row apart" in capsys.readouterr().out) == made_apart


@pytest.mark.parametrize("kind", ["llama", "gpt_neo", "opt", "falcon", "mamba"])
def test_packed_examples_are_learnt_and_measured_as_if_each_stood_alone(tmp_path, tokenizer, kind):
    model = tiny_model(kind, tokenizer)
    rows, held_out = sft_rows(tokenizer, SENTENCES), sft_rows(tokenizer, SENTENCES[:3], hidden=5)
    loss, norm = by_hand(model, [row["input_ids"] for row in rows])
    before, _ = by_hand(model, [row["input_ids"] for row in held_out], [row["labels"] for row in held_out])
    outcome, trainer = trained(
        tmp_path, model, tokenizer, "sft", rows, held_out, packing=True, max_length=128, batch_size=2
    )
    assert outcome.loss_before == pytest.approx(before, rel=1e-5)
    assert outcome.history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.history[0]["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert kind in BY_RELEASE or isinstance(trainer.data_collator, packing.InRowsOfTheirOwn) == (kind in TOGETHER)


@pytest.mark.parametrize("task", ["clm", "sft"])
def test_adapters_do_not_hide_that_documents_see_each_other(tmp_path, tokenizer, task):
    from emogap.config import Lora
    from emogap.train.model_folder import with_adapters

    base = tiny_model("opt", tokenizer)
    if task == "clm":
        rows, settings = clm_rows(tokenizer, SENTENCES, 48, closed=True), {}
        expected, _ = by_hand(base, parts_of(rows))
    else:
        rows, settings = sft_rows(tokenizer, SENTENCES), {"packing": True, "max_length": 128}
        expected, _ = by_hand(base, [row["input_ids"] for row in rows])
    model = with_adapters(base, Lora(rank=2, dropout=0.0))
    outcome, _ = trained(tmp_path, model, tokenizer, task, rows, rows, **settings)
    assert outcome.loss_before == pytest.approx(expected, rel=1e-5)


def test_rows_of_their_own_hold_the_same_tokens_and_labels():
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9], [1, 2, 3, 4, 5]]),
        "labels": torch.tensor([[-100, 6, 7, -100, 9], [-100, 2, 3, 4, 5]]),
        "position_ids": torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]]),
    }
    assert packing.documents(batch["position_ids"]) == [(0, 0, 3), (0, 3, 5), (1, 0, 5)]
    apart = packing.in_rows_of_their_own(batch, 99)
    assert apart["input_ids"].tolist() == [[5, 6, 7, 99, 99], [8, 9, 99, 99, 99], [1, 2, 3, 4, 5]]
    assert apart["labels"].tolist() == [[-100, 6, 7, -100, -100], [-100, 9, -100, -100, -100], [-100, 2, 3, 4, 5]]
    assert apart["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]


def test_documents_that_share_a_row_in_validation_alone_are_kept_apart_too(tmp_path, tokenizer):
    model = tiny_model("opt", tokenizer)
    rows, held_out = (clm_rows(tokenizer, SENTENCES, size, closed=True) for size in (8, 24))
    rows = [row for row in rows if (row["position_ids"] == 0).sum() == 1]
    before, _ = by_hand(model, parts_of(held_out))
    assert trained(tmp_path, model, tokenizer, "clm", rows, held_out)[0].loss_before == pytest.approx(before, rel=1e-5)


def test_a_model_that_keeps_nothing_apart_is_refused(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(packing, "ALIKE", -1.0)
    rows = clm_rows(tokenizer, SENTENCES, 48, closed=True)
    with pytest.raises(ModelError, match="OPTForCausalLM does not keep .*, even in padded rows; use --set clm.bound"):
        trained(tmp_path, tiny_model("opt", tokenizer), tokenizer, "clm", rows, rows)


# What is refused before the first step


def test_a_model_that_sees_later_tokens_is_refused(tmp_path, tokenizer):
    rows = clm_rows(tokenizer, SENTENCES, 48, closed=False)
    with pytest.raises(ModelError, match="a BertLMHeadModel says of a token depends on the tokens after it"):
        trained(tmp_path, tiny_model("bert", tokenizer), tokenizer, "clm", rows, rows)


def test_a_parent_with_damaged_weights_is_refused(tmp_path, tokenizer):
    model, rows = tiny_model("gpt2", tokenizer), clm_rows(tokenizer, SENTENCES, 16, closed=True)
    model.transformer.h[1].mlp.c_fc.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match="its parent's loss is nan before the first step"):
        trained(tmp_path, model, tokenizer, "clm", rows, rows)


def test_rows_longer_than_the_model_reads_are_refused(tmp_path, tokenizer):
    long = clm_rows(tokenizer, SENTENCES * 10, 300, closed=False)
    with pytest.raises(
        UsageError, match=r"clm.block_size=512 makes texts of 300 .* reads 256 at once; .*block_size=256"
    ):
        trained(tmp_path, tiny_model("gpt2", tokenizer), tokenizer, "clm", long, long)
    rows = sft_rows(tokenizer, [" ".join(SENTENCES * 5), SENTENCES[0]])
    with pytest.raises(UsageError, match=r"sft.max_length=1024 makes texts of \d+ .* use --set sft.max_length=256"):
        trained(tmp_path, tiny_model("gpt2", tokenizer), tokenizer, "sft", rows, rows)
    # RoBERTa's positions begin at 2: of 66 it reads 64.
    rows = clm_rows(tokenizer, SENTENCES * 2, 65, closed=False)
    with pytest.raises(UsageError, match="makes texts of 65 tokens and the model reads 64 at once"):
        trained(tmp_path, tiny_model("roberta", tokenizer), tokenizer, "clm", rows, rows)


def test_a_setting_longer_than_the_model_reads_is_no_matter_where_no_text_is(tmp_path, tokenizer):
    rows = clm_rows(tokenizer, SENTENCES * 10, 300, closed=True)
    assert len(rows[0]["input_ids"]) == 300
    assert trained(tmp_path, tiny_model("gpt2", tokenizer), tokenizer, "clm", rows, rows)[0].steps == 1


def test_tokens_that_the_model_does_not_know_are_refused(tmp_path, tokenizer):
    rows = clm_rows(tokenizer, SENTENCES, 16, closed=False)
    rows[1]["input_ids"][5] = len(tokenizer) + 7
    with pytest.raises(
        ModelError, match=f"have the token {len(tokenizer) + 7} and the model has {len(tokenizer)} rows"
    ):
        trained(tmp_path, tiny_model("llama", tokenizer), tokenizer, "clm", rows, rows)


def test_rows_with_nothing_to_predict_are_refused(tmp_path, tokenizer):
    rows = block_rows(cut([[5], [6], [7, 8], [9, 8]], 2, "test"), closed=True)
    with pytest.raises(InputError, match="1 of 3 training rows have no token to predict; raise clm.block_size"):
        trained(tmp_path, tiny_model("gpt2", tokenizer), tokenizer, "clm", rows, rows)


def test_settings_that_no_training_could_run_with_are_refused():
    checks.check_settings("sft", Sft(), 4)
    with pytest.raises(UsageError, match="sft.max_steps=0 is no training; .* or -1"):
        checks.check_settings("sft", Sft(max_steps=0), 1)
    with pytest.raises(UsageError, match="3 processes cannot share"):
        checks.check_settings("sft", Sft(), 3)
    checks.check_tracker("sft", "none")
    with pytest.raises(UsageError, match="sft.report_to=abacus is unknown; choose among none, .*wandb"):
        checks.check_tracker("sft", "abacus")
    with pytest.raises(UsageError, match="sft.report_to=neptune needs its package, which is not installed"):
        checks.check_tracker("sft", "neptune")


def test_an_error_in_one_of_several_processes_is_raised_as_it_was():
    from emogap.train.stage import _first_error

    def failed(message):
        return SimpleNamespace(get_first_failure=lambda: (1, SimpleNamespace(message=message)))

    said = _first_error(failed({"message": "UsageError: clm.block_size=512: too long"}))
    assert isinstance(said, UsageError) and str(said) == "clm.block_size=512: too long"
    for other in (failed({"message": "KeyError: 'x'"}), failed("Signal 9 (SIGKILL) received by PID 7")):
        said = _first_error(other)
        assert type(said) is RuntimeError and str(said) == str(other)


def test_a_device_is_the_one_that_was_named_or_refused(tmp_path, monkeypatch):
    def named(device):
        return checks.training_device("clm", Clm(device=device))

    with pytest.raises(UsageError, match="there is no device cuda:7"):
        named("cuda:7")
    monkeypatch.setattr(checks, "pick_device", lambda wanted: wanted)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    current = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", current.append)
    assert named("cuda:1") == "cuda:1"
    arguments = trainer_arguments(Setup("tiny", "clm", Clm(device="cuda:1", precision="fp32"), 0, tmp_path))
    assert str(arguments.device) == str(arguments.distributed_state.device) == "cuda:1" and current == [1]
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError, match="clm.device=cuda:1 is one device, and a launcher gives .*clm.device=cuda"):
        named("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="3 processes need a GPU each and this machine has 2"):
        named("cuda")


# Which recipes say so

COUNTED, APART_RULE = f"{RULE}training loss", f"{RULE}documents apart"


@pytest.fixture
def rules_of(tmp_path):
    """The rules in the recipe of a training that comes, over a child, from a base of that name."""
    from emogap.train.strategies import runs

    def found(base, task, **settings):
        rows = [
            {"name": "child", "parent": "base", "task": "clm", "data": "own"},
            {"name": "grandchild", "parent": "child", "task": task, "data": "v3"},
        ]
        config = load_config(
            "embedded", tmp_path / "home", {"bases": {"base": {"name": base}}, "strategies": rows} | settings
        )
        config.home.corpus("v3").parent.mkdir(parents=True, exist_ok=True)
        config.home.corpus("v3").touch()
        config.home.rewrite_rows("v3").parent.mkdir(parents=True, exist_ok=True)
        config.home.rewrite_rows("v3").touch()
        run = next(run for stage in ("clm", "sft") for run in runs(config, stage) if run.name == "grandchild")
        return {name for name in module_of(task).own_recipe(config, run).identities if name.startswith(RULE)}

    return found


def test_only_trainings_that_come_out_otherwise_are_named(rules_of, tmp_path):
    def folder(model_type, architecture):
        base = tmp_path / architecture
        base.mkdir(exist_ok=True)
        (base / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": [architecture]}))
        return str(base)

    gpt2, llama, opt = (
        folder("gpt2", "GPT2LMHeadModel"),
        folder("llama", "LlamaForCausalLM"),
        folder("opt", "OPTForCausalLM"),
    )
    closed, packed, text = {"clm.boundaries": "closed"}, {"sft.packing": True}, {"sft.loss_on": "text"}
    for base in (gpt2, "openai-community/gpt2-medium"):
        assert rules_of(base, "clm") == rules_of(base, "sft", **text) == {COUNTED}
        assert rules_of(base, "clm", **closed) == rules_of(base, "sft") == set()
        assert rules_of(base, "sft", **packed) == rules_of(base, "sft", **packed | text) == set()
    for base in (llama, "embedded:smollm2-135m-instruct"):
        for settings in ({}, closed):
            assert rules_of(base, "clm", **settings) == set()
        for settings in ({}, text, packed, text | packed):
            assert rules_of(base, "sft", **settings) == set()
    assert rules_of(opt, "clm") == rules_of(opt, "sft", **text) == set()
    assert rules_of(opt, "clm", **closed) == rules_of(opt, "sft", **packed) == {APART_RULE}
    assert rules_of("someone/something", "clm") == {COUNTED}
    assert rules_of("someone/something", "clm", **closed) == {APART_RULE}


def test_models_said_to_tell_documents_apart_do(tokenizer):
    """Those of them that this file has a configuration of, and none of the others."""
    assert {kind for kind in APART if kind in corrections._TELLS_DOCUMENTS_APART} == set(APART)
    assert not corrections._TELLS_DOCUMENTS_APART & set(TOGETHER + BY_RELEASE)
    for name in {"gpt_neox", "llama", "mixtral", "qwen3"} & corrections._TELLS_DOCUMENTS_APART:
        assert _tells_apart(tiny_model(name, tokenizer).eval(), len(tokenizer)), name


def _tells_apart(model, tokens):
    ids = torch.randint(0, tokens, (1, 20), generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[*range(12), *range(8)]])
    with torch.no_grad():
        together = model(input_ids=ids, position_ids=places, use_cache=False).logits[0, 12:]
        alone = model(input_ids=ids[:, 12:]).logits[0]
    return torch.allclose(together, alone, atol=1e-5)
