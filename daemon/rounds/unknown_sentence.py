"""What is said of generations on disk that the database does not know."""

from collections.abc import Iterable


def unknown_sentence(numbers: Iterable[int]) -> str:
    """What they are and what becomes of them."""
    listing = ", ".join(map(str, numbers))
    return (
        f"on disk are generations that the database does not know ({listing}): it is an older copy, or a new one. They "
        "stay; numbers go on above them. Those that served last are taken up when the daemon starts; one that is not "
        "wanted may be removed by hand"
    )
