"""How many connections may be open before the process runs out of descriptors."""

import resource
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

ENOUGH: Final = 65_536
# For files, the database, brokers, libraries.
KEPT: Final = 256
LEAST: Final = 16


def raise_limit() -> None:
    """Let this process open as many files as the system lets it by itself, within reason."""
    # The soft limit is 1024 by custom, for programs that use select(); any process may raise it up to the hard one.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def affordable(connections: int) -> int:
    """So many connections, or fewer where the limit of open files has no room for them; that is logged."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or connections <= soft - KEPT:
        return connections
    most = max(LEAST, soft - KEPT)
    _log.warning(
        "fewer_connections", wanted=connections, possible=most, remedy=f"raise the limit of open files, now {soft}"
    )
    return most
