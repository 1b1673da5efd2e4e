"""A model's shape by its files alone: nothing is loaded, and nothing that is not there is guessed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from struct import error as StructError  # noqa: N812 - it is an error's class
from typing import Any

from checkpoints.files.weight_files import entries_of, is_mostly_bfloat16
from checkpoints.kinds import KINDS, ModelKind
from daemon.sizes.estimate import FLOAT_BYTES
from daemon.sizes.shape import ModelShape

SIZES = ("hidden", "layers", "parameters", "stored_bytes", "outputs", "largest_bytes")
STORED_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def shape_of_files(path: Path, kind: ModelKind, *, device_type: str, compute_bytes: int) -> ModelShape | None:
    """What an estimate needs to know of a model directory or a .gguf file; None where its files do not tell.

    Args:
        path: of the model.
        kind: what it is for.
        device_type: where it would be trained, `cpu` or `cuda`.
        compute_bytes: of a number in the forward pass: see `daemon.sizes.round_memory.bytes_computed_in`.
    """
    try:
        facts = _of_gguf(path) if path.suffix.lower() == ".gguf" else _of_directory(path)
        sizes = {name: _whole(facts[name]) for name in SIZES}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, StructError):
        return None
    by_token = KINDS[kind].by_token
    return ModelShape(
        hidden=sizes["hidden"],
        layers=sizes["layers"],
        parameters=sizes["parameters"],
        stored_bytes=sizes["stored_bytes"],
        largest_bytes=sizes["largest_bytes"],
        outputs=sizes["outputs"] if by_token else _whole(facts.get("labels") or 2),
        by_token=by_token,
        inner=_whole(facts.get("inner") or 4 * sizes["hidden"]),
        heads=_whole(facts.get("heads") or 0),
        positions=_whole(facts.get("positions") or 2**20),
        compute_bytes=compute_bytes,
        device_type=device_type,
        is_bfloat16=bool(facts.get("is_bfloat16", False)),
    )


def _whole(value: Any) -> int:
    """A size; the largest where layers differ in it."""
    size = max(value) if isinstance(value, list) else value
    if not isinstance(size, int):
        raise TypeError(f"{size!r} is no whole number")
    return size


def _of_directory(path: Path) -> dict[str, Any]:
    whole = json.loads((path / "config.json").read_text(encoding="utf-8-sig"))
    # A model of text and images keeps the sizes of its language part by themselves.
    config = whole.get("text_config") or whole
    return _weights(path) | {
        "hidden": _first(config, "hidden_size", "d_model", "n_embd"),
        "inner": _first(config, "intermediate_size", "n_inner", "ffn_dim", "d_ff", "decoder_ffn_dim"),
        "heads": _first(config, "num_attention_heads", "n_head", "num_heads", "decoder_attention_heads"),
        "layers": _layers(config),
        "outputs": _first(config, "vocab_size"),
        "positions": _first(config, "max_position_embeddings", "n_positions", "max_seq_len"),
        "labels": len(whole.get("id2label") or ()),
    }


def _layers(config: Mapping[str, Any]) -> Any:
    """How many layers there are, of encoder and decoder together where a model has both."""
    layers = _first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
    written = _first(config, "num_decoder_layers", "decoder_layers") if config.get("is_encoder_decoder") else None
    return layers + (written or layers) if config.get("is_encoder_decoder") and isinstance(layers, int) else layers


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name)), None)


def _weights(path: Path) -> dict[str, int]:
    """How many weights the directory's safetensors files hold, bytes of them, and of the largest in float32."""
    parameters = stored_bytes = largest = 0
    for file in path.glob("*.safetensors"):
        entries = entries_of(file)
        if entries is None:
            raise ValueError(f"{file} is no safetensors file")
        for tensor in entries.values():
            count = math.prod(tensor["shape"])
            parameters += count
            stored_bytes += count * STORED_BYTES.get(tensor["dtype"], 1)
            largest = max(largest, count)
    if not parameters:
        raise ValueError("there are no weights")
    sizes = {"parameters": parameters, "stored_bytes": stored_bytes, "largest_bytes": FLOAT_BYTES * largest}
    return {**sizes, "is_bfloat16": is_mostly_bfloat16(path)}


def _of_gguf(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader  # noqa: PLC0415 - numpy, and only for such a file

    reader = GGUFReader(path)
    fields = {
        # Tokens and their types are as many as the vocabulary, and would be converted one by one for nothing.
        name: field.contents()
        for name, field in reader.fields.items()
        if not name.startswith("tokenizer.ggml.t")
    }
    family = fields["general.architecture"]
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    vocabulary = reader.fields.get("tokenizer.ggml.tokens")
    return {
        "hidden": fields[f"{family}.embedding_length"],
        "inner": fields.get(f"{family}.feed_forward_length"),
        "heads": fields.get(f"{family}.attention.head_count"),
        "layers": fields[f"{family}.block_count"],
        "outputs": len(vocabulary.data) if vocabulary is not None else fields[f"{family}.vocab_size"],
        "positions": fields.get(f"{family}.context_length"),
        "parameters": parameters,
        # Converted once.
        "stored_bytes": 2 * parameters,
        "is_bfloat16": True,
        "largest_bytes": FLOAT_BYTES * max(int(tensor.n_elements) for tensor in reader.tensors),
    }
