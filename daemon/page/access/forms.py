"""What a form sent: bounded, and only where it was filled in on a page of this very address."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from daemon.control.arguments import LONGEST_KEY_BODY_BYTES
from daemon.errors import BadRequest

MOST_BYTES: Final = 64 * 1024
LONGEST_KEY_FORM_BYTES: Final = 3 * LONGEST_KEY_BODY_BYTES + MOST_BYTES
"""Of a form with a person's key, as long as one in a request's body; each byte may be written as three."""
MOST_FIELDS: Final = 600
"""A page of documents has a box to tick for each."""
KIND: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request, *, most_bytes: int = MOST_BYTES) -> dict[str, str]:
    """The fields of a form of at most so many bytes; of a name that comes again the values, with commas between them.

    Raises:
        BadRequest: it is none, or larger than any of ours.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != KIND:
        raise BadRequest(f"This address takes what a form sends ({KIND}).")
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most_bytes:
            hint = "; name so long a key by its hash" if most_bytes == LONGEST_KEY_FORM_BYTES else ""
            raise BadRequest(f"The form is larger than {most_bytes:,} bytes{hint}.")
    try:
        pairs = parse_qsl(content.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise BadRequest("What was sent is no form that can be read.") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: ",".join(values) for name, values in fields.items()}


def is_from_here(headers: Mapping[str, str]) -> bool:
    """Whether a page of this address sent the request, as far as the browser says; old ones say nothing."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    # Where no page may tell where it is, as ours, browsers say `null`.
    return origin in (None, "null") or urlsplit(origin).netloc == headers.get("host", "")


def local_address(address: str) -> str:
    """Where to go on after signing in: an address of this page, whatever was sent."""
    is_local = address.startswith("/") and address[1:2] not in ("/", "\\")
    return address if is_local and address.isprintable() and len(address) <= 2_000 else "/"
