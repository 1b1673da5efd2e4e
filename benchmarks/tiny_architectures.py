"""The smallest random model of an architecture, made by shrinking its default configuration.

What counts is kept: which kinds of layers there are and in which order, how positions are told, what is cached. Sizes
shrink alike in all architectures; where one has rules of its own (a width that must be a product of others) its own
values stand in `OWN`.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

AUTO: Final[Mapping[str, Any]] = {
    "causal-lm": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "masked-lm": AutoModelForMaskedLM,
    "classifier": AutoModelForSequenceClassification,
}
VOCABULARY: Final = 320
POSITIONS: Final = 96
LAYERS: Final = 4
MOST_PARAMETERS: Final = 4_000_000
# Random weights as they come hardly let a token look at the others: what a lost context changes would be rounding.
SPREAD: Final = 0.15

SIZES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("vocab_size", "unpadded_vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input"), 320),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "dim", "emb_dim", "embedding_dim"), 32),
    **dict.fromkeys(("word_embed_proj_dim", "pooler_hidden_size", "input_embedding_size", "output_embedding_size"), 32),
    **dict.fromkeys(("backbone_hidden_size", "prediction_head_size", "lru_width", "hidden_size_global"), 32),
    **dict.fromkeys(("intermediate_size", "moe_intermediate_size", "decoder_ffn_dim", "encoder_ffn_dim"), 64),
    **dict.fromkeys(("shared_expert_intermediate_size", "ffn_dim", "ffn_hidden_size", "expert_ffn_hidden_size"), 64),
    **dict.fromkeys(("d_ff", "dff", "dim_ff", "hidden_dim", "d_inner", "intermediate_size_mlp"), 64),
    **dict.fromkeys(("dense_intermediate_size", "shared_intermediate_size", "feed_forward_size", "n_inner"), 64),
    **dict.fromkeys(("shared_experts_intermediate_size", "moe_shared_expert_intermediate_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers", "num_decoder_layers", "num_blocks"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("attention_heads", "swa_num_attention_heads", "index_n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads"), 2),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "linear_num_heads"), 2),
    **dict.fromkeys(("head_dim", "swa_head_dim", "global_head_dim", "d_kv", "kv_channels", "dim_head"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("d_head", "attention_head_dim", "attention_head_size"), 8),
    **dict.fromkeys(("v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "kv_lora_rank", "q_lora_rank"), 8),
    **dict.fromkeys(("rotary_dim", "o_lora_rank", "gated_norm_rank"), 8),
    "qk_head_dim": 16,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("zero_expert_num", "n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("sliding_window", "local_attention", "sliding_window_size", "attention_window_size"), 8),
    **dict.fromkeys(("window_size", "attention_chunk_size", "keep_window_size", "attention_window"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), POSITIONS),
    **dict.fromkeys(("max_target_positions", "max_source_positions", "context_length"), POSITIONS),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"), 4),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "block_size"), 8),
    "adapter_rank": 4,
    "hidden_size_per_layer_input": 8,
    "query_pre_attn_scalar": 8,
    "max_window_layers": 2,
    "entity_vocab_size": 20,
    "entity_emb_size": 16,
}
TOKENS: Final[Mapping[str, int]] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
MLA: Final = {"num_key_value_heads": 4}
HYBRID: Final = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite"), MLA),
    **dict.fromkeys(("glm_moe_dsa", "longcat_flash", "minicpm3", "youtu", "esmc"), MLA),
    **{name: {"head_dim": 8} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")},
    "mistral4": {"num_key_value_heads": 4, "head_dim": 16},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blenderbot": {"encoder_layers": LAYERS},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_d_head": 16, "mamba_n_heads": 4, "mamba_n_groups": 1},
    "mamba2": {"head_dim": 16, "num_heads": 4, "n_groups": 1},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "nemotron_h": {"n_groups": 1},
    "deepseek_v2": {**MLA, "num_experts_per_tok": 2},
    "granitemoehybrid": {"layer_types": HYBRID},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "roc_bert": {"shape_embed_dim": 8, "shape_vocab_size": 20, "pronunciation_embed_dim": 8},
    "perceiver": {"d_latents": 32, "num_self_attends_per_block": 2, "num_latents": 8},
    "reformer": {
        "is_decoder": True,
        "axial_pos_shape": [8, 12],
        "axial_pos_embds_dim": [8, 24],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    "t5": {"decoder_start_token_id": 2},
    "xmod": {"default_language": "en_XX"},
    "kimi_linear": {
        "num_expert_group": 1,
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_token": 2,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 4,
    },
    "bailing_hybrid": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "num_key_value_heads": 4},
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "laurel_rank": 8,
        "intermediate_size": 64,
    },
    "zamba2": {
        "layer_types": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "hybrid_layer_ids": [1, 3],
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "num_query_groups": 2,
    },
    "esm": {"pad_token_id": 2, "vocab_size": 320},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            layer: {"rope_type": "default", "rope_theta": 10000.0} for layer in ("sliding_attention", "full_attention")
        },
    },
    "lilt": {"hidden_size": 48, "num_attention_heads": 4},
    "layoutlmv3": {"coordinate_size": 5, "shape_size": 6},
}


class CannotShrink(Exception):
    """An architecture of which no small model can be made; the message says why."""


def shrink_config(name: str, own: Mapping[str, Any] | None = None) -> PretrainedConfig:
    """The configuration of the smallest model of an architecture.

    Raises:
        CannotShrink: its sizes are bound to others.
    """
    kind = CONFIG_MAPPING[name]
    try:
        default: PretrainedConfig = kind()
        return _rebuild(default, {**OWN.get(name, {}), **(own or {})})
    except Exception as error:
        raise CannotShrink(f"its configuration refuses the sizes: {_line(error)}") from error


def _rebuild(default: PretrainedConfig, own: Mapping[str, Any]) -> PretrainedConfig:
    values = default.to_dict()
    changed: dict[str, Any] = {}
    for key, value in values.items():
        part = _part(default, key)
        if part is not None:
            nested = own.get(key, {})
            changed[key] = _rebuild(part, nested)
        elif key in SIZES and isinstance(value, int) and not isinstance(value, bool):
            changed[key] = min(value, SIZES[key])
        elif key.endswith(("_token_id", "_token_index")) and isinstance(value, int) and value >= VOCABULARY:
            changed[key] = TOKENS["pad_token_id"]
        elif key.endswith("layer_types") and isinstance(value, list):
            changed[key] = _every_type(value)
    # Defaults name ids beyond so small a vocabulary.
    for key in TOKENS:
        changed[key] = TOKENS[key]
    plain = {key: value for key, value in own.items() if _part(default, key) is None or not isinstance(value, Mapping)}
    return type(default)(**(changed | plain))


def _part(config: PretrainedConfig, key: str) -> PretrainedConfig | None:
    """The configuration that lies in another under a name."""
    # Other names may be told layer by layer, and raise where they are asked of the whole.
    part = getattr(config, key, None) if "config" in key else None
    return part if isinstance(part, PretrainedConfig) else None


def _every_type(types: list[Any]) -> list[Any]:
    """So many layers that each type is there, in their order."""
    first = types[:LAYERS]
    # A kind of layer that comes late in a deep model has a cache of its own to be wrong about.
    missing = [each for each in dict.fromkeys(types) if each not in first]
    return (first[: LAYERS - len(missing)] + missing)[:LAYERS]


def tiny_model(
    name: str, kind: str, *, seed: int = 0, labels: int = 3, own: Mapping[str, Any] | None = None
) -> PreTrainedModel:
    """A random model of an architecture, in eval mode.

    Args:
        name: transformers' model type.
        kind: `causal-lm`, `seq2seq`, `masked-lm` or `classifier`.
        seed: of its weights.
        labels: of a classifier.
        own: of the configuration, beside what makes it small.

    Raises:
        CannotShrink: it cannot be made, or not small.
    """
    config = shrink_config(name, own)
    auto = AUTO[kind]
    if kind == "classifier":
        config.num_labels = labels
    try:
        # Sketched first: a size that was not shrunk may ask for gigabytes.
        with torch.device("meta"):
            sketch = auto.from_config(config)
        _require_small(sketch)
        # After the sketch, which may draw as well.
        torch.manual_seed(seed)
        model = auto.from_config(config)
    except CannotShrink:
        raise
    except Exception as error:
        raise CannotShrink(_line(error)) from error
    _spread(model)
    ready: PreTrainedModel = model.eval()
    return ready


def _require_small(sketch: PreTrainedModel) -> None:
    count = sum(weight.numel() for weight in sketch.parameters())
    if count > MOST_PARAMETERS:
        name, weight = max(sketch.named_parameters(), key=lambda pair: pair[1].numel())
        raise CannotShrink(f"{count:,} parameters remain, most in {name} {tuple(weight.shape)}")


def _spread(model: PreTrainedModel) -> None:
    """Weights large enough that each token's answer leans on those before it."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and 0 < float(parameter.std()) < SPREAD:
                parameter.mul_(SPREAD / float(parameter.std()))


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:200]}"
