"""Memories whose seed decides what is held out, as a store's own secret does: the same split in every run."""

from hashlib import blake2b
from pathlib import Path

from memory.database.schema import SECRET_BYTES
from memory.settings import MemorySettings
from memory.store import Store


def make_store(path: Path, settings: MemorySettings, seed: int) -> None:
    """Make an empty memory whose secret comes from the seed."""
    with Store.open(path, settings) as made, made.file.database.write() as tx:
        secret = blake2b(str(seed).encode(), digest_size=SECRET_BYTES).digest()
        tx.execute("UPDATE facts SET value = ? WHERE name = 'secret'", (secret,))
