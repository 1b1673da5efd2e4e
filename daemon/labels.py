"""The labels that a classifier's documents may have."""

from checkpoints.errors import CheckpointsError
from checkpoints.heads import labels_in
from daemon.settings import Settings


def known_labels(settings: Settings) -> frozenset[str] | None:
    """The labels of a classifier, as its base names them, or before there is one the settings; None for a causal LM.

    A held-out document of any other label could never be scored, and no round that is judged on it accepted. None too
    where nothing names them: nothing can be trained then either.
    """
    if settings.model.kind != "classifier":
        return None
    imported = settings.base_dir.exists()
    if settings.model.labels and not imported:
        return frozenset(settings.model.labels)
    try:
        return frozenset(labels_in(settings.base_dir if imported else settings.model.path))
    except CheckpointsError:
        return frozenset(settings.model.labels) or None
