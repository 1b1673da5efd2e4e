"""Models and tokenizers from a generation's directory: safetensors only, no code that came with a model.

Imports torch and transformers; nothing that the daemon imports may import this module at its top.
"""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from checkpoints.adapters.ground import is_adapter, whole_dir
from checkpoints.adapters.low_rank import Adapted, read_adapter
from checkpoints.card import ModelKind
from checkpoints.errors import MismatchedTokenizer, UnusableModel
from checkpoints.files.chat_templates import PROCESSOR_TEMPLATE
from checkpoints.files.config_fields import shorten
from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.files.model_files import GENERATION_CONFIG, model_files, read_object
from checkpoints.files.weight_files import require_whole
from checkpoints.matching import mismatch, of_text, right_pad, set_pad
from checkpoints.reasons import NO_TOKENIZER, explain_configuration, explain_failures, explain_tokenizer, reason

LOCAL: Final[dict[str, Any]] = {"local_files_only": True, "trust_remote_code": False}
# What differs between two configurations of one architecture.
INCIDENTAL_KEYS: Final = frozenset(
    {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype", "pad_token_id", NEW_WEIGHTS}
)

_AUTO: Final[dict[ModelKind, Any]] = {
    "causal-lm": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "masked-lm": AutoModelForMaskedLM,
    "classifier": AutoModelForSequenceClassification,
}
transformers_logging.disable_progress_bar()


def load_model(
    path: Path,
    kind: ModelKind,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    ground: Path | None = None,
) -> PreTrainedModel:
    """Load a model in eval mode; a generation that is an adapter as the whole model that it makes of its ground.

    Args:
        path: a generation's or any Hugging Face model directory.
        kind: which head it must have.
        device: where it goes.
        dtype: of its weights; None keeps the stored one.
        ground: of an adapter, where that is not where a generation's would be.

    Raises:
        UnsafeModel: only pickles, or code of its own.
        UnusableModel: weights are missing or do not fit the configuration.
    """
    model_files(path)
    if not is_adapter(path):
        return _load_whole(path, kind, device=device, dtype=dtype)
    model = _load_whole(ground or whole_dir(path), kind, device=device, dtype=dtype)
    Adapted(model, read_adapter(path), path).merge()
    return model


def _load_whole(
    path: Path, kind: ModelKind, *, device: str | torch.device, dtype: torch.dtype | None
) -> PreTrainedModel:
    model_files(path)
    # Before transformers: on a file that was cut off its error names neither the file nor what to do.
    require_whole(path)
    with explain_failures(path, explain_configuration):
        config = AutoConfig.from_pretrained(path, **LOCAL)
    # Read by itself first, so that an error names this file and not the model.
    if (path / GENERATION_CONFIG).is_file():
        with explain_failures(path / GENERATION_CONFIG, _no_defaults):
            GenerationConfig.from_pretrained(path, local_files_only=True)
    with explain_failures(path):
        model, info = _AUTO[kind].from_pretrained(
            path,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # They are refused below, by name.
            output_loading_info=True,
            **LOCAL,
        )
    _require_fit(path, kind, model, info)
    return _ready(model, device)


def load_outline(path: Path, kind: ModelKind) -> PreTrainedModel:
    """A generation's model as its configuration draws it, without weights: for who lets another program answer from it.

    Args:
        path: of a generation; of an adapter, that of the whole model which it lies on is drawn.
        kind: which head it has.

    Raises:
        UnsafeModel: only pickles, or code of its own.
        UnusableModel: a configuration cannot be read.
    """
    source = whole_dir(path)
    model_files(source)
    with explain_failures(source, explain_configuration):
        config = AutoConfig.from_pretrained(source, **LOCAL)
        # On the device that holds no numbers.
        with torch.device("meta"):
            model: PreTrainedModel = _AUTO[kind].from_config(config)
        model.generation_config = _generation_config(source, model)
    model.eval()
    return model


def _no_defaults(file: Path, error: Exception) -> str:
    return f"{file} is none that transformers reads: {reason(error)}; correct it, or leave that field out"


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies with a model, with an adapter's ground.

    Raises:
        UnusableModel: there is none, or it cannot be read.
    """
    path = whole_dir(path)
    with explain_failures(path, explain_tokenizer):
        tokenizer = AutoTokenizer.from_pretrained(path, **LOCAL)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UnusableModel(f"{path} {NO_TOKENIZER}")
    longest = tokenizer.model_max_length
    # transformers believes whatever stands there, and fails on the first text.
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not math.isfinite(longest):
        raise UnusableModel(
            f"{path / 'tokenizer_config.json'}: model_max_length is {shorten(longest)}, it must be a number of tokens; "
            "correct it, or leave it out"
        )
    _take_template(path, tokenizer)
    return tokenizer


def _take_template(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Models that see as well keep their chat template in a file of the processor's, which is not loaded."""
    processors = path / PROCESSOR_TEMPLATE
    if not tokenizer.chat_template and processors.is_file():
        tokenizer.chat_template = read_object(processors).get("chat_template")
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, Mapping) else [template]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise UnusableModel(
            f"{path}: chat_template (in tokenizer_config.json or {processors.name}) is {shorten(template)}, it must be "
            "a text of Jinja; correct it, or leave it out"
        )


