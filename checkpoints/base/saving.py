"""A base written as a model directory, and the disk named where it refuses."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from checkpoints.errors import PublishFailed
from checkpoints.files.disk_errors import disk_errors
from checkpoints.generation_store import BASE


def save_model(scratch: Path, model: Any, tokenizer: Any, without: Collection[str] = ()) -> None:
    """Write model and tokenizer to `scratch`, without the weights of these names."""
    kept = {name: weight for name, weight in model.state_dict().items() if name not in without}
    with say_when_the_disk_refuses(scratch):
        model.save_pretrained(scratch, state_dict=kept if without else None)
        tokenizer.save_pretrained(scratch)


@contextmanager
def say_when_the_disk_refuses(scratch: Path) -> Iterator[None]:
    """A disk that refuses is no fault of the model's."""
    try:
        with disk_errors(scratch):
            yield
    except OSError as error:
        raise PublishFailed(BASE, error) from error
