"""What transformers raises about a model, as one sentence that names the file and what to do. Imports transformers."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer

from checkpoints.errors import CheckpointsError, UnusableModel
from checkpoints.files.model_files import read_config, read_object
from checkpoints.files.weight_files import AGAIN, refuse_pointer
from checkpoints.installing import pip_install

LONGEST_REASON: Final = 240
NO_TOKENIZER: Final = "holds no tokenizer that transformers can load; save the model's own there (tokenizer.json)"
TOKENIZER_JSON: Final = "tokenizer.json"


@contextmanager
def explain_failures(path: Path, say: Callable[[Path, Exception], str] | None = None) -> Iterator[None]:
    """Turn whatever transformers raises about a model into one sentence about it.

    Args:
        path: of the model.
        say: makes the sentence; None: says that it cannot be loaded.

    Raises:
        UnusableModel: in place of any error but one of our own or one of memory.
    """
    try:
        yield
    # Memory says nothing about the model: it may load where there is more.
    except (CheckpointsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UnusableModel((say or _not_loaded)(path, error)) from error


def _not_loaded(path: Path, error: Exception) -> str:
    return _unknown_value(path, error) or f"{path} cannot be loaded: {reason(error)}"


def explain_configuration(path: Path, error: Exception) -> str:
    """Why a model's configuration is none."""
    file = path / "config.json"
    config = read_config(path)
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return f"{file} names no `model_type`, by which transformers knows the architecture; {AGAIN}"
    if kind not in transformers.CONFIG_MAPPING:
        return (
            f"{file} names the model type `{kind}`, which transformers {transformers.__version__} does not have; take "
            "a model whose architecture it has, or see whether a newer transformers has this one"
        )
    return _unknown_value(path, error) or f"{file} makes no {kind} model: {reason(error)}; {AGAIN}"


def _unknown_value(path: Path, error: Exception) -> str | None:
    """Where it is a word in `config.json` that transformers looks up and does not find: which one."""
    # transformers looks words up in tables, and of the error only the word is left.
    if not isinstance(error, KeyError) or not error.args or not (path / "config.json").is_file():
        return None
    key = next((key for key, each in _entries(read_config(path)) if each == error.args[0]), None)
    if key is None:
        return None
    unknown_to = f"which transformers {transformers.__version__} does not know"
    return f"{path / 'config.json'}: {key} is {error.args[0]!r}, {unknown_to}; {AGAIN}"


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", each) for inner, each in _entries(value))
        else:
            yield key, value


def explain_tokenizer(path: Path, error: Exception) -> str:
    """Why a tokenizer does not load: by the files that there are, as transformers often blames a missing package."""
    for file in sorted(path.glob("*.json")):
        refuse_pointer(file)
    whole = path / TOKENIZER_JSON
    if whole.is_file():
        return _of_tokenizer_json(path, error)
    pieces = next((file for file in sorted(path.iterdir()) if file.suffix in {".model", ".spm", ".tiktoken"}), None)
    if pieces is not None:
        refuse_pointer(pieces)
        return _of_pieces(pieces, error)
    if (path / "tekken.json").is_file():
        return f"{path} has tekken.json alone, of which transformers makes no tokenizer; save its {_as_json()}"
    return f"{path} {NO_TOKENIZER}"


