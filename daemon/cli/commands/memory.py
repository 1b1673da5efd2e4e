"""What is kept, in all: `memory`, above the commands on its parts, and `memory gaps`, `memory begin-anew`."""

import click

from daemon.cli.commands.aside import aside, drop, release
from daemon.cli.commands.dead_letters import dead_letters
from daemon.cli.commands.paging import before_option, limit_option
from daemon.cli.commands.people import find
from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, pass_json_on, show
from daemon.control.protocol import Control


@click.group(invoke_without_command=True, short_help="Show what is kept, aside and dead.")
@json_option
@click.pass_context
@pass_invocation
@example("riverkeep memory", "riverkeep memory find user-4711", "riverkeep memory dead-letters")
def memory(invocation: Invocation, context: click.Context, *, as_json: bool) -> None:
    """Show what is kept: samples and tokens by role and source, what is aside, dead letters by reason."""
    if context.invoked_subcommand is not None:
        pass_json_on(context, as_json=as_json)
        return
    from daemon.cli.render.kept import print_memory

    show(invocation.answer(Control.memory), print_memory, as_json=as_json)


for command in (aside, release, drop, find, dead_letters):
    memory.add_command(command)


@memory.command("gaps", short_help="List offsets that never came.")
@limit_option("Most to list.")
@before_option()
@json_option
@pass_invocation
@example("riverkeep memory gaps", "riverkeep memory gaps --json | jq '.[].reason'")
def gaps(invocation: Invocation, *, limit: int, before: int | None, as_json: bool) -> None:
    """List offsets that never came, newest first, and why.

    Retention overtook them, a batch was unreadable, another replica stored them (stored_elsewhere), or they lie before
    the place where this memory began (before_start: see `streams.start`).
    """
    from daemon.cli.render.kept import print_gaps

    show(invocation.answer(Control.gaps, limit=limit, before=before), print_gaps, as_json=as_json)


@memory.command("next-draw", short_help="Show what a round would be given now.")
@json_option
@pass_invocation
@example("riverkeep memory next-draw", "riverkeep memory next-draw --json | jq '.parts[] | select(.part == \"fresh\")'")
def next_draw(invocation: Invocation, *, as_json: bool) -> None:
    """Show what a round would be given if it were drawn now, by source: new and replayed text, held-out slices.

    Nothing is drawn. What is new is certain, but for what turns out to be nearly held-out text then; what is replayed
    is one draw of many that are as likely.
    """
    from daemon.cli.render.kept import print_next_draw

    show(invocation.answer(Control.next_draw), print_next_draw, as_json=as_json)


@memory.command("begin-anew", short_help="Begin with an empty memory where the database is lost.")
@pass_invocation
@example("riverkeep memory begin-anew")
def begin_anew(invocation: Invocation) -> None:
    """Put a new, empty database where the old one is lost and there is no copy of it. Generations stay and serve on.

    What the old one held is gone: replay, held-out text, what was set aside, the ledger of rounds, which keys were
    erased, and how far each topic was read, which goes on at the group's committed offset. A daemon that runs takes
    it up by itself.
    """
    from daemon.control.beside_operations import begin_anew as put_a_new_one

    settings = invocation.settings()
    put_a_new_one(settings)
    click.echo(f"An empty database is at {settings.database}. Give `riverkeep backfill --before-stream` the old text.")
