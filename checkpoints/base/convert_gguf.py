"""A .gguf file becomes a model directory, once."""

import re
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
)

from checkpoints.base.saving import save_model
from checkpoints.errors import UnusableModel
from checkpoints.files.weight_files import refuse_pointer
from checkpoints.kinds import KINDS, ModelKind
from checkpoints.load import LOCAL
from checkpoints.reasons import explain_failures, reason


def convert_gguf(model: Path, scratch: Path, kind: ModelKind) -> Path:
    """The directory `scratch`, with the model that the file holds, in bfloat16.

    Raises:
        UnusableModel: there is no such file, it is a part of one, it cannot be read, or it is to be of another kind
            than a causal language model.
        PublishFailed: the disk refused.
    """
    if kind != "causal-lm":
        raise UnusableModel(f"{model}: a {KINDS[kind].title}'s base is a Hugging Face model directory, not a GGUF file")
    if not model.is_file():
        raise UnusableModel(f"{model} does not exist; name a .gguf file or a Hugging Face model directory")
    refuse_pointer(model)
    if re.search(r"-\d+-of-\d+\.gguf$", model.name.lower()):
        raise UnusableModel(
            f"{model} is one of several parts: join them first (`llama-gguf-split --merge`), name the whole"
        )
    with explain_failures(model, _not_converted):
        tokenizer = AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name, **LOCAL)
        # Quantised weights hold no more than bf16 keeps.
        converted = AutoModelForCausalLM.from_pretrained(
            model.parent,
            gguf_file=model.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            **LOCAL,
        )
        save_model(scratch, converted, tokenizer)
    return scratch


def _not_converted(path: Path, error: Exception) -> str:
    return f"{path} cannot be converted: {reason(error)}; take it from its source again, or another model"
