"""Whose text a command is about: a key as it is typed, from standard input, from a file, or by its hash."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from memory.samples.records import KeyHash

P = ParamSpec("P")
R = TypeVar("R")

STDIN: Final = "-"
HASH_DIGITS: Final = 16
# Some editors put it before UTF-8, and nobody sees it: the key would be another one.
_BOM: Final = b"\xef\xbb\xbf"


def named_key(function: Callable[P, R]) -> Callable[P, R]:
    """The three ways to name a key: `key`, `key_file`, `key_hash`; `choose_key` tells which one was meant."""
    return click.argument("key", required=False)(key_options(function))


def key_options(function: Callable[P, R]) -> Callable[P, R]:
    """Those of them that are options: `key_file`, `key_hash`."""
    function = click.option(
        "--key-hash", metavar="HEX", help="The key by its hash of 16 digits, as `riverkeep memory find` shows it."
    )(function)
    return click.option(
        "--key-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file that holds the key, which may be long or binary; one line end at its end is not part of it.",
    )(function)


def choose_key(key: str | None, key_file: Path | None, key_hash: str | None) -> "str | KeyHash":
    """The key that is meant. Raises UsageError where it is none, or more than one."""
    if sum(way is not None for way in (key, key_file, key_hash)) != 1:
        raise click.UsageError("Name one key: KEY, --key-file or --key-hash.")
    if key_hash is not None:
        return _from_hash(key_hash)
    return _from_file(key_file) if key_file is not None else key_from(key or "")


def key_from(argument: str) -> str:
    """The key that is named; `-`: on standard input, so that it stays out of the list of processes."""
    # The bytes that were typed: what is no UTF-8 among them became lone surrogates.
    raw = sys.stdin.buffer.read().removesuffix(b"\n") if argument == STDIN else os.fsencode(argument)
    if not raw:
        raise click.UsageError("The key is empty.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise click.UsageError("The key is not UTF-8: write a binary key as 0x and its hex digits.") from None


def _from_file(path: Path) -> str:
    """The key in a file: as a document bears it, so that a binary one is its hex digits."""
    from streams.document import key_text

    try:
        raw = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise click.UsageError(f"--key-file {path} cannot be read: {error.strerror}.") from error
    key = key_text(raw.removesuffix(b"\n").removesuffix(b"\r"))
    if key is None:
        raise click.UsageError(f"The key in {path} is empty.")
    return key


def _from_hash(digits: str) -> "KeyHash":
    from memory.samples.records import KeyHash

    try:
        return KeyHash.from_hex(digits)
    except ValueError as error:
        raise click.UsageError(f"--key-hash: {error}.") from None


def shorten_key(key: "str | KeyHash") -> str:
    """A key in a question to a person: cut where it is long."""
    if not isinstance(key, str):
        return f"the key with hash {key}"
    return repr(key) if len(key) <= 100 else f"{key[:60]!r}… ({len(key):,} characters)"
