"""Every causal architecture: scorer, lens and engine give the model's own numbers, or say in one line that they cannot.

Each is held against plain forward passes of the model itself, one text at a time, in float32.
"""

import numpy as np
import pytest
import torch
from architectures import DECODERS, LONGROPE, narrow, save_tiny
from tiny_models import SENTENCES, save_tiny_gpt2
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from emogap.config import Sampling
from emogap.errors import ModelError
from emogap.lens.logit_lens import LogitLens
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.transformers_engine import TransformersEngine
from emogap.lm.hub import LocalModel
from emogap.lm.sentence_scores import SentenceScorer

TEXTS = [
    "The old dog ran.",
    "The old dog ran happily over the hill.",
    "A quiet",
    *SENTENCES[:3],
    " ".join(SENTENCES[:2]) + " The old",
    " ".join(SENTENCES) + " The old dog",
    " ".join(SENTENCES) + " ran",
]
"""Some begin alike; the longest have a hundred tokens."""
QUICK = [
    ("gpt2", {}),
    ("gemma2", {"final_logit_softcapping": 5.0} | narrow("gemma2")),
    ("bert", {}),
    ("bert", {"is_decoder": True}),
    ("falcon", {"alibi": True}),
    ("mistral", narrow("mistral")),
    ("mamba", {}),
    ("phi3", LONGROPE),
    ("bart", {}),
]
SHIFTED = [
    ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 12.0}),
    ("cohere", {"logit_scale": 2.0}),
    ("falcon_h1", {"lm_head_multiplier": 0.3}),
    ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    ("falcon", {"alibi": True, "new_decoder_architecture": True}),
    ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}),
    ("llama4_text", narrow("llama4_text") | {"layer_types": ["chunked_attention", "full_attention"] * 2}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1}),
    ("xlm", {"causal": True}),
    ("big_bird", {"is_decoder": True, "attention_type": "original_full"}),
    ("reformer", {"attn_layers": ["local"] * 4}),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(save_tiny_gpt2(tmp_path_factory.mktemp("tokenizer")))


def own_log_probabilities(model, ids) -> np.ndarray:
    """Of each token but the first, by the model's forward pass of the text alone: float64 (tokens - 1,)."""
    ids = torch.as_tensor(ids)
    with torch.no_grad():
        shares = model(input_ids=ids[None]).logits[0].double().log_softmax(-1)
    return shares[:-1].gather(1, ids[1:, None])[:, 0].numpy()


def scorer_outcome(local: LocalModel, model) -> str:
    scorer = SentenceScorer(local, device="cpu")
    scored = [scorer.encode(text) for text in TEXTS]
    scored += [scorer.encode_after(SENTENCES[0], end) for end in (" dog", " old hat")]
    expected = [own_log_probabilities(model, one.ids)[one.start - 1 :].sum() for one in scored]
    np.testing.assert_allclose(scorer.log_probabilities(scored), expected, rtol=0, atol=5e-3)
    return f"head {scorer.reads_head}, rows {scorer.together}, trees {scorer.shares}"


def lens_outcome(local: LocalModel, model) -> str:
    opened = LogitLens(local, device="cpu")
    texts = [opened.encode(text) for text in TEXTS]
    for ids, reading in zip(texts, opened.read(texts), strict=True):
        np.testing.assert_allclose(
            -reading.cross_entropy[-1, :-1], own_log_probabilities(model, ids), rtol=0, atol=1e-3
        )
        assert np.abs(reading.kl_to_final[-1]).max() < 1e-4
    ids = texts[1]
    assert opened.continued(ids, 6)[len(ids) :].tolist() == greedy(model, ids.tolist(), 6, {1})
    return f"{opened.layers} layers"


def engine_outcome(local: LocalModel, model) -> str:
    engine = TransformersEngine(local, device="cpu", dtype="fp32", quantization="none", batch_size=3)
    texts = [*TEXTS[:4], *(f"{SENTENCES[1]} {text}" for text in TEXTS[:3])]
    asked = [Conversation(str(i), ({"role": "user", "content": text},), i, True) for i, text in enumerate(texts)]
    replies = engine.generate(asked, Sampling(temperature=0, max_new_tokens=6))
    for conversation, reply in zip(asked, replies, strict=True):
        new = greedy(model, engine._format.encode(conversation), 6, engine._ends)
        assert reply.text == engine._tokenizer.decode(new, skip_special_tokens=True), conversation
    return engine._mode


def greedy(model, ids: list[int], count: int, ends) -> list[int]:
    """The likeliest token after each forward pass of all that stands before it."""
    new: list[int] = []
    while len(new) < count and not (new and new[-1] in ends):
        with torch.no_grad():
            new.append(int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


def outcome_of(check, local: LocalModel, model) -> str:
    try:
        return check(local, model)
    except ModelError as error:
        assert "\n" not in str(error)
        return f"refused: {error}"


def outcomes(folder, tokenizer, kind: str, settings: dict) -> dict[str, str]:
    """Of scorer, lens and engine: how they went about it, or the line by which they refused."""
    model, local = save_tiny(folder, tokenizer, kind, **settings), LocalModel(folder, kind)
    checks = {"scorer": scorer_outcome, "lens": lens_outcome, "engine": engine_outcome}
    return {name: outcome_of(check, local, model) for name, check in checks.items()}


@pytest.mark.parametrize(("kind", "settings"), QUICK, ids=[kind + "".join(settings)[:12] for kind, settings in QUICK])
def test_own_numbers_or_one_line(kind, settings, tokenizer, tmp_path):
    found = outcomes(tmp_path / kind, tokenizer, kind, settings)
    expected = {
        "gpt2": ("head True, rows True, trees True", "5 layers", "slots"),
        "gemma2": ("head False, rows True, trees False", "refused", "slots"),
        "bert": ("head False, rows True, trees True", "refused", "slots") if settings else ("refused",) * 3,
        "falcon": ("head True, rows True, trees False", "5 layers", "slots"),
        "mistral": ("head True, rows True, trees False", "5 layers", "slots"),
        "mamba": ("head True, rows True, trees False", "5 layers", "alone"),
        "phi3": ("head True, rows True, trees True", "5 layers", "slots"),
        "bart": ("head True, rows True, trees False", "refused", "alone"),
    }[kind]
    assert all(said.startswith(start) for said, start in zip(found.values(), expected, strict=True)), found


@pytest.mark.slow
@pytest.mark.parametrize("narrowed", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_own_numbers_or_one_line_of_every_architecture(kind, narrowed, tokenizer, tmp_path, capsys):
    try:
        settings = narrow(kind) if narrowed else {}
        model = save_tiny(tmp_path / kind, tokenizer, kind, **settings)
        own_log_probabilities(model, tokenizer(TEXTS[0])["input_ids"])
    except Exception as error:  # whatever keeps a small one from being built or run at all
        pytest.skip(f"no small {kind}: {error}"[:200])
    if narrowed and not settings:
        pytest.skip("it has no window")
    found = outcomes(tmp_path / kind, tokenizer, kind, settings)
    with capsys.disabled():
        print(f"\n{kind} {settings}: {found}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"), [*SHIFTED, *((kind, {"is_decoder": True}) for kind in DECODERS if kind != "bert")]
)
def test_own_numbers_or_one_line_of_other_settings(kind, settings, tokenizer, tmp_path, capsys):
    found = outcomes(tmp_path / kind, tokenizer, kind, settings)
    with capsys.disabled():
        print(f"\n{kind} {settings}: {found}")
