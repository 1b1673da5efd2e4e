"""Whether a round whose learner was cut off goes on from what it saved, and how often: counted in its directory."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import NonNegativeInt, ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.files.durable_writes import replace_file
from checkpoints.json_files import STRICT, read_json, write_json
from learner.directory.saved_round import saved_step

NOTE: Final = "going_on.json"
MOST_TIMES: Final = 20
"""How often one round goes on: what ends twenty times is not going to reach its end."""


@dataclass(frozen=True, slots=True, config=STRICT)
class GoneOn:
    """How a round has gone on so far.

    Attributes:
        times: how often.
        step: from where it did last, if it was cut off since then; 0 where it was stopped, which says nothing of it.
    """

    times: NonNegativeInt = 0
    step: NonNegativeInt = 0

    def may_from(self, step: int | None) -> bool:
        """Tell whether it goes on once more, from this step (None: nothing is saved).

        Only where it came further than the last time: what ends again and again at one place would do so for ever.
        """
        return step is not None and step > self.step and self.times < MOST_TIMES


def step_to_go_on_from(directory: Path) -> int | None:
    """From which step the round in a directory may go on; None where it may not. Changes nothing."""
    step = saved_step(directory)
    return step if _read(directory).may_from(step) else None


def note_going_on(directory: Path) -> int | None:
    """Count that a round goes on now; from which step. None where it may not, or the disk does not take the count."""
    step = step_to_go_on_from(directory)
    if step is None:
        return None
    return step if _write(directory, GoneOn(_read(directory).times + 1, step)) else None


def note_stopped(directory: Path) -> int | None:
    """Note that a round was stopped, which says nothing of it; from which step it will go on, None where it may not."""
    if not _write(directory, replace(_read(directory), step=0)):
        return None
    return step_to_go_on_from(directory)


def _read(directory: Path) -> GoneOn:
    try:
        return read_json(GoneOn, (directory / NOTE).read_bytes())
    except FileNotFoundError:
        return GoneOn()
    except (OSError, ValidationError):
        # Of what is not known too much is believed: a round is lost, and no loop begins.
        return GoneOn(times=MOST_TIMES)


def _write(directory: Path, gone_on: GoneOn) -> bool:
    try:
        replace_file(directory / NOTE, write_json(gone_on))
    except OSError:
        return False
    return True
