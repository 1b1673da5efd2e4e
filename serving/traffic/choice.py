"""Which requests a canary answers: a share of the callers, each of whom keeps to one side while it is watched."""

import hashlib
from dataclasses import dataclass
from typing import Final

from serving.errors import RequestError

HEADER: Final = "x-riverkeep-canary"
"""By it who has a key says to be answered by the canary, or not."""
GROUPS: Final = 64
"""Callers are counted in so many groups: answers to one caller rise and fall together, and so do those of a group."""
_WHOLE: Final = 2**64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as that decides who answers.

    Attributes:
        name: the same for all requests that are to stay together; not kept anywhere.
        forced: by the header: True to be answered by the canary, False not to; None: as it falls.
    """

    name: bytes
    forced: bool | None = None

    def falls_to(self, generation: int, share: float) -> bool:
        """Whether a canary that answers a share of the callers, 0 to 1, answers this one.

        Each generation is tried on others, as the number is part of what is hashed: nobody is always the first.
        """
        return self._hash(b"share", generation) < share * _WHOLE

    def group(self, generation: int) -> int:
        """Among which callers it is counted, 0 to GROUPS - 1; whatever the share."""
        return self._hash(b"group", generation) % GROUPS

    def _hash(self, what: bytes, generation: int) -> int:
        digest = hashlib.blake2b(self.name, digest_size=8, person=what, salt=str(generation).encode()[-16:]).digest()
        return int.from_bytes(digest, "big")


def read_forced(value: str | None, *, has_key: bool) -> bool | None:
    """What the header asks for; None where it is not sent.

    Raises:
        RequestError: it says something else, or who sends it has shown no key.
    """
    if value is None:
        return None
    if not has_key:
        raise RequestError(
            f"{HEADER}: only a request with an API key may say which generation answers; leave the header out",
            status=403,
            kind="permission_error",
            code="api_key_needed",
        )
    wish = value.strip().lower()
    if wish not in ("always", "never"):
        raise RequestError(f"{HEADER}: say always or never, not {wish[:40]!r}", code="invalid_header")
    return wish == "always"
