"""Small random models of every causal architecture that ``transformers`` knows, for tests alone."""

from pathlib import Path
from typing import Any

MOST_PARAMETERS = 3_000_000

_SIZES: dict[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size", "emb_dim"), 32
    ),
    **dict.fromkeys(
        ("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_inner", "dff",
         "ffn_hidden_size", "mlp_hidden_size", "dim_ff"), 48
    ),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
         "expert_ffn_hidden_size"), 16
    ),
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_decoder_layers"), 4
    ),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers"), 1),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "encoder_attention_heads", "num_heads",
         "num_decoder_attention_heads", "num_encoder_attention_heads"), 4
    ),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "d_head", "d_kv", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **{"rotary_dim": 4, "q_lora_rank": 16, "kv_lora_rank": 16},
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "max_target_positions"), 256),
    "max_source_positions": 32,
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1},
}  # fmt: skip
_LATENT = {"head_dim": 8, "num_key_value_heads": 4, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16}
_SMALL_SIGHT = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk2", "deepseek_v2", "glm4_moe_lite", "glm_moe_dsa", "minicpm3", "youtu"), _LATENT),
    **dict.fromkeys(("axk1", "deepseek_v3", "deepseek_v32"), _LATENT | {"n_group": 2, "topk_group": 1}),
    "longcat_flash": _LATENT | {"num_layers": 2, "zero_expert_num": 2},
    "kimi_linear": _LATENT
    | {"linear_head_dim": 8, "linear_num_heads": 4, "layer_types": ["linear_attention", "full_attention"] * 2},
    "bamba": _MAMBA | {"attn_layer_indices": [1]},
    "granitemoehybrid": _MAMBA | {"layer_types": ["mamba", "attention"] * 2},
    "falcon_h1": _MAMBA | {"mamba_d_ssm": 64},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 16, "n_groups": 1},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "zamba": {
        "layers_block_type": ["mamba", "hybrid", "hybrid", "mamba"],
        "attention_hidden_size": 64,
        "mamba_d_state": 8,
        "num_key_value_heads": 4,
    },
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "prophetnet": {"is_encoder_decoder": False, "add_cross_attention": False, "is_decoder": True},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "reformer": {
        "is_decoder": True,
        "attention_head_size": 8,
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [16, 16],
        "attn_layers": ["local", "lsh"] * 2,
        "num_buckets": 4,
        "feed_forward_size": 48,
    },
    "roc_bert": {
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
        "pronunciation_vocab_size": 410,
        "shape_vocab_size": 410,
    },
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
    "phi4_multimodal": {
        "vision_config": _SMALL_SIGHT | {"num_hidden_layers": 2, "crop_size": 28},
        "audio_config": _SMALL_SIGHT
        | {
            "num_blocks": 1,
            "ext_pw_out_channel": 16,
            "nemo_conv_channels": 16,
            "depthwise_separable_out_channel": 16,
        },
    },
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 0,
        "intermediate_size": 48,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 400,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "gemma4_text": {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 400},
}
WINDOWS = (
    "sliding_window", "window_size", "attention_window_size", "attention_chunk_size", "local_attention", "index_topk",
)  # fmt: skip
DECODERS = (
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert",
    "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Architectures that read from left to right only if they are told to."""
LONGROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 48,
        "factor": 5.0,
    },
    "original_max_position_embeddings": 48,
}


def tiny_config(kind: str, **more: Any) -> Any:
    """The configuration of a model of a few ten thousand parameters, with a vocabulary of 400."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    default = CONFIG_MAPPING[kind]()
    parts = {name: part for name in default.sub_configs if (part := getattr(default, name, None)) is not None}
    subs = {name: _sizes(part) | {"model_type": part.model_type} for name, part in parts.items()}
    return CONFIG_MAPPING[kind](**(_sizes(default) | subs | _OWN.get(kind, {}) | more))


def _sizes(config: Any) -> dict[str, Any]:
    named = {*config.to_dict(), *getattr(config, "attribute_map", {})}
    return {key: value for key, value in ({"vocab_size": 400} | _SIZES).items() if key in named}


def narrow(kind: str, window: int = 32) -> dict[str, Any]:
    """Settings by which an architecture sees no more than so many tokens back; none if it has no window."""
    text = tiny_config(kind).get_text_config()
    found = {key: window for key in WINDOWS if hasattr(text, key)}
    own = {"use_sliding_window": True, "max_window_layers": 2}
    return found | {key: value for key, value in own.items() if found and hasattr(text, key)}


def save_tiny(folder: Path, tokenizer: Any, kind: str, seed: int = 0, **more: Any) -> Any:
    """A random model in a folder, with weights large enough that what it sees tells; returns the model itself."""
    import torch
    from transformers import AutoModelForCausalLM

    config = tiny_config(kind, **more)
    with torch.device("meta"):
        parameters = AutoModelForCausalLM.from_config(config).num_parameters()
    assert parameters < MOST_PARAMETERS, f"{kind} has {parameters:,} parameters"
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2 and 0 < weight.std() < 0.05:
                weight.mul_(0.3 / weight.std())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model
