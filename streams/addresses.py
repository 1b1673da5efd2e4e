"""Which words can be a broker's address."""

import re

HIGHEST_PORT = 65_535
LONGEST_HOST = 253
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
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
    return "it has a blank in it" if re.search(r"\s", text) else ""


def _wrong_part(host: str, port: str | None) -> str:
    if not host or len(host) > LONGEST_HOST:
        return "it names no host"
    if port is not None and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= HIGHEST_PORT):
        return f"its port {port!r} is no number from 1 to {HIGHEST_PORT}"
    if ":" not in host and _NAME.fullmatch(host) is None:
        return f"{host!r} can be no host's name"
    return ""


def _parts(text: str) -> tuple[str, str | None]:
    if found := _BRACKETED.fullmatch(text):
        return found[1], found[2]
    if text.count(":") > 1:  # an address of IPv6 without a port
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None
