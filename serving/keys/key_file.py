"""The file with the API keys: a key added, a key revoked. Whoever reads it meanwhile sees the old file or the new."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.door.bearer import INVISIBLE, digest_of
from serving.errors import CannotServe, ServingError
from serving.keys.entries import COMMENT, KeyEntry, line_of, parse_entries, require_name
from serving.keys.whole_file import WholeFile, opened

PREFIX: Final = "rk-"
"""So that a key that lies where it should not is known for one, by people and by scanners."""
RANDOM_BYTES: Final = 32
LEAST_CHARACTERS: Final = 16
PLAIN: Final = "plain-text"
"""What one that had no name is called when it was revoked."""
HEADER: Final = (
    "# API keys: NAME sha256:HASH, and limits such as requests_per_minute=60 behind it.\n"
    "# `riverkeep keys add NAME` adds one; serving takes what changes here within a second.\n"
)


class KeyNotAdded(ServingError):
    """The name, or the key, is there already, or cannot be one."""


class UnknownKey(ServingError):
    """No key has this name."""


@dataclass(frozen=True, slots=True)
class AddedKey:
    """A key that was added.

    Attributes:
        secret: the key itself, which is nowhere else.
        replaced: the line on which it was in plain text; None where it is new.
    """

    secret: str
    replaced: int | None


def make_secret() -> str:
    """A new key: 256 random bits, so that nobody finds it by trying, though its hash be known."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def add_key(path: Path, name: str, limits: Mapping[str, int | None], secret: str | None = None) -> AddedKey:
    """Add a key, of which the file gets the hash alone; the file is made where there is none.

    Args:
        name: whose it is.
        limits: those that it is to have of its own.
        secret: a key that is in use already; None makes a new one.

    Raises:
        KeyNotAdded: name or key is there already, or is none.
        CannotServe: what the file holds cannot be read.
        OSError: it cannot be written.
    """
    try:
        require_name(name)
    except ValueError as error:
        raise KeyNotAdded(f"{error}.") from None
    if secret is None:
        secret = make_secret()
    _require_strong(secret)
    digest = digest_of(secret)
    with _opened(path, make=True) as file:
        entries = file.entries()
        _require_new(entries, name, digest)
        # In plain text it may be there more than once; one that was revoked makes place.
        gone = [each.line for each in entries if each.digest in (digest, None)]
        place = min((each.line for each in entries if each.digest == digest), default=None)
        file.write(_changed(file, entries, gone, line_of(KeyEntry(name, digest, limits)), place))
    return AddedKey(secret, place)


def revoke_key(path: Path, name: str) -> int:
    """Take a key out; returns how many keys are left. Where none is, the file says so, and lets nobody in.

    Raises:
        UnknownKey: there is none of this name.
        CannotServe: what the file holds cannot be read.
        OSError: it cannot be written, or is not there.
    """
    with _opened(path, make=False) as file:
        entries = file.entries()
        found = next((each for each in entries if each.name == name and each.digest is not None), None)
        if found is None:
            raise UnknownKey(f"{path} has no key of the name {name}; `riverkeep keys list` shows which there are.")
        # Wherever it is: a key in plain text may be there twice.
        gone = [each.line for each in entries if each.digest == found.digest]
        left = {each.digest for each in entries} - {found.digest, None}
        # A file without any key is one that was cut off, and changes nothing: this one is to change something.
        closed = None if left else line_of(KeyEntry(found.name if found.characters is None else PLAIN, None))
        file.write(_changed(file, entries, gone, closed))
    return len(left)


def _changed(
    file: "_KeyFile", entries: list[KeyEntry], gone: list[int], new: str | None, place: int | None = None
) -> list[str]:
    """The file's lines without some, and with a new one: at a place, else at the end."""
    lines = dict(enumerate(file.lines or HEADER.splitlines(), start=1))
    # Keys in plain text are called by their place: those behind stay where they are.
    plain = [each.line for each in entries if each.characters is not None and each.line not in gone]
    for number in gone:
        lines[number] = ""
        if number > max(plain, default=0):
            del lines[number]
    if new is not None:
        lines[place or max(lines, default=0) + 1] = new
    return [line for _, line in sorted(lines.items())]


def _require_strong(secret: str) -> None:
    if not (secret.isascii() and secret.isprintable()) or " " in secret or secret.startswith(COMMENT):
        raise KeyNotAdded("a key is letters, digits and signs of ASCII without blanks, and begins with no #.")
    if len(secret) < LEAST_CHARACTERS:
        raise KeyNotAdded(
            f"a key of fewer than {LEAST_CHARACTERS} characters can be guessed, from its hash all the more: "
            "leave --stdin out, and a new one is made."
        )


def _require_new(entries: list[KeyEntry], name: str, digest: bytes) -> None:
    for each in entries:
        if each.name == name and each.digest is not None:
            raise KeyNotAdded(
                f"there is a key of the name {name} already. Choose another name, or take it back first: "
                f"`riverkeep keys revoke {name}`."
            )
        if each.digest == digest and each.characters is None:
            raise KeyNotAdded(f"this key is there already, under the name {each.name}.")


class _KeyFile:
    """The file while nobody else changes it."""

    def __init__(self, path: Path, file: WholeFile) -> None:
        self._path, self._file = path, file
        try:
            self._text = file.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CannotServe(f"{path} cannot be read: {error}") from error
        # As the parser numbers them.
        self.lines = self._text.split("\n")
        while self.lines and not self.lines[-1].strip(INVISIBLE):
            self.lines.pop()

    def entries(self) -> list[KeyEntry]:
        try:
            return parse_entries(self._text)
        except ValueError as error:
            raise CannotServe(f"{self._path}: {error}") from None

    def write(self, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        # What is written is read before anybody else does.
        assert parse_entries(text)
        self._file.replace(text.encode(), durable=True)


@contextmanager
def _opened(path: Path, *, make: bool) -> Iterator[_KeyFile]:
    with opened(path, make=make) as file:
        yield _KeyFile(path, file)
