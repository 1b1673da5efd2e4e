"""Of a model that sees or hears as well, the part that reads and writes text is kept current."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Llama4Config,
    Llama4ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from checkpoints.base.prepare import import_base
from checkpoints.errors import UnusableModel
from checkpoints.files.label_names import NEW_WEIGHTS, labels_in
from checkpoints.files.model_files import read_config
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_beside, load_model
from tests.models import make_tokenizer

TEXT: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "head_dim": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
IMAGE: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
EXPERTS = {"intermediate_size_mlp": 64, "num_local_experts": 2}
PROJECTED = {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}
ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}}


def gemma() -> PreTrainedModel:
    """Its head is its embedding."""
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=TEXT, vision_config=IMAGE, mm_tokens_per_image=4))


def llama() -> PreTrainedModel:
    """Experts."""
    config = Llama4Config(text_config=TEXT | EXPERTS, vision_config=IMAGE | PROJECTED)
    return Llama4ForConditionalGeneration(config)


def mistral() -> PreTrainedModel:
    """The whole says that the head is the embedding, the text part that it is not."""
    text, image = {"model_type": "mistral", **TEXT}, {"model_type": "pixtral", **IMAGE}
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=image))


def llava() -> PreTrainedModel:
    """A head of its own inside the part."""
    text, image = {"model_type": "llama", **TEXT}, {"model_type": "clip_vision_model", **IMAGE}
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=image))


def idefics() -> PreTrainedModel:
    """Another name of the part."""
    config = Idefics3Config(text_config={"model_type": "llama", **TEXT}, vision_config=IMAGE)
    return Idefics3ForConditionalGeneration(config)


def saved(model: PreTrainedModel, path: Path) -> Path:
    """A directory with the model and a tokenizer."""
    model.save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("make", [gemma, llama, mistral, llava, idefics])
def test_the_text_part_answers_as_the_whole(store: GenerationStore, tmp_path: Path, make: Any) -> None:
    """A plain causal language model is kept, with the same logits, that a swap can copy."""
    torch.manual_seed(0)
    whole = make().eval()
    published = import_base(store, saved(whole, tmp_path / "whole"))
    part = load_model(published.path, "causal-lm")
    assert type(part).__name__.endswith("ForCausalLM")
    assert part.config.get_text_config() is part.config
    assert part.config.pad_token_id == 2
    ids = torch.arange(5, 13)[None]
    with torch.inference_mode():
        assert torch.allclose(part(ids).logits, whole(input_ids=ids).logits, atol=1e-5)
    assert load_beside(part, published.path) is not None


def test_a_part_that_transformers_does_not_know_alone_is_refused(store: GenerationStore, tmp_path: Path) -> None:
    """In one sentence that names it."""
    image = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
    whole = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=TEXT | ROPE, vision_config=image))
    with pytest.raises(UnusableModel, match="its text part qwen2_vl_text"):
        import_base(store, saved(whole, tmp_path / "whole"))


def test_a_decoder_without_its_encoder_is_refused(store: GenerationStore, tmp_path: Path) -> None:
    """It would answer without what it reads."""
    sizes: dict[str, Any] = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    widths: dict[str, Any] = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    whole = BartForConditionalGeneration(BartConfig(vocab_size=320, **sizes, **widths, **heads))
    with pytest.raises(UnusableModel, match="reads one text to write another"):
        import_base(store, saved(whole, tmp_path / "whole"))


CLASSIFIED: list[Any] = [gemma, mistral, llava]


@pytest.mark.parametrize("make", CLASSIFIED)
def test_a_head_for_the_text_part_is_made_for_the_labels_that_are_set(
    store: GenerationStore, tmp_path: Path, make: Any
) -> None:
    """And known as new, so that the first round learns it."""
    published = import_base(store, saved(make(), tmp_path / "whole"), kind="classifier", labels=("calm", "flood"))
    assert labels_in(published.path) == ("calm", "flood")
    assert read_config(published.path)[NEW_WEIGHTS] == ["score.weight"]
    assert load_model(published.path, "classifier").config.pad_token_id == 2


@pytest.mark.parametrize("make", CLASSIFIED)
def test_a_text_part_without_a_head_needs_labels(store: GenerationStore, tmp_path: Path, make: Any) -> None:
    """Else it would answer by chance, with labels that nobody named."""
    with pytest.raises(UnusableModel, match="no classification head"):
        import_base(store, saved(make(), tmp_path / "whole"), kind="classifier")


def changed_part(path: Path, change: Any) -> Path:
    """The same directory with another text part in its configuration."""
    config = json.loads((path / "config.json").read_text())
    config["text_config"] = change(config["text_config"])
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("make", [gemma, llama, mistral, llava])
def test_a_configuration_that_lost_its_sizes_is_refused_before_they_are_made_up(
    store: GenerationStore, tmp_path: Path, make: Any
) -> None:
    """The architecture's usual sizes are billions of parameters, which would fill the memory first."""
    whole = changed_part(saved(make(), tmp_path / "whole"), lambda _: None)
    with pytest.raises(UnusableModel, match=r"whole/config.json describes a model of [\d,]+ million parameters"):
        import_base(store, whole)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": []}, "text_config.model_type is []"),
        ({"architectures": 5}, "text_config.architectures is 5"),
        ({"num_labels": [2]}, "text_config.num_labels is [2]"),
        ({"vocab_size": 300}, "300×32 by config.json; take both from one source"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights (gptq)"),
    ],
)
def test_what_is_wrong_in_the_text_part_is_named(
    store: GenerationStore, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    """As it is in a model of text alone."""
    whole = changed_part(saved(gemma(), tmp_path / "whole"), lambda part: part | values)
    with pytest.raises(UnusableModel) as caught:
        import_base(store, whole)
    assert said in str(caught.value)


@pytest.mark.parametrize("make", [gemma, llama, mistral, llava])
def test_ids_that_the_text_part_has_not_are_left_out(store: GenerationStore, tmp_path: Path, make: Any) -> None:
    """Wherever they stand."""
    ids = {"pad_token_id": -1, "eos_token_id": [1, 5000], "bos_token_id": 320}
    whole = changed_part(saved(make(), tmp_path / "whole"), lambda part: part | ids)
    (whole / "generation_config.json").write_text('{"eos_token_id": [1, 320], "pad_token_id": 9999}')
    part = load_model(import_base(store, whole).path, "causal-lm")
    assert 0 <= part.config.pad_token_id < 320
    assert part.config.eos_token_id in (1, [1])
    assert part.generation_config.eos_token_id in (1, [1])
