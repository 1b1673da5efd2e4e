"""Which held-out documents share a key, so that the gate counts them as one voice and not as many."""

from collections.abc import Collection, Iterable


def first_of_key(documents: Iterable[tuple[int, int | None]], categories: Collection[int]) -> dict[int, int]:
    """The least document with the same key, for each document that is not that one itself.

    Numbered by document and not by hash: a round's directory then tells who belongs together, and not to whom.

    Args:
        documents: sample ids with the keyed hashes of their keys.
        categories: keyed hashes that name no person or thread but a language or a region: what has one is split by its
            content, and counts by itself.
    """
    first: dict[int, int] = {}
    shared = {}
    for sample, key in sorted(documents, key=lambda document: document[0]):
        if key is not None and key not in categories and (least := first.setdefault(key, sample)) != sample:
            shared[sample] = least
    return shared


def within(keys: dict[int, int], documents: Iterable[int]) -> dict[int, int]:
    """What `first_of_key` says of these documents."""
    return {document: keys[document] for document in documents if document in keys}
