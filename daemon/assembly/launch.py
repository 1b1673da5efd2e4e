"""What a service is started with, and what its parts share."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from daemon.jobs.cluster import Account
from daemon.lifecycle.excused_silence import Patience
from daemon.lifecycle.shutdown import Deadline, Shutdown
from daemon.lifecycle.supervised_threads import Watchers
from daemon.metrics import DaemonMetrics
from daemon.processes.children import child_environment
from daemon.processes.learner_process import LEARNER
from daemon.processes.serving_process import drain_seconds
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.current import CurrentRound
from daemon.settings.in_force import SettingsInForce
from daemon.settings.tree import Settings
from daemon.tolerant_metrics import TolerantRegistry
from serving.tracing.spans import NO_TRACING, Tracing


@dataclass(frozen=True, slots=True)
class Launch:
    """What a service is started with.

    Attributes:
        config_file: read again on SIGHUP; None: the environment alone.
        learner: the command that runs a round; another one only in tests of learners that misbehave.
        clock: unix seconds.
        account: by which Jobs are asked for, where rounds are such; None: that of the pod which this process is.
    """

    settings: Settings
    config_file: Path | None = None
    learner: tuple[str, ...] = LEARNER
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Callable[[], float] = time.time
    account: Account | None = None

    def child_environment(self) -> dict[str, str]:
        """What the learner's and the serving process are given."""
        return child_environment(self.settings.state_dir, self.environment)


@dataclass(frozen=True, slots=True)
class Shared:
    """What several parts of one service hold, each to be used by many threads.

    Attributes:
        started_at: unix seconds.
        promotion: held while the serving generation changes.
    """

    started_at: float
    settings: SettingsInForce
    shutdown: Shutdown
    deadline: Deadline
    watchers: Watchers
    patience: Patience
    asks: Asks
    current: CurrentRound
    promotion: threading.RLock
    registry: CollectorRegistry
    metrics: DaemonMetrics


def make_shared(launch: Launch, tracing: Tracing = NO_TRACING) -> Shared:
    """What the parts of a service to be started share; of its rounds is told by `tracing`."""
    lifecycle = launch.settings.lifecycle
    shutdown = Shutdown(
        grace_seconds=lifecycle.grace_seconds,
        # Requests are answered while the round has its time to finish.
        round_grace_seconds=min(
            lifecycle.round_grace_seconds, lifecycle.grace_seconds - drain_seconds(launch.settings)
        ),
    )
    registry = TolerantRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return Shared(
        started_at=launch.clock(),
        settings=SettingsInForce(launch.settings),
        shutdown=shutdown,
        deadline=Deadline(shutdown),
        watchers=Watchers(),
        patience=Patience(),
        asks=Asks(),
        current=CurrentRound(tracing=tracing),
        promotion=threading.RLock(),
        registry=registry,
        metrics=DaemonMetrics(registry),
    )
