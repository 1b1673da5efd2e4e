"""Single facts about the store, by name."""

from memory.database.sqlite import Connection


def get_int(tx: Connection, name: str) -> int:
    """A whole number that every store has."""
    return int(tx.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])


def find_int(tx: Connection, name: str) -> int | None:
    """A whole number that may not be known yet."""
    row = tx.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def put(tx: Connection, name: str, value: float | str) -> None:
    """Set a fact."""
    tx.execute("INSERT OR REPLACE INTO facts(name, value) VALUES (?, ?)", (name, value))


def secret(tx: Connection) -> bytes:
    """The secret under which everything is hashed; made with the store."""
    return bytes(tx.execute("SELECT value FROM facts WHERE name = 'secret'").fetchone()[0])


def bytes_per_token(tx: Connection) -> float:
    """How many bytes of UTF-8 make a token, as last measured."""
    return float(tx.execute("SELECT value FROM facts WHERE name = 'bytes_per_token'").fetchone()[0])


def tokens(size_bytes: int, per_token: float) -> int:
    """An estimate of the tokens in so many bytes."""
    return round(size_bytes / per_token)
