"""What an engine, or a gateway before it, says of a request that it does not answer, as clients are told it here."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import orjson

from serving.errors import REFUSED_BY_ENGINE, EngineBusy, EngineLost, Failed, RequestError

LONGEST_ECHO: Final = 500
UNTIL_IT_IS_BACK_S: Final = 5
UNTIL_IT_HAS_ROOM_S: Final = 1
LONGEST_WAIT_S: Final = 86_400
AWAY: Final = frozenset({408, 502, 503, 504})
"""So a gateway says that no engine is there, or none that listens."""
OF_THE_CLIENT: Final = frozenset({400, 413, 422})
"""What a client can mend. A key that is not taken, a model that is not known, and all else is this side's fault."""


def refusal(status: int, content: bytes, retry_after: str | None) -> RequestError:
    """The error that a client is told.

    Args:
        status: that the request was answered with.
        content: of that answer.
        retry_after: its header of that name.
    """
    if status in AWAY:
        return EngineLost(f"its address answers {status}", _wait_s(retry_after, UNTIL_IT_IS_BACK_S))
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return EngineBusy(_wait_s(retry_after, UNTIL_IT_HAS_ROOM_S))
    if status >= 500:
        return Failed("the engine failed on this request; its log says why")
    message = _words(content)[:LONGEST_ECHO]
    if status not in OF_THE_CLIENT:
        return Failed(f"the engine refuses this side ({status}): {message}")
    # Other words for one thing: a body whose shape is right, and whose content is not.
    told = 400 if status == httpx.codes.UNPROCESSABLE_ENTITY else status
    return RequestError(message, status=told, code=REFUSED_BY_ENGINE)


def _words(content: bytes) -> str:
    try:
        values = orjson.loads(content)
        error = values.get("error", values)
        return str(error.get("message") or error)
    except (orjson.JSONDecodeError, AttributeError):
        return content.decode(errors="replace")


def _wait_s(told: str | None, otherwise: int) -> int:
    """The seconds of a `Retry-After`, which may be a number or a date; at least 1, and at most a day."""
    if told is None:
        return otherwise
    # Six digits are beyond a day; of thousands Python refuses to make a number at all.
    if told.isascii() and told.isdecimal():
        return min(max(1, int(told[:6])), LONGEST_WAIT_S)
    try:
        left = parsedate_to_datetime(told) - datetime.now(UTC)
    # A date without a zone is none that can be compared.
    except (ValueError, TypeError):
        return otherwise
    return min(max(1, int(left.total_seconds()) + 1), LONGEST_WAIT_S)
