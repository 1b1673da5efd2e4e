"""Whether an `Authorization` header bears a secret: the one comparison of both surfaces, in constant time."""

import hashlib
import hmac
from collections.abc import Iterable


def digest_of(secret: str) -> bytes:
    """What a secret is kept as, to be compared with what is sent."""
    # A plain hash: these are long random keys, not passwords, and each request pays for it.
    return _digest(secret.encode())


def bears(authorization: bytes, digests: Iterable[bytes]) -> bool:
    """Whether the header is `Bearer` with one of these secrets; the time does not tell which, or what was wrong."""
    scheme, _, secret = authorization.partition(b" ")
    sent = _digest(secret.strip())
    # All of them, though one is enough: stopping at the first that fits would tell by time which it is.
    matches = [hmac.compare_digest(sent, digest) for digest in digests]
    return scheme.lower() == b"bearer" and any(matches)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
