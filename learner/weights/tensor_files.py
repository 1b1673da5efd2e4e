"""Tensors that lie beside a model, named like its weights."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from checkpoints.files.disk_errors import disk_errors
from learner.errors import BadRoundDirectory
from learner.weights.streamed_tensors import write_streamed

Tensors = dict[str, Tensor]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors, and notes on them, to a file; its folder is made where it is missing.

    Raises:
        OSError: the disk refused.
    """
    path.parent.mkdir(exist_ok=True)
    with disk_errors(path):
        write_streamed(path, tensors, notes=notes)


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]] | None:
    """Read tensors and the notes on them; None where there is no file.

    Raises:
        BadRoundDirectory: it is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error}. Discard the round.") from error


def of_another_model(path: Path) -> BadRoundDirectory:
    """What is raised where names or shapes are not those of the model that the file lies beside."""
    return BadRoundDirectory(f"{path} is of another model than the parent beside it. Discard the round.")
