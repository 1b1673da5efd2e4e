"""How long to wait before what failed is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, and begin anew after `healthy` seconds of life."""

    first: float
    longest: float
    healthy: float = 60.0

    def wait(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure in a row (from 1)."""
        # Bounded: after a thousand failures the power would be beyond any float.
        return float(min(self.longest, self.first * 2 ** min(failures - 1, 30)))

    def failures_after(self, failures: int, ran_for: float) -> int:
        """How many failures in a row there are now that one more came after `ran_for` seconds of life."""
        return 1 if ran_for >= self.healthy else failures + 1
