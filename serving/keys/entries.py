"""The file with the API keys: what a line of it says. Pure but for reading."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from serving.door.bearer import INVISIBLE, digest_of
from serving.errors import CannotServe
from serving.keys.limits import LIMITS, MOST, KeyLimits

COMMENT: Final = "#"
HASH: Final = "sha256:"
REVOKED: Final = "revoked"
UNLIMITED: Final = "none"
MOST_KEYS: Final = 10_000
"""Of one file: each has series of its own in the metrics."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PLACE: Final = re.compile(r"line-[0-9]+")
_DIGEST: Final = re.compile(HASH + "[0-9a-fA-F]{64}")
SHAPE: Final = "NAME sha256:HASH, and limits such as requests_per_minute=60 behind it"
_NO_KEY: Final = (
    f"is no API key: a line is {SHAPE}; or one key in plain text, of letters, digits and signs of ASCII without "
    "blanks; write what is none behind a # at the line's start"
)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key of the file.

    Attributes:
        name: whose it is; of a key in plain text its place, such as line-3.
        digest: SHA-256 of the key; None: it was revoked, and its line says that the file is to let nobody in.
        limits: those that the entry names itself; None: it has no such limit.
        line: its number in the file, from 1.
        characters: of a key in plain text, how many it has; None where the file has only its hash.
    """

    name: str
    digest: bytes | None
    limits: Mapping[str, int | None] = field(default_factory=dict)
    line: int = 0
    characters: int | None = None


def read_entries(path: Path) -> list[KeyEntry]:
    """The keys of a file, in its order. Empty lines and those that begin with `#` are none.

    Raises:
        CannotServe: the file cannot be read, holds no key, or a line that can be none.
    """
    try:
        # Some editors begin a file with a byte order mark, which would become part of the first key.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotServe(f"serving.api_key_file {path} cannot be read: {error}") from error
    try:
        entries = parse_entries(text)
    except ValueError as error:
        raise CannotServe(f"serving.api_key_file {path}: {error}") from None
    if not entries:
        raise CannotServe(f"serving.api_key_file {path} holds no key; write one into it, or name no file")
    return entries


def parse_entries(text: str) -> list[KeyEntry]:
    """The keys of a file's text; none where it has none.

    Raises:
        ValueError: with the line that can be none. Nothing of it is repeated: it may hold a key.
    """
    # Not splitlines, which ends lines at more characters than editors do: the number in an error would be another.
    lines = {number: line.strip(INVISIBLE) for number, line in enumerate(text.split("\n"), start=1)}
    entries = [_entry(line, number) for number, line in lines.items() if line and not line.startswith(COMMENT)]
    if len(entries) > MOST_KEYS:
        raise ValueError(f"it holds {len(entries):,} keys, and {MOST_KEYS:,} is the most")
    _require_different(entries)
    return entries


def _require_different(entries: Iterable[KeyEntry]) -> None:
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    # A key in plain text may be there twice, and beside its own hash while it is being hashed.
    for entry in (entry for entry in entries if entry.characters is None):
        if entry.name in names:
            raise ValueError(f"line {entry.line} has the name of line {names[entry.name]}; give it another")
        names[entry.name] = entry.line
        if entry.digest is not None:
            if entry.digest in digests:
                raise ValueError(f"line {entry.line} has the key of line {digests[entry.digest]}; take one of them out")
            digests[entry.digest] = entry.line


def _entry(line: str, number: int) -> KeyEntry:
    name, *words = line.split()
    if not words:
        return _plain(line, number)
    if words != [REVOKED] and not _DIGEST.fullmatch(words[0]):
        raise ValueError(f"line {number} {_NO_KEY}")
    try:
        require_name(name)
        limits = parse_limits(words[1:])
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None
    if words == [REVOKED]:
        return KeyEntry(name, None, line=number)
    digest = bytes.fromhex(words[0].removeprefix(HASH))
    return KeyEntry(name, digest, limits, number)


def _plain(key: str, number: int) -> KeyEntry:
    if _DIGEST.fullmatch(key):
        raise ValueError(f"line {number} has a hash and no name: write {SHAPE}")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"line {number} {_NO_KEY}")
    return KeyEntry(f"line-{number}", digest_of(key), line=number, characters=len(key))


def parse_limits(words: Iterable[str]) -> dict[str, int | None]:
    """Limits as an entry names them, each `name=value`; None: the key has no such limit.

    Raises:
        ValueError: with what is wrong.
    """
    limits: dict[str, int | None] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in LIMITS:
            raise ValueError(f"there is a limit that is none of {', '.join(LIMITS)}")
        if name in limits:
            raise ValueError(f"{name} is there twice")
        if value == UNLIMITED:
            limits[name] = None
            continue
        try:
            limits |= KeyLimits.model_validate({name: value}).model_dump(include={name})
        except ValidationError:
            raise ValueError(f"{name} is a whole number from 1 to {MOST:,}, or {UNLIMITED} for no limit") from None
    return limits


def require_name(name: str) -> None:
    """Refuse what cannot be a key's name.

    Raises:
        ValueError: with what one is.
    """
    if _PLACE.fullmatch(name):
        raise ValueError(f"{name} is what a key in plain text is called by its place; choose another name")
    if not _NAME.fullmatch(name):
        raise ValueError("a key's name is up to 64 letters and digits, with . _ @ - between them")


def line_of(entry: KeyEntry) -> str:
    """An entry as a line of the file, without the line's end; its key is known by its hash alone."""
    if entry.digest is None:
        return f"{entry.name} {REVOKED}"
    limits = [f"{name}={UNLIMITED if value is None else value}" for name, value in entry.limits.items()]
    return " ".join((entry.name, HASH + entry.digest.hex(), *limits))
