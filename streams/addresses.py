"""Which words can be a broker's address."""

import ipaddress
import re

HIGHEST_PORT = 65_535
LONGEST_HOST = 253
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_PORT_BEHIND_IPV6 = re.compile(r"([0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w+)?):([0-9]{4,5})")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::(.*))?")


def why_no_address(text: str) -> str:
    """Why `host:port` cannot be reached whatever listens where; empty where it can be. The port may be left out."""
    return _written_otherwise(text) or _wrong_part(*_parts(text))


def _written_otherwise(text: str) -> str:
    if not text.strip():
        return "it is empty: write host:port"
    if "," in text:
        listed = ", ".join(f'"{part.strip()}"' for part in text.split(","))
        return f"one address stands between two quotes: write [{listed}]"
    if "://" in text:
        return f"there is no protocol before it: write {text.partition('://')[2] or 'host:port'!r}"
    if "@" in text:
        return f"a login stands in settings of its own: write {text.rpartition('@')[2]!r}"
    return "it has a blank in it" if re.search(r"\s", text) else _oddly_bracketed(text)


def _oddly_bracketed(text: str) -> str:
    if text.startswith("[") and ":" not in text.partition("]")[0]:
        return "brackets are for addresses of IPv6"
    if match := _PORT_BEHIND_IPV6.fullmatch(text):
        return f"write '[{match[1]}]:{match[2]}', or '[{text}]' where that is no port"
    return ""


def _wrong_part(host: str, port: str | None) -> str:
    if not host or len(host) > LONGEST_HOST:
        return "it names no host"
    # Six digits are enough to be too many, and of thousands Python's int raises.
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= HIGHEST_PORT):
        return f"its port {port!r} is no number from 1 to {HIGHEST_PORT}"
    return why_no_host(host)


def why_no_host(host: str) -> str:
    """Why a host's name or address can be none; empty where it can."""
    if ":" not in host and re.fullmatch(r"[0-9.]+", host) is None:
        return "" if _NAME.fullmatch(host) else f"{host!r} can be no host's name"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{host!r} is no address of IPv4 or IPv6"
    return ""


def _parts(text: str) -> tuple[str, str | None]:
    if match := _BRACKETED.fullmatch(text):
        return match[1], match[2]
    if text.count(":") > 1:  # an address of IPv6 without a port
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None
