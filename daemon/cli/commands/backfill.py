"""Text from files: `backfill`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json, say
from daemon.exit_codes import ExitCode

if TYPE_CHECKING:
    from daemon.ingestion.backfill import OnProgress
    from daemon.ingestion.backfill_fields import Fields
    from streams.files.splitting import Split

NO_KEY_FIELD = "No field holds a key, by which `riverkeep forget` finds a person's text: --key-field names one."

WAITS = (
    "nothing ends them yet, and the file may still be written. The same command takes them when it has ended "
    "(JSON: the object is closed; text: a minute after its last change), and --ended at once."
)


@click.command(short_help="Take in text from files.")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.option("--before-stream", is_flag=True, help="The text is of the kind that the model was built on.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "text"]),
    help="json: an object a line. Otherwise as the file looks; where that leaves doubts it asks.",
)
@click.option(
    "--split",
    type=click.Choice(["paragraph", "line", "file"]),
    default="paragraph",
    show_default=True,
    help="What one document of a plain text is.",
)
@click.option("--ended", is_flag=True, help="Take a text's end too although it was changed within the last minute.")
@click.option("--like", metavar="TOPIC", help="The topic whose fields the records have, where topics differ.")
@click.option("--text-field", help="The JSON field with the text.")
@click.option("--messages-field", help="The JSON field with the messages of a chat; otherwise `messages`.")
@click.option("--input-field", help="The JSON field with what a sequence-to-sequence model reads; otherwise `input`.")
@click.option("--target-field", help="The JSON field with what it is to write for that; otherwise `target`.")
@click.option("--key-field", help="The JSON field that tells whose text it is.")
@click.option("--label-field", help="The JSON field with the label.")
@click.option("--source-field", help="The JSON field with the source.")
@click.option("--time-field", help="The JSON field with the time of the text.")
@click.option("--source", help="The source of all of it; otherwise the file's name.")
@click.option("--name", default="stdin", show_default=True, help="Of standard input: another name, another stream.")
@json_option
@pass_invocation
@example("riverkeep backfill --before-stream wiki/*.jsonl.gz", "zcat old.gz | riverkeep backfill --name old -")
def backfill(
    invocation: Invocation,
    /,
    *,
    paths: tuple[str, ...],
    before_stream: bool,
    like: str | None,
    format_: str | None,
    split: "Split",
    name: str,
    ended: bool,
    as_json: bool,
    **fields: str | None,
) -> int:
    """Take in text from files (plain text, JSON lines, Parquet; `-` for stdin), also while the daemon runs.

    Compressed files (gzip, bzip2, xz, Zstandard, LZ4) and UTF-16 are read as they are. Stopped anywhere, the same
    command goes on where it stopped; what is stored is not stored twice. A file that still grows can be given again
    and again: what has no end yet waits for it. With
    --before-stream the text becomes replay, and part of it the anchor slice on which general ability is measured.

    JSON records have the fields of the topics in the settings (text_field, key_field, …): where topics differ, say
    which with --like. A field that is named here wins. Text without a key cannot be found by `riverkeep forget`.
    """
    from daemon.control.asker import whose_word
    from daemon.ingestion.backfill import backfill as read
    from daemon.ingestion.backfill_fields import describe
    from daemon.ingestion.backfill_plan import BackfillPlan

    plan = BackfillPlan(
        paths=paths,
        fields={name: value for name, value in fields.items() if value is not None},
        like=like,
        format=format_,
        before_stream=before_stream,
        how=split,
        name=name,
        ended=ended,
        who=whose_word(),
    )
    settings = invocation.settings()

    def tell_fields(meant: "Fields") -> None:
        if not as_json:
            say(f"JSON records: {describe(meant)}.{'' if 'key_field' in meant else f' {NO_KEY_FIELD}'}")

    with _bar(paths) as on_progress:
        outcome = read(settings, plan, on_progress, tell_fields)
    if as_json:
        print_json(outcome.as_facts())
    else:
        counted = (f"{number:,} {what.replace('_', ' ')}" for what, number in outcome.totals.items() if number)
        click.echo(", ".join(counted) or "Nothing new.")
        if outcome.without_key:
            say(f"{outcome.without_key:,} of the documents have no key: `riverkeep forget` cannot find them.")
        for path, size in outcome.waiting.items():
            say(f"{path}: the last {size:,} bytes wait: {WAITS}")
    for error in outcome.errors:
        say(f"riverkeep: {error}")
    return ExitCode.FAILED if outcome.errors else ExitCode.OK


@contextmanager
def _bar(paths: tuple[str, ...]) -> Iterator["OnProgress"]:
    """A progress bar for each file on a terminal's standard error; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        # Started with its own first batch, or each would show the time since the command began.
        tasks = {path: progress.add_task(_short(path), total=_size(path), start=False) for path in paths}

        def on_progress(path: str, position: int) -> None:
            progress.start_task(tasks[path])
            progress.update(tasks[path], completed=position)

        yield on_progress


def _short(path: str) -> str:
    from streams.files.opened_file import shown_path

    return "standard input" if path == "-" else shown_path(Path(path).name)


def _size(path: str) -> int | None:
    """Bytes to read; None where they are compressed or unknown."""
    from streams.unpacking import is_packed

    file = Path(path)
    try:
        # Of a pipe what was read here would be gone.
        return None if path == "-" or not file.is_file() or is_packed(file) else file.stat().st_size
    except OSError:
        return None
