"""The labels that a classifier's documents may have."""

from checkpoints.errors import CheckpointsError
from checkpoints.model_files import read_config
from daemon.settings import Settings

LABELS_UNNAMED = 2
"""How many labels transformers gives a model whose configuration says nothing of them."""


def known_labels(settings: Settings) -> frozenset[str] | None:
    """The labels of a classifier, as they are set or as its own configuration names them; None for a language model.

    A held-out document of any other label could never be scored, and no round that is judged on it accepted. None too
    where the configuration cannot be read: nothing can be trained then either.
    """
    if settings.model.kind != "classifier":
        return None
    if settings.model.labels:
        return frozenset(settings.model.labels)
    base = settings.checkpoints_dir / "generations" / "000000"
    try:
        config = read_config(base if base.exists() else settings.model.path)
    except CheckpointsError:
        return None
    unnamed = range(int(config.get("num_labels", LABELS_UNNAMED)))
    return frozenset(map(str, (config.get("id2label") or {n: f"LABEL_{n}" for n in unnamed}).values()))
