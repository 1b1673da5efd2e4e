"""What a Job and its pods say of a learner's run, as one of few things. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from daemon.processes.learner import LearnerEnding, ending_of_status, last_words
from learner.errors import KILLED_STATUS

SIGKILL_STATUS: Final = KILLED_STATUS + 9
"""With which a container ends that was killed, and a learner one of whose ranks was."""
ENDED_PHASES: Final = frozenset({"Succeeded", "Failed"})
NOT_BEGUN: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons for which a container never ran: its command is not in the image, or may not be run."""
REASON_LENGTH: Final = 400
"""Characters of what the cluster says, of which a sentence is made."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The learner does not run yet.

    Attributes:
        why: what it waits for, and the cluster's own words after a colon where there are any.
        about: uid of the object that the cluster may have warned of, where its own words are missing; else empty.
    """

    why: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Runs:
    """The learner's container runs."""


@dataclass(frozen=True, slots=True)
class Over:
    """The run is over.

    Attributes:
        ending: how; None where that is for the container's status to say.
        detail: a sentence; empty as the ending.
        status: exit status of the container; None where it did not end by itself.
        said: what it wrote last, as far as the pod remembers.
        certain: as in `LearnerExit`.
    """

    ending: LearnerEnding | None
    detail: str = ""
    status: int | None = None
    said: str = ""
    certain: bool = True


Standing: TypeAlias = Waits | Runs | Over


def standing_of(job: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]], container: str) -> Standing:
    """What a run has come to.

    Args:
        job: None where it is not there any more.
        pods: of the run, in any order.
        container: the name of the learner's.
    """
    latest = newest(pods)
    if latest is not None:
        return _of_pod(latest, container)
    if job is None:
        return Over(LearnerEnding.LOST, "somebody deleted the Job that the learner ran in")
    for condition in _each(_at(job, "status", "conditions")):
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            return _of_failed_job(condition)
    if _at(job, "spec", "suspend") is True:
        return Waits("its place in the queue: the Job is suspended")
    return Waits("its pod", str(_at(job, "metadata", "uid") or ""))


