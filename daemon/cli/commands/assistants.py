"""What people's assistants connect to: `mcp`."""

import click

from checkpoints.installing import pip_install
from daemon.cli.invocation import Invocation, example, pass_invocation
from daemon.errors import DaemonError


@click.command(short_help="Let an assistant look, over the Model Context Protocol.")
@click.option("--changes", is_flag=True, help="Also offer to begin, approve and pause rounds, and to roll back.")
@pass_invocation
@example("riverkeep -c /etc/riverkeep/riverkeep.toml mcp")
def mcp(invocation: Invocation, *, changes: bool) -> None:
    """Answer an assistant on standard input and output, over the Model Context Protocol.

    It learns how things stand, why rounds ended as they did and what became of a record, and is given no text of
    documents, nor a name that a record brought. With --changes it may ask for what can be taken back; each such call is
    done only when it is made again with a code, on a person's word. Needs the extra `assistants`.
    """
    try:
        from daemon.assistants.server import run
    except ImportError as error:
        remedy = pip_install("-c", "constraints.txt", ".[assistants]")
        raise DaemonError(f"Assistants need a package that is not installed ({error.name}): {remedy}") from error
    run(lambda operation: invocation.control(operation.ask), invocation.settings_to_reach, changes=changes)
