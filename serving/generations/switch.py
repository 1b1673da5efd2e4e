"""What new requests begin on: the serving generation, the one that is watched, and how swaps went."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field

from checkpoints.serving_pointer import Canary
from serving.engine.loaded import LoadedGeneration
from serving.generations.held import HeldGenerations
from serving.metrics import ServingMetrics


@dataclass(frozen=True, slots=True)
class SwapStatus:
    """Where serving stands.

    Attributes:
        pointed: the generation that the pointer names.
        failed: generations that could not serve, each with the reason, newest last.
        swap_seconds: how long the last swap took, from reading the pointer to the switch.
        problem: why the pointer cannot be followed, if it cannot.
        canary_failing: a canary that could not be brought in when that was tried last; None: there is none.
        canary_failures: how often in a row it could not.
    """

    pointed: int | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    swap_seconds: float | None = None
    problem: str | None = None
    canary_failing: int | None = None
    canary_failures: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """A generation that is watched in traffic.

    Attributes:
        generation: it, ready to answer.
        plan: which share of the requests it gets, and whether its answers count.
    """

    generation: LoadedGeneration
    plan: Canary


class Switch:
    """What new requests get. Read from any thread; turned by the follower alone."""

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self.held = HeldGenerations(metrics)
        self.current: LoadedGeneration | None = None
        self.watched: Watched | None = None
        self.status = SwapStatus()

    def turn(self, generation: LoadedGeneration) -> None:
        """Let new requests begin on `generation`."""
        self.current = generation
        self._metrics.generation.set(generation.number)

    def turn_off(self) -> None:
        """Let new requests be refused until the next turn."""
        self.current = None
        self._metrics.generation.set(-1)

    def watch(self, watched: Watched | None) -> None:
        """Let a share of new requests try a generation; None: no more."""
        self.watched = watched
        self._metrics.canary.set(-1 if watched is None else watched.generation.number)

    def hold(self, generation: LoadedGeneration) -> None:
        """Count a generation as in memory until it is freed."""
        self.held.add(generation)
        self._metrics.loaded.inc()
        # By the last reference, not by the switch: answers under way hold an old generation in memory.
        weakref.finalize(generation, self._metrics.loaded.dec)
