"""The lens against TransformerLens, and its memory on a long text."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_models import SENTENCES, save_tiny_gpt2

from emogap.lens.logit_lens import LogitLens
from emogap.lm.hub import LocalModel


@pytest.mark.slow
def test_equal_to_transformer_lens(tmp_path):
    """Every layer, position and vocabulary entry, on a GPT-2-shaped model with seeded weights."""
    pytest.importorskip("transformer_lens", reason="transformer-lens is not installed")
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import logit_lens

    folder = save_tiny_gpt2(tmp_path / "gpt2", seed=3)
    opened = LogitLens(LocalModel(folder, "tiny"))
    # Larger weights than a fresh model has, so that the layers say different things.
    with torch.no_grad():
        for parameter in opened.model.parameters():
            parameter.mul_(3.0)
    opened.model.save_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
    ids = opened.encode(SENTENCES[0])
    vocabulary = opened.model.config.vocab_size
    ours = opened.read([ids], top_k=vocabulary)[0]
    theirs = logit_lens(bridge, ids[None], positions=None, targets=ids[None].roll(-1), return_type="log_probs")
    everything = logit_lens(bridge, ids[None], positions=None, return_type="probs").readout.values[:, 0]
    assert everything.shape == (opened.layers, len(ids), vocabulary)
    sorted_ours = np.empty_like(ours.top_probabilities)
    np.put_along_axis(sorted_ours, ours.top_ids, ours.top_probabilities, axis=-1)
    np.testing.assert_allclose(sorted_ours, everything, atol=1e-3)
    np.testing.assert_allclose(ours.entropy, theirs.readout.entropy[:, 0], atol=1e-3)
    np.testing.assert_allclose(-ours.cross_entropy[:, :-1], theirs.readout.values[:, 0, :-1, 0], atol=1e-3)
    np.testing.assert_array_equal(ours.rank[:, :-1], theirs.readout.target_ranks[:, 0, :-1, 0] + 1)
    assert np.ptp(ours.entropy, axis=0).max() > 0.1


LONG = """
import json, resource, torch
from transformers import GPT2Config, GPT2LMHeadModel
from emogap.lens.logit_lens import LogitLens, final_norm

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_embd=1024, n_layer=24, n_head=16)).eval()
opened = object.__new__(LogitLens)
opened.device, opened.model = "cpu", model
opened.head, opened.norm = model.get_output_embeddings(), final_norm(model)
reading = opened.read([torch.randint(0, 50257, (1024,))], words=[5, 6])[0]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"parameters": model.num_parameters(), "shape": reading.rank.shape, "gib": peak}))
"""


@pytest.mark.slow
def test_a_thousand_tokens_of_gpt2_medium_in_under_three_gib():
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["parameters"] > 350e6
    assert found["shape"] == [25, 1024]
    assert found["gib"] < 3, found
