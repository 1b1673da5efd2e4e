"""Which linear maps an adapter changes, asked of real architectures."""

from collections.abc import Callable
from typing import Any

import pytest
from transformers import OPTConfig, OPTForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM

from benchmarks.tiny_architectures import tiny_model
from learner.weights.adapted_modules import NoSuchModules, choose_modules
from tests.unit.learner import tiny


def opt() -> OPTForCausalLM:
    """A model whose feed-forward maps lie in the layer itself."""
    return OPTForCausalLM(
        OPTConfig(vocab_size=40, hidden_size=16, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2)
    )


def mixture() -> Qwen2MoeForCausalLM:
    """A mixture with an expert that all share; the others are no linear maps of their own."""
    config = Qwen2MoeConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=4,
    )
    return Qwen2MoeForCausalLM(config)


def below_layer(model: Any, *wanted: str) -> list[str]:
    """What is chosen in the first layer."""
    names = [name.split(".") for name in choose_modules(model, wanted)]
    return [".".join(path[path.index("0") + 1 :]) for path in names if "0" in path]


@pytest.mark.parametrize(
    ("make", "mlp", "attention"),
    [
        (
            tiny.llama,
            ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"],
        ),
        (tiny.gpt2, ["mlp.c_fc", "mlp.c_proj"], ["attn.c_attn", "attn.c_proj"]),
        (
            tiny.bert,
            ["intermediate.dense", "output.dense"],
            ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
        ),
        (
            opt,
            ["fc1", "fc2"],
            ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj"],
        ),
    ],
)
def test_the_maps_of_a_layer_are_attentions_or_the_feed_forward_parts(
    make: Callable[[], Any], mlp: list[str], attention: list[str]
) -> None:
    """And neither the head nor an embedding belongs to one."""
    model = make()
    assert below_layer(model, "mlp") == mlp
    assert below_layer(model, "attention") == attention
    assert set(below_layer(model, "attention", "mlp")) == {*mlp, *attention}


def test_a_mixtures_router_is_left_alone() -> None:
    """Of its linear maps the expert remains that all tokens go through."""
    shared = [f"mlp.shared_expert.{name}" for name in ("gate_proj", "up_proj", "down_proj")]
    assert below_layer(mixture(), "mlp") == shared


def test_what_mixes_tokens_otherwise_and_what_sees_is_left_alone() -> None:
    """Also where a module of theirs is named: the change beside it would not be seen, or never be reached."""
    jamba = tiny_model("jamba", "causal-lm")
    assert not [name for name in choose_modules(jamba, ["mlp", "attention"]) if "mamba" in name]
    with pytest.raises(NoSuchModules, match="names dt_proj"):
        choose_modules(jamba, ["dt_proj"])
    with pytest.raises(NoSuchModules, match="there is none that an adapter could change"):
        choose_modules(tiny_model("mamba", "causal-lm"), ["mlp"])
    assert not [name for name in choose_modules(tiny_model("gemma3", "causal-lm"), ["mlp"]) if "vision" in name]


def test_modules_are_named_by_their_ends() -> None:
    """As peft's users name them; a part of a word is none."""
    assert below_layer(tiny.llama(), "q_proj", "mlp.up_proj") == ["self_attn.q_proj", "mlp.up_proj"]
    with pytest.raises(NoSuchModules, match="adapter_modules names proj, and no linear map"):
        choose_modules(tiny.llama(), ["proj"])


@pytest.mark.parametrize("word", ["lm_head", "embed_tokens", "c_fc"])
def test_what_is_not_there_is_answered_with_what_is(word: str) -> None:
    """Nor is the head to be had, which may be one with the embedding."""
    with pytest.raises(NoSuchModules) as caught:
        choose_modules(tiny.llama(), ["mlp", word])
    assert f"names {word}, and no linear map in the layers of this LlamaForCausalLM" in str(caught.value)
    assert "it has mlp: mlp.gate_proj, mlp.up_proj, mlp.down_proj; attention: self_attn.q_proj" in str(caught.value)
