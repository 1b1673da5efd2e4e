"""Records that could not be understood: `memory dead-letters`, and what is done about them."""

from functools import partial

import click

from daemon.cli.commands.paging import ID, before_option, limit_option
from daemon.cli.invocation import (
    Invocation,
    confirm,
    example,
    json_option,
    pass_invocation,
    pass_json_on,
    say,
    show,
    yes_option,
)
from daemon.control.answers.kept import DroppedDeadLetters, ReplayedDeadLetters, ResumedPartitions
from daemon.control.protocol import Control


@click.group("dead-letters", invoke_without_command=True, short_help="List the quarantine.")
@limit_option("Most to list.")
@before_option()
@click.option("--text", is_flag=True, help="Show what was kept of each record.")
@click.option("--show", "number", type=ID, metavar="ID", help="Show one, with all that was kept of it.")
@json_option
@click.pass_context
@pass_invocation
@example(
    "riverkeep memory dead-letters", "riverkeep memory dead-letters --show 12", "riverkeep memory dead-letters replay"
)
def dead_letters(
    invocation: Invocation,
    context: click.Context,
    *,
    limit: int,
    before: int | None,
    text: bool,
    number: int | None,
    as_json: bool,
) -> None:
    """List the quarantine, newest first: records that could not be understood, and why.

    Bytes that are no UTF-8 are shown as backslash escapes.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_of_the_list(context)
        pass_json_on(context, as_json=as_json)
        return
    from daemon.cli.render.kept import print_dead_letter, print_dead_letters

    if number is not None:
        show(invocation.answer(Control.dead_letter, number, text=True), print_dead_letter, as_json=as_json)
        return
    # A page says nothing of how many there are.
    with invocation.control(Control.dead_letters) as control:
        letters = control.dead_letters(limit=limit, before=before, text=text)
        memory = control.status()["memory"]
    total = len(letters) if memory is None else memory["dead_letters"]
    show(letters, partial(print_dead_letters, total=total), as_json=as_json)


def _refuse_options_of_the_list(context: click.Context) -> None:
    """Refuse options that choose what is listed: before `drop`, which drops all, they would seem to choose too."""
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT
        if is_given and option.name != "as_json":
            command = context.invoked_subcommand
            raise click.UsageError(f"{option.opts[0]} goes with the list, not with `{command}`: name ids.")


@dead_letters.command("replay", short_help="Decode dead letters again.")
@click.argument("ids", type=ID, nargs=-1)
@json_option
@pass_invocation
@example("riverkeep memory dead-letters replay", "riverkeep memory dead-letters replay 12 13")
def replay(invocation: Invocation, ids: tuple[int, ...], *, as_json: bool) -> None:
    """Decode dead letters again under the present settings: those with IDS, or all.

    Those of files stay dead: mend the file and give it to `riverkeep backfill` under another name; what is known
    already is not stored twice.
    """
    show(invocation.answer(Control.replay_dead_letters, ids=ids), _say_replayed, as_json=as_json)


def _say_replayed(replayed: ReplayedDeadLetters) -> None:
    from daemon.cli.render.status import not_in_force

    why = ", ".join(f"{number} {reason}" for reason, number in sorted(replayed["reasons"].items()))
    counts = "{kept} stored, {known} known already, {still_dead} still dead".format_map(replayed)
    click.echo(f"{counts}: {why}." if why else f"{counts}.")
    if replayed["need_restart"]:
        say(f"{not_in_force(replayed['need_restart'])}: they were decoded as before.")


@dead_letters.command("drop", short_help="Erase dead letters.")
@click.argument("ids", type=ID, nargs=-1)
@yes_option
@json_option
@pass_invocation
@example("riverkeep memory dead-letters drop 12 13")
def drop(invocation: Invocation, ids: tuple[int, ...], *, yes: bool, as_json: bool) -> None:
    """Erase dead letters: those with IDS, or all."""
    with invocation.control(Control.drop_dead_letters) as control:
        confirm(f"Erase {len(ids) if ids else 'all'} dead letters?", yes=yes)
        dropped = control.drop_dead_letters(ids=ids)
    show(dropped, _say_dropped, as_json=as_json)


def _say_dropped(dropped: DroppedDeadLetters) -> None:
    click.echo(f"{dropped['dropped']} dead letters erased.")


@dead_letters.command("resume", short_help="Read on where a flood paused.")
@click.argument("partition", required=False)
@json_option
@pass_invocation
@example("riverkeep memory dead-letters resume", "riverkeep memory dead-letters resume news/3")
def resume(invocation: Invocation, partition: str | None, *, as_json: bool) -> None:
    """Read on where a flood of dead letters paused: PARTITION as topic/number, or all."""
    show(invocation.answer(Control.resume, partition), _say_resumed, as_json=as_json)


def _say_resumed(resumed: ResumedPartitions) -> None:
    click.echo(f"Reading on: {', '.join(resumed['resumed']) or 'no partition was paused'}.")
