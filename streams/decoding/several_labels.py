"""Several labels of one document, as one label: a JSON list of their names in the order of the alphabet.

So a set of labels is stored, counted, drawn and compared wherever a label is, and equal sets are equal strings.
"""

from collections.abc import Iterable

import orjson


class LabelSet(frozenset[str]):
    """Labels of which any number fits a document, where else exactly one does."""

    __slots__ = ()


def write_set(names: Iterable[str]) -> str:
    """The one label that stands for these."""
    return orjson.dumps(sorted(set(names))).decode()


def is_set(label: str | None) -> bool:
    """Whether it stands for any number of labels rather than for itself."""
    return label is not None and members(label) != {label}


def members(label: str | None) -> frozenset[str]:
    """The labels that one stands for: of a set its members, else itself; none for None."""
    if label is None:
        return frozenset()
    if not label.startswith("["):
        return frozenset({label})
    try:
        names = orjson.loads(label)
    # A label of its own may begin with a bracket.
    except orjson.JSONDecodeError:
        return frozenset({label})
    return frozenset(str(name) for name in names)
