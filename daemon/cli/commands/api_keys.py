"""Who may ask the model: `keys add`, `keys list`, `keys revoke`."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json, say, show
from daemon.errors import BadRequest, DaemonError, UnknownThing

C = TypeVar("C", bound=Callable[..., Any])

MOST_BYTES: Final = 8192
"""Of a key on standard input."""

file_option = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file with the keys, where it is not the one that serving.api_key_file names.",
)


def limit_options(function: C) -> C:
    """The limits of a key; what is left out is as `[serving.key_limits]` has it."""
    for name, text in (
        ("--tokens-per-day", "Tokens a day (UTC), read and written."),
        ("--at-once", "Answers at once, those that wait included."),
        ("--tokens-per-minute", "Tokens a minute, read and written."),
        ("--requests-per-minute", "Requests a minute."),
    ):
        function = click.option(name, metavar="N", help=text)(function)
    return function


@click.group(short_help="Add, list and revoke API keys.")
@example("riverkeep keys add alice --tokens-per-day 1000000", "riverkeep keys list", "riverkeep keys revoke alice")
def keys() -> None:
    """Add, list and revoke the API keys that open serving's door.

    The file holds their hashes alone; what changes in it, by these commands or by hand, serving takes within a second.
    A limit that is not named is as `[serving.key_limits]` has it, `none` lifts it.
    """


@keys.command(short_help="Make a key and show it, once.")
@click.argument("name")
@limit_options
@click.option("--stdin", "existing", is_flag=True, help="Take a key that is in use already from standard input.")
@file_option
@json_option
@pass_invocation
@example("riverkeep keys add alice --requests-per-minute 60 --at-once 4", "riverkeep keys add bob --stdin < old-key")
def add(
    invocation: Invocation,
    /,
    name: str,
    *,
    file: Path | None,
    existing: bool,
    as_json: bool,
    **limits: str | None,
) -> None:
    """Make a key for NAME and print it: the only time, as the file gets its SHA-256 alone.

    With --stdin a key that its client has already keeps working: where the file has it in plain text, that line becomes
    its hash with the name.
    """
    from serving.door.bearer import INVISIBLE
    from serving.keys.entries import parse_limits
    from serving.keys.key_file import KeyNotAdded, add_key

    path = _file(invocation, file)
    try:
        named = parse_limits(f"{limit}={value}" for limit, value in limits.items() if value is not None)
    except ValueError as error:
        raise BadRequest(f"{error}.") from None
    # What is no UTF-8 becomes signs that no key may have.
    secret = sys.stdin.buffer.read(MOST_BYTES).decode(errors="replace").strip(INVISIBLE) if existing else None
    made = not path.exists()
    with _noted(invocation, "keys_add", path, {"name": name, "limits": named, "in_use_already": existing}):
        try:
            added = add_key(path, name, named, secret)
        except KeyNotAdded as error:
            raise BadRequest(str(error)) from None
    if as_json:
        print_json({"name": name, "file": path, "key": added.secret, "limits": named, "replaced_line": added.replaced})
    elif secret is None:
        click.echo(added.secret)
    if secret is None:
        say(f"{name} is in {path}. The key above is shown this once: only its hash is kept.")
    else:
        was = f", in place of line {added.replaced} in plain text" if added.replaced else ""
        say(f"{name} is in {path}{was}. The key goes on as it is: only its hash is kept.")
    if made and os.geteuid() == 0:
        say(f"{path} is new, and root's alone: give it to the service's user, `chown riverkeep {path}`.")


@keys.command("list", short_help="Show whose keys there are.")
@file_option
@json_option
@pass_invocation
@example("riverkeep keys list", "riverkeep keys list --json | jq '.[].name'")
def list_(invocation: Invocation, *, file: Path | None, as_json: bool) -> None:
    """Show whose keys there are, what limits they have of their own, and what they took today of a daily limit.

    No key can be shown: their hashes are kept.
    """
    from daemon.cli.render.api_keys import print_keys
    from serving.keys.entries import read_entries

    taken = {} if file is not None else _taken_today(invocation)
    facts = [
        {
            "name": entry.name,
            "line": entry.line,
            "revoked": entry.digest is None,
            "plain_text": entry.characters is not None,
            "limits": dict(entry.limits),
            "tokens_today": taken.get(entry.name),
        }
        for entry in read_entries(_file(invocation, file))
    ]
    show(facts, print_keys, as_json=as_json)


@keys.command(short_help="Take a key back.")
@click.argument("name")
@file_option
@json_option
@pass_invocation
@example("riverkeep keys revoke alice")
def revoke(invocation: Invocation, name: str, *, file: Path | None, as_json: bool) -> None:
    """Take the key of NAME out of the file: serving refuses its next request, within a second.

    Answers under way go on to their end. A key in plain text is named by its place, line-3 say.
    """
    from serving.keys.key_file import UnknownKey, revoke_key

    path = _file(invocation, file)
    with _noted(invocation, "keys_revoke", path, {"name": name}):
        try:
            left = revoke_key(path, name)
        except UnknownKey as error:
            raise UnknownThing(str(error)) from None
    if as_json:
        print_json({"name": name, "file": path, "left": left})
        return
    click.echo(f"{name} is out of {path}; {left:,} {'key is' if left == 1 else 'keys are'} left.")
    if not left:
        say("Nobody can ask any more: `riverkeep keys add NAME` makes a key.")


def _taken_today(invocation: Invocation) -> dict[str, int]:
    """Tokens of the day (UTC) by the key's name; of those without a daily limit nothing is kept."""
    from datetime import UTC, datetime

    from serving.keys.usage import KeyUsage

    return KeyUsage(invocation.settings().key_usage).read(datetime.now(UTC).date())


def _file(invocation: Invocation, file: Path | None) -> Path:
    """The file that is meant."""
    if file is not None:
        return file
    path = invocation.settings().serving.api_key_file
    if path is None:
        raise BadRequest(
            "serving.api_key_file is not set, so that nobody needs a key. Name the file there, or here with --file."
        )
    return path


@contextmanager
def _noted(invocation: Invocation, what: str, path: Path, detail: dict[str, Any]) -> Iterator[None]:
    """Note in the audit log what is done to the keys, before it is done; and that it was refused, if so."""
    from serving.errors import ServingError
    from streams.files.opened_file import shown_path

    detail = {**detail, "file": shown_path(path)}
    _note(invocation, what, detail)
    try:
        with _writing(path):
            yield
    except (DaemonError, ServingError, OSError) as error:
        _note(invocation, f"{what}_refused", {**detail, "reason": str(error)})
        raise


def _note(invocation: Invocation, what: str, detail: dict[str, Any]) -> None:
    """A line in the audit log, or a sentence on why there is none: keys are changed without a memory too."""
    from daemon.control.beside_operations import note_command

    settings = invocation.whereabouts()
    missing = "no settings here say where it is" if settings is None else note_command(settings, what, detail)
    if missing:
        say(f"The audit log has no line of this ({what.replace('_', ' ')}): {missing}.")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise DaemonError(
            f"{path} cannot be written: it is mounted read-only, as a Secret of Kubernetes is. Change a copy with "
            "--file, and the Secret from that: docs/keys.md says how."
        ) from error
