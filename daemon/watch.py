"""Following a round from its request to its end, for `riverkeep round --wait`."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from daemon.control import Control, Facts
from daemon.exit_codes import ExitCode

EVERY_S = 0.5

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


def watch(control: Control, after: int) -> Facts:
    """Wait for the first round with a number above `after` to end, and return it in full.

    Shows a progress bar on a terminal's standard error. Waits without limit: Ctrl-C stops the waiting, not the
    round.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("waiting for the round to begin", total=None)
        while True:
            ours = _first_after(control, after)
            if ours is not None and ours["state"] in ENDED:
                return control.round(ours["number"])
            progress.update(bar, **_progress(control.status().get("round")))
            time.sleep(EVERY_S)


def outcome(ended: Facts) -> ExitCode:
    """The exit status for a round that has ended; a dry run that would have been accepted is a success."""
    if ended.get("verdict", {}).get("decision") == "accept":
        return ExitCode.OK
    return ENDED[ended["state"]]


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
