"""How things stand: `status`, `generations`."""

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json
from daemon.errors import ExitCode


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
        with invocation.control() as control:
            facts = control.status()
    except UnknownThing:
        # No daemon and no store: nothing has run here yet, which is an answer too.
        facts = {"running": False, "state_dir": str(invocation.settings().state_dir), "memory": None}
    if as_json:
        print_json(facts)
    else:
        print_status(facts)
    return ExitCode.OK if facts["running"] else ExitCode.NOT_RUNNING


@click.command(short_help="Show generations and what they forgot.")
@json_option
@pass_invocation
@example("riverkeep generations")
def generations(invocation: Invocation, *, as_json: bool) -> None:
    """Show the generations, which one serves, and R: each one's loss on each slice of held-out text.

    A cell is warm where a generation does worse than the best before it (it forgot), cool where better.
    """
    from daemon.cli.render.generations import print_generations

    with invocation.control() as control:
        facts = control.generations()
    if as_json:
        print_json(facts)
    else:
        print_generations(facts)
