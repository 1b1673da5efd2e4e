"""What a listener's host means: who reaches it, and where it is reached from this machine."""

import ipaddress
from typing import Final

EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - never listened on here
_REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - never listened on here


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches a listener on `host`. Names other than localhost: no."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reached_at(host: str) -> str:
    """The host by which this machine reaches a listener; from elsewhere a wildcard is no address."""
    return _REACHED_AT.get(host, host)


def http_address(host: str, port: int, *, tls: bool = False) -> str:
    """`http://host:port`, or `https`, with the brackets that an IPv6 address needs."""
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
