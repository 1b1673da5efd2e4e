"""Decoding with a shared cache says what reading everything anew says."""

from typing import TypedDict

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from checkpoints.probe.causal import CausalProbe
from checkpoints.probe.decoding import Alone, CachedRows, TokenDecoder


class Common(TypedDict):
    """What every configuration takes."""

    vocab_size: int
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int


class Small(Common):
    """What those of the Llama family take."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int


COMMON: Common = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
SMALL: Small = {
    **COMMON,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
CONFIGURATIONS = [
    LlamaConfig(**SMALL),
    GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    MistralConfig(**SMALL, sliding_window=8),
    Gemma3TextConfig(**SMALL, sliding_window=8, head_dim=8),
    BloomConfig(**COMMON, hidden_size=32, n_layer=2, n_head=4),
    MambaConfig(**COMMON, hidden_size=32, num_hidden_layers=2, state_size=4),
]
PROMPTS = [[5, 9, 200], [7, 3, 8, 9, 4, 5, 250, 251, 30, 31, 32, 33, 34], [11, 12, 13, 14, 15, 16]]


def model_of(config: PretrainedConfig) -> PreTrainedModel:
    """A random model."""
    torch.manual_seed(3)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    return model


def anew(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """Greedy continuation without a cache."""
    seen = list(prompt)
    for _ in range(count):
        with torch.inference_mode():
            seen.append(int(model(input_ids=torch.tensor([seen]), use_cache=False).logits[0, -1].argmax()))
    return seen[len(prompt) :]


def decoder_of(model: PreTrainedModel) -> TokenDecoder:
    """A decoder in the way that the probe found."""
    return TokenDecoder(model, CausalProbe(model).way())


def read(decoder: TokenDecoder, prompt: list[int], chunk: int) -> tuple[CachedRows | Alone, int]:
    """Read a prompt in pieces; returns its batch and the first token."""
    batch = decoder.begin()
    for start in range(0, len(prompt), chunk):
        logits = decoder.advance(batch, torch.tensor([prompt[start : start + chunk]]))
    return batch, int(logits[0].argmax())


def write(decoder: TokenDecoder, batch: CachedRows | Alone, answers: list[list[int]]) -> None:
    """One more token for each answer."""
    logits = decoder.advance(batch, torch.tensor([[answer[-1]] for answer in answers]))
    for answer, token in zip(answers, logits.argmax(-1).tolist(), strict=True):
        answer.append(token)


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda config: config.model_type)
def test_a_sequence_alone_matches(config: PretrainedConfig) -> None:
    """Every architecture: chunks and cache change nothing."""
    model = model_of(config)
    decoder = decoder_of(model)
    chunk = 4 if decoder.reads_in_stretches else 64
    for prompt in PROMPTS:
        batch, token = read(decoder, prompt, chunk)
        answers = [[token]]
        for _ in range(9):
            write(decoder, batch, answers)
        assert answers[0] == anew(model, prompt, 10)


@pytest.mark.parametrize("config", CONFIGURATIONS[:-1], ids=lambda config: config.model_type)
def test_sequences_that_come_and_go_match(config: PretrainedConfig) -> None:
    """Joining, padding and leaving change no sequence's tokens."""
    model = model_of(config)
    decoder = decoder_of(model)
    batch, token = read(decoder, PROMPTS[0], 4)
    assert isinstance(batch, CachedRows)
    answers = [[token]]
    for prompt in PROMPTS[1:]:
        write(decoder, batch, answers)
        joining, token = read(decoder, prompt, 4)
        assert isinstance(joining, CachedRows)
        batch.join(joining)
        answers.append([token])
    write(decoder, batch, answers)
    batch.keep([0, 2])
    staying = [answers[0], answers[2]]
    for _ in range(5):
        write(decoder, batch, staying)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert answer == anew(model, prompt, len(answer))


def test_leaving_gives_the_padding_back() -> None:
    """When the longest sequence leaves, the cache shrinks to the next longest."""
    decoder = decoder_of(model_of(CONFIGURATIONS[0]))
    batch, _ = read(decoder, PROMPTS[0], 64)
    longer, _ = read(decoder, PROMPTS[1], 64)
    assert isinstance(batch, CachedRows)
    assert isinstance(longer, CachedRows)
    batch.join(longer)
    assert batch.cached == len(PROMPTS[1])
    batch.keep([0])
    assert batch.cached == len(PROMPTS[0])
    assert batch.cache.get_seq_length() == len(PROMPTS[0])


def test_recurrent_models_are_not_batched() -> None:
    """Their state cannot be padded, and the decoder says so."""
    assert not decoder_of(model_of(CONFIGURATIONS[-1])).can_batch
