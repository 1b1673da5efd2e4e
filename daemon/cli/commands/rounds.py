"""Rounds: `round`."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Final

import click
from typing_extensions import override

from daemon.cli.commands.paging import after_option, limit_option
from daemon.cli.invocation import (
    Invocation,
    confirm,
    example,
    json_option,
    pass_invocation,
    print_json,
    say,
    show,
    yes_option,
)
from daemon.cli.old_spellings import refusal, verb_of_round
from daemon.control.answers.rounds import (
    AskedRound,
    CancelledRounds,
    PausedRounds,
    RejectedRound,
    ResumedRounds,
    RoundAnswer,
    WithdrawnRound,
)
from daemon.control.bounds import LARGEST_ID, LONGEST_REASON, MOST_FLIPS, MOST_ROWS
from daemon.control.protocol import Control
from daemon.exit_codes import ExitCode

NUMBER: Final = click.IntRange(1, LARGEST_ID)

number_argument = click.argument("number", metavar="N", type=NUMBER)
wait_option = click.option("--wait", is_flag=True, help="Wait for its end; exit status 3 when it is refused or waits.")


class RoundGroup(click.Group):
    """The verbs of `riverkeep round`; what were its options is answered with the verb that it is now."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_old = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if is_old and not ctx.resilient_parsing:
            raise refusal(["round", *args], ["round", *verb_of_round(args)])
        return super().parse_args(ctx, args)


@click.group("round", cls=RoundGroup, short_help="Begin, decide on or look at rounds.")
@example("riverkeep round begin --wait", "riverkeep round show 7 --json", "riverkeep round approve 7 --wait")
def round_() -> None:
    """Begin a round now, decide on one that waits, call one off, pause them, or look at those that were.

    A round waits when its text is implausible under the serving generation: read it with
    `riverkeep memory aside N --text`, then approve or reject it.
    """


@round_.command(short_help="Begin a round now.")
@click.option("--dry-run", is_flag=True, help="Train and judge, but promote nothing.")
@wait_option
@json_option
@pass_invocation
@example("riverkeep round begin --wait", "riverkeep round begin --dry-run")
def begin(invocation: Invocation, *, dry_run: bool, wait: bool, as_json: bool) -> int:
    """Begin a round now, whatever the triggers wait for, and while rounds are paused too.

    Where one is in progress it begins when that has ended.
    """
    with invocation.control(Control.request_round) as control:
        ask = partial(control.request_round, dry_run=dry_run)
        if wait:
            take_back = partial(control.withdraw_round, dry_run=dry_run)
            return _ask_and_wait(control, ask, take_back=take_back, as_json=as_json)
        show(ask(), _say_detail, as_json=as_json)
        return ExitCode.OK


@round_.command(short_help="Let a waiting round's text be trained on.")
@number_argument
@wait_option
@json_option
@pass_invocation
@example("riverkeep round approve 7", "riverkeep round approve 7 --wait")
def approve(invocation: Invocation, number: int, *, wait: bool, as_json: bool) -> int:
    """Let the text of waiting round N be trained on: it is taken for plausible, and judged by all else."""
    with invocation.control(Control.approve_round) as control:
        ask = partial(control.approve_round, number)
        if wait:
            # An approval stands: it is a verdict on text, not a wish for a round.
            return _ask_and_wait(control, ask, take_back=None, as_json=as_json)
        show(ask(), _say_detail, as_json=as_json)
        return ExitCode.OK


@round_.command(short_help="Show which documents a round made worse, and better.")
@number_argument
@click.option("--text", is_flag=True, help="Show the text itself; while a daemon runs, the audit log says who looked.")
@click.option("--limit", type=click.IntRange(1, MOST_FLIPS), default=20, show_default=True, help="Most of each.")
@json_option
@pass_invocation
@example("riverkeep round flips 7", "riverkeep round flips 7 --text --json | jq '.worst[0]'")
def flips(invocation: Invocation, number: int, *, text: bool, limit: int, as_json: bool) -> None:
    """Show the held-out documents that round N's candidate has worse than its parent, or better, worst first.

    A document flips when its loss moves by more than 0.1 nats per token, or a classifier's answer gets wrong or right.
    """
    from daemon.cli.render.flips import print_flips

    show(invocation.answer(Control.flips, number, limit=limit, text=text), print_flips, as_json=as_json)


