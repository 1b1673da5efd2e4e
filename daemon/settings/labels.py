"""The labels that a classifier's documents may have."""

from contextlib import suppress
from pathlib import Path

from checkpoints.errors import CheckpointsError
from checkpoints.files.label_names import is_multi_label, labels_in
from checkpoints.files.model_files import read_config
from checkpoints.generation_store import GenerationStore
from daemon.settings.tree import Settings
from streams.decoding.several_labels import LabelSet


def known_labels(settings: Settings) -> frozenset[str] | None:
    """The labels of a classifier, as its base names them, or before there is one the settings; None for a causal LM.

    Labels that the settings name after those of the base are learned when there are enough documents of them. A
    held-out document of any other label could never be scored, and no round that is judged on it accepted. None too
    where nothing names them: nothing can be trained then either. A `LabelSet` where any number of them fits a document.
    """
    if settings.model.kind != "classifier":
        return None
    imported = settings.base_dir.exists()
    directory = settings.base_dir if imported else settings.model.path
    labels = settings.model.labels
    if imported or not labels:
        with suppress(CheckpointsError):
            has = labels_in(directory)
            labels = labels if extends(labels, has) else has
    return (LabelSet(labels) if _several(directory) else frozenset(labels)) or None


def extends(labels: tuple[str, ...], has: tuple[str, ...]) -> bool:
    """Whether labels are those that a model has, in their order, with others to be learned after them."""
    return labels[: len(has)] == has


def answered_labels(settings: Settings, generation: int | None) -> tuple[str, ...] | None:
    """The labels that a generation answers with, in their order; None for a causal LM, or where nobody can tell."""
    if settings.model.kind != "classifier" or generation is None:
        return None
    with suppress(CheckpointsError):
        return labels_in(GenerationStore(settings.checkpoints_dir).path(generation))
    return None


def _several(directory: Path) -> bool:
    try:
        return is_multi_label(read_config(directory))
    except CheckpointsError:
        return False
