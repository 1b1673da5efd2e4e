"""How what is scarce is shared: a budget between those who want it, and no more than a quota to each key. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def share(budget: int, wanted: Mapping[K, int]) -> dict[K, int]:
    """Share a budget as evenly as those who want less than an even share allow (max-min fairness).

    Args:
        budget: at least 0.
        wanted: how much each could take, at least 0.

    Returns:
        For each, at most what it wanted; in all, at most the budget, and all of it if enough is wanted. What does not
        divide goes to the smallest wants, in the mapping's order among equals.
    """
    shares: dict[K, int] = {}
    rest, claimants = budget, len(wanted)
    # The smallest want first: what it leaves of its even share is divided among those still to come.
    for key, want in sorted(wanted.items(), key=lambda item: item[1]):
        shares[key] = min(want, -(-rest // claimants))
        rest -= shares[key]
        claimants -= 1
    return shares


def over_quota(keys: Iterable[tuple[int, int | str | None, int]], quota: int) -> list[int]:
    """Samples beyond a quota for each key: those of the highest priorities. Samples without a key have no quota.

    Args:
        keys: (id, keyed hash of the key, or another name of whoever has a quota, or None; priority).
        quota: most samples of one key.
    """
    by_key: dict[int | str, list[tuple[int, int]]] = defaultdict(list)
    for sample, key, priority in keys:
        if key is not None:
            by_key[key].append((priority, sample))
    return [sample for group in by_key.values() if len(group) > quota for _, sample in sorted(group)[quota:]]
