"""The OpenAPI documents are of this code, valid, and leave no route out."""

import json
from types import ModuleType

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from daemon.control.operations import OPERATIONS
from daemon.page.pages import PAGES
from tests.docs import openapi_admin, openapi_serving
from tests.docs.test_docs import ROOT

DOCUMENTS = {"openapi-admin.json": openapi_admin, "openapi-serving.json": openapi_serving}


@pytest.mark.parametrize(("name", "module"), DOCUMENTS.items(), ids=lambda value: str(value)[:20])
def test_a_document_is_of_this_code_and_valid(name: str, module: ModuleType) -> None:
    """Made anew it is the same; generators of clients take what the specification says."""
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == module.page(), f"run: python -m {module.__name__} > docs/{name}"
    validate(json.loads(written), cls=OpenAPIV31SpecValidator)


def test_every_operation_is_described_with_its_own_name() -> None:
    """Method, path and a summary."""
    paths = openapi_admin.document()["paths"]
    for operation in OPERATIONS:
        said = paths[operation.path][operation.method.lower()]
        assert said["operationId"] == operation.name
        assert said["summary"].endswith((".", "…")), operation.name


def test_what_a_page_answers_to_programs_is_described_too() -> None:
    """Of the addresses that no operation has, with what they may name."""
    paths = openapi_admin.document()["paths"]
    for page in (page for page in PAGES if page.answer is not None):
        said = paths[page.path]["get"]
        assert {each["name"] for each in said["parameters"]} == {*page.arguments.names()}
    assert {"/trace", "/streams/peek"} <= {page.path for page in PAGES if page.answer is not None}


def test_every_route_that_clients_ask_is_described() -> None:
    """Of serving; what the daemon asks for itself is left out by name."""
    assert openapi_serving.documented() == openapi_serving.owed()
