"""Addresses of pages that name something from outside."""

from typing import Final
from urllib.parse import quote, urlencode

TRACE: Final = "/trace"
PEEK: Final = "/streams/peek"


def record_address(topic: str, partition: int, offset: int) -> str:
    """Where one record is followed."""
    return with_query(TRACE, {"topic": topic, "partition": partition, "offset": offset})


def person_address(key_hash: str) -> str:
    """Where a person's records are followed: by the key's hash, for an address ends up in logs."""
    return with_query(TRACE, {"key_hash": key_hash})


def with_query(path: str, query: dict[str, object]) -> str:
    """An address with what it names; a name that is no text, as only a file's may be, is written as far as it is."""
    return f"{path}?{urlencode(query, errors='replace', quote_via=quote)}" if query else path
