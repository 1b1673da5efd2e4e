"""Responses as JSON, with the generation that they come from."""

from typing import Any, Final

import orjson
from starlette.responses import Response

from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from serving.guard import GENERATION_HEADER, error_response

# nginx's number; HTTP has none for an answer that nobody is there to get.
CLIENT_GONE: Final = 499


def json_response(values: dict[str, Any], *, status: int = 200, generation: LoadedGeneration | None = None) -> Response:
    """The values as JSON; the header names the generation that is given."""
    headers = {GENERATION_HEADER: str(generation.number)} if generation else None
    # Generations that failed are listed by number.
    body = orjson.dumps(values, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def nobody_left() -> Response:
    """An answer that nobody reads; its status is for the counter."""
    return error_response(RequestError("the client went away", status=CLIENT_GONE))
