"""Models and tokenizers from a generation's directory: safetensors only, no code that came with a model.

Imports torch and transformers; nothing that the daemon imports may import this module at its top.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from checkpoints.card import Kind
from checkpoints.disk import disk_errors
from checkpoints.errors import MismatchedTokenizer, PublishFailed, UnusableModel
from checkpoints.generation import BASE
from checkpoints.model_files import GENERATION_CONFIG, labels_of, model_files, read_config, unnamed_labels
from checkpoints.probe.ask import conduct_of

HEAD_SEED: Final = 0
# A model of up to so many weights is probed in single precision, where faults cannot hide behind rounding; of a larger
# one that would take memory that may not be there.
PROBED_IN_SINGLE: Final = 500_000_000
UNREADABLE: Final = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
NO_TOKENIZER: Final = "holds no tokenizer that transformers can load; save the model's own there (tokenizer.json)"
LONGEST_REASON: Final = 240
# A tokenizer that fills less of the embedding than this was made for another model: padding takes less.
LEAST_VOCABULARY_SHARE: Final = 0.5
# What differs between two configurations of one architecture.
INCIDENTAL_KEYS: Final = frozenset({"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype"})

_AUTO: Final[dict[str, Any]] = {
    "causal-lm": AutoModelForCausalLM,
    "classifier": AutoModelForSequenceClassification,
}
transformers_logging.disable_progress_bar()


def load_model(
    path: Path, kind: Kind, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model in eval mode.

    Args:
        path: a generation's or any Hugging Face model directory.
        kind: which head it must have.
        device: where it goes.
        dtype: of its weights; None keeps the stored one.

    Raises:
        UnsafeModel: only pickles, or code of its own.
        UnusableModel: weights are missing or do not fit the configuration.
    """
    model_files(path)
    with _said_clearly(path):
        model, info = _AUTO[kind].from_pretrained(
            path, dtype=dtype or "auto", use_safetensors=True, output_loading_info=True, **_local()
        )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UnusableModel(
            f"{path} lacks weights of a {kind} ({len(missing)}, such as {missing[0]}); "
            "is the model of that kind, and are all its files here?"
        )
    return _ready(model, device)


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies with a model.

    Raises:
        UnusableModel: there is none, or it cannot be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **_local())
    except UNREADABLE as error:
        raise UnusableModel(f"{path} {NO_TOKENIZER}. transformers says: {_reason(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UnusableModel(f"{path} {NO_TOKENIZER}")
    return tokenizer


def require_match(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Refuse a tokenizer that was made for another model.

    Raises:
        MismatchedTokenizer: it has tokens that the model has no embedding for, or far too few.
    """
    embedding = model.get_input_embeddings().weight
    assert isinstance(embedding, torch.Tensor)
    rows = embedding.shape[0]
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= rows:
        problem = f"has token ids up to {highest}, the model only {rows} embeddings"
    elif highest + 1 < LEAST_VOCABULARY_SHARE * rows:
        problem = f"knows {highest + 1} tokens, the model has {rows} embeddings"
    else:
        return
    raise MismatchedTokenizer(
        f"tokenizer and model in {path} do not belong together: the tokenizer {problem}; take both from the same source"
    )


def load_beside(model: PreTrainedModel, path: Path) -> PreTrainedModel | None:
    """Load a generation of the same architecture by copying `model`'s modules and reading only the weights.

    Much cheaper than `load_model` and mostly outside the interpreter, so that `model` can answer meanwhile.

    Args:
        model: a loaded generation; it is not changed.
        path: the new generation's directory.

    Returns:
        the new model on the same device and in the same dtype, in eval mode; None when the architectures or
        the names of the weights differ, so that it must be loaded in full.
    """
    if not _same_architecture(model, path):
        return None
    stored = _stored_weights(path)
    places = _places(model)
    wanted = [next((name for name in names if name in stored), None) for names in places]
    if None in wanted or set(stored) - {name for names in places for name in names}:
        return None
    fresh = _copy_without_weights(model)
    if fresh.can_generate():
        fresh.generation_config = _generation_config(path, fresh)
    chosen = [(str(name), stored[str(name)]) for name in wanted]
    return fresh if _fill(fresh.state_dict(keep_vars=True), chosen) else None


def prepare_base(model: Path, scratch: Path, kind: Kind, labels: tuple[str, ...]) -> Path:
    """The directory to publish as generation 0: `model` itself, or one made in `scratch` from it.

    Raises:
        UnsafeModel, UnusableModel, MismatchedTokenizer, UnfitModel: it cannot be the base.
        PublishFailed: the disk refused.
    """
    if model.suffix == ".gguf":
        prepared = _convert_gguf(model, scratch, kind)
    else:
        model_files(model)
        prepared = _with_head(model, scratch, labels) if kind == "classifier" else model
    loaded, tokenizer = load_model(prepared, kind), load_tokenizer(prepared)
    require_match(loaded, tokenizer, model)
    if sum(weight.numel() for weight in loaded.parameters()) <= PROBED_IN_SINGLE:
        loaded = loaded.float()
    conduct_of(loaded, kind, tokenizer)
    return prepared


def _convert_gguf(model: Path, scratch: Path, kind: Kind) -> Path:
    if kind != "causal-lm":
        raise UnusableModel(f"{model}: a classifier's base is a Hugging Face model directory, not a GGUF file")
    if not model.is_file():
        raise UnusableModel(f"{model} does not exist; name a .gguf file or a Hugging Face model directory")
    with _said_clearly(model):
        tokenizer = AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name, **_local())
        # Quantised weights hold no more than bf16 keeps.
        converted = AutoModelForCausalLM.from_pretrained(
            model.parent,
            gguf_file=model.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            **_local(),
        )
        _save(scratch, converted, tokenizer)
    return scratch


def _with_head(model: Path, scratch: Path, labels: tuple[str, ...]) -> Path:
    """The model itself when it classifies already, else a copy with a head for `labels`.

    A head whose labels have no names is given those of `labels`.
    """
    config = read_config(model)
    classifies = any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or ())
    named = labels_of(config)
    takes_names = named == unnamed_labels(len(labels))
    if classifies and not takes_names:
        _require_labels(model, named, labels)
        return model
    if len(labels) < 2:
        raise UnusableModel(
            f"{model} has no classification head, and {len(labels)} labels are set; name at least two labels"
        )
    torch.manual_seed(HEAD_SEED)
    names = dict(enumerate(labels))
    with _said_clearly(model):
        made = AutoModelForSequenceClassification.from_pretrained(
            model,
            id2label=names,
            label2id={label: n for n, label in names.items()},
            use_safetensors=True,
            **_local(),
        )
        _save(scratch, made, load_tokenizer(model))
    return scratch


def _save(scratch: Path, model: Any, tokenizer: Any) -> None:
    """Write a base; a disk that refuses is no fault of the model's."""
    try:
        with disk_errors(scratch):
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
    except OSError as error:
        raise PublishFailed(BASE, error) from error


def _require_labels(model: Path, named: tuple[str, ...], labels: tuple[str, ...]) -> None:
    if labels and named != labels:
        raise UnusableModel(
            f"{model} classifies into {', '.join(named)}, the settings name {', '.join(labels)}; "
            "name the same labels in the same order, or none"
        )


def _local() -> dict[str, Any]:
    return {"local_files_only": True, "trust_remote_code": False}


@contextmanager
def _said_clearly(path: Path) -> Iterator[None]:
    """Turn what transformers raises about a directory into one sentence about it."""
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise UnusableModel(f"{path} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of what transformers says; where that announces a list, the list too, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = " ".join(lines) if lines[0].endswith(":") else lines[0]
    return said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}…"


def _ready(model: Any, device: str | torch.device) -> PreTrainedModel:
    """On its device, in eval mode, with a padding token for batches."""
    if model.config.pad_token_id is None:
        eos = model.config.eos_token_id
        model.config.pad_token_id = eos[0] if isinstance(eos, list) else (eos or 0)
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _generation_config(path: Path, model: PreTrainedModel) -> GenerationConfig:
    """The defaults and ends of answers, which may differ between generations of one architecture."""
    if (path / GENERATION_CONFIG).is_file():
        return GenerationConfig.from_pretrained(path, local_files_only=True)
    return GenerationConfig.from_model_config(model.config)


def _same_architecture(model: PreTrainedModel, path: Path) -> bool:
    loaded = type(model.config).from_pretrained(path, local_files_only=True)
    if loaded.pad_token_id is None:
        loaded.pad_token_id = model.config.pad_token_id
    ours, theirs = model.config.to_dict(), loaded.to_dict()
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    return differing <= INCIDENTAL_KEYS


def _stored_weights(path: Path) -> dict[str, Path]:
    """Which file holds each stored tensor."""
    where: dict[str, Path] = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            where.update(dict.fromkeys(tensors.keys(), file))
    return where


def _places(model: PreTrainedModel) -> list[list[str]]:
    """The names of each weight: several where it is tied."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return list(names.values())


def _copy_without_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A deep copy whose parameters are uninitialised: tied ones stay tied, buffers keep their values."""
    memo: dict[int, Any] = {
        id(parameter): torch.nn.Parameter(torch.empty_like(parameter), requires_grad=parameter.requires_grad)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, memo)


def _fill(targets: Mapping[str, torch.Tensor], chosen: list[tuple[str, Path]]) -> bool:
    """Read the chosen tensors into their targets; False when a shape differs."""
    for file in sorted({file for _, file in chosen}):
        with safe_open(file, framework="pt") as tensors, torch.no_grad():
            for name in (name for name, holder in chosen if holder == file):
                value = tensors.get_tensor(name)
                if value.shape != targets[name].shape:
                    return False
                targets[name].copy_(value)
    return True
