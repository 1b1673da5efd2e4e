"""How things stand: `status`, `watch`, `streams`, `serving`, `generations`."""

from typing import cast

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json, say, show
from daemon.control.answers.status import StatusAnswer
from daemon.control.bounds import LARGEST_ID, MOST_HOURS
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


@click.command(short_help="Show how things stand, live.")
@click.option("--every", "every_s", type=click.FloatRange(0.2, 3_600), default=2.0, help="Seconds between two looks.")
@pass_invocation
@example("riverkeep watch", "riverkeep watch | tee watch.log")
def watch(invocation: Invocation, *, every_s: float) -> int:
    """Show how things stand, live: stream, memory, round, gate, serving, disk, and what needs a person.

    On a terminal it draws over itself; elsewhere it tells in lines what changed. Ctrl-C ends it with exit status 0;
    5 when no daemon runs, or it ends.
    """
    from queue import SimpleQueue

    from daemon.cli.render.screen import open_screen
    from daemon.cli.watching import watch as show_it
    from daemon.cli.watching import woken_by_resize
    from daemon.lifecycle.lock import holder_of

    state_dir, wake = invocation.settings_to_reach().state_dir, SimpleQueue[None]()
    if holder_of(state_dir) is None:
        say(f"riverkeep: no daemon runs on {state_dir}.")
        return ExitCode.NOT_RUNNING
    try:
        with invocation.control(Control.status) as control, woken_by_resize(wake):
            over = show_it(control, open_screen(), every_s=every_s, wake=wake)
    except KeyboardInterrupt:
        return ExitCode.OK
    # A daemon that ends is no fault of whoever watches it; one that hangs is told of with its own words.
    say(f"riverkeep: {over}" if holder_of(state_dir) is not None else f"The daemon on {state_dir} has ended.")
    return ExitCode.NOT_RUNNING


@click.command(short_help="Show how reading gets on: lag, rates, forms, gaps.")
@json_option
@pass_invocation
@example("riverkeep streams", "riverkeep streams --json | jq '.partitions[] | select(.lag > 0)'")
def streams(invocation: Invocation, *, as_json: bool) -> None:
    """Show how reading gets on: how far behind each partition is, how much comes a second, and written as what.

    Also which offsets never came. What a running daemon counts begins anew with it, and it says since when; without one
    the store alone answers: how far each partition was read, and the gaps.
    """
    from daemon.cli.render.streams import print_streams

    show(invocation.answer(Control.streams), print_streams, as_json=as_json)


@click.command(short_help="Show what serves, and how long answers take.")
@click.option(
    "--hours",
    type=click.IntRange(1, MOST_HOURS),
    default=1,
    show_default=True,
    help="How far back answers are told of.",
)
@json_option
@pass_invocation
@example("riverkeep serving", "riverkeep serving --hours 24 --json | jq '.latency.slots[-1]'")
def serving(invocation: Invocation, *, hours: int, as_json: bool) -> None:
    """Show what serves since when, how long answers took over the latest hours, swaps, and what is watched in traffic.

    Times are counted by the serving process beside a running daemon; without one the store tells what served when.
    """
    from daemon.cli.render.history import print_serving

    with invocation.control(Control.serving) as control:
        answer, latency = control.serving(), control.latency(hours=hours)
    if as_json:
        print_json({**answer, "latency": latency})
    else:
        print_serving(answer, latency)


@click.command(short_help="Show generations and what they forgot.")
@click.option(
    "--diff", type=click.IntRange(0, LARGEST_ID), nargs=2, metavar="A B", help="Generation A beside B instead."
)
@click.option("--show", "number", type=click.IntRange(0, LARGEST_ID), metavar="N", help="Generation N in full instead.")
@json_option
@pass_invocation
@example("riverkeep generations", "riverkeep generations --show 5", "riverkeep generations --diff 3 5")
def generations(invocation: Invocation, *, diff: tuple[int, int] | None, number: int | None, as_json: bool) -> None:
    """Show the generations, which one serves, and R: each one's loss on each slice of held-out text.

    A cell is warm where a generation does worse than the best before it (it forgot), cool where better. With --diff the
    line between two generations, the text that was learned on it, and what differs in recipe and scores. With --show
    one generation: the line that led to it and the ranges of offsets that it learned, round by round.
    """
    if diff is not None and number is not None:
        raise click.UsageError("--diff and --show say different things: one of the two.")
    if number is not None:
        from daemon.cli.render.generation_diffs import print_generation

        show(invocation.answer(Control.generation, number), print_generation, as_json=as_json)
        return
    if diff is not None:
        from daemon.cli.render.generation_diffs import print_diff

        show(invocation.answer(Control.diff_generations, *diff), print_diff, as_json=as_json)
        return
    from daemon.cli.render.generations import print_generations

    show(invocation.answer(Control.generations), print_generations, as_json=as_json)
