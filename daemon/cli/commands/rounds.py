"""Rounds and what comes of them: `round`, `rollback`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import click

from daemon.cli.invocation import (
    Invocation,
    confirm,
    example,
    json_option,
    pass_invocation,
    print_json,
    say,
    yes_option,
)
from daemon.control.protocol import LARGEST_ID, LONGEST_REASON, Control, Facts
from daemon.errors import ExitCode

SHOWN = 20
SAMPLES_SHOWN = 500
"""Most samples of a round at once; `next` in the answer is what `--after` goes on from."""


@click.command("round", short_help="Begin, decide on or look at rounds.")
@click.option("--dry-run", is_flag=True, help="Train and judge, but promote nothing.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit status 3 when it is refused or waits.")
@click.option("--approve", type=click.IntRange(1), metavar="N", help="Let the text of waiting round N be trained on.")
@click.option("--reject", type=click.IntRange(1), metavar="N", help="Erase the text of waiting round N.")
@click.option("--cancel", is_flag=True, help="Call off the round in progress, and take back what was asked for.")
@click.option("--pause", is_flag=True, help="Let no round begin by itself until --resume; text is read on.")
@click.option("--reason", metavar="TEXT", help="With --pause: why, for those who look at the status.")
@click.option("--resume", is_flag=True, help="Let rounds begin by themselves again.")
@click.option(
    "--show",
    type=click.IntRange(1),
    metavar="N",
    help="Show round N in full, with --json also its samples; begins none.",
)
@click.option("--after", type=click.IntRange(0), default=0, help="With --show N --json: list samples with greater ids.")
@click.option("--list", "listed", is_flag=True, help=f"Show the latest {SHOWN} rounds; begins none.")
@yes_option
@json_option
@pass_invocation
@example("riverkeep round --wait", "riverkeep round --show 7 --json", "riverkeep round --approve 7 --wait")
def round_(
    invocation: Invocation,
    *,
    dry_run: bool,
    wait: bool,
    approve: int | None,
    reject: int | None,
    cancel: bool,
    pause: bool,
    reason: str | None,
    resume: bool,
    show: int | None,
    after: int,
    listed: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Begin a round now, decide on one that waits, call one off, pause them, or look at those that were.

    A round waits when its text is implausible under the serving generation: read it with
    `riverkeep memory aside N --text`, then approve or reject it. While rounds are paused, also across restarts,
    only those begin that a person asks for; what a schedule asked for meanwhile begins after it, unless the daemon was
    restarted since.
    """
    _refuse_contradictions(
        {
            "--approve": approve is not None,
            "--reject": reject is not None,
            "--show": show is not None,
            "--list": listed,
            "--dry-run": dry_run,
            "--cancel": cancel,
            "--pause": pause,
            "--resume": resume,
        },
        wait=wait,
    )
    _check_reason(reason, pause=pause)
    if after and not (show is not None and as_json):
        raise click.UsageError("--after goes with --show N --json.")
    with invocation.control(write=approve is not None or reject is not None or cancel or pause or resume) as control:
        if cancel or pause or resume:
            return _steer(control, cancel=cancel, pause=pause, reason=reason or "", as_json=as_json)
        if listed:
            return _list(control, as_json=as_json)
        if show is not None:
            return _show_with_samples(control, show, after=after, as_json=as_json)
        if reject is not None:
            confirm(f"Erase the text of round {reject}?", yes=yes)
            return _told(control.reject_round(reject), "Round {round}: {dropped} samples erased.", as_json=as_json)
        if wait:
            return _ask_and_wait(control, approve, dry_run=dry_run, as_json=as_json)
        return _told(_ask(control, approve, dry_run=dry_run), "{detail}", as_json=as_json)


def _refuse_contradictions(chosen: dict[str, bool], *, wait: bool) -> None:
    """Only one thing is done at a time, and only what begins a round can be waited for. Raises UsageError."""
    given = [name for name, is_given in chosen.items() if is_given]
    if wait and not {"--approve", "--dry-run"}.issuperset(given):
        given.append("--wait")
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} do not go together.")


def _check_reason(reason: str | None, *, pause: bool) -> None:
    """Raises UsageError."""
    if reason is not None and not pause:
        raise click.UsageError("--reason goes with --pause.")
    if len(reason or "") > LONGEST_REASON:
        raise click.UsageError(f"--reason has at most {LONGEST_REASON} characters.")


def _steer(control: Control, *, cancel: bool, pause: bool, reason: str, as_json: bool) -> int:
    """Call rounds off, pause them, or let them begin again."""
    if cancel:
        return _told(control.cancel_rounds(), "{detail}", as_json=as_json)
    return _pause(control, reason, as_json=as_json) if pause else _resume(control, as_json=as_json)


