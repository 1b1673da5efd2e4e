"""One run looked at until it is over: what it tells, where it stands, and whether it must end."""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.jobs.cluster import Cluster, ClusterError
from daemon.jobs.event_file import EventFile
from daemon.jobs.manifest import RUN
from daemon.jobs.patience import Patient, Stopped
from daemon.jobs.standing import Over, Runs, Standing, Waits, name_of, newest, standing_of
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.span import span
from learner.directory.progress_event import ProgressEvent

log = structlog.get_logger(__name__)

WARNINGS_EVERY: Final = 5
"""Looks at a Job that waits between two at what the cluster warns of."""

LAST_READS: Final = 64
"""Of what a learner told that has ended."""


class Watch:
    """Looks at one run.

    Args:
        cluster: in which.
        name: of the Job.
        container: the learner's.
        events: what it tells.
        limits: after which it is over, counted from when its container runs.
        pending_seconds: until when it has to run.
        patient: waits between looks.
        on_progress: gets what it tells, and for what it waits.

    Attributes:
        pod: name of the run's latest pod; empty where none was seen.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        container: str,
        events: EventFile,
        *,
        limits: LearnerLimits,
        pending_seconds: float,
        patient: Patient,
        on_progress: Callable[[ProgressEvent], None],
    ) -> None:
        self._cluster, self._name, self._container, self._events = cluster, name, container, events
        self._limits, self._pending_seconds, self._patient = limits, pending_seconds, patient
        self._on_progress = on_progress
        self._began = self._answered = patient.clock()
        self.pod = ""
        self._ran: float | None = None
        self._heard: float | None = None
        self._waits_for = "its pod"
        self._warned = ""
        self._waited_looks = 0
        self._silent = ""

    @property
    def has_heard(self) -> bool:
        """Whether the learner has told anything."""
        return self._heard is not None

    @property
    def seconds(self) -> float:
        """That it has run, or 0 where it has not."""
        return 0.0 if self._ran is None else self._patient.clock() - self._ran

    def until_over(self) -> Over:
        """Look until the run is over or must end; nothing is ended here."""
        asked = float("-inf")
        while True:
            self._hear()
            if (why := self._why_it_must_end()) is not None:
                return why
            if self._patient.clock() - asked >= self._patient.paces.ask:
                standing = self._ask()
                asked = self._patient.clock()
                if isinstance(standing, Over):
                    # What it told last was written before it ended.
                    for _ in range(LAST_READS):
                        if not self._hear():
                            break
                    return standing
                self._note(standing)
            try:
                self._patient.pause()
            except Stopped as stopped:
                return Over(LearnerEnding.STOPPED, str(stopped))

    def _hear(self) -> bool:
        """Hand on what was told since the last look; whether anything was."""
        events = self._events.read()
        if events is None:
            return False
        self._heard = self._patient.clock()
        self._begin_to_run()
        for event in events:
            self._on_progress(event)
        return True

    def _ask(self) -> Standing | None:
        """Where the run stands; None while nobody can tell."""
        try:
            # The Job before its pods: of one that is gone by now the pods are still seen.
            job = self._cluster.job(self._name)
            pods = self._cluster.pods({RUN: self._name})
            self.pod = name_of(newest(pods) or {}) or self.pod
            standing = standing_of(job, pods, self._container)
            if isinstance(standing, Waits):
                standing = self._with_warnings(standing)
        except ClusterError as error:
            return self._bear(error)
        self._answered, self._silent = self._patient.clock(), ""
        return standing

    def _bear(self, error: ClusterError) -> Over | None:
        """What follows of an API that does not answer: nothing, as long as the learner itself is heard, or not long."""
        if not self._silent:
            self._silent = str(error)
            log.warning("cluster_does_not_answer", job=self._name, reason=self._silent)
        since = max(self._answered, self._heard or 0.0)
        if self._patient.clock() - since <= self._patient.paces.api:
            return None
        detail = f"for {span(self._patient.paces.api)} nobody could tell what became of the Job {self._name}: {error}"
        return Over(LearnerEnding.LOST, detail)

    def _with_warnings(self, waits: Waits) -> Waits:
        if waits.about and self._waited_looks % WARNINGS_EVERY == 0:
            try:
                self._warned = next(reversed(self._cluster.warnings(waits.about)), "")
            except ClusterError as error:
                # An account may do without this right.
                if error.is_passing:
                    raise
        self._waited_looks += 1
        if not waits.about or not self._warned:
            return waits
        return Waits(f"{waits.why.partition(':')[0]}: {' '.join(self._warned.split())}")

    def _note(self, standing: Standing | None) -> None:
        if isinstance(standing, Runs):
            self._begin_to_run()
        elif isinstance(standing, Waits) and self._ran is None and standing.why != self._waits_for:
            self._waits_for = standing.why
            self._on_progress(ProgressEvent("waits", reason=standing.why))

    def _begin_to_run(self) -> None:
        if self._ran is None:
            self._ran = self._patient.clock()
            self._on_progress(ProgressEvent("runs"))

    def _why_it_must_end(self) -> Over | None:
        now, limits = self._patient.clock(), self._limits
        if self._ran is None:
            if now - self._began <= self._pending_seconds:
                return None
            waited = f"the Job did not run within {span(self._pending_seconds)} (jobs.pending_seconds)"
            return Over(LearnerEnding.NOT_STARTED, f"{waited}; it waited for {self._waits_for}")
        if self._silent:
            # It may have ended: that only the API can tell, and only by it could anything be ended.
            return None
        if now - max(self._ran, self._heard or self._ran) > limits.silence:
            detail = f"the learner said nothing for {limits.silence:.0f} s and was ended"
            return Over(LearnerEnding.HUNG, detail)
        if now - self._ran > limits.time:
            return Over(LearnerEnding.OUT_OF_TIME, f"the learner ran longer than {limits.time:.0f} s and was ended")
        return None
