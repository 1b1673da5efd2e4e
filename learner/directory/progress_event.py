"""What a learner says while it runs, as the process that started it hears it. Torch-free."""

from collections.abc import Mapping

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.json_files import read_json


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class ProgressEvent:
    """One line of the learner's progress; what an event does not tell is empty or None.

    Attributes:
        event: `phase`, `work`, `step`, `alive`, `start`, `goes_on`, `saved`, `not_saved`, `candidate`, `done`, …; of
            who runs the learner `waits` (for what, says the reason) and `runs`.
        seconds: since the learner began.
        name: of the phase that begins, or of the candidate.
        unit: what the phase's work is counted in; empty where it cannot be counted.
        done: how much of it is done.
        of: how much there is to do.
        seconds_left: until the phase ends, at its speed so far.
        step: optimizer steps taken.
        steps: that will be taken.
        losses: mean of each loss term, nats per token; None where it was not finite.
        penalty: of the weights.
        tokens_per_second: trained so far.
        memory_bytes: of the device.
        reason: a sentence, or its end.
    """

    event: str
    seconds: float = 0.0
    name: str = ""
    unit: str = ""
    done: int = 0
    of: int = 0
    seconds_left: float | None = None
    step: int | None = None
    steps: int | None = None
    losses: Mapping[str, float | None] | None = None
    penalty: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: float | None = None
    reason: str = ""


def read_event(line: bytes) -> ProgressEvent | None:
    """Read one line; None where it is none of ours, as libraries print too, or makes no sense."""
    try:
        return read_json(ProgressEvent, line)
    except ValidationError:
        return None
