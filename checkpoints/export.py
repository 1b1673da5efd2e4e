"""A generation copied out of a store, whole: an adapter as the model that it makes of its ground. Imports torch."""

import shutil
from pathlib import Path

from checkpoints.adapters.ground import is_adapter, whole_dir
from checkpoints.errors import CheckpointsError
from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.durable_writes import built_directory
from checkpoints.files.model_files import GENERATION_CONFIG, model_files
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from checkpoints.load import load_model, load_tokenizer
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import REFERENCE_FILE, write_reference


def export_generation(store: GenerationStore, number: int, target: Path, kind: ModelKind) -> None:
    """Write a verified generation as a model directory that needs no other, whole or not at all.

    An adapter's weights are merged into its ground's and rounded to the format that those are stored in.

    Args:
        store: of the generation.
        number: of the generation.
        target: made here.
        kind: of the model.

    Raises:
        CheckpointsError: the generation is not here or damaged, or there is something at the target.
        OSError: the disk refused; nothing remains.
    """
    if target.exists():
        raise CheckpointsError(f"{target} is there already: name a directory that is not, or remove it first")
    store.verify(number)
    source = store.path(number)
    # What only rounds need (importance, what rounding cut off) lies below; what serves lies at the top.
    files = {name: path for name, path in model_files(whole_dir(source)).items() if "/" not in name}
    if not is_adapter(source):
        with disk_errors(target), built_directory(target) as directory:
            _copy(files, directory)
        return
    model = load_model(source, kind)
    # Of the ground's weights alone the answer is another one.
    companions = {name: path for name, path in files.items() if not _is_of_weights(name) and name != REFERENCE_FILE}
    with disk_errors(target), built_directory(target) as directory:
        model.save_pretrained(directory)
        # How the model answers is its owner's to say, in words that transformers may not know.
        (directory / GENERATION_CONFIG).unlink(missing_ok=True)
        _copy({name: path for name, path in companions.items() if not (directory / name).exists()}, directory)
        if kind == "causal-lm":
            write_reference(directory, reference_of(model, load_tokenizer(directory)))


def _copy(files: dict[str, Path], directory: Path) -> None:
    for name, path in files.items():
        shutil.copyfile(path, directory / name)


def _is_of_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json"))
