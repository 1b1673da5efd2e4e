"""Which replica this is: by its state directory, wherever that moves."""

import secrets
from pathlib import Path

from checkpoints.files.durable_writes import replace_file


def replica_id(state_dir: Path) -> str:
    """A name of this state directory that no other has and that moves with it, made at the first start."""
    path = state_dir / "replica.id"
    if not path.exists():
        replace_file(path, secrets.token_hex(8).encode() + b"\n")
    return path.read_text(encoding="ascii").strip()
