"""Which models' artefacts go stale by the corrected ways of running a model, and that no others do."""

import json

import pytest

from emogap.answers.fluency import plain_text_pieces
from emogap.answers.respond import respond_pieces
from emogap.config import HubModel
from emogap.grammar.blimp import BLIMP
from emogap.grammar.emobench import EMOBENCH
from emogap.lens.stage import lens_pieces
from emogap.lm.corrections import PASSAGE, SENTENCE, continuation_rule, replies_rule, scores_rule
from emogap.store.artefacts import RULE
from emogap.text.statistics import INTERVALS_RULE


def folder_of(place, generation=None, **settings):
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(settings))
    if generation is not None:
        (place / "generation_config.json").write_text(json.dumps(generation))
    return place


@pytest.mark.parametrize(
    ("settings", "sentences", "passages"),
    [
        ({"model_type": "gpt2", "n_positions": 1024}, False, False),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "default"}}, False, False),
        ({"model_type": "mistral", "sliding_window": 4096}, False, False),
        ({"model_type": "qwen2", "sliding_window": None, "max_window_layers": 28}, False, False),
        ({"model_type": "granite", "logits_scaling": 1.0}, False, False),
        ({"model_type": "mistral", "sliding_window": 32}, True, True),
        ({"model_type": "gemma3_text", "sliding_window": 512, "final_logit_softcapping": None}, False, True),
        # The places in a row count here, and a row had room for four texts.
        ({"model_type": "gpt_neo", "window_size": 256}, False, True),
        ({"model_type": "gpt_neo", "window_size": 200}, True, True),
        ({"model_type": "gemma2", "final_logit_softcapping": 30.0, "sliding_window": 4096}, True, True),
        ({"model_type": "cohere", "logit_scale": 0.0625}, True, True),
        ({"model_type": "granite", "logits_scaling": 8}, True, True),
        ({"model_type": "bert", "is_decoder": True}, True, True),
        ({"model_type": "gemma3", "text_config": {"sliding_window": 16}}, True, True),
        ({"model_type": "phi3", "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 500}},
         False, True),
    ],
)  # fmt: skip
def test_scores_are_others_where_the_configuration_says_so(tmp_path, settings, sentences, passages):
    folder = folder_of(tmp_path / "model", **settings)
    assert (bool(scores_rule(folder, SENTENCE)), bool(scores_rule(folder, PASSAGE))) == (sentences, passages)


def test_continuations_are_others_where_defaults_shape_them(tmp_path):
    neutral = {"eos_token_id": 2, "do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.0}
    assert not continuation_rule(folder_of(tmp_path / "plain", neutral, model_type="llama"))
    assert not continuation_rule(folder_of(tmp_path / "none", model_type="llama"))
    for odd in ({"repetition_penalty": 1.1}, {"no_repeat_ngram_size": 1}, {"suppress_tokens": [5]}, {"num_beams": 4}):
        assert continuation_rule(folder_of(tmp_path / str(odd), neutral | odd, model_type="llama"))
    assert continuation_rule(folder_of(tmp_path / "older", model_type="llama", min_length=5))


def test_replies_are_others_where_slots_gave_others(tmp_path):
    assert not replies_rule(folder_of(tmp_path / "gpt2", model_type="gpt2"))
    assert replies_rule(folder_of(tmp_path / "bart", model_type="bart"))


def test_what_is_not_on_this_disk_is_not_looked_for(tmp_path):
    for model in (HubModel(name="no/such-model"), HubModel(name="embedded:no-such-thing"), tmp_path / "gone"):
        assert scores_rule(model, PASSAGE) == replies_rule(model) == continuation_rule(model) == {}
    broken = folder_of(tmp_path / "broken")
    (broken / "config.json").write_text("{")
    assert scores_rule(broken, PASSAGE) == {}


def test_an_adapter_is_what_it_stands_on(tmp_path):
    below = folder_of(tmp_path / "below", model_type="cohere", logit_scale=0.5)
    above = tmp_path / "above"
    above.mkdir()
    (above / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(below)}))
    assert scores_rule(above, SENTENCE)


def test_the_rules_stand_in_the_recipes_of_their_models_alone(make_config, tmp_path):
    folder_of(tmp_path / "plain", {"eos_token_id": 1}, model_type="gpt2")
    folder_of(tmp_path / "odd", {"repetition_penalty": 2.0}, model_type="bert", is_decoder=True)

    def rules(name: str) -> dict[str, set[str]]:
        config = make_config(
            f'bases={{{{smollm2-135m={{name="{tmp_path / name}"}}}}}}'.replace("{{", "{").replace("}}", "}"),
            "strategies=[]", 'lens.models=["smollm2-135m"]',
        )  # fmt: skip
        made = {
            "blimp": BLIMP.pieces, "emobench": EMOBENCH.pieces, "plain text": plain_text_pieces,
            "respond": respond_pieces, "lens": lens_pieces,
        }  # fmt: skip
        return {
            stage: {key for a in artefacts(config) for key in a.recipe.identities if key.startswith(RULE)}
            - {*INTERVALS_RULE}
            for stage, artefacts in made.items()
        }

    assert not any(rules("plain").values())
    scores = {f"{RULE}sentence scores"}
    found = rules("odd")
    assert found["blimp"] == found["plain text"] == scores and found["emobench"] in (scores, set())
    assert (found["respond"], found["lens"]) == ({f"{RULE}decoding"}, {f"{RULE}continuation"})
