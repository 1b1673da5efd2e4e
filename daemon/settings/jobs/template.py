"""The Job of Kubernetes that a person wrote for rounds: read, and what can be told of it before it runs."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

CONTAINER: Final = "learner"
"""The name of the container that the learner runs in, where there are several."""

ORDINARY: Final = ("cpu", "memory", "storage", "ephemeral-storage", "hugepages-")
"""Resources that every node has, by how their names begin; any other is a device's."""

SUFFIXES: Final = {
    "": 1.0, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
QUANTITY: Final = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([kKMGTPEm]?i?)")
"""Of Kubernetes: `64Gi`, `500M`, `1e9`."""

PLACEMENT: Final = ("nodeSelector", "affinity", "nodeName", "runtimeClassName", "resourceClaims")
"""Fields of a pod that say on which machines it may run."""


class BadTemplate(ValueError):
    """It is no Job that a learner can be made of.

    Attributes:
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A Job as it was written.

    Attributes:
        job: the whole object; nobody changes it.
        at: the place of the learner's container among the pod's.
    """

    job: Mapping[str, Any]
    at: int

    @property
    def pod(self) -> Mapping[str, Any]:
        """The pod's `spec`."""
        spec: Mapping[str, Any] = self.job["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Mapping[str, Any]:
        """The learner's container."""
        found: Mapping[str, Any] = self.pod["containers"][self.at]
        return found

    @property
    def devices(self) -> Mapping[str, Any]:
        """What it asks for of devices, by the resource's name (`nvidia.com/gpu`); claims of devices by theirs."""
        resources = self._resources()
        asked = {**_table(resources.get("requests")), **_table(resources.get("limits"))}
        claims = {str(claim.get("name", "")): 1 for claim in _tables(resources.get("claims"))}
        return {name: count for name, count in asked.items() if not name.startswith(ORDINARY)} | claims

    @property
    def memory_bytes(self) -> int | None:
        """The container's limit of main memory; None where there is none."""
        limit = _table(self._resources().get("limits")).get("memory")
        held = None if limit is None else quantity_of(str(limit))
        return None if held is None else int(held)

    @property
    def cores(self) -> float | None:
        """That the container may use, or asks for where that has no limit; None where it says neither."""
        asked = [_table(self._resources().get(name)).get("cpu") for name in ("limits", "requests")]
        return next((quantity_of(str(each)) for each in asked if each is not None), None)

    def describe(self) -> str:
        """What it asks for, and where it may run: the same text as long as that is the same."""
        where = {name: self.pod[name] for name in PLACEMENT if name in self.pod}
        asked = {"resources": self._resources(), **where}
        return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS).decode()

    def _resources(self) -> Mapping[str, Any]:
        return _table(self.container.get("resources"))


def read_template(path: Path) -> JobTemplate:
    """Read a file.

    Raises:
        BadTemplate: it holds no such Job.
        OSError: it cannot be read.
    """
    import yaml  # noqa: PLC0415 - where there are no Jobs nobody needs it

    try:
        job = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise BadTemplate(f"It is neither YAML nor JSON: {said}.", "Mend it; `kubectl explain job` helps.") from None
    return as_template(job)


def as_template(job: object) -> JobTemplate:
    """Take an object for a template.

    Raises:
        BadTemplate: it is none.
    """
    remedy = "Begin with that of deploy/kubernetes-jobs (`riverkeep deploy print kubernetes-jobs/job.yaml`)."
    table = _table(job)
    _require_json(table)
    if (table.get("apiVersion"), table.get("kind")) != ("batch/v1", "Job"):
        raise BadTemplate("It is no Job: apiVersion and kind have to be batch/v1 and Job.", remedy)
    pod = _table(_table(_table(table.get("spec")).get("template")).get("spec"))
    containers = _tables(pod.get("containers"))
    names = [container.get("name") for container in containers]
    if not containers:
        raise BadTemplate("spec.template.spec.containers has no container for the learner.", remedy)
    if len(containers) > 1 and CONTAINER not in names:
        raise BadTemplate(
            f"It has several containers, and none is called {CONTAINER}.",
            f"Call the one that the learner is to run in {CONTAINER}.",
        )
    if not all(isinstance(name, str) for name in names):
        raise BadTemplate("A container has no name.", f"Call the learner's {CONTAINER}.")
    at = names.index(CONTAINER) if CONTAINER in names else 0
    for thing in (table, table["spec"]["template"]):
        _require(_table, thing, "metadata", "a table")
        for name in ("labels", "annotations"):
            _require(_table, _table(thing.get("metadata")), name, "a table")
    _require(_tables, containers[at], "env", "a list of tables")
    return JobTemplate(table, at)


def _require_json(table: Mapping[str, Any]) -> None:
    try:
        json.dumps(table, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadTemplate(f"It has a value that JSON has not: {error}.", "Put dates and the like in quotes.") from None


def _require(kind: Callable[[object], object], thing: Mapping[str, Any], name: str, what: str) -> None:
    value = thing.get(name)
    if value is not None and kind(value) != value:
        raise BadTemplate(f"{name} has to be {what}.", "Correct it; `kubectl explain job --recursive` helps.")


def quantity_of(quantity: str) -> float | None:
    """A quantity of Kubernetes in its unit, bytes or cores; None where it is none."""
    found = QUANTITY.fullmatch(quantity.strip())
    if found is None or found[2] not in SUFFIXES:
        return None
    try:
        return float(found[1]) * SUFFIXES[found[2]]
    except ValueError:
        return None


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> Sequence[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
