"""What an `Authorization` header bears, and whether it is the secret: for both surfaces."""

import hashlib
import hmac
import string
from collections.abc import Iterable
from typing import Final

INVISIBLE: Final = string.whitespace + "\x85\xa0\u1680\u2028\u2029\u200b\u200c\u200d\u2060\ufeff\x00\x1a"
"""What editors, forms and other systems leave around a secret, and nobody sees."""


def digest_of(secret: str) -> bytes:
    """What a secret is kept as, to be compared with what is sent: its SHA-256."""
    # A plain hash: a slow or salted one is for passwords, which can be guessed. Nobody guesses 32 random bytes, and
    # each request pays for it.
    return _digest(secret.encode())


def sent_digest(authorization: bytes) -> bytes | None:
    """Of the secret that a header sends as `Bearer`, what it would be kept as; None where it sends none."""
    scheme, _, secret = authorization.partition(b" ")
    return _digest(secret.strip()) if scheme.lower() == b"bearer" else None


def bears(authorization: bytes, digests: Iterable[bytes]) -> bool:
    """Whether the header is `Bearer` with one of these secrets; the time does not tell which, or what was wrong."""
    sent = sent_digest(authorization) or b""
    # All of them, though one is enough: stopping at the first that fits would tell by time which it is.
    matches = [hmac.compare_digest(sent, digest) for digest in digests]
    return any(matches)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
