"""The Job of one run, made of the template: Riverkeep's own part filled in. Pure."""

import copy
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.settings.jobs.template import JobTemplate

NAME: Final = "app.kubernetes.io/name"
LEARNER: Final = "riverkeep-learner"
"""The value of the label that every pod of a run has; no service's selector may have it."""
STATE: Final = "riverkeep/state"
RUN: Final = "riverkeep/run"
LONGEST_BASE: Final = 40
"""Characters of a Job's name before what is its own; the whole is a label's value too, of at most 63."""
KEPT_S: Final = 3600
"""How long a Job that has ended stays, with its log, where the template does not say."""
GRACE_S: Final = 1
"""Between SIGTERM and SIGKILL. A learner is killed: what it writes is whole or not there, and it saves itself by time.
Not 0, with which the pod is gone from the API before its container is."""
SLACK_S: Final = 900
"""Beyond all other limits, after which Kubernetes ends a Job by itself, where no daemon is left to do it."""


@dataclass(frozen=True, slots=True)
class DaemonPod:
    """The pod that the daemon runs in.

    Attributes:
        image: of its container, without a word in the template the learner's too.
    """

    name: str
    uid: str
    image: str


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of the learner.

    Attributes:
        name: the Job's, that no other has.
        state: which state directory it belongs to, a label's value.
        command: what is run where the template's container names no command of its own.
        arguments: that follow.
        variables: of its environment besides the template's.
        seconds: of waiting and running together, within which it has ended surely.
        daemon: for whose sake it runs: it ends with this pod. None where that is not known.
    """

    name: str
    state: str
    command: Sequence[str]
    arguments: Sequence[str]
    variables: Mapping[str, str]
    seconds: float
    daemon: DaemonPod | None

    @property
    def labels(self) -> dict[str, str]:
        """Of the Job and its pod."""
        return {NAME: LEARNER, STATE: self.state, RUN: self.name}


def new_name(template: JobTemplate, what: str) -> str:
    """A name for a Job that nothing else has.

    Args:
        template: may name a beginning.
        what: the round, as its directory is called.
    """
    base = str((template.job.get("metadata") or {}).get("name") or "riverkeep-round")[:LONGEST_BASE]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{base}-{what}".lower())[:54].strip("-")
    return f"{readable or 'round'}-{secrets.token_hex(3)}"


def manifest(template: JobTemplate, run: JobRun) -> dict[str, Any]:
    """The Job. What is filled in here stands over what the template says of the same."""
    job: dict[str, Any] = copy.deepcopy(dict(template.job))
    job["metadata"] = _metadata(job.get("metadata"), run)
    spec = job["spec"]
    # One pod that runs once: whether a round goes on after its end is the daemon's word.
    for field in ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "completionMode",
                  "selector", "manualSelector", "podReplacementPolicy"):  # fmt: skip
        spec.pop(field, None)
    spec |= {"backoffLimit": 0, "completions": 1, "parallelism": 1, "activeDeadlineSeconds": math.ceil(run.seconds)}
    spec.setdefault("ttlSecondsAfterFinished", KEPT_S)
    metadata = spec["template"].get("metadata") or {}
    spec["template"]["metadata"] = metadata | {"labels": (metadata.get("labels") or {}) | run.labels}
    pod = spec["template"]["spec"]
    pod["restartPolicy"] = "Never"
    pod["terminationGracePeriodSeconds"] = GRACE_S
    # A learner reads text of others: it has nothing to say to the cluster.
    pod.setdefault("automountServiceAccountToken", False)
    _fill_in(pod["containers"][template.at], run)
    return job


def _metadata(written: Mapping[str, Any] | None, run: JobRun) -> dict[str, Any]:
    metadata = {name: value for name, value in (written or {}).items() if name in ("labels", "annotations")}
    metadata |= {"name": run.name, "labels": (metadata.get("labels") or {}) | run.labels}
    if run.daemon is not None:
        # Not the controller, and blocking nothing: either would need more rights.
        owner = {"apiVersion": "v1", "kind": "Pod", "name": run.daemon.name, "uid": run.daemon.uid}
        metadata["ownerReferences"] = [owner]
    return metadata


def _fill_in(container: dict[str, Any], run: JobRun) -> None:
    container["args"] = list(run.arguments)
    if not container.get("command"):
        container["command"] = list(run.command)
    if not container.get("image") and run.daemon is not None:
        container["image"] = run.daemon.image
    # What it said last stays with the pod, also where its log cannot be read.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    written = [each for each in container.get("env") or [] if each.get("name") not in run.variables]
    own = [{"name": name, "value": value} for name, value in sorted(run.variables.items())]
    if own or written:
        container["env"] = [*written, *own]
