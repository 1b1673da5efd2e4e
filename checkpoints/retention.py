"""Which generations may go: pure."""

from collections.abc import Collection, Mapping


def removable(
    numbers: Collection[int],
    *,
    line: Collection[int],
    serving: int | None,
    previous: int | None,
    keep_last: int,
    base: int = 0,
    pinned: Collection[int] = (),
    grounds: Mapping[int, int] | None = None,
) -> tuple[int, ...]:
    """The numbers that retention removes, oldest first.

    Kept are what serves, what served before it (the way back), the base, the newest `keep_last` of the serving line,
    what is pinned (needed by a round or named by a person), and what of all these an adapter lies on. What a person
    went back from is on no way to anywhere: it does not count among the newest, and goes.

    Args:
        numbers: the generations on disk.
        line: the generations that led to the serving one, itself among them.
        serving: the generation that the pointer names.
        previous: the one that a rollback would return to.
        keep_last: how many of the newest of the line to keep, at least 0.
        base: the generation that everything started from.
        pinned: further numbers to keep.
        grounds: by number of each generation that is an adapter, that of the whole one that it lies on.
    """
    # A slice from -0 would be all of them.
    newest = sorted(set(numbers) & set(line))[-keep_last:] if keep_last else []
    kept = {base, *newest, *pinned, serving, previous}
    kept |= {ground for number, ground in (grounds or {}).items() if number in kept}
    return tuple(number for number in sorted(numbers) if number not in kept)