@round_.command(short_help="Erase the text of a waiting round.")
@number_argument
@yes_option
@json_option
@pass_invocation
@example("riverkeep round reject 7")
def reject(invocation: Invocation, number: int, *, yes: bool, as_json: bool) -> None:
    """Erase the text of waiting round N. The same content is not taken in again."""
    with invocation.control(Control.reject_round) as control:
        confirm(f"Erase the text of round {number}?", yes=yes)
        rejected = control.reject_round(number)
    show(rejected, _say_rejected, as_json=as_json)


@round_.command(short_help="Call off the round in progress.")
@json_option
@pass_invocation
@example("riverkeep round cancel")
def cancel(invocation: Invocation, *, as_json: bool) -> None:
    """Call off the round in progress without effect, and take back what was asked for and has not begun.

    By itself none begins before the cool-down is over.
    """
    show(invocation.answer(Control.cancel_rounds), _say_detail, as_json=as_json)


@round_.command(short_help="Let no round begin by itself.")
@click.option("--reason", metavar="TEXT", default="", help="Why, for those who look at the status.")
@json_option
@pass_invocation
@example("riverkeep round pause --reason 'the GPU is lent out'")
def pause(invocation: Invocation, *, reason: str, as_json: bool) -> None:
    """Let no round begin by itself until `riverkeep round resume`, also across restarts; text is read on.

    A round in progress goes on. Meanwhile only those begin that a person asks for; what a schedule asked for begins
    afterwards, unless the daemon was restarted since.
    """
    if len(reason) > LONGEST_REASON:
        raise click.UsageError(f"--reason has at most {LONGEST_REASON} characters.")
    show(invocation.answer(Control.pause_rounds, reason), _say_paused, as_json=as_json)


@round_.command(short_help="Let rounds begin by themselves again.")
@json_option
@pass_invocation
@example("riverkeep round resume")
def resume(invocation: Invocation, *, as_json: bool) -> None:
    """Let rounds begin by themselves again, after `riverkeep round pause`."""
    show(invocation.answer(Control.resume_rounds), _say_resumed, as_json=as_json)


@round_.command("list", short_help="Show the latest rounds.")
@limit_option("Most rounds to show.")
@click.option("--before", type=NUMBER, help="List those with smaller numbers.")
@json_option
@pass_invocation
@example("riverkeep round list", "riverkeep round list --before 900 --limit 20")
def list_(invocation: Invocation, *, limit: int, before: int | None, as_json: bool) -> None:
    """Show the latest rounds, newest first, and why each ended as it did."""
    from daemon.cli.render.rounds import print_rounds

    show(invocation.answer(Control.rounds, limit=limit, before=before), print_rounds, as_json=as_json)


@round_.command(short_help="Tell MLflow of the rounds that have ended.")
@click.argument("server", metavar="URL", envvar="MLFLOW_TRACKING_URI")
@click.option(
    "--experiment",
    metavar="NAME",
    envvar="MLFLOW_EXPERIMENT_NAME",
    default="riverkeep",
    show_default=True,
    help="Which of the server's; made where it is not there. [env: MLFLOW_EXPERIMENT_NAME]",
)
@pass_invocation
@example("riverkeep round export http://mlflow:5000", "MLFLOW_TRACKING_URI=http://mlflow:5000 riverkeep round export")
def export(invocation: Invocation, server: str, *, experiment: str) -> None:
    """Tell the MLflow tracking server at URL (else $MLFLOW_TRACKING_URI) of each round that has ended, once.

    Recipe, losses, forgetting, scores by slice, verdict and generation; no text. Call it as often as you like: what the
    server has is not told again. A round that waits for a person is told of when it was decided on. Who you are is said
    by MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    """
    import os

    from daemon.trackers.mlflow import MlflowServer
    from daemon.trackers.telling import tell_rounds

    with MlflowServer(server, experiment, os.environ) as mlflow, invocation.control(Control.rounds) as control:
        told = tell_rounds(control, mlflow)
    say(
        f"Told {mlflow.shown} (experiment {experiment}) of {len(told.rounds)} rounds; it had {told.already} already, "
        f"and {told.open} have not ended."
    )


