"""How long trouble of the cluster's API is borne, and that whoever waits can be stopped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from daemon.jobs.cluster import ClusterError

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paces:
    """How often something is looked at, and how long is waited for it; in seconds.

    Attributes:
        look: at what the learner tells, and whether it must stop.
        ask: the API how the Job stands, or what it did not answer.
        api: that the API may be away.
        end: that a Job may take to end which is not wanted any more.
        remains: that those of an earlier daemon may take: a node that is gone keeps its pods until it is missed.
    """

    look: float = 0.2
    ask: float = 2.0
    api: float = 900.0
    end: float = 30.0
    remains: float = 600.0


class Stopped(Exception):
    """Who waits is to wait no more: the service ends, or the round was called off."""

    def __init__(self) -> None:
        super().__init__("the service is stopping or the round was called off")


@dataclass(frozen=True, slots=True)
class Patient:
    """Waits for one run.

    Attributes:
        paces: at which.
        must_stop: asked at each look.
        clock: seconds that never go back.
    """

    paces: Paces
    must_stop: Callable[[], bool]
    clock: Callable[[], float]

    def pause(self, seconds: float | None = None) -> None:
        """Wait for the next look, or so many seconds.

        Raises:
            Stopped: nothing is waited for any more.
        """
        until = self.clock() + (self.paces.look if seconds is None else seconds)
        while True:
            if self.must_stop():
                raise Stopped
            left = until - self.clock()
            if left <= 0:
                return
            time.sleep(min(self.paces.look, left))

    def bear(self, ask: Callable[[], T], within: float | None = None) -> T:
        """Ask the API until it answers.

        Args:
            ask: what.
            within: seconds that trouble is borne; None: `paces.api`.

        Raises:
            ClusterError: it refuses, or has not answered for so long.
            Stopped: meanwhile.
        """
        deadline, told = self.clock() + (self.paces.api if within is None else within), ""
        while True:
            try:
                return ask()
            except ClusterError as error:
                if not error.is_passing or self.clock() >= deadline:
                    raise
                if not told:
                    told = str(error)
                    log.warning("cluster_does_not_answer", reason=told)
            self.pause(self.paces.ask)
