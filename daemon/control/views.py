"""What the control sees of the running daemon's parts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from daemon.control.answers.settings import SettingsAnswer
from daemon.control.answers.status import PartStanding, RefusedSettings, RoundStanding
from daemon.ingestion.arrivals import ArrivedSoFar
from daemon.lifecycle.supervised_threads import Health, State
from daemon.processes.serving_process import ServingStatus
from daemon.processes.serving_times import ServingTimes
from daemon.rounds.current import RoundProgress
from streams.document import Partition


class IngestView(Protocol):
    """What is asked of the ingest loop, from other threads."""

    @property
    def paused(self) -> str:
        """Why all consumption pauses; empty while it does not."""

    @property
    def trouble(self) -> str:
        """Why nothing can come; empty while all is well."""

    @property
    def unread(self) -> Sequence[str]:
        """What is not read though the rest is, and what to do, a sentence each."""

    def lag(self) -> Mapping[Partition, int]:
        """Records in each partition that are not yet read; empty while that is not known."""

    def paused_partitions(self) -> Mapping[Partition, str]:
        """Partitions that are paused by themselves, and why."""

    def arrived(self) -> ArrivedSoFar:
        """What this process has stored since it began, and lately."""

    def resume(self, partition: str | None) -> list[str]:
        """Read on where a flood of dead letters paused (None: everywhere); which partitions that concerns."""


@dataclass(frozen=True, slots=True)
class Views:
    """What the parts of the daemon show.

    Attributes:
        parts: how each part is.
        patient: while it lasts no part counts as stuck.
        ingest: None where nothing is consumed.
        serving: how the serving process is; None where none is started.
        serving_address: where it answers, `http://host:port`.
        next_round: a sentence, what the triggers wait for.
        problem: what is wrong with the serving generation's files; empty when nothing is.
        need_restart: sections of the settings that a reload found changed, and that a restart will take over.
        settings_refused: what the latest reload refused; None where it found no mistakes.
        settings: those in force, and where each came from.
        started_at: unix seconds.
        serving_times: how long its answers took; None where none is started.
        serving_metrics: what the serving process counts, in Prometheus's text; empty where it does not answer.
        memory_trouble: why the memory cannot be used, and what to do; empty while it can.
    """

    parts: Callable[[], tuple[Health, ...]]
    patient: Callable[[], AbstractContextManager[None]]
    ingest: IngestView | None
    serving: Callable[[], ServingStatus] | None
    serving_address: str | None
    next_round: Callable[[], str]
    problem: Callable[[], str]
    need_restart: Callable[[], tuple[str, ...]]
    settings_refused: Callable[[], RefusedSettings | None]
    settings: Callable[[], SettingsAnswer]
    started_at: float
    serving_metrics: Callable[[], str] = str
    serving_times: ServingTimes | None = None
    memory_trouble: Callable[[], str] = str


def part_standing(health: Health) -> PartStanding:
    """How a part is; one that begins again after it broke is broken until it runs."""
    is_again = health.state is State.STARTING and not health.begins
    state = State.BROKEN if is_again else health.state
    return {"ok": health.ok, "detail": health.detail or health.state.value, "state": state}


def round_standing(progress: RoundProgress) -> RoundStanding:
    """The round in progress."""
    work = progress.work
    return {
        "number": progress.number,
        "phase": progress.phase,
        "step": progress.step,
        "steps": progress.steps,
        "gone_on_from": progress.gone_on_from,
        "waits_for": progress.waits_for,
        "work": None
        if work is None
        else {"done": work.done, "of": work.of, "unit": work.unit, "seconds_left": work.seconds_left},
        "begun_at": progress.started_at,
        "reason": progress.reason,
        "fresh_samples": progress.fresh_samples,
        "early_stop_samples": progress.early_stop_samples,
    }
