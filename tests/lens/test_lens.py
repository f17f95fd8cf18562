"""The logit lens on tiny models of both shapes."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from architectures import LONGROPE, save_tiny
from tiny_models import SENTENCES, save_tiny_gpt2
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    CohereForCausalLM,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from emogap.emotions import LABELS
from emogap.errors import InputError, ModelError, UsageError
from emogap.lens.exhibits import mean_by_layer
from emogap.lens.logit_lens import LogitLens, final_norm
from emogap.lens.reader import TextReader
from emogap.lens.stage import lens_models, load_openings, load_sentences
from emogap.lm.hub import LocalModel

TEXT = SENTENCES[0]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def opened(request, tmp_path_factory):
    """A random model of that shape."""
    folder = save_tiny_gpt2(tmp_path_factory.mktemp(request.param))
    if request.param == "llama":
        size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
        end = AutoTokenizer.from_pretrained(folder).eos_token_id
        torch.manual_seed(0)
        settings = LlamaConfig(vocab_size=400, num_key_value_heads=1, eos_token_id=end, bos_token_id=end, **size)
        model = LlamaForCausalLM(settings)
        assert model.num_parameters() < 100_000
        model.save_pretrained(folder)
    return LogitLens(LocalModel(folder, "tiny"))


def test_every_layer_is_read_as_written_out_in_full(opened):
    ids = opened.encode(TEXT)
    words = [opened.word_token("dog"), opened.word_token("hill")]
    reading = opened.read([ids], words=words, top_k=3)[0]
    with torch.inference_mode():
        hidden = opened.model(ids[None], output_hidden_states=True).hidden_states
        final = opened.model(ids[None]).logits[0].log_softmax(-1)
        rows = [opened.head(opened.norm(state[0])).log_softmax(-1) for state in hidden[:-1]] + [final]
    assert reading.entropy.shape == (opened.layers, len(ids))
    for layer, here in enumerate(rows):
        p = here.exp()
        np.testing.assert_allclose(reading.entropy[layer], -(p * here).sum(-1), atol=1e-4)
        np.testing.assert_allclose(reading.kl_to_final[layer], (final.exp() * (final - here)).sum(-1), atol=1e-4)
        of_next = here[:-1].gather(1, ids[1:, None])
        np.testing.assert_allclose(reading.cross_entropy[layer, :-1], -of_next[:, 0], atol=1e-4)
        np.testing.assert_array_equal(reading.rank[layer, :-1], (here[:-1] > of_next).sum(-1) + 1)
        np.testing.assert_array_equal(reading.top_ids[layer], here.topk(3).indices)
        np.testing.assert_allclose(reading.top_probabilities[layer], p.topk(3).values, atol=1e-5)
        np.testing.assert_allclose(reading.word_probability[layer], p[:, words], atol=1e-6)
        for i, word in enumerate(words):
            np.testing.assert_array_equal(reading.word_rank[layer, :, i], (here > here[:, word : word + 1]).sum(-1) + 1)
    # Where the text ends nothing comes next, and nothing is invented.
    assert np.isnan(reading.rank[:, -1]).all() and np.isnan(reading.cross_entropy[:, -1]).all()
    assert (reading.kl_to_final[-1] < 1e-5).all()


def test_texts_read_together_and_in_slices_are_read_as_alone(opened, monkeypatch):
    texts = [opened.encode(sentence) for sentence in SENTENCES[:3]]
    alone = [opened.read([ids])[0] for ids in texts]
    monkeypatch.setattr("emogap.lens.logit_lens.ROWS_AT_ONCE", 5)
    together = opened.read(texts, starts=[0, 3, len(texts[2]) - 1])
    for one, other, start in zip(alone, together, (0, 3, len(texts[2]) - 1), strict=True):
        assert other.positions.tolist() == one.positions.tolist()[start:]
        np.testing.assert_allclose(other.kl_to_final, one.kl_to_final[:, start:], atol=1e-4)
        np.testing.assert_allclose(other.cross_entropy, one.cross_entropy[:, start:], atol=1e-4)
        np.testing.assert_array_equal(other.rank, one.rank[:, start:])


def test_mass_is_the_weighted_probability_of_the_words_that_are_one_token(opened):
    lists = opened.word_tokens({"joy": {"happily": 0.5, "children": 0.25}, "none": {"zzzqqq": 0.7, "dog": 0.3}})
    ids = opened.encode(TEXT)
    reading = opened.read([ids], lists=lists)[0]
    with torch.inference_mode():
        p = opened.model(ids[None]).logits[0].softmax(-1)
    happily, children = opened.word_token("happily"), opened.word_token("children")
    np.testing.assert_allclose(reading.mass[-1, :, 0], 0.5 * p[:, happily] + 0.25 * p[:, children], atol=1e-6)
    assert lists.covered == pytest.approx((1.0, 0.3))
    assert opened.tokenizer.decode([happily]) == " happily"


def test_a_lens_that_does_not_end_in_the_models_logits_is_refused(opened, monkeypatch):
    width = opened.head.in_features
    monkeypatch.setattr(opened, "head", torch.nn.Linear(width, opened.head.out_features))
    with pytest.raises(ModelError, match="does not fit this architecture"):
        opened.read([opened.encode(TEXT)])
    monkeypatch.undo()
    monkeypatch.setattr(opened, "norm", opened.model.base_model.get_input_embeddings())
    with pytest.raises(ModelError, match="not what the final norm gives"):
        opened.read([opened.encode(TEXT)])


def test_models_without_a_norm_or_head_say_so(tmp_path):
    size = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(ModelError, match="BertLMHeadModel: no final norm found"):
        final_norm(BertLMHeadModel(BertConfig(intermediate_size=8, is_decoder=True, **size)))
    with pytest.raises(ModelError, match="holds no model that can be read"):
        LogitLens(LocalModel(tmp_path, "empty"))
    folder = save_tiny_gpt2(tmp_path / "cohere")
    tokenizer_files = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    size["vocab_size"] = len(tokenizer_files)
    scaled = CohereForCausalLM(CohereConfig(intermediate_size=8, num_key_value_heads=2, pad_token_id=0, **size))
    scaled.save_pretrained(tmp_path / "scaled")
    tokenizer_files.save_pretrained(tmp_path / "scaled")
    # Its logits are the head's times a factor: read through the head alone they would be wrong.
    with pytest.raises(ModelError, match="does not fit this architecture"):
        LogitLens(LocalModel(tmp_path / "scaled", "scaled")).read([torch.arange(5, 12)])


def test_texts_that_cannot_be_read(opened):
    with pytest.raises(InputError, match="the text is empty"):
        opened.encode("")
    if isinstance(opened.model, GPT2LMHeadModel):
        with pytest.raises(InputError, match="this model reads 256; shorten it"):
            opened.encode(TEXT * 60)


def test_long_form(opened):
    reader = TextReader(opened, ["dog"], top_k=2)
    table = reader.read_all({"s0": TEXT, "s1": SENTENCES[1]}, "test", new_tokens=3)
    tokens = len(opened.encode(TEXT))
    one = table[table["prompt_id"] == "s0"]
    scalars = one[one["measure"] == "entropy"]
    assert len(scalars) == opened.layers * (tokens + 3)
    assert sorted(one.loc[one["generated"], "position"].unique()) == list(range(tokens - 1, tokens + 3))
    assert one.loc[one["end"], "position"].unique().tolist() == [tokens - 1]
    last = one[one["position"] == tokens + 2]
    assert not last["measure"].isin(["rank", "cross_entropy"]).any()
    assert (last["target"] == "").all()
    # The model writes what is its own first choice.
    written = one[one["generated"] & (one["layer"] == opened.layers - 1)]
    assert set(written.loc[written["measure"] == "rank", "value"]) == {1.0}
    first = written[(written["measure"] == "top_1") & (written["target"] != "")]
    assert first["token"].tolist() == first["target"].tolist()
    assert one.loc[one["measure"] == "word_rank", "token"].unique().tolist() == ["dog"]
    assert one.loc[one["measure"] == "emotion_mass", "token"].nunique() == 28
    ends = reader.read_ends({"s0": TEXT}, "test")
    both = ends.merge(one, on=["layer", "position", "measure", "token"], suffixes=("", "_all"))
    entropy = both[both["measure"] == "entropy"]
    assert len(entropy) == opened.layers
    np.testing.assert_allclose(entropy["value"], entropy["value_all"], atol=1e-4)


def test_means_by_layer(opened):
    table = TextReader(opened, [], top_k=1).read_all({"s0": TEXT}, "test").assign(model="tiny")
    by_layer = mean_by_layer(table)
    assert by_layer["layer"].tolist() == list(range(opened.layers))
    assert by_layer["kl_to_final"].iloc[-1] == pytest.approx(0, abs=1e-3)
    ranks = table[(table["measure"] == "rank") & (table["layer"] == 1)]["value"]
    assert by_layer.loc[by_layer["layer"] == 1, "rank"].item() == ranks.median()


def test_what_the_project_ships(make_config):
    config = make_config()
    assert len(load_sentences(config.lens.sentences)) == 4
    openings = load_openings(config.lens.prompts)
    fewer = load_openings(config.lens.prompts, 2)
    assert len(fewer) == 2 * 28 and fewer.items() <= openings.items()
    per_emotion = Counter(prompt_id.split("/")[0] for prompt_id in openings)
    assert per_emotion == dict.fromkeys(LABELS, 6)
    assert len(set(openings.values())) == len(openings)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "not an object; openings are an object"),
        ("{}", "has no opening"),
        ('{"joy": "I am so"}', "'joy' is 'I am so', not a list"),
        ('{"hunger": ["I am so"]}', "'hunger' is not one"),
        ('{"joy": [" "]}', "'joy', item 1 is ' ', empty"),
    ],
)
def test_openings_that_are_none(tmp_path, content, said):
    (tmp_path / "openings.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        load_openings(tmp_path / "openings.json")


def test_a_model_that_is_not_of_the_study(make_config):
    with pytest.raises(UsageError, match="'nope' is no model of the study"):
        lens_models(make_config('lens.models=["nope"]'))


# --- the model's own continuation ---

ODD = {
    "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "encoder_repetition_penalty": 2.0, "min_new_tokens": 20,
    "suppress_tokens": list(range(5, 400, 2)), "begin_suppress_tokens": list(range(4, 400, 2)), "max_length": 3,
    "bad_words_ids": [[token] for token in range(10, 90)], "forced_bos_token_id": 8, "forced_eos_token_id": 9,
    "sequence_bias": [[[20], 10.0]], "exponential_decay_length_penalty": [1, 3.0], "do_sample": True,
    "temperature": 0.3, "top_k": 2, "num_beams": 3, "length_penalty": 2.0, "guidance_scale": 3.0, "max_time": 1e-9,
    "renormalize_logits": True, "cache_implementation": "static", "min_length": 50, "stop_strings": [" "],
}  # fmt: skip


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """A model whose layers say different things, and the greedy continuation of a text by plain forward passes."""
    folder = tmp_path_factory.mktemp("loud")
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_gpt2(folder / "tokenizer"))
    model = save_tiny(folder / "llama", tokenizer, "llama")
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    for _ in range(12):
        with torch.inference_mode():
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert not (ids == 1).any(), "a token that ends the text would hide what is tested"
    return folder / "llama", ids[0]


@pytest.mark.parametrize("odd", [*({key: value} for key, value in ODD.items()), ODD], ids=[*ODD, "all of them"])
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_the_continuation_is_the_likeliest_whatever_the_folder_says_of_generation(loud, tmp_path, odd, file):
    model, expected = loud
    folder = shutil.copytree(model, tmp_path / "odd")
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | odd))
    lens = LogitLens(LocalModel(folder, "odd"))
    ids = lens.encode(TEXT)
    continued = lens.continued(ids, 12)
    assert continued.tolist() == expected.tolist()
    [reading] = lens.read([continued])
    assert (reading.rank[-1, len(ids) - 1 : -1] == 1).all()


def test_the_continuation_ends_where_the_folder_says_that_a_text_ends(loud, tmp_path):
    model, expected = loud
    folder = shutil.copytree(model, tmp_path / "ends")
    ids = LogitLens(LocalModel(folder, "ends")).encode(TEXT)
    new = expected[len(ids) :].tolist()
    content = json.loads((folder / "generation_config.json").read_text())
    content["eos_token_id"] = [new[4], 399]
    (folder / "generation_config.json").write_text(json.dumps(content))
    end = len(ids) + new.index(new[4]) + 1
    assert LogitLens(LocalModel(folder, "ends")).continued(ids, 12).tolist() == expected[:end].tolist()


def test_a_continuation_stays_within_what_the_model_reads(tmp_path):
    lens = LogitLens(LocalModel(save_tiny_gpt2(tmp_path / "gpt2", positions=40), "tiny"))
    ids = torch.arange(3, 41)
    assert len(lens.continued(ids, 10)) == 40
    assert lens.continued(torch.arange(3, 43), 10).tolist() == list(range(3, 43))


def test_beyond_the_length_where_positions_turn_each_text_is_read_alone(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(save_tiny_gpt2(tmp_path / "tokenizer"))
    model = save_tiny(tmp_path / "phi3", tokenizer, "phi3", **LONGROPE)
    lens = LogitLens(LocalModel(tmp_path / "phi3", "phi3"))
    texts = [lens.encode(TEXT), lens.encode(" ".join(SENTENCES))]
    assert len(texts[0]) < 48 < len(texts[1])
    for ids, reading in zip(texts, lens.read(texts), strict=True):
        with torch.inference_mode():
            shares = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        expected = -shares[:-1].gather(1, ids[1:, None])[:, 0]
        np.testing.assert_allclose(reading.cross_entropy[-1, :-1], expected, atol=1e-3)
    near = texts[1][:44]
    ids = near[None]
    for _ in range(8):
        with torch.inference_mode():
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert lens.continued(near, 8).tolist() == ids[0].tolist()