@round_.command("show", short_help="Show a round in full.")
@number_argument
@after_option("With --json: list samples with greater ids.")
@json_option
@pass_invocation
@example("riverkeep round show 7", "riverkeep round show 7 --json")
def show_(invocation: Invocation, number: int, *, after: int, as_json: bool) -> None:
    """Show round N in full: what went in, and what the gate said of it; with --json also its samples, in pages."""
    if after and not as_json:
        raise click.UsageError("--after goes with --json.")
    from daemon.cli.render.rounds import print_round

    with invocation.control(Control.round) as control:
        facts = control.round(number)
        if as_json:
            samples = control.round_samples(number, limit=MOST_ROWS, after=after)
            print_json({**facts, "samples": samples})
        else:
            print_round(facts)


def _say_detail(answer: AskedRound | CancelledRounds) -> None:
    click.echo(answer["detail"])


def _say_rejected(rejected: RejectedRound) -> None:
    click.echo("Round {round}: {dropped} samples erased.".format_map(rejected))


def _say_paused(paused: PausedRounds) -> None:
    from daemon.control.printable import printable

    if paused["already"]:
        since = datetime.fromtimestamp(paused["since"]).astimezone().isoformat(" ", "seconds")
        reason = printable(paused["reason"]) or "no reason given"
        click.echo(f"Rounds are already paused since {since} ({reason}). ", nl=False)
    click.echo(
        "No round begins by itself until `riverkeep round resume`; one in progress goes on, and so does reading."
    )


def _say_resumed(resumed: ResumedRounds) -> None:
    click.echo("Rounds begin by themselves again." if resumed["resumed"] else "Rounds were not paused.")


def _ask_and_wait(
    control: Control,
    ask: Callable[[], AskedRound],
    *,
    take_back: Callable[[], WithdrawnRound] | None,
    as_json: bool,
) -> int:
    """Follow the round that answers the request until what came of it serves, and leave with that."""
    from daemon.cli.follow import outcome, until_it_serves, watch

    try:
        # Asked for within: whoever is ended right after it takes the request back too.
        with _end_on_sigterm():
            ended = watch(control, ask()["after"])
    except KeyboardInterrupt:
        _say_what_goes_on(control, take_back)
        raise
    accepted = ended["generation"] if ended["state"] == "accepted" else None
    not_serving = None if accepted is None else until_it_serves(control, accepted)
    if as_json:
        print_json(ended if not_serving is None else {**ended, "not_serving": not_serving})
    else:
        _tell_end(ended, not_serving)
    return outcome(ended)


def _tell_end(ended: RoundAnswer, not_serving: str | None) -> None:
    from daemon.cli.render.rounds import how_to_decide, print_round

    print_round(ended)
    if not_serving:
        say(f"Generation {ended['generation']} is accepted and does not answer yet: {not_serving}.")
    if ended["state"] == "waiting":
        click.echo(f"To decide, {how_to_decide(ended['number'])}.")


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Let `timeout` and a supervisor end the waiting as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_what_goes_on(control: Control, take_back: Callable[[], WithdrawnRound] | None) -> None:
    """Whoever does not wait any longer wants no round either, unless it has begun: it may be somebody else's too."""
    if take_back is not None and take_back()["withdrawn"]:
        say("The request is taken back.")
    elif (current := control.status()["round"]) is not None:
        say(f"Round {current['number']} goes on; `riverkeep round cancel` calls it off.")
