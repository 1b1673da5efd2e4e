"""Which files of a model directory belong to a generation, and which are never touched. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnsafeModel, UnusableModel

# Pickles by any of their names, and code.
UNSAFE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".py"})
# Weights, configuration, tokenizers (JSON, merges, sentencepiece, byte-pair codes), chat templates.
KEPT_SUFFIXES: Final = frozenset(
    {".safetensors", ".json", ".txt", ".model", ".spm", ".bpe", ".codes", ".jinja", ".tiktoken"}
)
GENERATION_CONFIG: Final = "generation_config.json"
OWN_FILES: Final = frozenset({"card.json", "manifest.json"})
# The files that transformers reads configuration from.
CONFIGURATIONS: Final = frozenset(
    {
        "config.json",
        GENERATION_CONFIG,
        "tokenizer_config.json",
        "processor_config.json",
        "preprocessor_config.json",
        "adapter_config.json",
    }
)
CODE_KEYS: Final = frozenset({"auto_map", "custom_pipelines", "custom_generate"})
MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024
# How many labels transformers gives a model whose configuration says nothing of them.
LABELS_UNNAMED: Final = 2


def model_files(directory: Path) -> dict[str, Path]:
    """The files that a generation is made of, by name; subdirectories such as `importance/` included.

    Unsafe files that lie beside safetensors (many repositories carry both) are left behind.

    Raises:
        UnsafeModel: the only weights are pickles, or a configuration asks for code of its own.
        UnusableModel: there is no model here.
    """
    if not directory.is_dir():
        raise UnusableModel(f"{directory} is not a directory; name a Hugging Face model directory or a .gguf file")
    found = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    kept = {
        path.relative_to(directory).as_posix(): path
        for path in found
        if path.suffix in KEPT_SUFFIXES and not path.name.startswith(".") and path.name not in OWN_FILES
    }
    require_safe(directory, kept, unsafe=[path.name for path in found if path.suffix in UNSAFE_SUFFIXES])
    return kept


def require_safe(directory: Path, kept: dict[str, Path], *, unsafe: list[str]) -> None:
    """Refuse a directory whose weights are not safetensors or whose configuration names code.

    Raises:
        UnsafeModel, UnusableModel: as `model_files`.
    """
    if not any(name.endswith(".safetensors") and "/" not in name for name in kept):
        if unsafe:
            raise UnsafeModel(
                f"{directory} has weights only as {', '.join(unsafe[:3])}, which can run code when read; "
                "convert them to safetensors first (model.save_pretrained on a machine you can lose)"
            )
        raise UnusableModel(f"{directory} has no *.safetensors: it holds no model that Riverkeep can load")
    if "config.json" not in kept:
        raise UnusableModel(f"{directory} has no config.json: it is not a Hugging Face model directory")
    for name, path in kept.items():
        if name in CONFIGURATIONS:
            _refuse_code(path)


def read_config(directory: Path) -> dict[str, Any]:
    """The model's `config.json`.

    Raises:
        UnusableModel: it is missing or is not a JSON object.
    """
    return _read_object(directory / "config.json")


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """A classifier's labels in the order of its answers, as its `config.json` names them."""
    named = config.get("id2label")
    if not named:
        return unnamed_labels(int(config.get("num_labels", LABELS_UNNAMED)))
    return tuple(str(name) for _, name in sorted(named.items(), key=lambda item: int(item[0])))


def unnamed_labels(count: int) -> tuple[str, ...]:
    """The names that transformers gives to labels that have none."""
    return tuple(f"LABEL_{number}" for number in range(count))


def _refuse_code(path: Path) -> None:
    asked = sorted(CODE_KEYS & _keys(_read_object(path)))
    if asked:
        raise UnsafeModel(
            f"{path} asks for code of its own ({', '.join(asked)}); code that comes with a model is never run: "
            "use a model whose architecture transformers has"
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UnusableModel(f"{path} is larger than {MAX_CONFIG_BYTES} bytes: no configuration is")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UnusableModel(f"{path} cannot be read: {error}; take it from the model's source again") from error
    if not isinstance(values, dict):
        raise UnusableModel(f"{path} is not a JSON object; take it from the model's source again")
    return values


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()
