"""Which generations may go: pure."""

from collections.abc import Collection


def removable(
    numbers: Collection[int],
    *,
    line: Collection[int],
    serving: int | None,
    previous: int | None,
    keep_last: int,
    base: int = 0,
    pinned: Collection[int] = (),
) -> tuple[int, ...]:
    """The numbers that retention removes, oldest first.

    Kept are what serves, what served before it (the way back), the base, the newest `keep_last` of the serving line,
    and what is pinned (needed by a round or named by a person). What a person went back from is on no way to
    anywhere: it does not count among the newest, and goes.

    Args:
        numbers: the generations on disk.
        line: the generations that led to the serving one, itself among them.
        serving: the generation that the pointer names.
        previous: the one that a rollback would return to.
        keep_last: how many of the newest of the line to keep, at least 0.
        base: the generation that everything started from.
        pinned: further numbers to keep.
    """
    # A slice from -0 would be all of them.
    newest = sorted(set(numbers) & set(line))[-keep_last:] if keep_last else []
    kept = {base, *newest, *pinned, serving, previous}
    return tuple(number for number in sorted(numbers) if number not in kept)
