"""What a Job and its pods say, in shapes that the fake cluster does not come to."""

from typing import Any

import pytest

from daemon.jobs.standing import Over, Runs, Waits, ending_by_status, standing_of
from daemon.processes.learner import LearnerEnding

Json = dict[str, Any]
JOB: Json = {"metadata": {"uid": "of-the-job"}, "spec": {}, "status": {}}


def pod(state: Json | None = None, *, made: str = "2026-01-01T00:00:00Z", **status: Any) -> Json:
    """A pod whose learner is in this state."""
    statuses = [{"name": "proxy", "state": {"running": {}}}]
    if state is not None:
        statuses.append({"name": "learner", "state": state})
    return {
        "metadata": {"name": "pod-1", "uid": "of-the-pod", "creationTimestamp": made},
        "spec": {"nodeName": "node-7"},
        "status": {"phase": "Pending", "containerStatuses": statuses, **status},
    }


def failed(reason: str) -> Json:
    """A Job that has failed."""
    return JOB | {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": reason}]}}


@pytest.mark.parametrize(
    ("job", "pods", "why", "about"),
    [
        (JOB, [], "its pod", "of-the-job"),
        (JOB | {"spec": {"suspend": True}}, [], "its place in the queue: the Job is suspended", ""),
        (
            JOB,
            [pod({"waiting": {"reason": "ErrImagePull", "message": "not found"}})],
            "its image: ErrImagePull: not found",
            "",
        ),
        (
            JOB,
            [pod({"waiting": {"reason": "ContainerCreating"}})],
            "its container: ContainerCreating",
            "of-the-pod",
        ),
        (JOB, [pod()], "its container", "of-the-pod"),
    ],
)
def test_for_what_it_waits(job: Json, pods: list[Json], why: str, about: str) -> None:
    """In the pod's own words, and where it has none, of which object the cluster may have warned."""
    assert standing_of(job, pods, "learner") == Waits(why, about)


@pytest.mark.parametrize(
    ("job", "pods", "ending", "says"),
    [
        (failed("DeadlineExceeded"), [], LearnerEnding.OUT_OF_TIME, "longer than Riverkeep allowed"),
        (failed("BackoffLimitExceeded"), [], LearnerEnding.LOST, "its pod is gone (BackoffLimitExceeded)"),
        (None, [], LearnerEnding.LOST, "somebody deleted the Job"),
        (
            JOB,
            [pod(phase="Failed", reason="UnexpectedAdmissionError", message="no healthy devices")],
            LearnerEnding.LOST,
            "pod-1 on node-7 was taken away (UnexpectedAdmissionError: no healthy devices)",
        ),
        (JOB, [pod(phase="Failed", reason="DeadlineExceeded")], LearnerEnding.OUT_OF_TIME, "longer than Riverkeep"),
        (JOB, [pod(phase="Failed")], LearnerEnding.LOST, "ended before it ran"),
        (
            JOB,
            [pod({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "not located"}})],
            LearnerEnding.LOST,
            "its node lost sight of the learner's container: not located",
        ),
        (
            JOB,
            [pod({"terminated": {"exitCode": 128, "reason": "StartError", "message": "python: no such file"}})],
            LearnerEnding.NOT_STARTED,
            "could not be started: python: no such file",
        ),
    ],
)
def test_how_it_ended(job: Json | None, pods: list[Json], ending: LearnerEnding, says: str) -> None:
    """What was taken from a learner says nothing of the round; a container that never ran will not run."""
    over = standing_of(job, pods, "learner")
    assert isinstance(over, Over)
    assert over.ending is ending
    assert says in over.detail


def test_a_learner_that_came_to_its_end_has_whatever_befell_its_pod_then() -> None:
    """Its report is written."""
    ended = pod({"terminated": {"exitCode": 0}}, phase="Failed", reason="Evicted")
    assert standing_of(JOB, [ended], "learner") == Over(None, status=0)


def test_of_several_pods_the_latest_counts() -> None:
    """In whatever order they are listed."""
    first = pod({"terminated": {"exitCode": 1}}, phase="Failed")
    second = pod({"running": {}}, made="2026-01-01T00:00:09Z", phase="Running")
    assert standing_of(JOB, [second, first], "learner") == Runs()


def test_a_rank_that_was_killed_is_named() -> None:
    """As where the learner is a process."""
    ending, detail, certain = ending_by_status(Over(None, status=137), b"x\nrank 1 of 2 was killed by signal 9\n")
    assert (ending, certain) == (LearnerEnding.OUT_OF_MEMORY, False)
    assert detail.startswith("rank 1 of 2 was killed")
