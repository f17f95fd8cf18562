"""Scores of sentences: equal to what the model's own loss says, shared beginnings or not, for both kinds of models."""

import gc
import hashlib
import weakref

import numpy as np
import pytest
from architectures import narrow, save_tiny
from tiny_models import SENTENCES, save_tiny_gpt2, save_tiny_llama
from transformers import AutoTokenizer

from emogap.errors import InputError, ModelError
from emogap.lm.hub import LocalModel
from emogap.lm.loading import one_model_at_a_time
from emogap.lm.prefix_trees import batches, grow_trees
from emogap.lm.score_cache import open_scorer
from emogap.lm.sentence_scores import SentenceScorer

ALIKE = [
    "The old dog ran.",
    "The old dog ran",
    "The old dog ran happily over the hill.",
    "The old hat ran happily over the hill.",
    "They cried all day long.",
    "A",
    *SENTENCES,
]


@pytest.fixture(scope="module", params=[save_tiny_gpt2, save_tiny_llama])
def model(request, tmp_path_factory):
    folder = request.param(tmp_path_factory.mktemp("models") / "tiny")
    return LocalModel(folder, "tiny")


def by_loss(scorer: SentenceScorer, sentence: str) -> float:
    """The score by the model's own loss: mean of the token losses times their number."""
    import torch

    ids = torch.tensor([[*scorer.prefix, *scorer.tokenizer(" " + sentence, add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        return -float(scorer.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)


def test_shared_beginnings_change_no_score(model):
    shared, plain = SentenceScorer(model), SentenceScorer(model, share=False)
    assert shared.shares and not plain.shares
    expected = [by_loss(shared, sentence) for sentence in ALIKE]
    assert np.allclose(plain.scores(ALIKE), expected, rtol=0, atol=1e-4)
    assert np.allclose(shared.scores(ALIKE), expected, rtol=0, atol=1e-4)
    assert np.allclose(SentenceScorer(model, token_budget=64).scores(ALIKE), expected, rtol=0, atol=1e-4)


def test_a_model_that_takes_no_tree_scores_one_by_one(model, monkeypatch):
    expected = SentenceScorer(model).scores(ALIKE)
    # As a model would be that sees everything before a token, whatever mask it is given.
    monkeypatch.setattr(SentenceScorer, "_layout", lambda self, batch, width: {})
    scorer = SentenceScorer(model)
    assert not scorer.shares
    assert np.allclose(scorer.scores(ALIKE), expected, rtol=0, atol=1e-4)


def test_a_repeated_sentence_is_scored_once(model):
    scorer, heard = SentenceScorer(model), []
    scores = scorer.scores([ALIKE[0], ALIKE[4], ALIKE[0]], heard.append)
    assert scores[0] == scores[2] != scores[1]
    assert sum(heard) == 2


def test_a_continuation_counts_its_own_tokens_alone(model):
    scorer = SentenceScorer(model)
    context, continuation = " The old dog ran", " happily over the hill."
    whole, before = scorer.scores([(context + continuation)[1:], context[1:]])
    [after] = scorer.log_probabilities([scorer.encode_after(context, continuation)])
    assert after == pytest.approx(whole - before, abs=1e-4)


def test_without_an_empty_context_the_first_token_has_no_score(model):
    with_context, without = SentenceScorer(model), SentenceScorer(model, empty_context="none")
    assert without.prefix == ()
    assert with_context.encode(ALIKE[0]).ids[1:] == without.encode(ALIKE[0]).ids
    # " A" is a token or two; one token alone has nothing before it that it could be predicted from.
    word = next(w for w in ("A", "old", "dog", "the") if len(without.tokenizer(" " + w)["input_ids"]) == 1)
    with pytest.raises(InputError, match="no token left"):
        without.scores([word])


def test_only_so_much_of_the_vocabulary_at_once(model, monkeypatch):
    expected = SentenceScorer(model).scores(ALIKE)
    monkeypatch.setattr("emogap.lm.sentence_scores.POSITIONS_AT_ONCE", 3)
    assert np.allclose(SentenceScorer(model).scores(ALIKE), expected, rtol=0, atol=1e-5)


def test_a_sentence_too_long_for_the_model_is_named(model):
    with pytest.raises(InputError, match=r"'dog dog .* tokens; this model takes 256 at most"):
        SentenceScorer(model).scores(["dog " * 300])


def test_a_model_without_tokenizer_or_without_weights(model, tmp_path):
    import shutil

    bare = shutil.copytree(model.path, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        SentenceScorer(LocalModel(bare, "bare"))
    empty = shutil.copytree(model.path, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no causal language model"):
        SentenceScorer(LocalModel(empty, "empty"))


def test_the_hash_is_that_of_the_weights(model, tmp_path):
    import shutil

    import torch

    first = SentenceScorer(model).weights_sha256()
    moved = shutil.copytree(model.path, tmp_path / "moved")
    again = SentenceScorer(LocalModel(moved, "moved"))
    assert again.weights_sha256() == first
    with torch.no_grad():
        next(again.model.parameters())[0, 0] += 1e-6
    assert again.weights_sha256() != first
    assert SentenceScorer(model, dtype="bf16").weights_sha256() != first


def test_trees_hold_what_begins_alike_once():
    sequences = [(0, 1, 2, 3), (0, 1, 2, 4), (0, 1, 5), (0, 1), (0, 1, 2, 3, 9)]
    [tree] = grow_trees(sequences, [1] * 5)
    # 0 → 1 → 2 → 3: the last token of a sequence is a node only where another goes on from it.
    assert tree.tokens == [0, 1, 2, 3]
    assert tree.depths == [0, 1, 2, 3]
    assert len(tree.edge_tokens) == 6  # 1, 2, 3, 9, 4, 5
    paths = dict(zip(tree.sequences, tree.paths, strict=True))
    said = {n: [tree.edge_tokens[edge] for edge in path] for n, path in paths.items()}
    assert said == {number: list(ids[1:]) for number, ids in enumerate(sequences)}
    assert tree.ancestors().sum() == 1 + 2 + 3 + 4


def test_rows_stay_near_their_size_and_batches_within_the_budget():
    sequences = [(0, n, *range(20)) for n in range(100)]
    trees = grow_trees(sequences, [1] * 100)
    assert sorted(number for tree in trees for number in tree.sequences) == list(range(100))
    assert max(len(tree) for tree in trees) <= 128
    for batch in batches(trees, 512):
        assert len(batch) * max(len(tree) for tree in batch) <= 512
    assert len(grow_trees(sequences, [1] * 100, share=False)) == 100


def test_rows_that_are_shared_and_batches_keep_to_one_side_of_a_bound():
    sequences = [(0, *range(30), n) for n in range(5)] + [(0, *range(3), n) for n in range(90, 95)]
    trees = grow_trees(sequences, [1] * 10, limit=10)
    assert sorted(len(tree) for tree in trees) == [4, 31, 31, 31, 31, 31]
    assert [sorted({len(tree) for tree in batch}) for batch in batches(trees, 10_000, [10])] == [[31], [4]]
    assert len(batches(trees, 10_000)) == 1


# --- a model's own numbers, whatever it does beside the ordinary ---


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(save_tiny_gpt2(tmp_path_factory.mktemp("tokenizer")))


LONG = [" ".join(SENTENCES * 2) + end for end in (" The old", " The old dog.", " She cried.")]


def test_beyond_a_window_sentences_are_not_shared_and_below_it_they_are(tokenizer, tmp_path):
    save_tiny(tmp_path / "mistral", tokenizer, "mistral", **narrow("mistral", 70))
    scorer = SentenceScorer(LocalModel(tmp_path / "mistral", "mistral"))
    texts = [*ALIKE, *LONG]
    assert scorer.shares and max(len(scorer.encode(text).ids) for text in texts) > 80
    rows = [tree for batch in scorer._batches([scorer.encode(text) for text in texts]) for tree in batch]
    assert {len(tree.sequences) > 1 for tree in rows} == {True, False}
    assert all(len(tree) <= 70 for tree in rows if len(tree.sequences) > 1)
    assert np.allclose(scorer.scores(texts), [by_loss(scorer, text) for text in texts], rtol=0, atol=1e-3)


def test_where_the_head_cannot_be_read_alone_fewer_texts_go_together(tokenizer, tmp_path, monkeypatch):
    save_tiny(tmp_path / "gemma", tokenizer, "gemma2", final_logit_softcapping=5.0)
    scorer = SentenceScorer(LocalModel(tmp_path / "gemma", "gemma"))
    assert not scorer.reads_head and scorer.shares
    # Room for the logits of two texts' tokens, of 400 tokens' each.
    monkeypatch.setattr("emogap.lm.sentence_scores.LOGITS_AT_ONCE", 400 * 64)
    sizes = []
    watch = lambda module, args, kwargs: sizes.append(kwargs["input_ids"].numel())  # noqa: E731
    hook = scorer.model.register_forward_pre_hook(watch, with_kwargs=True)
    scores = scorer.scores(ALIKE)
    hook.remove()
    rows = [tree for batch in scorer._batches([scorer.encode(text) for text in ALIKE]) for tree in batch]
    assert max(sizes) <= max(64, *(len(tree) for tree in rows))
    assert np.allclose(scores, [by_loss(scorer, text) for text in ALIKE], rtol=0, atol=1e-3)


def test_what_was_remembered_of_another_way_is_not_used(model, tokenizer, tmp_path, monkeypatch):
    """A file of before is found under its old name by models that were scored rightly, and by no others."""
    from emogap.lm.score_cache import remembered_scores

    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))

    def remembered(local: LocalModel) -> tuple[float, float]:
        """What is given for a sentence whose file of before says 7, and what the model says."""
        scorer = SentenceScorer(local)
        scored = scorer.encode(ALIKE[0])
        name = hashlib.sha256(b"form 1" + np.array([len(scored.ids), 1, *scored.ids], dtype=np.int64).tobytes())
        from emogap.paths import cache_dir

        folder = cache_dir() / "scores" / scorer.weights_sha256()[:32]
        folder.mkdir(parents=True)
        np.save(folder / f"{name.hexdigest()}.npy", np.array([7.0]))
        [[found]] = remembered_scores(scorer, [[scored]], lambda count: None)
        return found, scorer.scores([ALIKE[0]])[0]

    assert remembered(model)[0] == 7.0
    save_tiny(tmp_path / "cohere", tokenizer, "cohere")
    found, own = remembered(LocalModel(tmp_path / "cohere", "cohere"))
    assert found == own


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_rounding_takes_no_speed_away_and_weights_are_left_as_they_are(model, dtype):
    import torch
    from transformers import AutoModelForCausalLM

    scorer = SentenceScorer(model, dtype=dtype)
    assert scorer.reads_head and scorer.shares
    number_format = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    loaded = AutoModelForCausalLM.from_pretrained(model.path, dtype=number_format)
    for name, tensor in loaded.state_dict().items():
        here = scorer.model.state_dict()[name]
        assert here.dtype == tensor.dtype and torch.equal(here, tensor), name


def test_what_rounding_would_hide_is_found_in_half_precision(tokenizer, tmp_path):
    """A recurrence that runs along a row, past where one text's branch ends."""
    save_tiny(tmp_path / "jamba", tokenizer, "jamba")
    scorer = SentenceScorer(LocalModel(tmp_path / "jamba", "jamba"), dtype="bf16")
    assert scorer.reads_head and scorer.together and not scorer.shares


def test_weights_that_are_no_numbers_are_said(model, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model.path, tmp_path / "diverged")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(one, torch.nan) for name, one in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(ModelError, match=r"diverged: .*not numbers \(NaN\); its training diverged"):
        SentenceScorer(LocalModel(folder, "diverged"))


def test_what_fails_in_scoring_is_one_line(model, monkeypatch):
    scorer = SentenceScorer(model)

    def fail(*args, **kwargs):
        raise IndexError("index out of range in self\nmore of it")

    monkeypatch.setattr(scorer.model, "forward", fail)
    monkeypatch.setattr(scorer.model.base_model, "forward", fail)
    with pytest.raises(ModelError, match=r"ForCausalLM|LMHeadModel") as caught:
        scorer.scores(ALIKE)
    assert "fails on a text of" in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_sees_what_comes_is_refused(tokenizer, tmp_path):
    save_tiny(tmp_path / "bert", tokenizer, "bert")
    with pytest.raises(ModelError, match="what a BertLMHeadModel says of a token depends on the tokens after it"):
        SentenceScorer(LocalModel(tmp_path / "bert", "bert"))


@pytest.mark.parametrize("kind", ["reformer", "big_bird"])
def test_attention_that_is_drawn_or_changes_is_refused(tokenizer, tmp_path, kind):
    save_tiny(tmp_path / kind, tokenizer, kind, is_decoder=True)
    with pytest.raises(ModelError, match=r"long text is not the same each time \((attn_layers|attention_type) has"):
        SentenceScorer(LocalModel(tmp_path / kind, kind))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_embedded_model_is_scored_the_fastest_way(dtype):
    from emogap.config import HubModel
    from emogap.lm.hub import resolve

    scorer = SentenceScorer(resolve(HubModel(name="embedded:smollm2-135m-instruct")), device="cpu", dtype=dtype)
    assert scorer.reads_head and scorer.together and scorer.shares


def test_a_scorer_is_opened_once_and_gone_before_the_next(tmp_path):
    first, second = (save_tiny_gpt2(tmp_path / name) for name in ("first", "second"))
    models = [LocalModel(folder, folder.name) for folder in (first, second)]
    with one_model_at_a_time():
        one = open_scorer(models[0], device="cpu")
        assert open_scorer(models[0], device="cpu") is one
        assert open_scorer(models[0], device="cpu", dtype="bf16") is not one
        held = weakref.ref(open_scorer(models[1], device="cpu"))
        gc.collect()
        assert held() is not None
    gc.collect()
    assert held() is None
    alone = weakref.ref(open_scorer(models[0], device="cpu"))
    gc.collect()
    assert alone() is None, "nothing is kept elsewhere"
