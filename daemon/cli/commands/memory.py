"""What is kept: `memory` with what is aside, dead or never came, and of whom; `resume`, `forget`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.commands.keys import STDIN, chosen, key_from, named_key, shown
from daemon.cli.invocation import (
    Invocation,
    confirm,
    example,
    json_option,
    pass_invocation,
    pass_json_on,
    print_json,
    say,
    yes_option,
)
from daemon.control.protocol import LARGEST_ID

if TYPE_CHECKING:
    from daemon.control.protocol import Control
    from memory.samples.records import KeyHash

SHOWN = 50
MOST_IDS = 5_000
"""As many as fit in a request."""
ID = click.IntRange(1, LARGEST_ID)


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

    with invocation.control() as control:
        facts = control.memory()
    if as_json:
        print_json(facts)
    else:
        print_memory(facts)


@memory.command(short_help="Show what is set aside.")
@click.argument("round_number", metavar="[ROUND]", type=click.IntRange(1), required=False)
@click.option("--text", is_flag=True, help="Show the documents that ROUND set aside.")
@click.option("--limit", type=click.IntRange(1, 500), default=SHOWN, show_default=True, help="Most documents to show.")
@click.option("--after", type=click.IntRange(0), default=0, help="Go on after the document with that id.")
@click.option("--worst", is_flag=True, help="With --text: greatest loss first, then what was not measured.")
@json_option
@pass_invocation
@example("riverkeep memory aside", "riverkeep memory aside 7 --text", "riverkeep memory aside 7 --text --worst --json")
def aside(
    invocation: Invocation, *, round_number: int | None, text: bool, limit: int, after: int, worst: bool, as_json: bool
) -> None:
    """List what is set aside, by round: refused twice, or waiting for a person's word. Or show the text of one ROUND.

    The loss is that of the generation that served, in nats per token, of as many documents as a round looks at before
    training (`learner.plausibility_documents`); held-out text is not among them.
    On a terminal long documents are cut; elsewhere and with --json they are whole.
    """
    if text and round_number is None:
        raise click.UsageError("--text goes with a round: `riverkeep memory aside` lists which there are.")
    if worst and not text:
        raise click.UsageError("--worst goes with --text.")
    from daemon.cli.render.kept import print_aside, print_aside_text
    from daemon.errors import UnknownThing

    with invocation.control() as control:
        if text and round_number is not None:
            page: Any = control.aside_text(round_number, limit=limit, after=min(after, LARGEST_ID), worst=worst)
            told = partial(print_aside_text, page)
        else:
            page = [group for group in control.aside() if round_number in (None, group["round"])]
            if round_number is not None and not page:
                raise UnknownThing(
                    f"Round {round_number} has set nothing aside; `riverkeep memory aside` lists who has."
                )
            told = partial(print_aside, page)
    if as_json:
        print_json(page)
    else:
        told()


@memory.command(short_help="Let what a round set aside back.")
@click.argument("round_number", metavar="ROUND", type=click.IntRange(1))
@json_option
@pass_invocation
@example("riverkeep memory release 7")
def release(invocation: Invocation, round_number: int, *, as_json: bool) -> None:
    """Let what ROUND set aside be fresh again; its held-out part is held out again."""
    with invocation.control(write=True) as control:
        facts = control.release_aside(round_number)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"Round {round_number}: {facts['released']} samples are back.")


@memory.command(short_help="Erase what a round set aside.")
@click.argument("round_number", metavar="ROUND", type=click.IntRange(1))
@click.option("--ids", callback=lambda _context, _option, value: ids_from(value), metavar="ID,…", help="Only these.")
@click.option("--source", metavar="NAME", help="Only what is of this source.")
@click.option("--key", metavar="KEY", help="Only what is of this key; `-` reads it from stdin.")
@yes_option
@json_option
@pass_invocation
@example(
    "riverkeep memory drop 7 --yes", "riverkeep memory drop 7 --ids 12,15", "riverkeep memory drop 7 --source wiki"
)
def drop(
    invocation: Invocation,
    round_number: int,
    *,
    ids: tuple[int, ...],
    source: str | None,
    key: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase what ROUND set aside, or a part of it. The same content is not taken in again.

    With a source, a key or both it is counted before; exit status 4 where there is nothing of them. What is left stays
    aside, also of a round that waits, to be approved or released. The held-out part has ids too, and stays held out; a
    person's documents are all held out or all trained on, so no erasure parts them.
    """
    by_name = source is not None or key is not None
    if ids and by_name:
        raise click.UsageError("--ids does not go with --source or --key.")
    with invocation.control(write=True) as control:
        if by_name:
            # Where standard input is used up, there is nobody to ask.
            yes, key = yes or key == STDIN, None if key is None else key_from(key)
            facts = _drop_of(control, round_number, source, key, yes=yes)
        else:
            confirm(f"Erase {f'{len(ids)} of' if ids else ''} what round {round_number} set aside?", yes=yes)
            facts = control.drop_aside(round_number, ids=ids)
    if as_json:
        print_json(facts)
    else:
        left = f" {facts['left']} are left aside." if ids or by_name else ""
        click.echo(f"Round {round_number}: {facts['dropped']} samples erased.{left}")


