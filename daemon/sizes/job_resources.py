"""What a round has that is a Job of Kubernetes, memory and cores, as far as its template tells."""

import math
from dataclasses import dataclass
from pathlib import Path

from daemon.settings.jobs.template import BadTemplate, quantity_of, read_template


@dataclass(frozen=True, slots=True)
class JobMemory:
    """What a Job's learner has.

    Attributes:
        on_gpu: whether it computes on a device that the Job asks for.
        bytes: of main memory, where it computes there and has a limit; None where nobody can tell: a GPU's is that of
            the node which Kubernetes finds.
    """

    on_gpu: bool
    bytes: int | None

    @property
    def name(self) -> str:
        """What has it, for a sentence."""
        return "the GPU that a Job is given" if self.on_gpu else "the node that a Job is given"


def memory_of_job(template_file: Path, device: str) -> JobMemory:
    """What the template says of it.

    Args:
        template_file: of the Job; one that cannot be read, which ends the round by itself, says nothing.
        device: as in `learner.device`.
    """
    try:
        template = read_template(template_file)
    except (OSError, BadTemplate):
        return JobMemory(on_gpu=False, bytes=None)
    if device != "cpu" and (template.devices or device.startswith("cuda")):
        return JobMemory(on_gpu=True, bytes=None)
    return JobMemory(on_gpu=False, bytes=template.memory_bytes)


def devices_of_job(template_file: Path) -> int:
    """How many devices it asks for; 0 where it cannot be read."""
    try:
        asked = read_template(template_file).devices.values()
    except (OSError, BadTemplate):
        return 0
    return sum(int(quantity_of(str(count)) or 0) for count in asked)


def cores_of_job(template_file: Path) -> int | None:
    """How many cores its container may use, or asks for; None where it says neither."""
    try:
        cores = read_template(template_file).cores
    except (OSError, BadTemplate):
        return None
    return None if cores is None else max(1, math.ceil(cores))


def describe_job(template_file: Path) -> str:
    """What a Job asks for and where it may run: where that is another, so may its memory be."""
    try:
        return read_template(template_file).describe()
    except (OSError, BadTemplate):
        return ""
