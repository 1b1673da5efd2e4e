"""How much a naive twin forgot beside the model that is kept: written down by who follows one, for who shows it.

A naive twin learns the same new text by plain fine-tuning. The service itself follows none; the demo does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from checkpoints.files.durable_writes import replace_file
from checkpoints.json_files import read_json, write_json

FILE_NAME: Final = "naive_twin.json"

_log = structlog.get_logger(__name__)


def note_naive_twin(state_dir: Path, forgotten: Mapping[int, float]) -> None:
    """Write down what it forgot by each round of the kept model that it followed.

    Args:
        state_dir: of the kept model's service.
        forgotten: by round, the mean of what it forgot of all older text, in nats per token; above 0 is bad.

    Raises:
        OSError: the disk refused.
    """
    replace_file(state_dir / FILE_NAME, write_json(dict(forgotten)))


def read_naive_twin(state_dir: Path) -> dict[int, float]:
    """What `note_naive_twin` wrote down; nothing where there is no twin, or what is there cannot be read."""
    file = state_dir / FILE_NAME
    try:
        return read_json(dict[int, float], file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        # What serves owes nothing to its twin.
        _log.warning("naive_twin_not_read", file=str(file), reason=str(error))
        return {}
