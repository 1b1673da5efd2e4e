"""How fast something moves, told from its latest steps: a `Retry-After` is computed from it. Pure but for its clock."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

STEPS_LOOKED_AT: Final = 64
LONGEST_S: Final = 600
"""Beyond this nobody can say when it will be; who comes again is told anew."""


class Pace:
    """The steps of something that moves while there is work, and rests while there is none.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The first is when it began to move, or a step; all later ones are steps.
        self._times: deque[float] = deque(maxlen=STEPS_LOOKED_AT + 1)

    def begin(self) -> None:
        """It moves from now on: the time in which it rested says nothing of its pace."""
        self._times.clear()
        self._times.append(self._clock())

    def step(self) -> None:
        """It made a step."""
        self._times.append(self._clock())

    def seconds_for(self, steps: int, guess: float) -> int:
        """In how many seconds it will have made so many further steps, 1 … 600, rounded up.

        Args:
            steps: at least 0.
            guess: seconds, for as long as it has made no step.
        """
        # To this moment, not to the last step: where it has stopped moving the answer grows.
        took = self._clock() - self._times[0] if self._times else 0.0
        made = len(self._times) - 1
        seconds = steps * took / made if made > 0 else max(guess, took)
        return int(min(max(1, -(-seconds // 1)), LONGEST_S))
