"""What served when, and who did what: `audit`."""

import click

from daemon.cli.commands.paging import before_option, limit_option
from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, show
from daemon.control.protocol import Control


@click.command(short_help="Show what served when, and who did what.")
@limit_option("Most lines to show.")
@before_option()
@json_option
@pass_invocation
@example("riverkeep audit", "riverkeep audit --json --limit 500 | jq '.[] | select(.what == \"rollback\")'")
def audit(invocation: Invocation, *, limit: int, before: int | None, as_json: bool) -> None:
    """Show which generation served when, which was watched on which share of the requests, and who did what.

    Newest first. Who asked for something stands there before it is done; a person's key as its hash alone.
    """
    from daemon.cli.render.audit import print_audit

    show(invocation.answer(Control.audit, limit=limit, before=before), print_audit, as_json=as_json)
