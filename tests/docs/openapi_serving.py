"""The OpenAPI document of serving, made of the models that requests are read by.

python -m tests.docs.openapi_serving > docs/openapi-serving.json
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from serving.addresses import CANARY_ROUTE, MODEL_ROUTE, ROUTES, WATCHED_TEXT_ROUTE
from serving.answers.openai import ChatRequest, ClassifyRequest, CompletionRequest
from serving.guard import GENERATION_HEADER
from serving.routes.feedback import FeedbackRequest

Schema = dict[str, Any]
ASKED_BY_THE_DAEMON: Final = frozenset({CANARY_ROUTE, WATCHED_TEXT_ROUTE})
"""Routes that are for the daemon beside it, and may change with it."""
TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
ANYTHING: Final[Schema] = {"type": "object", "additionalProperties": True}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _or_none(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Mapping[str, Schema], **more: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


STOPS: Final = {"anyOf": [TEXT, _list(TEXT), {"type": "null"}]}
WIDE: Final[Mapping[str, Schema]] = {
    "prompt": {"anyOf": [TEXT, _list(TEXT), _list(WHOLE), _list(_list(WHOLE))]},
    "messages": _list(_object({"role": TEXT}, content={}, tool_calls={}, tool_call_id=TEXT, name=TEXT)),
    "input": {"anyOf": [TEXT, _list(TEXT)]},
    "stop": STOPS,
    "logit_bias": _or_none({"type": "object", "additionalProperties": NUMBER}),
    "response_format": _or_none(ANYTHING),
    "tools": _or_none(_list(ANYTHING)),
    "tool_choice": {"anyOf": [TEXT, ANYTHING, {"type": "null"}]},
    "user": {},
}
"""What a request writes where the model of its body has what is made of it."""
USAGE: Final = _object(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), WHOLE))
FINISH: Final = _or_none(TEXT)


def _answer(kind: str, choice: Schema) -> Schema:
    """What answers have in common."""
    return _object(
        {
            "id": TEXT,
            "object": {"const": kind},
            "created": WHOLE,
            "model": TEXT,
            "system_fingerprint": TEXT,
            "choices": _list(choice),
            "usage": _ref("Usage"),
        }
    )


SCHEMAS: Final[Mapping[str, Schema]] = {
    "Error": _object(
        {"error": _object({"message": TEXT, "type": TEXT, "param": _or_none(TEXT), "code": _or_none(TEXT)})}
    ),
    "Usage": USAGE,
    "Completion": _answer(
        "text_completion", _object({"index": WHOLE, "text": TEXT, "finish_reason": FINISH}, logprobs={})
    ),
    "ChatCompletion": _answer(
        "chat.completion",
        _object(
            {
                "index": WHOLE,
                "message": _object({"role": TEXT, "content": _or_none(TEXT)}, tool_calls=_list(ANYTHING)),
                "finish_reason": FINISH,
            },
            logprobs={},
        ),
    ),
    "Model": _object(
        {"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT, "generation": WHOLE},
        system_fingerprint=TEXT,
        context_length=WHOLE,
    ),
    "Models": _object({"object": {"const": "list"}, "data": _list(_ref("Model"))}),
    "Classification": _object(
        {
            "data": _list(
                _object(
                    {"id": TEXT, "index": WHOLE, "probabilities": {"type": "object", "additionalProperties": NUMBER}},
                    label=TEXT,
                    labels=_list(TEXT),
                    truncated={"type": "boolean"},
                )
            )
        }
    ),
    "Generation": _object({"generation": _or_none(WHOLE), "digest": _or_none(TEXT), "trouble": TEXT}),
    "Standing": _object({}, ready={"type": "boolean"}, healthy={"type": "boolean"}, generation=_or_none(WHOLE)),
    "Feedback": ANYTHING,
}
GETS: Final[Mapping[str, tuple[str, str, str]]] = {
    "/healthz": ("healthz", "Whether the process is well; 503 where it is to be replaced.", "Standing"),
    "/readyz": ("readyz", "Whether it answers; 503 where not.", "Standing"),
    "/v1/models": ("models", "The one model, with its generation.", "Models"),
    MODEL_ROUTE: ("model", "The one model by its name.", "Model"),
    "/v1/riverkeep/generation": ("generation", "Which generation serves.", "Generation"),
}
POSTS: Final[Mapping[str, tuple[str, str, type[BaseModel], str]]] = {
    "/v1/completions": ("complete", "Go on with a text; `stream` sends events.", CompletionRequest, "Completion"),
    "/v1/chat/completions": ("chat", "Answer a chat; `stream` sends events.", ChatRequest, "ChatCompletion"),
    "/v1/classify": ("classify", "Label texts.", ClassifyRequest, "Classification"),
    "/v1/feedback": ("feedback", "Say what an answer was worth, by its id.", FeedbackRequest, "Feedback"),
}
OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def document() -> dict[str, Any]:
    """All of it."""
    schemas: dict[str, Schema] = dict(SCHEMAS)
    paths: dict[str, Any] = {"/metrics": {"get": _metrics()}}
    for path, (name, what, answer) in GETS.items():
        paths[path.replace(":path", "")] = {"get": _get(path, name, what, answer)}
    for path, (name, what, body, answer) in POSTS.items():
        schemas[body.__name__] = _request(body, schemas)
        paths[path] = {"post": _post(name, what, body.__name__, answer)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Riverkeep's answers",
            "version": "1",
            "description": "What clients ask at `serving.port`; parameters that are refused by name are not listed.",
        },
        "servers": [{"url": "http://127.0.0.1:8400"}],
        "security": [{}, {"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, where serving has some."}
            },
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _metrics() -> dict[str, Any]:
    what = "Figures for Prometheus."
    content = {"text/plain": {"schema": TEXT}}
    return {
        "operationId": "metrics",
        "summary": what,
        "security": [],
        "responses": {"200": {"description": what, "content": content}},
    }


def _request(body: type[BaseModel], schemas: dict[str, Schema]) -> Schema:
    """The schema of a body: of what is read in more than one way, all of them."""
    schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schema.pop("$defs", {})
    for name in schema["properties"].keys() & WIDE.keys():
        if body is not FeedbackRequest:
            schema["properties"][name] = WIDE[name]
    return schema


def _responses(what: str, answer: str) -> dict[str, Any]:
    header = {GENERATION_HEADER: {"description": "The generation that answered.", "schema": WHOLE}}
    error = {"description": "What went wrong, as OpenAI tells it.", "content": _json("Error")}
    return {"200": {"description": what, "headers": header, "content": _json(answer)}, "default": error}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _get(path: str, name: str, what: str, answer: str) -> dict[str, Any]:
    said: dict[str, Any] = {"operationId": name, "summary": what, "responses": _responses(what, answer)}
    if path in OPEN:
        del said["responses"]["200"]["headers"]
        said["responses"]["503"] = {"description": "No.", "content": _json(answer)}
        said["security"] = []
    if path == MODEL_ROUTE:
        said["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": TEXT}]
    return said


def _post(name: str, what: str, body: str, answer: str) -> dict[str, Any]:
    responses = _responses(what, answer)
    if answer in ("Completion", "ChatCompletion"):
        responses["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    return {
        "operationId": name,
        "summary": what,
        "requestBody": {"required": True, "content": _json(body)},
        "responses": responses,
    }


def documented() -> set[str]:
    """The routes that are in it, as serving names them."""
    return {"/metrics", *GETS, *POSTS}


def owed() -> set[str]:
    """Those that have to be."""
    return set(ROUTES - ASKED_BY_THE_DAEMON)


def page() -> str:
    """The document as it is written."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
