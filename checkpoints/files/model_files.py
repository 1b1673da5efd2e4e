"""Which files of a model directory belong to a generation, and which are never touched. Imports no torch."""

import json
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnsafeModel, UnusableModel
from checkpoints.files.config_fields import require_fields
from checkpoints.files.weight_files import refuse_pointer

# Pickles by any of their names, and code.
UNSAFE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".py"})
# Weights, configuration, tokenizers (JSON, merges, sentencepiece, byte-pair codes), chat templates.
KEPT_SUFFIXES: Final = frozenset(
    {".safetensors", ".json", ".txt", ".model", ".spm", ".bpe", ".codes", ".jinja", ".tiktoken"}
)
GENERATION_CONFIG: Final = "generation_config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
# Says what whole generation an adapter of Riverkeep's lies on; see `checkpoints.adapters.ground`.
GROUND_FILE: Final = "ground.json"
# A base may be another store's generation, whose card and manifest are not those of the new one.
OWN_FILES: Final = frozenset({"card.json", "manifest.json"})
# The files that transformers reads configuration from.
CONFIGURATIONS: Final = frozenset(
    {
        "config.json",
        GENERATION_CONFIG,
        "tokenizer_config.json",
        "processor_config.json",
        "preprocessor_config.json",
        ADAPTER_CONFIG,
    }
)
CODE_KEYS: Final = frozenset({"auto_map", "custom_pipelines", "custom_generate"})
MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024
NEVER_RUN: Final = "code that comes with a model is never run: use a model whose architecture transformers has"


def model_files(directory: Path, *, code_is_left: bool = False) -> dict[str, Path]:
    """The files that a generation is made of, by name; subdirectories such as `importance/` included.

    Unsafe files that lie beside safetensors (many repositories carry both) are left behind.

    Args:
        directory: of the model.
        code_is_left: whoever asks takes the names of code out of the configurations before anything is loaded.

    Raises:
        UnsafeModel: the only weights are pickles, or a configuration asks for code of its own.
        UnusableModel: there is no model here.
    """
    if not directory.is_dir():
        raise UnusableModel(f"{directory} is not a directory; name a Hugging Face model directory or a .gguf file")
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    kept = {
        path.relative_to(directory).as_posix(): path
        for path in paths
        if path.suffix in KEPT_SUFFIXES and not path.name.startswith(".") and path.name not in OWN_FILES
    }
    _require_weights(directory, kept, [path.relative_to(directory).as_posix() for path in paths])
    # Refused, not ignored: without its code a model may load, and answer otherwise than it was trained to.
    if not code_is_left:
        for name, path in kept.items():
            if name in CONFIGURATIONS:
                _refuse_code(path)
    return kept


def _require_weights(directory: Path, kept: dict[str, Path], names: list[str]) -> None:
    """Refuse a directory that holds no model, or none whose weights are safetensors."""
    if GROUND_FILE in names:
        _require_adapter(directory, names)
        return
    if ADAPTER_CONFIG in names and "config.json" not in names:
        raise UnusableModel(
            f"{directory} is an adapter without its base model: merge it into its base first (PEFT's "
            "`merge_and_unload`, then `save_pretrained`), and name that directory"
        )
    if not any(name.endswith(".safetensors") and "/" not in name for name in kept):
        # Code aside: a directory with code and no weights at all has something else wrong with it.
        unsafe = [name for name in names if Path(name).suffix in UNSAFE_SUFFIXES - {".py"}]
        if unsafe:
            raise UnsafeModel(
                f"{directory} has weights only as {', '.join(unsafe[:3])}, which can run code when read; "
                "convert them to safetensors first (model.save_pretrained on a machine you can lose)"
            )
        raise UnusableModel(
            f"{directory} has no *.safetensors: it holds no model that Riverkeep can load{_instead(names)}"
        )
    if "config.json" not in kept:
        raise UnusableModel(f"{directory} has no config.json: it is not a Hugging Face model directory")


def _require_adapter(directory: Path, names: list[str]) -> None:
    missing = sorted({ADAPTER_CONFIG, ADAPTER_WEIGHTS} - set(names))
    if missing:
        raise UnusableModel(f"{directory} has {GROUND_FILE} and lacks {missing[0]}: the adapter was not copied whole")


def _instead(names: list[str]) -> str:
    """What a directory holds in place of safetensors, and what to do with it."""
    ggufs = [name for name in names if name.endswith(".gguf")]
    if ggufs:
        return f"; to start from {ggufs[0]}, name that file itself as `model.path`"
    if "model_index.json" in names or any(name.endswith("/config.json") for name in names):
        return "; name the directory in which config.json and the weights lie"
    return ""


def read_config(directory: Path) -> dict[str, Any]:
    """The model's `config.json`.

    Raises:
        UnusableModel: it is missing, is not a JSON object, or has a field that cannot be what is meant.
    """
    file = directory / "config.json"
    values = read_object(file)
    require_fields(file, values)
    return values


def _refuse_code(path: Path) -> None:
    code_keys = sorted(CODE_KEYS & _keys(read_object(path)))
    if code_keys:
        raise UnsafeModel(f"{path} asks for code of its own ({', '.join(code_keys)}); {NEVER_RUN}")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UnusableModel: there is none.
    """
    try:
        # Before it is read: what calls itself a configuration may be gigabytes of weights.
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UnusableModel(f"{path} is larger than {MAX_CONFIG_BYTES} bytes: no configuration is")
        values = json.loads(path.read_bytes())
    # JSON that is nested a thousand deep is not a ValueError to Python.
    except (OSError, ValueError, RecursionError) as error:
        if not isinstance(error, OSError):
            refuse_pointer(path)
        raise UnusableModel(f"{path} cannot be read: {error}; take it from the model's source again") from error
    if not isinstance(values, dict):
        raise UnusableModel(f"{path} is not a JSON object; take it from the model's source again")
    return values


def _keys(value: object) -> set[str]:
    # At any depth: the configuration of a part may name code as well.
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set()
