"""A person's text by key: `memory find`, `forget`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.commands.keys import STDIN, choose_key, named_key, shorten_key
from daemon.cli.commands.paging import after_option, limit_option
from daemon.cli.invocation import Invocation, confirm, example, json_option, pass_invocation, say, show, yes_option
from daemon.control.answers.people import InterruptedRound
from daemon.control.protocol import Control

if TYPE_CHECKING:
    from memory.samples.records import KeyHash


@click.command("find", short_help="Show what is known of a person.")
@named_key
@click.option("--text", is_flag=True, help="Show the text itself.")
@limit_option("Most samples to list.")
@after_option("List samples with greater ids.")
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

    whose = choose_key(key, key_file, key_hash)
    person = invocation.answer(Control.find, whose, text=text, limit=limit, after=after)
    show(person, print_found, as_json=as_json)


def _describe_kept(control: Control, key: "str | KeyHash") -> str:
    """How much an erasure would erase, and what it costs; where nothing, what it is good for; and similar keys."""
    from daemon.cli.render.people import similar_lines
    from daemon.errors import UnknownThing

    nothing = "Nothing is kept of that key. Erased all the same, none of its text is stored from then on either."
    try:
        # What is counted is everything, whatever the page holds.
        person = control.find(key, limit=1)
    except UnknownThing:
        return nothing
    anything = person["samples"] or person["dead_letters"] or person["rounds"] or person["erased_at"] is not None
    amounts = f"Kept of that key: {person['samples']:,} samples and {person['dead_letters']:,} dead letters."
    similar = similar_lines(person.get("similar", []))
    return "\n".join([amounts if anything else nothing, *_cost_of(person.get("calls_off")), *similar])


def _cost_of(off: InterruptedRound | None) -> list[str]:
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
    yes, whose = yes or key == STDIN, choose_key(key, key_file, key_hash)
    with invocation.control(Control.forget) as control:
        if not yes:
            say(_describe_kept(control, whose))
        confirm(f"Erase all text of {shorten_key(whose)} for good?", yes=yes)
        erased = control.forget(whose)
    from daemon.cli.render.people import print_forgotten

    show(erased, print_forgotten, as_json=as_json)
