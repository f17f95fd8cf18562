"""Random models of a few thousand parameters, for tests alone."""

from pathlib import Path

SENTENCES = [
    "The old dog ran happily over the hill to meet the children.",
    "She lost her favourite hat in the river and cried all day long.",
    "A quiet morning is the best time for tea, bread and a good book.",
    "They shouted with joy when the little boat came back at last.",
]


def save_tiny_gpt2(folder: Path, seed: int = 0, dropout: float = 0.1) -> Path:
    """A GPT-2 of two narrow layers with a byte-level tokenizer, as a model folder."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    words = ByteLevelBPETokenizer()
    words.train_from_iterator(SENTENCES, vocab_size=400, min_frequency=1, special_tokens=["<|endoftext|>"])
    tokenizer = GPT2TokenizerFast(
        tokenizer_object=words._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token=None
    )
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    size = {"n_positions": 256, "n_embd": 48, "n_layer": 2, "n_head": 2}
    size |= {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, **size))
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
