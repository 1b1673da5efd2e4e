"""Following a round from its request to its end, for `riverkeep round --wait`."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from daemon.control import Control, Facts
from daemon.errors import Refused
from daemon.exit_codes import ExitCode

EVERY_S = 0.5
PATIENCE_S = 60.0

ENDED = {
    "accepted": ExitCode.OK,
    "refused": ExitCode.REFUSED,
    "waiting": ExitCode.REFUSED,
    "failed": ExitCode.FAILED,
    "abandoned": ExitCode.FAILED,
    # Decided on by a person before this command looked again.
    "released": ExitCode.REFUSED,
    "dropped": ExitCode.REFUSED,
}
"""States in which a round is over, and the exit status for each."""

BY_DECISION = {"accept": ExitCode.OK, "refuse": ExitCode.REFUSED, "wait": ExitCode.REFUSED}
"""The gate's word goes before the state."""


def watch(
    control: Control,
    after: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Facts:
    """Wait for the first round with a number above `after` to end, and return it in full.

    Shows a progress bar on a terminal's standard error. Ctrl-C stops the waiting, not the round.

    Raises:
        Refused: no round has been in progress for a while, so that none will answer (nothing could be drawn).
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    busy_at = clock()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("waiting for the round to begin", total=None)
        while True:
            ours = _first_after(control, after)
            if ours is not None and ours["state"] in ENDED:
                return control.round(ours["number"])
            status = control.status()
            if status.get("round") is not None or ours is not None:
                busy_at = clock()
            elif clock() - busy_at > PATIENCE_S:
                raise Refused(f"No round began: {status.get('next_round')}.")
            progress.update(bar, **_progress(status.get("round")))
            pause(EVERY_S)


def outcome(ended: Facts) -> ExitCode:
    """The exit status for a round that has ended: of a dry run, which ends abandoned, by what the gate said."""
    return BY_DECISION.get(ended.get("verdict", {}).get("decision"), ENDED[ended["state"]])


def _first_after(control: Control, after: int) -> Facts | None:
    return next((one for one in reversed(control.rounds(limit=50)) if one["number"] > after), None)


def _progress(current: Facts | None) -> dict[str, Any]:
    if current is None:
        return {}
    return {
        "description": f"round {current['number']}: {current['phase']}",
        "total": current["steps"] or None,
        "completed": current["step"],
    }