def newest(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The pod that was made last; None where there is none."""
    return max(pods, key=lambda pod: str(_at(pod, "metadata", "creationTimestamp") or ""), default=None)


def is_alive(pod: Mapping[str, Any]) -> bool:
    """Whether something of a pod may still run."""
    return _at(pod, "status", "phase") not in ENDED_PHASES


def has_ended(job: Mapping[str, Any]) -> bool:
    """Whether a Job is over, as Kubernetes sees it."""
    return any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in _each(_at(job, "status", "conditions"))
    )


def describe_pod(pod: Mapping[str, Any]) -> str:
    """A pod by its name and its node."""
    node = _at(pod, "spec", "nodeName")
    return f"{name_of(pod)}{f' on {node}' if node else ''}"


def name_of(thing: Mapping[str, Any]) -> str:
    """An object's name."""
    return str(_at(thing, "metadata", "name") or "")


def ending_by_status(over: Over, errors: bytes) -> tuple[LearnerEnding, str, bool]:
    """How a run ended, a sentence, and whether that is certain.

    Args:
        over: what was seen of it.
        errors: what the learner wrote to its standard error, or the end of it.
    """
    if over.ending is not None:
        return over.ending, over.detail, over.certain
    status = over.status or 0
    if status == SIGKILL_STATUS:
        # As of a process: whoever kills by hand only has it tried once more.
        said = last_words(errors)
        who = said if said.startswith("rank ") else "the learner's container was killed by signal 9"
        sentence = f"{who}; Kubernetes does not say that it was for memory (OOMKilled), but it may have been"
        return LearnerEnding.OUT_OF_MEMORY, sentence, False
    ending, detail = ending_of_status(KILLED_STATUS - status if status > KILLED_STATUS else status, errors)
    return ending, detail, True


def _of_pod(pod: Mapping[str, Any], container: str) -> Standing:
    status = _at(pod, "status", "containerStatuses")
    own = next((each for each in _each(status) if each.get("name") == container), {})
    ended = _at(own, "state", "terminated")
    if isinstance(ended, dict) and ended.get("exitCode") == 0:
        # Whatever befell the pod after that.
        return Over(None, status=0)
    if (lost := _why_lost(pod)) is not None:
        return Over(*lost)
    if isinstance(ended, dict):
        return _of_ended(own, ended)
    if _at(own, "state", "running") is not None:
        return Runs()
    if not is_alive(pod):
        return Over(LearnerEnding.LOST, f"its pod {describe_pod(pod)} ended before it ran{_said(_at(pod, 'status'))}")
    return _why_waits(pod, own)


def _of_ended(own: Mapping[str, Any], ended: Mapping[str, Any]) -> Over:
    code, reason, said = ended.get("exitCode"), ended.get("reason"), str(ended.get("message") or "")
    if reason == "OOMKilled":
        limit = _at(own, "resources", "limits", "memory")
        of = f", with a limit of {limit}" if limit else ""
        detail = f"the learner was killed as its container ran out of main memory (OOMKilled{of})"
        return Over(LearnerEnding.OUT_OF_MEMORY, detail)
    if reason == "ContainerStatusUnknown":
        # After a node began anew: it looks like a kill, and nobody saw one.
        return Over(LearnerEnding.LOST, f"its node lost sight of the learner's container: {said[:REASON_LENGTH]}")
    if reason in NOT_BEGUN:
        detail = f"the learner's container could not be started: {said[:REASON_LENGTH]}"
        return Over(LearnerEnding.NOT_STARTED, detail)
    return Over(None, status=code if isinstance(code, int) else 1, said=said)


def _why_lost(pod: Mapping[str, Any]) -> tuple[LearnerEnding, str] | None:
    """Why a pod was taken away; None where it was not, as far as it says."""
    reason = _at(pod, "status", "reason")
    if reason == "DeadlineExceeded":
        return LearnerEnding.OUT_OF_TIME, "the Job ran longer than Riverkeep allowed it, and Kubernetes ended it"
    for condition in _each(_at(pod, "status", "conditions")):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return LearnerEnding.LOST, f"its pod {describe_pod(pod)} was taken away{_said(condition)}"
    if not is_alive(pod) and isinstance(reason, str) and reason:
        return LearnerEnding.LOST, f"its pod {describe_pod(pod)} was taken away{_said(_at(pod, 'status'))}"
    if _at(pod, "metadata", "deletionTimestamp") is not None:
        return LearnerEnding.LOST, f"somebody deleted its pod {describe_pod(pod)}"
    return None


def _of_failed_job(condition: Mapping[str, Any]) -> Over:
    if condition.get("reason") == "DeadlineExceeded":
        return Over(LearnerEnding.OUT_OF_TIME, "the Job ran longer than Riverkeep allowed it, and Kubernetes ended it")
    return Over(LearnerEnding.LOST, f"the Job ended, and its pod is gone{_said(condition)}")


def _why_waits(pod: Mapping[str, Any], own: Mapping[str, Any]) -> Waits:
    for condition in _each(_at(pod, "status", "conditions")):
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return Waits(f"a node{_colon(condition.get('message'))}")
    waiting = _at(own, "state", "waiting")
    reason = str(_at(waiting, "reason") or "")
    if "Image" in reason:
        return Waits(f"its image: {reason}{_colon(_at(waiting, 'message'))}")
    said = _colon(_at(waiting, "message"))
    # Of a volume that is not to be had the pod itself says nothing.
    about = "" if said else str(_at(pod, "metadata", "uid") or "")
    return Waits(f"its container{_colon(reason)}{said}", about)


def _said(of: object) -> str:
    """Reason and message, in brackets."""
    parts = [str(part) for name in ("reason", "message") if (part := _at(of, name))]
    return f" ({': '.join(parts)[:REASON_LENGTH]})" if parts else ""


def _colon(said: object) -> str:
    return f": {str(said)[:REASON_LENGTH]}" if said else ""


def _at(thing: object, *names: str) -> Any:
    """What stands at a path; None where nothing does."""
    for name in names:
        thing = thing.get(name) if isinstance(thing, Mapping) else None
    return thing


def _each(thing: object) -> list[Mapping[str, Any]]:
    return [each for each in thing if isinstance(each, Mapping)] if isinstance(thing, list) else []
