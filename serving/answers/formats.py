"""What an answer is held to: the `response_format` of a request."""

from typing import Any, Final

import orjson

from serving.answers.fields import refuse, require_shallow
from serving.answers.json_schemas import holdable
from serving.errors import RequestError

MOST_SCHEMA_BYTES: Final = 65_536
SCHEMA_PLACE: Final = "response_format.json_schema.schema"
KINDS: Final = '{"type": "json_object"} or {"type": "json_schema", "json_schema": {"name": "…", "schema": {…}}}'


def read_format(value: object) -> str | None:
    """The schema that answers are held to, as JSON; None: they are not.

    Raises:
        RequestError: it is no format that can be held; names the place.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        refuse("response_format", f"{KINDS} is needed")
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return '{"type":"object"}'
    if kind != "json_schema":
        why = f"response_format.type: {KINDS} is needed"
        raise RequestError(why, code="unsupported_parameter", param="response_format.type")
    return _schema(value.get("json_schema"))


def _schema(value: Any) -> str:
    if not isinstance(value, dict) or "schema" not in value:
        refuse("response_format.json_schema", "an object with name and schema is needed")
    for name in value:
        if name not in ("name", "schema", "strict", "description"):
            refuse(f"response_format.json_schema.{name[:64]}", "this is no part of it; leave it out")
    if len(require_shallow(SCHEMA_PLACE, value["schema"])) > MOST_SCHEMA_BYTES:
        refuse(SCHEMA_PLACE, f"a schema has {MOST_SCHEMA_BYTES} bytes at most")
    return orjson.dumps(holdable(value["schema"], SCHEMA_PLACE)).decode()
