"""How long ago something was, whatever is done to the machine's clock meanwhile."""

MOMENTS_KEPT = 64


class Past:
    """Counts from when it first hears of a moment, on a clock that never goes back.

    How long ago it was by then only the wall clock tells, the one thing that outlives a restart.
    """

    def __init__(self) -> None:
        self._heard: dict[float, tuple[float, float]] = {}

    def seconds_since(self, at: float, *, wall: float, monotonic: float) -> float:
        """Seconds that have passed since a moment; 0 at first for one that is still to come by the wall clock.

        Args:
            at: unix seconds, as they were recorded.
            wall: unix seconds now.
            monotonic: seconds now, of a clock that never goes back.
        """
        heard_at, passed = self._heard.setdefault(at, (monotonic, max(0.0, wall - at)))
        while len(self._heard) > MOMENTS_KEPT:
            # A dict keeps its order: the moment first heard of goes.
            del self._heard[next(iter(self._heard))]
        return passed + monotonic - heard_at
