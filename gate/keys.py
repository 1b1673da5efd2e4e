"""Which documents are one voice, as they have one key: an author, a thread. Without numpy, to start quickly."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

KeyOf = Mapping[int, int]
"""By document, the number of its key (the least document that has it); what is not there is of no key but its own."""

NO_KEYS: Final[KeyOf] = MappingProxyType({})


def keys_among(documents: Iterable[int], key_of: KeyOf) -> int:
    """How many keys these documents have."""
    return len({key_of.get(document, document) for document in documents})