def require_match(model: PreTrainedModel, kind: ModelKind, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Refuse a tokenizer that was made for another model.

    Raises:
        MismatchedTokenizer: it has tokens that the model has no embedding for, or far too few.
    """
    problem = mismatch(model, tokenizer, kind)
    if problem:
        raise MismatchedTokenizer(
            f"tokenizer and model in {path} do not belong together: the tokenizer {problem}; take both from the same "
            "source"
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
    whole = whole_dir(path)
    if not _same_architecture(model, whole):
        return None
    stored = _stored_weights(whole)
    places = _places(model)
    sources = [next((name for name in names if name in stored), None) for names in places]
    # Also where something is stored that nothing here takes: then this is no copy of that architecture.
    if None in sources or set(stored) - {name for names in places for name in names}:
        return None
    fresh = _copy_without_weights(model)
    if fresh.can_generate():
        fresh.generation_config = _generation_config(whole, fresh)
    chosen = [(str(name), stored[str(name)]) for name in sources]
    if not _fill(fresh.state_dict(keep_vars=True), chosen):
        return None
    if is_adapter(path):
        Adapted(fresh, read_adapter(path), path).merge()
    return fresh


def _ready(model: Any, device: str | torch.device) -> PreTrainedModel:
    """On its device, in eval mode, with a padding token for batches."""
    set_pad(model, right_pad(model, of_text(model.config, "pad_token_id")))
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _generation_config(path: Path, model: PreTrainedModel) -> GenerationConfig:
    """The defaults and ends of answers, which may differ between generations of one architecture."""
    if (path / GENERATION_CONFIG).is_file():
        return GenerationConfig.from_pretrained(path, local_files_only=True)
    return GenerationConfig.from_model_config(model.config)


def _require_fit(path: Path, kind: ModelKind, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Refuse weights that are not those that the configuration describes: what differs would be drawn at random."""
    require_shapes(path, info)
    missing = sorted(info["missing_keys"])
    if missing:
        raise UnusableModel(
            f"{path} lacks weights of a {kind} ({len(missing)}, such as {missing[0]}); "
            "is the model of that kind, and are all its files here?"
        )
    # Other heads and other parts of a model are left; a layer more of those that it has is not.
    patterns = {_numberless(name) for name in model.state_dict()}
    # transformers leaves out what it has no place for, without an error.
    surplus = sorted(name for name in info["unexpected_keys"] if _numberless(name) in patterns)
    if surplus:
        raise UnusableModel(
            f"{path}: the weights hold more layers than config.json says ({surplus[0]}, say); take both from one source"
        )


def require_shapes(path: Path, info: Mapping[str, Any]) -> None:
    """Refuse weights of other sizes than the configuration describes.

    Args:
        path: of the model.
        info: what `from_pretrained` says of its loading.

    Raises:
        UnusableModel: names one of them.
    """
    differing = sorted(info["mismatched_keys"])
    if differing:
        name, stored, described = differing[0]
        raise UnusableModel(
            f"{path}: config.json and the weights do not fit ({len(differing)} differ): {name} is {_shape(stored)} in "
            f"the weights, {_shape(described)} by config.json; take both from one source"
        )


def _shape(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes)) or "a number"


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _same_architecture(model: PreTrainedModel, path: Path) -> bool:
    loaded = type(model.config).from_pretrained(path, local_files_only=True)
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
        # By identity: `keep_vars` gives the parameters themselves, so that tied ones are one object.
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
    # File by file, as opening one maps it into memory.
    for file in sorted({file for _, file in chosen}):
        with safe_open(file, framework="pt") as tensors, torch.no_grad():
            for name in (name for name, holder in chosen if holder == file):
                value = tensors.get_tensor(name)
                if value.shape != targets[name].shape:
                    return False
                # Into the target's own dtype and device, which the stored ones need not have.
                targets[name].copy_(value)
    return True