def _drop_of(control: "Control", number: int, source: str | None, key: str | None, *, yes: bool) -> dict[str, Any]:
    """Count what a round set aside of a source, a key, or both, ask, and erase it. Raises UnknownThing for nothing."""
    from daemon.cli.render.printable import inline
    from daemon.errors import UnknownThing

    counted = control.count_aside(number, source=source, key=key)
    named = " and ".join(
        [*([] if source is None else [f"source {inline(source)}"]), *([] if key is None else ["that key"])]
    )
    chosen = counted["samples"] + counted["held_out"]
    if not chosen:
        there = ", ".join(f"{inline(name)} ({documents:,})" for name, documents in counted["sources"].items())
        raise UnknownThing(f"Round {number} has set nothing of {named} aside; of all that it has, by source: {there}.")
    say(
        f"Of the {counted['of']:,} documents that round {number} set aside {chosen:,} are of {named}: "
        f"{counted['samples']:,} to train on, {counted['held_out']:,} held out."
    )
    confirm(f"Erase these {chosen:,} documents for good?", yes=yes)
    return control.drop_aside_of(number, source=source, key=key)


def ids_from(value: str | None) -> tuple[int, ...]:
    """The ids of a list with commas; none where the option is not given. Raises UsageError."""
    if value is None:
        return ()
    words = [word.strip() for word in value.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word[:20]) <= LARGEST_ID for word in words):
        raise click.UsageError(f"--ids takes ids with commas between them, as 12,15; got {value[:40]!r}.")
    if len(words) > MOST_IDS:
        raise click.UsageError(f"--ids takes at most {MOST_IDS} ids at once.")
    return tuple(map(int, words))


