"""What serving answers is what its OpenAPI document says."""

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serving.engine.loaded import LoadedGeneration
from tests.docs.openapi_serving import WIDE, document
from tests.unit.serving.conftest import Served

Serve = Callable[..., Served]
DOCUMENT = document()
COMPONENTS = {"components": DOCUMENT["components"]}


def requires(name: str, value: Any) -> None:
    """Raise what is wrong with a value by the schema of that name."""
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", **COMPONENTS}).validate(value)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "the state", "max_tokens": 4, "logprobs": 1}),
        ("/v1/completions", {"prompt": ["the state", "a river"], "max_tokens": 2, "stop": ["x"], "n": 2}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "logprobs": True}),
    ],
)
def test_requests_and_their_answers_are_as_described(
    serve: Serve, first: LoadedGeneration, path: str, body: dict[str, Any]
) -> None:
    """Both go by the document, and the answer names its generation as it says."""
    said = DOCUMENT["paths"][path]["post"]
    requires(said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2], body)
    response = serve(first).client.post(path, json=body)
    assert response.status_code == 200, response.text
    good = said["responses"]["200"]
    requires(good["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2], response.json())
    assert good["headers"].keys() <= response.headers.keys()


def test_the_rest_is_as_described(serve: Serve, first: LoadedGeneration) -> None:
    """What is asked with GET, and an error."""
    client = serve(first).client
    for path, name in (
        ("/healthz", "Standing"),
        ("/readyz", "Standing"),
        ("/v1/models", "Models"),
        ("/v1/models/riverkeep", "Model"),
        ("/v1/riverkeep/generation", "Generation"),
    ):
        requires(name, client.get(path).json())
    requires("Error", client.post("/v1/completions", json={"prompt": 7}).json())


def test_labels_are_as_described(serve: Serve, judge: LoadedGeneration) -> None:
    """Of a classifier."""
    requires("Classification", serve(judge, classifier=True).client.post("/v1/classify", json={"input": "one"}).json())


def test_what_is_wider_than_its_model_is_in_some_request() -> None:
    """None of the schemas written by hand is of a name that no request has."""
    requests = [schema for name, schema in DOCUMENT["components"]["schemas"].items() if name.endswith("Request")]
    assert WIDE.keys() <= {name for schema in requests for name in schema["properties"]}
