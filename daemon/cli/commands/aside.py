"""Text that rounds set aside, or wait for a word on: `memory aside`, `memory release`, `memory drop`."""

from typing import Final

import click

from daemon.cli.commands.keys import STDIN, key_from
from daemon.cli.commands.paging import after_option, limit_option
from daemon.cli.invocation import Invocation, confirm, example, json_option, pass_invocation, say, show, yes_option
from daemon.control.answers.kept import AsideLine, CountedAside, DroppedAside, ReleasedAside
from daemon.control.bounds import LARGEST_ID, MOST_ASIDE_IDS
from daemon.control.protocol import Control
from daemon.errors import UnknownThing

ROUND: Final = click.IntRange(1)


@click.command(short_help="Show what is set aside.")
@click.argument("round_number", metavar="[ROUND]", type=ROUND, required=False)
@click.option("--text", is_flag=True, help="Show the documents that ROUND set aside.")
@click.option("--masked", is_flag=True, help="Show them without their text.")
@limit_option("Most documents to show.")
@after_option("Go on after the document with that id.")
@click.option("--worst", is_flag=True, help="With --text or --masked: greatest loss first.")
@json_option
@pass_invocation
@example("riverkeep memory aside", "riverkeep memory aside 7 --text", "riverkeep memory aside 7 --text --worst --json")
def aside(
    invocation: Invocation,
    *,
    round_number: int | None,
    text: bool,
    masked: bool,
    limit: int,
    after: int,
    worst: bool,
    as_json: bool,
) -> None:
    """List what is set aside, by round: refused twice, or waiting for a person's word. Or show the text of one ROUND.

    The loss is that of the generation that served, in nats per token, of as many documents as a round looks at before
    training (`learner.plausibility_documents`); held-out text is not among them.
    On a terminal long documents are cut; elsewhere and with --json they are whole.
    """
    if text and masked:
        raise click.UsageError("--text and --masked say different things: one of the two.")
    if (text or masked) and round_number is None:
        named = "--text" if text else "--masked"
        raise click.UsageError(f"{named} goes with a round: `riverkeep memory aside` lists which there are.")
    if worst and not (text or masked):
        raise click.UsageError("--worst goes with --text or --masked.")
    from daemon.cli.render.kept import print_aside, print_aside_text

    if (text or masked) and round_number is not None:
        page = invocation.answer(Control.aside_text, round_number, limit=limit, after=after, worst=worst, text=text)
        show(page, print_aside_text, as_json=as_json)
    else:
        show(_of_round(invocation.answer(Control.aside), round_number), print_aside, as_json=as_json)


def _of_round(groups: list[AsideLine], round_number: int | None) -> list[AsideLine]:
    """What that round set aside, or all. Raises UnknownThing for a round that has set nothing aside."""
    selected = [group for group in groups if round_number in (None, group["round"])]
    if round_number is not None and not selected:
        raise UnknownThing(f"Round {round_number} has set nothing aside; `riverkeep memory aside` lists who has.")
    return selected


@click.command(short_help="Let what a round set aside back.")
@click.argument("round_number", metavar="ROUND", type=ROUND)
@click.option("--ids", callback=lambda _context, _option, value: ids_from(value), metavar="ID,…", help="Only these.")
@json_option
@pass_invocation
@example("riverkeep memory release 7", "riverkeep memory release 7 --ids 12,15")
def release(invocation: Invocation, round_number: int, *, ids: tuple[int, ...], as_json: bool) -> None:
    """Let what ROUND set aside be fresh again, or a part of it; its held-out part is held out again.

    Of a round that waits there is no part to be let back: erase what is wrong, then approve it.
    """
    # A daemon of an earlier version knows no parts, and need not where none is asked for.
    asked = {"ids": ids} if ids else {}
    show(invocation.answer(Control.release_aside, round_number, **asked), _say_released, as_json=as_json)


def _say_released(released: ReleasedAside) -> None:
    left = released.get("left", 0)
    click.echo(
        "Round {round}: {released} samples are back.".format_map(released) + (f" {left} stay aside." if left else "")
    )


@click.command(short_help="Erase what a round set aside.")
@click.argument("round_number", metavar="ROUND", type=ROUND)
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
    # Counted and erased through the same control: without a daemon its lock keeps everyone else out in between.
    with invocation.control(Control.drop_aside) as control:
        if by_name:
            # Where standard input is used up, there is nobody to ask.
            yes, key = yes or key == STDIN, None if key is None else key_from(key)
            documents = _count(control.count_aside(round_number, source=source, key=key), _describe_part(source, key))
            confirm(f"Erase these {documents:,} documents for good?", yes=yes)
        else:
            confirm(f"Erase {f'{len(ids)} of' if ids else ''} what round {round_number} set aside?", yes=yes)
        dropped = control.drop_aside(round_number, ids=ids, source=source, key=key)
    show(dropped, _say_part_dropped if ids or by_name else _say_dropped, as_json=as_json)


def _describe_part(source: str | None, key: str | None) -> str:
    """A source, a key, or both, in words."""
    from daemon.control.printable import inline

    return " and ".join(
        [*([] if source is None else [f"source {inline(source)}"]), *([] if key is None else ["that key"])]
    )


def _count(counted: CountedAside, subject: str) -> int:
    """Say how many documents of what is named a round set aside. Raises UnknownThing for none."""
    from daemon.control.printable import inline

    number, matching = counted["round"], counted["samples"] + counted["held_out"]
    if not matching:
        sources = ", ".join(f"{inline(name)} ({documents:,})" for name, documents in counted["sources"].items())
        raise UnknownThing(
            f"Round {number} has set nothing of {subject} aside; of all that it has, by source: {sources}."
        )
    say(
        f"Of the {counted['of']:,} documents that round {number} set aside {matching:,} are of {subject}: "
        f"{counted['samples']:,} to train on, {counted['held_out']:,} held out."
    )
    return matching


def _say_dropped(dropped: DroppedAside) -> None:
    click.echo("Round {round}: {dropped} samples erased.".format_map(dropped))


def _say_part_dropped(dropped: DroppedAside) -> None:
    click.echo("Round {round}: {dropped} samples erased. {left} are left aside.".format_map(dropped))


def ids_from(value: str | None) -> tuple[int, ...]:
    """The ids of a list with commas; none where the option is not given. Raises UsageError."""
    if value is None:
        return ()
    words = [word.strip() for word in value.split(",")]
    # No id has more than 19 digits, and Python refuses to read thousands of them.
    if not all(word.isascii() and word.isdigit() and 1 <= int(word[:20]) <= LARGEST_ID for word in words):
        raise click.UsageError(f"--ids takes ids with commas between them, as 12,15; got {value[:40]!r}.")
    if len(words) > MOST_ASIDE_IDS:
        raise click.UsageError(f"--ids takes at most {MOST_ASIDE_IDS} ids at once.")
    return tuple(map(int, words))
