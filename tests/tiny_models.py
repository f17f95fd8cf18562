"""Random models of a few thousand parameters, for tests alone."""

from pathlib import Path

SENTENCES = [
    "The old dog ran happily over the hill to meet the children.",
    "She lost her favourite hat in the river and cried all day long.",
    "A quiet morning is the best time for tea, bread and a good book.",
    "They shouted with joy when the little boat came back at last.",
]


def save_tiny_gpt2(folder: Path, seed: int = 0, dropout: float = 0.1, positions: int = 256) -> Path:
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
    size = {"n_positions": positions, "n_embd": 48, "n_layer": 2, "n_head": 2}
    size |= {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, **size))
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_llama(folder: Path, seed: int = 0, positions: int = 256, width: int = 48) -> Path:
    """A Llama of two narrow layers, rotary positions and grouped heads, with the tokenizer of the tiny GPT-2."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    save_tiny_gpt2(folder, seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for file in folder.glob("*config.json"):
        if file.name != "tokenizer_config.json":
            file.unlink()
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    size = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2}
    size |= {"max_position_embeddings": positions}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, **size, **heads)
    )
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
