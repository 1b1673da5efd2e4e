"""Who stays in replay: how a budget is shared between strata, and what each stratum keeps. Pure.

A stratum is the text of one source, era and label. Within it, what is kept is what has the lowest random priorities:
the same as a uniform reservoir, with nothing but the priorities to remember (bottom-k sampling; Cohen & Kaplan, 2007).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from memory.samples.fair_shares import share


class Stratum(NamedTuple):
    """Text of one source, era and label, by their ids."""

    source: int
    era: int
    label: int


class Amount(NamedTuple):
    """Of samples, and of their text in bytes."""

    samples: int
    bytes: int


def share_by_levels(budget: int, wanted: Mapping[Stratum, int], source_quota: int) -> dict[Stratum, int]:
    """Share a budget between sources, a source's share between its eras, an era's share between its labels."""
    by_source = _group(wanted, lambda stratum: stratum.source)
    wants = {source: min(sum(group.values()), source_quota) for source, group in by_source.items()}
    shares: dict[Stratum, int] = {}
    for source, of_source in share(budget, wants).items():
        by_era = _group(by_source[source], lambda stratum: stratum.era)
        for era, of_era in share(of_source, {era: sum(group.values()) for era, group in by_era.items()}).items():
            shares |= share(of_era, by_era[era])
    return shares


def _group(wanted: Mapping[Stratum, int], level: Callable[[Stratum], int]) -> dict[int, dict[Stratum, int]]:
    groups: dict[int, dict[Stratum, int]] = defaultdict(dict)
    for stratum, want in wanted.items():
        groups[level(stratum)][stratum] = want
    return groups


def allowances(held: Mapping[Stratum, Amount], budget: Amount, source_quota: int) -> dict[Stratum, Amount]:
    """How much each stratum may keep, in samples and in bytes, so that no budget or quota is exceeded.

    Args:
        held: what each stratum holds.
        budget: of all of replay.
        source_quota: most samples of one source.
    """
    samples = share_by_levels(
        budget.samples, {stratum: amount.samples for stratum, amount in held.items()}, source_quota
    )
    no_quota = budget.bytes
    sizes = share_by_levels(budget.bytes, {stratum: amount.bytes for stratum, amount in held.items()}, no_quota)
    return {stratum: Amount(samples[stratum], sizes[stratum]) for stratum in held}


def too_many(held: Amount, allowed: Amount, by_falling_priority: Iterable[tuple[int, int]]) -> list[int]:
    """Which samples a stratum gives up: those of the highest priorities, until it is within its allowance.

    Args:
        held: what the stratum holds.
        allowed: what it may keep.
        by_falling_priority: (id, bytes) of its samples, highest priority first; read only as far as needed.
    """
    samples, size = held
    leaving = []
    for sample, sample_bytes in by_falling_priority:
        if samples <= allowed.samples and size <= allowed.bytes:
            break
        leaving.append(sample)
        samples -= 1
        size -= sample_bytes
    return leaving


class RoundSpan(NamedTuple):
    """A period of time: the text that settled after rounds `first` to `last`."""

    first: int
    last: int


def merge_eras(eras: list[RoundSpan], most: int) -> list[tuple[RoundSpan, RoundSpan]]:
    """Which neighbours to merge, in order, until no more than `most` eras are left.

    The pair that spans the fewest rounds merges first, the oldest of equals, so that eras stay about as long as each
    other. The era from before the stream (first round 0) stays as it is.
    """
    # What lies before the stream is the anchor of what the model was: it is never mixed with the stream's eras.
    stream_eras = sorted(era for era in eras if era.first > 0)
    merges = []
    spare = most - (len(eras) - len(stream_eras))
    while len(stream_eras) > max(spare, 1):
        place = min(range(len(stream_eras) - 1), key=lambda i: stream_eras[i + 1].last - stream_eras[i].first)
        merges.append((stream_eras[place], stream_eras[place + 1]))
        stream_eras[place : place + 2] = [RoundSpan(stream_eras[place].first, stream_eras[place + 1].last)]
    return merges
