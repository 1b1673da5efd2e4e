"""The OpenAPI document of the admin surface, made of the table of operations.

python -m tests.docs.openapi_admin > docs/openapi-admin.json
"""

import inspect
import json
import re
from typing import Any, Final, get_type_hints

from daemon.control.asker import HEADER
from daemon.control.operations import OPERATIONS, Operation
from daemon.page.page_lines import PageLine
from daemon.page.pages import PAGES
from tests.docs.json_schemas import Schema, schema_of

SECURITY: Final = {"token": {"type": "http", "scheme": "bearer", "description": "The admin token."}}
ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string", "description": "For a person."}},
        }
    },
}
VERSION: Final = "3.1.0"


def document() -> dict[str, Any]:
    """All of it."""
    named: dict[str, Schema] = {"Error": ERROR}
    paths: dict[str, dict[str, Any]] = {"/metrics": {"get": _metrics()}}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, named)
    for page in PAGES:
        if page.answer is not None:
            paths.setdefault(page.path, {})["get"] = _of_page(page, named)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Riverkeep's admin surface",
            "version": "1",
            "description": "What can be asked of the daemon at `admin.port`. A browser gets pages there.",
        },
        "servers": [{"url": "http://127.0.0.1:8710"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"securitySchemes": SECURITY, "schemas": dict(sorted(named.items()))},
    }


def _metrics() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    what = "Figures for Prometheus; OpenMetrics to who asks for it."
    return {
        "operationId": "metrics",
        "summary": what,
        "security": [],
        "responses": {"200": {"description": what, "content": text}},
    }


def _described(operation: Operation, named: dict[str, Schema]) -> dict[str, Any]:
    summary = inspect.cleandoc(operation.ask.__doc__ or "").partition("\n")[0]
    answer = _json(schema_of(get_type_hints(operation.ask)["return"], named))
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": summary,
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status): {"description": summary, "content": answer},
            "default": _error("What went wrong, in a sentence for a person."),
        },
    }
    if operation.probe:
        said |= {"security": [{}, {"token": []}]}
        said["responses"]["503"] = {"description": "No; the same object says why.", "content": answer}
    if operation.has_body:
        said["requestBody"] = {"required": _needs_body(operation), "content": _json(_fields(operation))}
    return said


def _of_page(page: PageLine, named: dict[str, Schema]) -> dict[str, Any]:
    """What a page's address answers to whoever asks for no page: a program with the token."""
    assert page.answer is not None
    # What it says behind a semicolon is of the form that a browser gets.
    first = inspect.cleandoc(page.arguments.__doc__ or "").partition("\n")[0]
    summary = first.partition(";")[0].removesuffix(".") + "."
    fields = page.arguments.model_json_schema(by_alias=True, mode="validation")["properties"]
    return {
        "operationId": page.path.strip("/").replace("/", "_") + "_page",
        "summary": summary,
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": _of_query(field)}
            for name, field in fields.items()
        ],
        "responses": {
            "200": {"description": summary, "content": _json(schema_of(get_type_hints(page.answer)["return"], named))},
            "default": _error("What went wrong, in a sentence for a person."),
        },
    }


def _of_query(field: Schema) -> Schema:
    """A field that an address may leave out, and never names as null."""
    (some,) = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    return {word: value for word, value in some.items() if word != "title" and value is not None}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": _json({"$ref": "#/components/schemas/Error"})}


def _of_path(operation: Operation) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", operation.path))


def _fields(operation: Operation) -> Schema:
    """What a body or a query may hold: all but what stands in the path."""
    schema = operation.arguments.model_json_schema(by_alias=True, mode="validation")
    assert "$defs" not in schema, operation.name
    in_path = _of_path(operation)
    schema["properties"] = {
        name: {word: value for word, value in field.items() if word != "title"}
        for name, field in schema["properties"].items()
        if name not in in_path
    }
    schema["required"] = sorted(set(schema.get("required", ())) - in_path)
    return {word: value for word, value in schema.items() if word != "title" and value != []}


def _needs_body(operation: Operation) -> bool:
    return bool(_fields(operation).get("required"))


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    whole = {"type": "integer", "minimum": 0}
    found = [{"name": name, "in": "path", "required": True, "schema": whole} for name in sorted(_of_path(operation))]
    if operation.method == "GET" and operation.arguments.names():
        fields = _fields(operation)
        found += [
            {"name": name, "in": "query", "required": name in fields.get("required", ()), "schema": field}
            for name, field in fields["properties"].items()
        ]
    if operation.writes:
        who = "Who asks, for the audit log."
        found.append(
            {"name": HEADER, "in": "header", "required": False, "description": who, "schema": {"type": "string"}}
        )
    return found


def page() -> str:
    """The document as it is written."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
