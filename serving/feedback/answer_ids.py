"""Ids of answers that say which generation gave them and when, signed: no record of answers has to be kept."""

import hmac
import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from serving.errors import CannotServe

KEY_NAME: Final = "key"
KEY_BYTES: Final = 32
RANDOM_DIGITS: Final = 18
GROUP_DIGITS: Final = 2
NUMBER_DIGITS: Final = 8
SIGNED_DIGITS: Final = RANDOM_DIGITS + GROUP_DIGITS + 2 * NUMBER_DIGITS
NO_GROUP: Final = 16**GROUP_DIGITS - 1
MAC_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class AnswerOrigin:
    """Where an answer came from.

    Attributes:
        generation: that gave it.
        at: when it was begun, unix seconds.
        group: among which callers it was counted, while a generation was watched; None: among none.
    """

    generation: int
    at: int
    group: int | None = None


class AnswerIds:
    """Makes ids, and tells those that it made from others.

    Args:
        key: all processes that have it know each other's ids.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, generation: int, at: int, group: int | None = None) -> str:
        """The id of an answer, without the prefix of its kind: hex digits. See `AnswerOrigin`."""
        among = f"{NO_GROUP if group is None else group:0{GROUP_DIGITS}x}"
        origin = f"{generation:0{NUMBER_DIGITS}x}{at:0{NUMBER_DIGITS}x}"
        signed = f"{secrets.token_hex(RANDOM_DIGITS // 2)}{among}{origin}"
        return signed + self._mac(signed)

    def origin(self, answer: str) -> AnswerOrigin | None:
        """Where an answer with this id, prefix and all, came from; None: no such id was made here."""
        _, _, unique = answer.rpartition("-")
        signed, mac = unique[:SIGNED_DIGITS], unique[SIGNED_DIGITS:]
        if not (unique.isascii() and hmac.compare_digest(mac, self._mac(signed))):
            return None
        numbers = signed[RANDOM_DIGITS:]
        group, numbers = int(numbers[:GROUP_DIGITS], 16), numbers[GROUP_DIGITS:]
        generation, at = int(numbers[:NUMBER_DIGITS], 16), int(numbers[NUMBER_DIGITS:], 16)
        return AnswerOrigin(generation, at, None if group == NO_GROUP else group)

    def _mac(self, signed: str) -> str:
        return hmac.new(self._key, signed.encode(), sha256).hexdigest()[:MAC_DIGITS]


def key_in(directory: Path) -> bytes:
    """The key that lies in a directory, made where there is none. Several processes may ask at once.

    Raises:
        OSError: it cannot be read, or written.
        CannotServe: it was damaged.
    """
    path = directory / KEY_NAME
    if not path.exists():
        _make(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise CannotServe(f"{path} holds {len(key)} bytes where {KEY_BYTES} were written; remove it: a new one is made")
    return key


def _make(path: Path) -> None:
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Not a rename: of two that make one at once, both are to read the first.
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return
    finally:
        new.unlink()
