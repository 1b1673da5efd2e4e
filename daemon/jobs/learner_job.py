"""The learner as a Job of Kubernetes: created, looked at until it is over, and ended when it hangs or must stop."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from daemon.jobs.cluster import Account, Cluster, ClusterError
from daemon.jobs.event_file import EventFile
from daemon.jobs.manifest import SLACK_S, DaemonPod, JobRun, manifest, new_name
from daemon.jobs.patience import Paces, Patient, Stopped
from daemon.jobs.remains import end_remains, end_run
from daemon.jobs.standing import ending_by_status
from daemon.jobs.watch import Watch
from daemon.processes.learner import LearnerEnding, LearnerExit, LearnerLimits, keep_log
from daemon.processes.learner_process import ERRORS_BYTES_KEPT, LEARNER
from daemon.settings.jobs.template import BadTemplate, JobTemplate, read_template
from learner.directory.progress_event import ProgressEvent, read_event
from learner.directory.round_directory import CANDIDATES, REPORT

log = structlog.get_logger(__name__)

DAEMON_CONTAINER: Final = "riverkeep"
ALREADY_THERE: Final = 409
SEEN_WITHIN_S: Final = 60.0
"""In which what a learner has written is to be seen here: a network's file system may say for so long that a file is
not there which it was once asked for in vain."""


@dataclass(frozen=True, slots=True)
class JobMaker:
    """What all Jobs of a daemon have in common.

    Attributes:
        account: of the daemon's pod.
        template_file: the Job of which each is made; read each time.
        state: which state directory its Jobs belong to, a label's value.
        pending_seconds: how long a Job may wait before it runs.
        command: what is run where the template names no command.
        context: variables that a run is given besides, asked when it begins.
    """

    account: Account
    template_file: Path
    state: str
    pending_seconds: float
    command: Sequence[str] = LEARNER
    context: Callable[[], Mapping[str, str]] = dict

    def job(
        self, template: JobTemplate, what: str, arguments: Sequence[str], seconds: float, daemon: DaemonPod | None
    ) -> JobRun:
        """A run that may be created.

        Args:
            template: of the Job.
            what: the round, or what else is run, for its name.
            arguments: of the learner.
            seconds: that it may run.
            daemon: as `daemon_pod` tells.
        """
        return JobRun(
            name=new_name(template, what),
            state=self.state,
            command=self.command,
            arguments=arguments,
            # What it wrote before it was killed has arrived. Nothing of the daemon's own: that may be secret.
            variables={"PYTHONUNBUFFERED": "1", **self.context()},
            seconds=self.pending_seconds + seconds + SLACK_S,
            daemon=daemon,
        )

    def daemon_pod(self, cluster: Cluster) -> DaemonPod | None:
        """The pod that this daemon runs in; None where its name is not known, as with a host's network.

        Raises:
            ClusterError: it cannot be read.
        """
        name = self.account.pod
        pod = cluster.pod(name) if name else None
        if pod is None:
            return None
        containers = pod["spec"]["containers"]
        own = next((each for each in containers if each["name"] == DAEMON_CONTAINER), containers[0])
        return DaemonPod(name, pod["metadata"]["uid"], own["image"])


class LearnerJob:
    """Runs one learner at a time as a Job.

    Args:
        maker: makes the Jobs.
        paces: how often is looked, and how long is waited.
    """

    def __init__(
        self, maker: JobMaker, *, paces: Paces | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._maker = maker
        self._paces = Paces() if paces is None else paces
        self._clock = clock
        self._runs = False

    @property
    def resident(self) -> int | None:
        """As `Learner.resident`: nobody here sees what a pod holds."""
        return None if self._runs else 0

    def end_leftovers(self, must_stop: Callable[[], bool]) -> bool:
        """As `Learner.end_leftovers`."""
        with Cluster(self._maker.account) as cluster:
            try:
                end_remains(cluster, self._maker.state, Patient(self._paces, must_stop, self._clock))
            except Stopped:
                return False
        return True

    def run(
        self,
        directory: Path,
        *,
        limits: LearnerLimits,
        on_progress: Callable[[ProgressEvent], None],
        must_stop: Callable[[], bool],
        write: str | None = None,
    ) -> LearnerExit:
        """As `Learner.run`. Of what the learner said the end of the pod's log is kept, without its events.

        `limits` count from when its container runs; until then `pending_seconds` does.
        """
        began, self._runs = self._clock(), True
        try:
            with Cluster(self._maker.account) as cluster:
                template = read_template(self._maker.template_file)
                patient = Patient(self._paces, must_stop, self._clock)
                return _Run(self._maker, cluster, template, directory, write, limits, on_progress, patient).to_its_end()
        except Stopped as stopped:
            return LearnerExit(LearnerEnding.STOPPED, str(stopped), self._clock() - began)
        except (ClusterError, BadTemplate) as error:
            detail = f"{self._maker.template_file}: {error}" if isinstance(error, BadTemplate) else str(error)
            return LearnerExit(LearnerEnding.NOT_STARTED, f"no Job could be started: {detail}", self._clock() - began)
        finally:
            self._runs = False


@dataclass(slots=True)
class _Run:
    """One run: its Job from before it is created until nothing of it is left that could write."""

    maker: JobMaker
    cluster: Cluster
    template: JobTemplate
    directory: Path
    write: str | None
    limits: LearnerLimits
    on_progress: Callable[[ProgressEvent], None]
    patient: Patient
    by_itself: bool = field(default=False, init=False)

    def to_its_end(self) -> LearnerExit:
        end_remains(self.cluster, self.maker.state, self.patient, tell=self._tell_waiting)
        events = EventFile(self.directory, writes=self.write is not None)
        run = self._job()
        try:
            self._create(run)
            watch = self._watch(run, events)
            over = watch.until_over()
            self.by_itself = over.status is not None
            errors = b"" if over.ending is LearnerEnding.STOPPED else self._errors(watch.pod, over.said)
        finally:
            # Also what was asked for and not answered: it may have been created.
            end_run(self.cluster, run.name, self._to_the_end(), by_itself=self.by_itself)
        keep_log(self.directory, self.write, errors)
        ending, detail, certain = ending_by_status(over, errors)
        if ending is LearnerEnding.FINISHED:
            self._await_files()
        elif ending is LearnerEnding.BAD_DIRECTORY and not watch.has_heard:
            detail += f". Is the volume of {self.directory.parent} mounted there in {self.maker.template_file} too?"
        return LearnerExit(ending, detail, watch.seconds, certain)

    def _tell_waiting(self, what: str) -> None:
        self.on_progress(ProgressEvent("waits", reason=what))

    def _to_the_end(self) -> Patient:
        """Who must stop still waits for the end of what it has begun."""
        return Patient(self.patient.paces, lambda: False, self.patient.clock)

    def _job(self) -> JobRun:
        what = self.directory.name if self.write is None else f"{self.directory.name}-write"
        arguments = [str(self.directory.absolute()), *(() if self.write is None else ("--write", self.write))]
        daemon = self.patient.bear(lambda: self.maker.daemon_pod(self.cluster))
        return self.maker.job(self.template, what, arguments, self.limits.time, daemon)

    def _create(self, run: JobRun) -> None:
        made = manifest(self.template, run)

        def create() -> None:
            try:
                self.cluster.create_job(made)
            except ClusterError as error:
                # An answer was lost on its way: nothing else has this name.
                if error.status != ALREADY_THERE:
                    raise

        self.patient.bear(create)
        log.info("job_created", job=run.name, write=self.write)

    def _watch(self, run: JobRun, events: EventFile) -> Watch:
        return Watch(
            self.cluster,
            run.name,
            str(self.template.container["name"]),
            events,
            limits=self.limits,
            pending_seconds=self.maker.pending_seconds,
            patient=self.patient,
            on_progress=self.on_progress,
        )

    def _errors(self, pod: str, remembered: str) -> bytes:
        """What the learner said besides its events; what the pod remembers of it where its log cannot be had."""
        said = b""
        if pod:
            with suppress(ClusterError):
                lines = self.cluster.log(pod, str(self.template.container["name"])).split(b"\n")
                said = b"\n".join(line for line in lines if read_event(line) is None)
        return (said or remembered.encode())[-ERRORS_BYTES_KEPT:]

    def _await_files(self) -> None:
        """Wait until what the learner has written is to be seen here too."""
        awaited = self.directory / REPORT if self.write is None else self.directory / CANDIDATES / self.write
        deadline = self.patient.clock() + SEEN_WITHIN_S
        while not awaited.exists() and self.patient.clock() < deadline:
            with suppress(OSError):
                # What is in a folder is asked for anew where it is listed.
                list(awaited.parent.iterdir())
            time.sleep(self.patient.paces.look)
