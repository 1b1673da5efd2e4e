"""Learners that nobody wants any more: ended, and waited for until no container of theirs can write.

A learner that still writes into a round's directory, which is removed or has another learner, would spoil what nobody
looks at twice. So nothing is begun while one may run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from daemon.jobs.cluster import Cluster, ClusterError
from daemon.jobs.manifest import RUN, STATE
from daemon.jobs.patience import Patient, Stopped
from daemon.jobs.standing import describe_pod, has_ended, is_alive, name_of

log = structlog.get_logger(__name__)

ENDING_LOOKS: Final = 3
"""At a pod whose container has ended: what else is in it, or what is told of it, may take a moment."""


class LearnerRemains(ClusterError):
    """A learner that is not wanted any more still runs, or may."""


def end_run(cluster: Cluster, name: str, patient: Patient, *, by_itself: bool) -> None:
    """See that a run has ended; end it where it has not. Whatever is left is told, and `end_remains` finds it.

    Args:
        cluster: in which.
        name: of the Job.
        patient: waits at most `paces.end`.
        by_itself: whether its learner ended by itself: its Job then stays for a while, with its log.
    """
    labels = {RUN: name}
    try:
        if by_itself:
            for _ in range(ENDING_LOOKS):
                pods = patient.bear(lambda: cluster.pods(labels), patient.paces.end)
                if pods and not any(map(is_alive, pods)):
                    return
                patient.pause(patient.paces.ask)
        _end(cluster, [name], labels, patient, patient.paces.end)
    except (ClusterError, Stopped) as error:
        log.warning("job_may_still_run", job=name, reason=str(error))


def end_remains(
    cluster: Cluster, state: str, patient: Patient, *, tell: Callable[[str], None] = lambda _: None
) -> None:
    """End what earlier daemons of a state directory left running, and wait until it has ended.

    Args:
        cluster: in which.
        state: as in `JobRun`.
        patient: waits at most `paces.remains`.
        tell: told for what is waited, where anything is.

    Raises:
        LearnerRemains: one still runs.
        ClusterError: nobody can tell.
        Stopped: meanwhile.
    """
    labels = {STATE: state}
    jobs = patient.bear(lambda: cluster.jobs(labels))
    left = [name_of(job) for job in jobs if not has_ended(job)]
    alive = patient.bear(lambda: _alive(cluster, labels))
    if not left and not alive:
        return
    log.warning("jobs_ended", jobs=left, pods=[name_of(pod) for pod in alive])
    tell(f"an earlier learner to end: {', '.join(map(describe_pod, alive)) or ', '.join(left)}")
    _end(cluster, left, labels, patient, patient.paces.remains)


def _end(cluster: Cluster, names: Sequence[str], labels: Mapping[str, str], patient: Patient, within: float) -> None:
    deadline = patient.clock() + within
    for name in names:
        patient.bear(lambda name=name: cluster.delete_job(name), within)  # type: ignore[misc]
    while alive := patient.bear(lambda: _alive(cluster, labels), within):
        if patient.clock() >= deadline:
            pods = ", ".join(map(describe_pod, alive))
            raise LearnerRemains(
                f"A learner that was told to end may still run: {pods}. No round begins before its pod is gone. Where "
                f"the node is surely off, `kubectl delete pod --force {name_of(alive[0])}` lets it go."
            )
        patient.pause(patient.paces.ask)


def _alive(cluster: Cluster, labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
    return [pod for pod in cluster.pods(labels) if is_alive(pod)]
