"""The logit lens on tiny models of both shapes."""

import pandas as pd
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from emogap.config import HubModel
from emogap.errors import ModelError, UsageError
from emogap.evaluate.lens import lens_models, load_sentences, mean_by_layer, read_sentence
from emogap.evaluate.logit_lens import LogitLens
from emogap.hub import LocalModel, resolve
from emogap.show.lens_figures import heat_maps, layer_curves, visible


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    """A random model of that shape with a real tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve(HubModel(name="embedded:smollm2-135m-instruct")).path)
    torch.manual_seed(0)
    if request.param == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=3, n_head=2, n_positions=64))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=3,
                        num_attention_heads=2, num_key_value_heads=1)
        )  # fmt: skip
    assert model.num_parameters() < 2_500_000
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_every_layer_is_read_as_written_out_in_full(folder):
    opened = LogitLens(LocalModel(folder, "tiny"))
    ids = opened.encode("The cat sat on the mat and purred.")
    readings = {(r.layer, r.position): r for r in opened.read(ids)}
    assert len(readings) == opened.layers * (len(ids) - 1)
    with torch.inference_mode():
        logprobs = opened.model(ids[None]).logits[0].log_softmax(-1)
        hidden = opened.model(ids[None], output_hidden_states=True).hidden_states
        middle = opened.head(opened.norm(hidden[1][0])).log_softmax(-1)
    for position in range(len(ids) - 1):
        last = readings[opened.layers - 1, position]
        target = ids[position + 1]
        assert last.cross_entropy == pytest.approx(-logprobs[position, target].item(), abs=1e-4)
        assert last.rank == (logprobs[position] > logprobs[position, target]).sum().item() + 1
        assert last.kl_to_final == pytest.approx(0, abs=1e-5)
        assert last.token == opened.tokenizer.decode([logprobs[position].argmax()])
        early = readings[1, position]
        expected = -(middle[position].exp() * middle[position]).sum().item()
        assert early.entropy == pytest.approx(expected, abs=1e-4)
        kl = (logprobs[position].exp() * (logprobs[position] - middle[position])).sum().item()
        assert early.kl_to_final == pytest.approx(kl, abs=1e-4)


def test_slices_of_positions_change_nothing(folder, monkeypatch):
    opened = LogitLens(LocalModel(folder, "tiny"))
    ids = opened.encode("One two three four five six seven eight nine ten.")
    whole = {(r.layer, r.position): r.kl_to_final for r in opened.read(ids)}
    monkeypatch.setattr("emogap.evaluate.logit_lens.POSITIONS_AT_ONCE", 3)
    sliced = {(r.layer, r.position): r.kl_to_final for r in opened.read(ids)}
    assert sliced == pytest.approx(whole, abs=1e-5)


def test_a_lens_that_does_not_end_in_the_models_logits_is_refused(folder):
    opened = LogitLens(LocalModel(folder, "tiny"))
    opened.head = torch.nn.Linear(16, opened.head.out_features)
    with pytest.raises(ModelError, match="does not fit this architecture"):
        list(opened.read(opened.encode("The cat sat.")))


def test_long_form_figures_and_table(folder):
    opened = LogitLens(LocalModel(folder, "tiny"))
    tables = [read_sentence(opened, text, f"s{i}", 4) for i, text in enumerate(["The cat $sat.", "A dog ran."])]
    table = pd.concat(tables).assign(model="tiny")
    assert table[table["generated"]].groupby("prompt_id")["position"].nunique().to_dict() == {"s0": 4, "s1": 4}
    by_layer = mean_by_layer(table)
    assert by_layer["layer"].tolist() == [0, 1, 2, 3]
    assert by_layer["kl_to_final"].iloc[-1] == pytest.approx(0, abs=1e-3)
    layer_curves(table, ["tiny"]).canvas.draw()
    heat_maps(table[table["prompt_id"] == "s0"], "entropy").canvas.draw()


def test_white_space_in_tokens_is_visible():
    assert visible(" a\n") == "·a↵"
    assert len(visible("x" * 40)) == 10


def test_models_and_sentences_that_are_not_there(make_config, tmp_path):
    with pytest.raises(UsageError, match="'nope' is no model of the study"):
        lens_models(make_config('lens.models=["nope"]'))
    with pytest.raises(ModelError, match="no causal language model"):
        LogitLens(LocalModel(tmp_path, "empty"))
    assert len(load_sentences(make_config())) == 4
