"""Which labels a classifier's parent has learned: on others its loss says only that they are new."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from checkpoints.files.label_names import NEW_WEIGHTS, labels_of
from checkpoints.files.model_files import read_config
from learner.directory.round_directory import BASE, TextSample
from learner.material.encoding import Encoded
from learner.workbench import Workbench
from streams.decoding.several_labels import members

ENOUGH_DOCUMENTS: Final = 20
"""Replayed documents of a label from which on it counts as learned."""
FAIR_SHARE: Final = 0.25
"""Or so much of what each label would have, were all replayed as often: memory holds some of every label."""
LABELS_TOLD: Final = 20


def known_labels(bench: Workbench, replay: Encoded) -> frozenset[str]:
    """The labels that the parent has learned: those its base came with, and those that the memory has enough text of.

    A single record gives a label no standing: it neither makes it known nor takes that from it.
    """
    config = read_config(bench.given.path / BASE)
    came_with = frozenset[str]() if NEW_WEIGHTS in config else frozenset(labels_of(config))
    return came_with | learned_from(sample.label for sample in replay.samples)


def learned_from(labels: Iterable[str | None]) -> frozenset[str]:
    """The labels that are frequent enough among replayed documents'."""
    counted = Counter(name for label in labels for name in members(label))
    if not counted:
        return frozenset()
    least = min(ENOUGH_DOCUMENTS, FAIR_SHARE * counted.total() / len(counted))
    return frozenset(name for name, documents in counted.items() if documents >= least)


def count_new(samples: Iterable[TextSample], known: Collection[str]) -> Mapping[str, int]:
    """How many documents have each label that is not known: of the most frequent ones, those first."""
    counted = Counter(name for sample in samples for name in members(sample.label) if name not in known)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:LABELS_TOLD])
