"""Ids that a model does not have: another is taken where one can be, else the model is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    MambaConfig,
    MambaForCausalLM,
)

from checkpoints.base.prepare import import_base
from checkpoints.errors import MismatchedTokenizer
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model, load_tokenizer
from tests.models import VOCABULARY, embedding_of, make_tokenizer


@pytest.fixture
def copied(causal: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(causal, tmp_path / "copied"))


def edit(path: Path, **values: object) -> None:
    """Set values in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_special_token_above_the_last_row_is_no_fault(store: GenerationStore, copied: Path) -> None:
    """Gemma 3's tokenizer has one for images, which no text brings: text that spells it is read as letters."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    tokenizer.save_pretrained(copied)
    published = import_base(store, copied)
    model, kept = load_model(published.path, "causal-lm"), load_tokenizer(published.path)
    assert len(kept) > embedding_of(model).shape[0]
    ids = kept("an <image_soft_token>", split_special_tokens=True, return_tensors="pt")["input_ids"]
    model(ids)


def test_an_ordinary_token_above_the_last_row_is_refused(store: GenerationStore, copied: Path) -> None:
    """A text could bring it, also where a special one stands there too."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    tokenizer.add_tokens(["river"])
    tokenizer.save_pretrained(copied)
    with pytest.raises(MismatchedTokenizer, match=f"{VOCABULARY + 1}, the model only {VOCABULARY} embeddings"):
        import_base(store, copied)


def test_a_token_around_every_text_above_the_last_row_is_refused(store: GenerationStore, copied: Path) -> None:
    """Special or not: each document would bring it."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    tokenizer.save_pretrained(copied)
    with pytest.raises(MismatchedTokenizer, match=r"'<end>' \(320\) into each text"):
        import_base(store, copied)


@pytest.mark.parametrize("pad", [-1, -100, VOCABULARY, 10**9, "2", [2], 2.0, True, "pad", {}])
def test_a_padding_token_that_is_none_is_replaced(store: GenerationStore, copied: Path, pad: object) -> None:
    """By the tokenizer's, which the model has, in what is kept."""
    edit(copied / "config.json", pad_token_id=pad)
    published = import_base(store, copied)
    assert json.loads((published.path / "config.json").read_text())["pad_token_id"] == 2
    assert load_model(published.path, "causal-lm").config.pad_token_id == 2


def test_without_a_padding_token_anywhere_the_end_of_text_pads(store: GenerationStore, copied: Path) -> None:
    """As it was before there was a choice."""
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(copied)
    edit(copied / "config.json", pad_token_id=None, eos_token_id=[1, 0])
    assert load_model(import_base(store, copied).path, "causal-lm").config.pad_token_id == 1


@pytest.mark.parametrize("eos", [-1, VOCABULARY, [], [VOCABULARY], [VOCABULARY, 1], "1", None])
def test_an_end_of_text_that_is_none_is_left_out(store: GenerationStore, copied: Path, eos: object) -> None:
    """In both configurations; the one that the model has stays."""
    for name in ("config.json", "generation_config.json"):
        edit(copied / name, eos_token_id=eos, bos_token_id=VOCABULARY)
    published = import_base(store, copied)
    for name in ("config.json", "generation_config.json"):
        kept = json.loads((published.path / name).read_text())
        assert kept["eos_token_id"] in ([1], 1, None)
        assert kept["bos_token_id"] is None


def test_a_good_model_is_taken_as_it_is(store: GenerationStore, causal: Path) -> None:
    """No file of it is written anew."""
    published = import_base(store, causal)
    for path in causal.iterdir():
        assert (published.path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (CodeGenConfig(vocab_size=320, n_embd=32, n_layer=1, n_head=4, rotary_dim=8), CodeGenForCausalLM),
        (MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, pad_token_id=None), MambaForCausalLM),
    ],
    ids=["CodeGen", "Mamba"],
)
def test_a_configuration_that_has_no_padding_token_gets_one(
    store: GenerationStore, tmp_path: Path, config: object, make: type
) -> None:
    """Whatever else it lacks: CodeGen's knows of none, Mamba's of no heads."""
    make(config).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    published = import_base(store, tmp_path / "model")
    assert load_model(published.path, "causal-lm").config.pad_token_id == 2


def test_a_decoder_that_classifies_pads_with_what_is_no_text(store: GenerationStore, tmp_path: Path) -> None:
    """It finds a text's end by its padding, so that batches answer as texts alone."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=320, n_embd=32, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=1)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    model = load_model(import_base(store, tmp_path / "model", kind="classifier").path, "classifier")
    pad = model.config.pad_token_id
    text, longer = [5, 6, 7], [5, 6, 7, 8, 9, 10]
    with torch.inference_mode():
        alone = model(torch.tensor([text])).logits[0]
        beside = model(
            torch.tensor([text + [pad] * 3, longer]), attention_mask=torch.tensor([[1] * 3 + [0] * 3, [1] * 6])
        )
    assert torch.allclose(alone, beside.logits[0], atol=1e-5)
