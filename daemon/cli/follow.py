"""Following a round from its request to its end, for `riverkeep round begin --wait`."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from daemon.control.answers.rounds import RoundAnswer, RoundLine
from daemon.control.answers.status import RoundStanding, StatusAnswer
from daemon.control.facts.words import describe_phase
from daemon.control.protocol import Control
from daemon.errors import Refused
from daemon.exit_codes import ExitCode

EVERY_S = 0.5
LINE_EVERY_S = 30.0
PATIENCE_S = 60.0
SERVES_WITHIN_S = 600.0
"""A large model is verified, loaded and warmed for minutes."""

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
) -> RoundAnswer:
    """Wait for the first round with a number above `after` to end, and return it in full.

    Shows a progress bar on a terminal's standard error, elsewhere a line there when it does something else, and every
    half minute. Ctrl-C stops the waiting, not a round that has begun.

    Raises:
        Refused: no round has been in progress for a while, so that none will answer (nothing could be drawn).
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[elapsed]}"))
    busy_at = clock()
    lines = _Lines(console, clock)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("waiting for the round to begin", total=None, elapsed="")
        while True:
            ours = _first_after(control, after)
            # The ledger and not the status says what became of it: between two looks the round may have come and gone.
            if ours is not None and ours["state"] in ENDED:
                return control.round(ours["number"])
            status = control.status()
            # Another round in progress counts too: the one that was asked for comes after it, however long that takes.
            if status.get("round") is not None or ours is not None:
                busy_at = clock()
            elif clock() - busy_at > PATIENCE_S:
                raise Refused(f"No round began: {_why_none(status)}.")
            fields = _progress(status.get("round"), after)
            progress.update(bar, **fields)
            if not console.is_terminal:
                lines.tell(fields)
            pause(EVERY_S)


def until_it_serves(
    control: Control,
    generation: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Wait until an accepted generation answers requests; empty then, otherwise why it does not yet."""
    began = clock()
    while True:
        status = control.status()
        serving = status["serving"]
        if (canary := status.get("canary")) is not None and canary["generation"] == generation:
            return canary["detail"]
        if serving.get("answering") == generation:
            return ""
        # Another round, or a rollback, may have moved the pointer on while this command looked away.
        if serving["generation"] != generation:
            return f"generation {serving['generation']} is to serve by now"
        if serving.get("ok") is None:
            return "no serving process runs beside this daemon; replicas follow the checkpoint store by themselves"
        if clock() - began > SERVES_WITHIN_S:
            return f"serving answers from {serving['answering']}; `riverkeep status` and its log say more"
        pause(EVERY_S)


def _why_none(status: StatusAnswer) -> str:
    """Asked for by hand, a round needs no more than one fresh sample; the triggers wait for more."""
    memory = status["memory"]
    return str(status.get("next_round")) if memory is None or memory["fresh_samples"] else "nothing is fresh"


def outcome(ended: RoundAnswer) -> ExitCode:
    """The exit status for a round that has ended: of a dry run, which ends abandoned, by what the gate said."""
    return BY_DECISION.get(ended.get("verdict", {}).get("decision", ""), ENDED[ended["state"]])


def _first_after(control: Control, after: int) -> RoundLine | None:
    # They come newest first, and the one that answers is the oldest after the request.
    return next((line for line in reversed(control.rounds(limit=50)) if line["number"] > after), None)


class _Lines:
    """Tells in lines, where there is no terminal to draw on."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._told: str | None = None
        self._told_at = 0.0

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Say what is done, where it is something else than was said last, or that was a while ago."""
        what, now = fields["phase"], self._clock()
        # Progress bars draw over themselves. A log that was told each look would have two lines a second.
        if what == self._told and now - self._told_at < LINE_EVERY_S:
            return
        self._told, self._told_at = what, now
        self._console.print(fields["description"], soft_wrap=True, highlight=False)


def _progress(current: RoundStanding | None, after: int) -> dict[str, Any]:
    """How the round in progress gets on; `after`: the last one that does not answer the request."""
    if current is None:
        return _unknown("waiting for the round to begin", "")
    # When it began is told by the daemon's clock, which may be ahead of this one.
    elapsed = str(timedelta(seconds=max(0, int(time.time() - current["begun_at"]))))
    if current["number"] <= after:
        return _unknown(f"waiting: round {current['number']} is in progress", elapsed)
    work = current.get("work")
    completed, of = (current["step"], current["steps"]) if work is None else (work["done"], work["of"])
    return {
        "description": f"round {current['number']}: {describe_phase(current)}",
        "phase": current["phase"],
        "elapsed": elapsed,
        # Without a total rich lets the bar run to and fro.
        "total": of or None,
        "completed": completed,
    }


def _unknown(what: str, elapsed: str) -> dict[str, Any]:
    return {"description": what, "phase": what, "elapsed": elapsed, "total": None, "completed": 0}
