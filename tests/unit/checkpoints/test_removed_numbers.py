"""A number is gone with its generation, and what serves is not removed."""

from pathlib import Path

import pytest

from checkpoints.errors import CheckpointsError, NumberTaken
from checkpoints.generation_store import GenerationStore
from tests.unit.checkpoints.conftest import publish


def test_a_removed_number_is_never_used_again(store: GenerationStore, candidate: Path) -> None:
    """Removal outlives the directory: neither that number nor an older one can come back."""
    publish(store, candidate, 1, 2)
    store.remove(2)
    assert store.numbers() == [1]
    with pytest.raises(NumberTaken):
        publish(GenerationStore(store.root), candidate, 2)
    publish(store, candidate, 3)


def test_removing_what_is_not_there_is_no_error(store: GenerationStore) -> None:
    """A removal that was interrupted can be repeated."""
    store.remove(7)


def test_the_serving_generation_is_not_removed(store: GenerationStore, candidate: Path) -> None:
    """Retention cannot take away what serves."""
    publish(store, candidate, 1)
    store.point_to(1)
    with pytest.raises(CheckpointsError, match="serves"):
        store.remove(1)
    assert store.numbers() == [1]
