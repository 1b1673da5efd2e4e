"""Why it came so, who did what, and what comes: `explain round`, `trace`, `audit`, `peek`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.commands.keys import choose_key, key_options
from daemon.cli.commands.paging import after_option, before_option, limit_option
from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, say, show
from daemon.control.bounds import LARGEST_ID, MOST_PEEKED
from daemon.control.protocol import Control

if TYPE_CHECKING:
    from daemon.settings.tree import Settings

NUMBER = click.IntRange(0, LARGEST_ID)


@click.group(short_help="Say why something is as it is.")
@example("riverkeep explain round 7")
def explain() -> None:
    """Say in sentences why something is as it is, and what can be done."""


@explain.command("round", short_help="Say why a round began, and what decided it.")
@click.argument("number", metavar="N", type=click.IntRange(1))
@json_option
@pass_invocation
@example("riverkeep explain round 7", "riverkeep explain round 7 --json | jq -r '.next[].command'")
def explain_round(invocation: Invocation, number: int, *, as_json: bool) -> None:
    """Say why round N began, why it was accepted, refused, waits or failed, and what can be done.

    Each check that decided is told with its figure, bound and confidence limits; `riverkeep round show N` has all.
    """
    from daemon.cli.render.explained import print_explained

    show(invocation.answer(Control.explain_round, number), print_explained, as_json=as_json)


@click.command(short_help="Follow one record through memory, rounds and generations.")
@click.argument("topic", required=False)
@click.argument("partition", type=NUMBER, required=False)
@click.argument("offset", type=NUMBER, required=False)
@click.option("--key", help="All records of a person instead, by key; `-` reads it from stdin.")
@key_options
@click.option("--text", is_flag=True, help="Show the text itself.")
@limit_option("With a key: most records to list.")
@after_option("With a key: list records of samples with greater ids.")
@json_option
@pass_invocation
@example("riverkeep trace news 0 4711", "riverkeep trace --key user-4711 --json")
def trace(
    invocation: Invocation,
    *,
    topic: str | None,
    partition: int | None,
    offset: int | None,
    key: str | None,
    key_file: Path | None,
    key_hash: str | None,
    text: bool,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """Follow the record at TOPIC PARTITION OFFSET: what it became, the rounds and generations that saw it.

    Also what an erasure by its key would touch. Nothing is changed. Exit status 4 where the partition was never read,
    or nothing is known of the key.
    """
    from daemon.cli.render.traces import print_trace

    by_key = any(way is not None for way in (key, key_file, key_hash))
    if by_key and topic is None:
        whose = choose_key(key, key_file, key_hash)
        answer = invocation.answer(Control.trace_key, whose, text=text, limit=limit, after=after)
    elif not by_key and topic and partition is not None and offset is not None:
        answer = invocation.answer(Control.trace, topic, partition, offset, text=text)
    else:
        raise click.UsageError("Name a record by TOPIC PARTITION OFFSET, or a person by --key; one of the two.")
    show(answer, print_trace, as_json=as_json)


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
    from daemon.cli.render.history import print_audit

    show(invocation.answer(Control.audit, limit=limit, before=before), print_audit, as_json=as_json)


@click.command(short_help="Look at a few records in Kafka, and how each would be read.")
@click.argument("topic")
@click.option("--partition", type=NUMBER, help="Of this partition; otherwise of all that the topic has.")
@click.option("--offset", type=NUMBER, help="From this offset on.")
@click.option("--newest", is_flag=True, help="The newest, which is what is shown without --offset.")
@click.option(
    "--count", type=click.IntRange(1, MOST_PEEKED), default=5, show_default=True, help="Most records to show."
)
@click.option("--masked", is_flag=True, help="Without what is written in them: no text, no key, no headers.")
@json_option
@pass_invocation
@example(
    "riverkeep peek news", "riverkeep peek news --partition 0 --offset 4711 --count 1", "riverkeep peek news --json"
)
def peek(
    invocation: Invocation,
    topic: str,
    *,
    partition: int | None,
    offset: int | None,
    newest: bool,
    count: int,
    masked: bool,
    as_json: bool,
) -> None:
    """Show a few records of TOPIC straight from the broker, with their text, and how each would be read.

    It joins no consumer group and commits nothing, needs no daemon, and ends within seconds. Of each record: what it is
    written as, its key, headers, label, and whether it would be a document or a dead letter, and why, by the settings
    as they are on disk. The audit log says who looked, where there is a memory. Exit status 4 where there is no such
    topic, partition or offset.
    """
    if newest and offset is not None:
        raise click.UsageError("--newest and --offset say different things: one of the two.")
    from daemon.cli.render.streams import print_peek
    from daemon.control.streams_facts import peek_answer
    from daemon.ingestion.peek import look
    from streams.kafka.client import kafka_in_silence
    from streams.kafka.peek import PeekPlace

    settings = invocation.settings()
    if not masked:
        _note_peek(settings, {"topic": topic, "number": partition, "offset": offset, "count": count, "text": True})
    with kafka_in_silence():
        looked = look(settings, PeekPlace(topic, partition, offset, count))
    show(peek_answer(looked, text=not masked), print_peek, as_json=as_json)


def _note_peek(settings: "Settings", place: dict[str, object]) -> None:
    """A line in the audit log: to have read text is a deed. Before the first memory there is none to write in."""
    from daemon.control.beside_operations import note_command

    if settings.database.exists() and (missing := note_command(settings, "peek", place)):
        say(f"The audit log has no line of this (peek): {missing}.")
