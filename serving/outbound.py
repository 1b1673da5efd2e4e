"""How engines and webhooks are reached that are not on this machine: by the environment's proxy, in TLS that it trusts.

One rule for all who ask them, so that an address that was found ready is answered from as well.
"""

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx

from serving.errors import ServingError

AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables that name who may have signed a certificate; the first that is set counts."""


class NoAuthorities(ServingError):
    """What the environment names as certificates to trust cannot be read; the message says which."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """How an address is reached.

    Attributes:
        url: of it.
        trusted: whose certificates are believed; of an address without TLS nobody's.
    """

    url: str
    trusted: ssl.SSLContext

    @classmethod
    def to(cls, url: str) -> "Outbound":
        """The way by the environment as it is now.

        Raises:
            NoAuthorities: the file of certificates that it names cannot be read.
        """
        if httpx.URL(url).scheme != "https":
            # To read the authorities takes tens of milliseconds.
            return cls(url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        try:
            return cls(url, httpx.create_ssl_context())
        except (OSError, ssl.SSLError) as error:
            named = next((f"{name}={os.environ[name]}" for name in AUTHORITIES if os.environ.get(name)), "certifi")
            why = f"the certificates to trust ({named}) cannot be read: {error}"
            raise NoAuthorities(f"{why}; name a file of them, as PEM, that this process may read") from error

    def options(self) -> dict[str, Any]:
        """What an HTTP client is made with."""
        # A proxy is for addresses that are not on this machine.
        return {"verify": self.trusted, "trust_env": not is_here(self.url)}


def is_here(url: str) -> bool:
    """Whether an address is one of this machine's own, on loopback."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(url: str) -> str:
    """An address for logs: without what may hold a token, which is its path, its query and its user."""
    at = httpx.URL(url)
    port = "" if at.port is None else f":{at.port}"
    return f"{at.scheme}://{at.host}{port}/…"


def in_words(error: httpx.HTTPError, url: str) -> str:
    """Why an address could not be reached, for a person; nothing of it was said by a client.

    Args:
        error: of the HTTP client.
        url: the address.
    """
    way = _proxy(url)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            who = "SSL_CERT_FILE names a file of certificates to trust"
            return f"its certificate is not trusted here ({cause.verify_message}){way}; {who}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS could be spoken with it ({cause.reason or cause}){way}; is its address https://?"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refused: {error}{way}"
    return f"{type(error).__name__}{way}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _proxy(url: str) -> str:
    """How a proxy was involved, as the end of a sentence; not its address, which may hold a password."""
    at = httpx.URL(url)
    if is_here(url) or proxy_bypass(at.host):
        return ""
    named = next((kind for kind in (at.scheme, "all") if kind in getproxies()), None)
    return "" if named is None else f", by way of the proxy that {named.upper()}_PROXY names"