@memory.command("find", short_help="Show what is known of a person.")
@named_key
@click.option("--text", is_flag=True, help="Show the text itself.")
@click.option("--limit", type=click.IntRange(1, 500), default=SHOWN, show_default=True, help="Most samples to list.")
@click.option("--after", type=click.IntRange(0), default=0, help="List samples with greater ids.")
@json_option
@pass_invocation
@example("riverkeep memory find user-4711", "printf %s user-4711 | riverkeep memory find --json -")
def find(
    invocation: Invocation,
    key: str | None,
    key_file: Path | None,
    key_hash: str | None,
    *,
    text: bool,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """Show what is known of a person by KEY; `-` reads it from stdin. Nothing is erased.

    What is kept, from which offsets it came, which rounds were given it and which generations were trained on it; and
    similar keys, which may name the same person (in quotes, in an object, in another spelling).
    Exit status 4 where nothing is known. `riverkeep forget KEY` erases it.
    """
    from daemon.cli.render.people import print_found

    with invocation.control() as control:
        facts = control.find(chosen(key, key_file, key_hash), text=text, limit=limit, after=min(after, LARGEST_ID))
    if as_json:
        print_json(facts)
    else:
        print_found(facts)


@memory.command("gaps", short_help="List offsets that never came.")
@click.option("--limit", type=click.IntRange(1, 500), default=SHOWN, show_default=True, help="Most to list.")
@click.option("--before", type=click.IntRange(1), help="List those with smaller ids.")
@json_option
@pass_invocation
@example("riverkeep memory gaps", "riverkeep memory gaps --json | jq '.[].reason'")
def gaps(invocation: Invocation, *, limit: int, before: int | None, as_json: bool) -> None:
    """List offsets that never came, newest first, and why.

    Retention overtook them, a batch was unreadable, another replica stored them (stored_elsewhere), or they lie before
    the place where this memory began (before_start: see `streams.start`).
    """
    from daemon.cli.render.kept import print_gaps

    with invocation.control() as control:
        facts = control.gaps(limit=limit, before=None if before is None else min(before, LARGEST_ID))
    if as_json:
        print_json(facts)
    else:
        print_gaps(facts)


@memory.group("dead-letters", invoke_without_command=True, short_help="List the quarantine.")
@click.option("--limit", type=click.IntRange(1, 500), default=SHOWN, show_default=True, help="Most to list.")
@click.option("--before", type=click.IntRange(1), help="List those with smaller ids.")
@click.option("--text", is_flag=True, help="Show what was kept of each record.")
@click.option("--show", type=ID, metavar="ID", help="Show one, with all that was kept of it.")
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
    show: int | None,
    as_json: bool,
) -> None:
    """List the quarantine, newest first: records that could not be understood, and why.

    Bytes that are no UTF-8 are shown as backslash escapes.
    """
    if context.invoked_subcommand is not None:
        _only_lists(context, "limit", "before", "text", "show")
        pass_json_on(context, as_json=as_json)
        return
    from daemon.cli.render.kept import print_dead_letter, print_dead_letters

    with invocation.control() as control:
        if show is not None:
            found: Any = control.dead_letter(show)
            told = partial(print_dead_letter, found)
        else:
            found = control.dead_letters(
                limit=limit, before=None if before is None else min(before, LARGEST_ID), text=text
            )
            told = partial(print_dead_letters, found, total=control.status()["memory"]["dead_letters"])
    if as_json:
        print_json(found)
    else:
        told()


def _only_lists(context: click.Context, *options: str) -> None:
    """Refuse options that choose what is listed: before `drop`, which drops all, they would seem to choose too."""
    for name in options:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} goes with the list, not with `{context.invoked_subcommand}`: name ids.")


@dead_letters.command("replay", short_help="Decode dead letters again.")
@click.argument("ids", type=ID, nargs=-1)
@json_option
@pass_invocation
@example("riverkeep memory dead-letters replay", "riverkeep memory dead-letters replay 12 13")
def replay_letters(invocation: Invocation, ids: tuple[int, ...], *, as_json: bool) -> None:
    """Decode dead letters again under the present settings: those with IDS, or all.

    Those of files stay dead: mend the file and give it to `riverkeep backfill` under another name; what is known
    already is not stored twice.
    """
    with invocation.control(write=True) as control:
        facts = control.replay_dead_letters(ids=ids)
    if as_json:
        print_json(facts)
    else:
        from daemon.cli.render.status import not_in_force

        why = ", ".join(f"{number} {reason}" for reason, number in sorted(facts["reasons"].items()))
        told = "{kept} stored, {known} known already, {still_dead} still dead".format_map(facts)
        click.echo(f"{told}: {why}." if why else f"{told}.")
        if facts["need_restart"]:
            say(f"{not_in_force(facts['need_restart'])}: they were decoded as before.")


