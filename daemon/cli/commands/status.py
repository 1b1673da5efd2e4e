"""How things stand: `status`, `generations`."""

from typing import cast

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, show
from daemon.control.answers.status import StatusAnswer
from daemon.control.protocol import Control
from daemon.exit_codes import ExitCode


@click.command(short_help="Show how things stand.")
@json_option
@pass_invocation
@example("riverkeep status", "riverkeep status --json | jq .serving.generation")
def status(invocation: Invocation, *, as_json: bool) -> int:
    """Show how things stand. Answers at once, also when nothing runs.

    Exit status 0 when a daemon runs, 5 when none does.
    """
    from daemon.cli.render.status import print_status
    from daemon.errors import UnknownThing

    try:
        standing = invocation.answer(Control.status)
    except UnknownThing:
        # No daemon and no store: nothing has run here yet, which is an answer too, and there is no more to it.
        nothing = {"running": False, "state_dir": str(invocation.settings().state_dir), "memory": None}
        standing = cast("StatusAnswer", nothing)
    show(standing, print_status, as_json=as_json)
    return ExitCode.OK if standing["running"] else ExitCode.NOT_RUNNING


@click.command(short_help="Show generations and what they forgot.")
@json_option
@pass_invocation
@example("riverkeep generations")
def generations(invocation: Invocation, *, as_json: bool) -> None:
    """Show the generations, which one serves, and R: each one's loss on each slice of held-out text.

    A cell is warm where a generation does worse than the best before it (it forgot), cool where better.
    """
    from daemon.cli.render.generations import print_generations

    show(invocation.answer(Control.generations), print_generations, as_json=as_json)