def _of_tokenizer_json(path: Path, error: Exception) -> str:
    file = path / TOKENIZER_JSON
    try:
        if not isinstance(read_object(file).get("model"), dict):
            return f"{file} holds no tokenizer (it has no `model`); {AGAIN}"
    except UnusableModel as unreadable:
        return str(unreadable)
    try:
        # Loaded by itself, to tell a damaged file from one that the named class does not take.
        Tokenizer.from_file(str(file))
    except Exception as unknown:  # noqa: BLE001 - the library raises plain `Exception`
        return (
            f"{file} is damaged, or of a newer format than tokenizers {tokenizers.__version__} reads "
            f"({reason(unknown)}): {AGAIN}, or see whether a newer version of tokenizers and transformers reads it"
        )
    if not _has_templates(path):
        return (
            f"{path / 'tokenizer_config.json'}: chat_template is a list, each of it must have a `name` and `template` "
            "that are texts; correct it, or leave it out"
        )
    class_name = _tokenizer_class(path)
    if class_name:
        return (
            f"{path / 'tokenizer_config.json'} names the tokenizer class {class_name}, which does not load {file.name} "
            f"({reason(error)}); take both files from one source"
        )
    return f"{file} does not load: {reason(error)}; {AGAIN}"


def _has_templates(path: Path) -> bool:
    """Whether chat templates that stand in a list can be read."""
    try:
        templates = read_object(path / "tokenizer_config.json").get("chat_template")
    except UnusableModel:
        return True
    return not isinstance(templates, list) or all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and isinstance(each.get("template"), str)
        for each in templates
    )


def _tokenizer_class(path: Path) -> str | None:
    try:
        class_name = read_object(path / "tokenizer_config.json").get("tokenizer_class")
    except UnusableModel:
        return None
    return class_name if isinstance(class_name, str) else None


def _of_pieces(file: Path, error: Exception) -> str:
    # tiktoken's files are lines of base64 and a rank, whatever they are called.
    ranks = re.match(rb"[A-Za-z0-9+/=]+ \d+\r?\n", file.read_bytes()[:400])
    needed = ("tiktoken",) if ranks else ("sentencepiece", "protobuf")
    modules = {"protobuf": "google.protobuf"}
    missing = [name for name in needed if not _is_here(modules.get(name, name))]
    if missing:
        return (
            f"{file} is read with {' and '.join(needed)}: run `{pip_install(*missing)}`, or save the model's tokenizer "
            f"as {TOKENIZER_JSON} beside it"
        )
    return f"{file} is damaged, or of a kind that transformers does not read ({reason(error)}); save its {_as_json()}"


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _as_json() -> str:
    return (
        f"tokenizer as {TOKENIZER_JSON} there (`save_pretrained` of a tokenizer that transformers has loaded writes it)"
    )


def reason(error: Exception) -> str:
    """The first line of what transformers says; where that announces a list, the list too, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = " ".join(lines) if lines[0].endswith(":") else lines[0]
    # Of these the text alone says nothing: a KeyError's is the key.
    if isinstance(error, (KeyError, AttributeError, TypeError, IndexError, ZeroDivisionError, AssertionError)):
        text = f"{type(error).__name__}: {text}"
    return text.rstrip(".") if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def needs_code(config: Mapping[str, Any]) -> str | None:
    """Why a model cannot do without the code that its configuration names; None where it can, or names none.

    transformers' own class is taken where it knows the type, and the class that the weights were saved from.
    """
    auto_map = config.get("auto_map")
    if not auto_map:
        return None
    kind, classes = config.get("model_type"), config.get("architectures") or []
    if kind not in transformers.CONFIG_MAPPING:
        return f"transformers {transformers.__version__} has no architecture `{kind}`"
    # By letters alone: what was published as MPTForCausalLM is MptForCausalLM in transformers.
    ours = {name.lower() for name in dir(transformers)}
    foreign = [each for each in classes if str(each).lower() not in ours]
    return f"its weights are of {foreign[0]}, which transformers does not have" if foreign else None


def tokenizer_needs_code(path: Path) -> str | None:
    """The same of the tokenizer: one that is saved whole, or whose class is transformers' own, needs none."""
    try:
        config = json.loads((path / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict) or not config.get("auto_map") or (path / TOKENIZER_JSON).is_file():
        return None
    class_name = str(config.get("tokenizer_class"))
    if class_name in dir(transformers):
        return None
    return f"its tokenizer is {class_name}, which transformers does not have, and it is not saved as {TOKENIZER_JSON}"
