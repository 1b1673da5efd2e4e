"""The labels that a classifier's documents may have, and which of them its head is to grow a row for.

A label comes to be known by a person's word: they add it to the end of `model.labels`. It is learned once enough
documents of it have come, of enough different keys, so that neither a mistaken record nor one sender's many makes it an
answer. Until then its documents wait among the fresh text, and none that is held out is judged by.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from checkpoints.adapters.ground import whole_dir
from checkpoints.errors import CheckpointsError
from checkpoints.files.label_names import is_multi_label, labels_in
from checkpoints.files.model_files import read_config
from checkpoints.generation_store import GenerationStore
from daemon.settings.tree import Settings
from streams.decoding.several_labels import LabelSet, members


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


class LabelledSample(Protocol):
    """A sample, of which only number, label and key matter here."""

    @property
    def id(self) -> int:
        """Its number in the store."""

    @property
    def label(self) -> str | None:
        """Its label."""

    @property
    def key_hash(self) -> int | None:
        """The keyed hash of its key; None where it has none."""


def labels_to_grow(
    fresh: Iterable[LabelledSample], *, named: Sequence[str], answered: Collection[str], least: int
) -> tuple[str, ...]:
    """The named labels that are not answered yet, and that documents of enough different keys have.

    Args:
        fresh: what a round would train on. A document without a key counts by itself.
        named: in the settings, in their order.
        answered: by the parent.
        least: how many keys.
    """
    keys = keys_by_label(fresh)
    return tuple(label for label in named if label not in answered and keys.get(label, 0) >= least)


def keys_by_label(samples: Iterable[LabelledSample]) -> dict[str, int]:
    """How many different keys the documents of each label have; a document without a key counts by itself."""
    keys: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for sample in samples:
        key = ("document", sample.id) if sample.key_hash is None else ("key", sample.key_hash)
        for label in members(sample.label):
            keys[label].add(key)
    return {label: len(of_label) for label, of_label in keys.items()}


def labels_learned(
    settings: Settings, fresh: Iterable[LabelledSample], answered: Collection[str] | None
) -> tuple[str, ...]:
    """The labels that a round on this text learns besides those that its parent answers; None: it answers with none."""
    if answered is None:
        return ()
    return labels_to_grow(fresh, named=settings.model.labels, answered=answered, least=keys_to_learn(settings))


def keys_to_learn(settings: Settings) -> int:
    """How many different keys the new documents of a label must have for a round to learn it."""
    return max(settings.learner.new_label_documents, settings.gate.minimum_documents)


def answered_labels(settings: Settings, generation: int | None) -> tuple[str, ...] | None:
    """The labels that a generation answers with, in their order; None for a causal LM, or where nobody can tell."""
    if settings.model.kind != "classifier" or generation is None:
        return None
    with suppress(CheckpointsError):
        return labels_in(whole_dir(GenerationStore(settings.checkpoints_dir).path(generation)))
    return None


def _several(directory: Path) -> bool:
    try:
        return is_multi_label(read_config(directory))
    except CheckpointsError:
        return False
