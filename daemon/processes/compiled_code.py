"""Where torch keeps code that learners have compiled, so that the next round's finds it; bounded. Torch-free."""

import shutil
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

MOST_BYTES: Final = 1 << 30


def compiled_dir(state_dir: Path) -> Path:
    """Where it lies in a state directory."""
    return state_dir / "compiled"


def keep_compiled_bounded(state_dir: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove all of it where it has come to be more than a bound: what is still used is compiled again.

    Called while no learner runs. What the disk refuses stays, and is told.
    """
    folder = compiled_dir(state_dir)
    try:
        held = sum(path.lstat().st_size for path in folder.rglob("*")) if folder.is_dir() else 0
        if held > most_bytes:
            log.info("compiled_code_removed", bytes=held)
            shutil.rmtree(folder)
    except OSError as error:
        log.warning("compiled_code_stays", reason=f"{error.strerror}: {error.filename}")