def _pause(control: Control, reason: str, *, as_json: bool) -> int:
    told = "No round begins by itself until `riverkeep round --resume`; one in progress goes on, and so does reading."
    from daemon.cli.render.printable import printable

    facts = control.pause_rounds(reason)
    if facts.get("already"):
        told = f"Rounds are already paused since {_moment(facts['since'])} ({{reason}}). {told}"
    if as_json:
        return _told(facts, told, as_json=True)
    return _told({"reason": printable(facts["reason"]) or "no reason given"}, told, as_json=False)


def _moment(since: float) -> str:
    return datetime.fromtimestamp(since).astimezone().isoformat(" ", "seconds")


def _resume(control: Control, *, as_json: bool) -> int:
    facts = control.resume_rounds()
    told = "Rounds begin by themselves again." if facts["resumed"] else "Rounds were not paused."
    return _told(facts, told, as_json=as_json)


def _list(control: Control, *, as_json: bool) -> int:
    from daemon.cli.render.rounds import print_rounds

    rounds = control.rounds(limit=SHOWN)
    if as_json:
        print_json(rounds)
    else:
        print_rounds(rounds)
    return ExitCode.OK


def _show_with_samples(control: Control, number: int, *, after: int, as_json: bool) -> int:
    facts = control.round(number)
    if as_json:
        facts["samples"] = control.round_samples(number, limit=SAMPLES_SHOWN, after=min(after, LARGEST_ID))
    return _show(facts, as_json=as_json)


def _show(facts: Facts, *, as_json: bool) -> int:
    from daemon.cli.render.rounds import print_round

    if as_json:
        print_json(facts)
    else:
        print_round(facts)
    return ExitCode.OK


def _told(facts: Facts, sentence: str, *, as_json: bool) -> int:
    if as_json:
        print_json(facts)
    else:
        click.echo(sentence.format_map(facts))
    return ExitCode.OK


def _ask(control: Control, approve: int | None, *, dry_run: bool) -> Facts:
    return control.request_round(dry_run=dry_run) if approve is None else control.approve_round(approve)


def _ask_and_wait(control: Control, approve: int | None, *, dry_run: bool, as_json: bool) -> int:
    """Follow the round that answers the request until what came of it serves, and leave with that."""
    from daemon.cli.follow import outcome, until_it_serves, watch

    try:
        with _ended_by_sigterm():
            ended = watch(control, _ask(control, approve, dry_run=dry_run)["after"])
    except KeyboardInterrupt:
        # An approval stands: it is a verdict on text, not a wish for a round.
        _take_back(control, None if approve is not None else dry_run)
        raise
    if ended["state"] == "accepted":
        ended |= {"not_serving": until_it_serves(control, ended["generation"])}
    _show(ended, as_json=as_json)
    if not as_json and (why := ended.get("not_serving")):
        say(f"Generation {ended['generation']} is accepted and does not answer yet: {why}.")
    if ended["state"] == "waiting" and not as_json:
        from daemon.cli.render.rounds import how_to_decide

        click.echo(f"To decide, {how_to_decide(ended['number'])}.")
    return outcome(ended)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let `timeout` and a supervisor end the waiting as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_back(control: Control, dry_run: bool | None) -> None:
    """Whoever does not wait any longer wants no round either, unless it has begun: it may be somebody else's too."""
    if dry_run is not None and control.withdraw_round(dry_run=dry_run)["withdrawn"]:
        say("The request is taken back.")
    elif (current := control.status().get("round")) is not None:
        say(f"Round {current['number']} goes on; `riverkeep round --cancel` calls it off.")


def _confirmed(known: Facts, generation: int | None) -> int | None:
    """Ask whether to go back, from which generation to which; returns the one that was agreed to."""
    serving = known["serving"]
    parents = {one["number"]: one["parent"] for one in known["generations"]}
    target = parents.get(serving) if generation is None else generation
    if serving is not None and target is not None:
        confirm(f"Go back from generation {serving} to generation {target}?", yes=False)
    # Where there is none to go back to, the answer says so.
    return target


@click.command(short_help="Serve an earlier generation.")
@click.argument("generation", type=click.IntRange(0), required=False)
@yes_option
@json_option
@pass_invocation
@example("riverkeep rollback", "riverkeep rollback 3 --yes")
def rollback(invocation: Invocation, generation: int | None, *, yes: bool, as_json: bool) -> None:
    """Serve an earlier GENERATION (none named: the parent of the serving one).

    The one rolled back from is not promoted again by itself.
    """
    with invocation.control(write=True) as control:
        target = generation if yes else _confirmed(control.generations(), generation)
        facts = control.rollback(target)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"Generation {facts['to']} serves; before it did {facts['from']}.")
        say("Replicas that follow the checkpoint store swap by themselves.")
