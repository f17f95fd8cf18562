"""Scores of sentences: equal to what the model's own loss says, shared beginnings or not, for both kinds of models."""

import numpy as np
import pytest
from tiny_models import SENTENCES, save_tiny_gpt2, save_tiny_llama

from emogap.errors import InputError, ModelError
from emogap.evaluate.prefix_trees import batches, grow_trees
from emogap.evaluate.sentence_scores import SentenceScorer
from emogap.hub import LocalModel

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
    monkeypatch.setattr("emogap.evaluate.sentence_scores.POSITIONS_AT_ONCE", 3)
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