@dead_letters.command("drop", short_help="Erase dead letters.")
@click.argument("ids", type=ID, nargs=-1)
@yes_option
@json_option
@pass_invocation
@example("riverkeep memory dead-letters drop 12 13")
def drop_letters(invocation: Invocation, ids: tuple[int, ...], *, yes: bool, as_json: bool) -> None:
    """Erase dead letters: those with IDS, or all."""
    with invocation.control(write=True) as control:
        confirm(f"Erase {len(ids) if ids else 'all'} dead letters?", yes=yes)
        facts = control.drop_dead_letters(ids=ids)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{facts['dropped']} dead letters erased.")


@click.command(short_help="Read on where a flood paused.")
@click.argument("partition", required=False)
@json_option
@pass_invocation
@example("riverkeep resume", "riverkeep resume news/3")
def resume(invocation: Invocation, partition: str | None, *, as_json: bool) -> None:
    """Read on where a flood of dead letters paused: PARTITION as topic/number, or all."""
    with invocation.control(write=True) as control:
        facts = control.resume(partition)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"Reading on: {', '.join(facts['resumed']) or 'no partition was paused'}.")


def _kept_of(control: "Control", key: "str | KeyHash") -> str:
    """How much an erasure would erase, and what it costs; where nothing, what it is good for; and similar keys."""
    from daemon.cli.render.people import similar_lines
    from daemon.errors import UnknownThing

    nothing = "Nothing is kept of that key. Erased all the same, none of its text is stored from then on either."
    try:
        found = control.find(key, limit=1)
    except UnknownThing:
        return nothing
    anything = found["samples"] or found["dead_letters"] or found["rounds"] or found["erased_at"] is not None
    kept = f"Kept of that key: {found['samples']:,} samples and {found['dead_letters']:,} dead letters."
    similar = similar_lines(found.get("similar", []))
    return "\n".join([kept if anything else nothing, *_cost_of(found.get("calls_off")), *similar])


def _cost_of(off: dict[str, Any] | None) -> list[str]:
    """What an erasure costs the round in progress; nothing where its text is not in that."""
    if off is None:
        return []
    cost = f"{off['seconds'] / 60:.0f} min of work are lost, and the rest of its text waits for the next round."
    return [f"Round {off['round']}, which is in progress, was given its text and is called off: {cost}"]


@click.command(short_help="Erase a person's text.")
@named_key
@yes_option
@json_option
@pass_invocation
@example(
    "riverkeep forget user-4711",
    "printf %s user-4711 | riverkeep forget -",
    "riverkeep forget --key-file key.bin --yes",
)
def forget(
    invocation: Invocation,
    key: str | None,
    key_file: Path | None,
    key_hash: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a person's text by its KEY everywhere in the state directory, for good; `-` reads it from stdin.

    Samples, dead letters and round directories go; a keyed hash stays, so that a redelivery is not stored
    again. Names the generations that were trained on the text: nothing is unlearned; and similar keys, of which
    nothing was erased. By --key-hash dead letters are found by their record's key alone. Dead letters that were
    also sent to a Kafka topic, and backups, are yours to erase.
    """
    # Where standard input is used up, there is nobody to ask.
    yes, named = yes or key == STDIN, chosen(key, key_file, key_hash)
    with invocation.control(write=True) as control:
        if not yes:
            say(_kept_of(control, named))
        confirm(f"Erase all text of {shown(named)} for good?", yes=yes)
        facts = control.forget(named)
    if as_json:
        print_json(facts)
        return
    from daemon.cli.render.people import print_forgotten

    print_forgotten(facts)


@memory.command("begin-anew", short_help="Begin with an empty memory where the database is lost.")
@pass_invocation
@example("riverkeep memory begin-anew")
def begin_anew(invocation: Invocation) -> None:
    """Put a new, empty database where the old one is lost and there is no copy of it. Generations stay and serve on.

    What the old one held is gone: replay, held-out text, what was set aside, the ledger of rounds, which keys were
    erased, and how far each topic was read, which goes on at the group's committed offset. A daemon that runs takes
    it up by itself.
    """
    from daemon.control.new_memory import begin_anew as put_a_new_one

    settings = invocation.settings()
    put_a_new_one(settings)
    click.echo(f"An empty database is at {settings.database}. Give `riverkeep backfill --before-stream` the old text.")
