"""What of a JSON schema can be held is held; what cannot is refused by its place."""

import json
from typing import Any

import pytest

from serving.answers.body import parse
from serving.answers.json_schemas import MOST_DEPTH, MOST_SCHEMAS, MOST_VALUES, holdable
from serving.answers.openai import ChatRequest
from serving.errors import RequestError

INTEGER = {"type": "integer"}
TEXT = {"type": "string"}
DEEP: Any = json.loads("[" * 900 + "]" * 900)


def refusal(schema: object) -> RequestError:
    """The error that a schema gets."""
    with pytest.raises(RequestError) as caught:
        holdable(schema, "schema")
    assert caught.value.status == 400
    return caught.value


def test_what_is_meant_is_said() -> None:
    """Objects that name their properties have no others, types follow from keywords, lengths are patterns."""
    assert holdable({"properties": {"a": INTEGER}, "title": "A", "x-order": 1}, "schema") == {
        "type": "object",
        "properties": {"a": INTEGER},
        "additionalProperties": False,
    }
    opened = {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": True}
    assert holdable(opened, "schema") == opened
    assert holdable({"type": "object"}, "schema") == {"type": "object"}
    assert holdable({"minLength": 2}, "schema") == {"type": "string", "pattern": '^[^"\\\\\\x00-\\x1f]{2,}$'}
    assert holdable({"prefixItems": [TEXT]}, "schema")["items"] is False
    assert holdable({"const": 1}, "schema") == {"enum": [1]}
    assert holdable({"title": "a"}, "schema") == {}


def test_definitions_may_hold_themselves() -> None:
    """With something between."""
    tree = {
        "$defs": {
            "a/b": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/a~1b"}, {"type": "null"}]}}}
        },
        "$ref": "#/$defs/a~1b",
    }
    assert holdable(tree, "schema")["$ref"] == "#/$defs/a~1b"


def test_one_of_several_is_held_where_they_are_told_apart() -> None:
    """By their types, or by a property that each of them must have."""
    cat = {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": INTEGER}, "required": ["kind"]}
    dog = {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]}
    for choices in ([TEXT, INTEGER], [cat, dog], [{"enum": ["a"]}, {"enum": ["b"]}, {"type": "null"}]):
        assert "anyOf" in holdable({"oneOf": choices}, "schema")
    for choices in ([cat, cat], [INTEGER, {"type": "number"}], [TEXT, {}], [{"enum": ["a"]}, TEXT]):
        assert refusal({"oneOf": choices}).param == "schema.oneOf.1"


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (5, ""), (False, ""), ([1], ""),
        ({"type": "nonsense"}, "type"),
        ({"type": ["string", 5]}, "type"),
        ({"not": TEXT}, "not"),
        ({"if": TEXT}, "if"),
        ({"uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"properties": {"a": {"items": {"nullable": True}}}}, "properties.a.items.nullable"),
        ({"properties": {"a": INTEGER}, "required": ["a", "b"]}, "required.1"),
        ({"type": "object", "required": ["a"]}, "required.0"),
        ({"properties": [1]}, "properties"),
        ({"required": [5]}, "required"),
        ({"type": "string", "minimum": 1}, "minimum"),
        ({"minimum": 1, "items": {}}, "type"),
        ({"minimum": "a"}, "minimum"),
        ({"minimum": True}, "minimum"),
        ({"maximum": 1e300}, "maximum"),
        ({"type": "integer", "multipleOf": 7}, "multipleOf"),
        ({"minItems": -1}, "minItems"),
        ({"maxLength": 10**9}, "maxLength"),
        ({"pattern": "a", "minLength": 3}, "pattern"),
        ({"pattern": "a", "format": "email"}, "format"),
        ({"pattern": 5}, "pattern"),
        ({"enum": []}, "enum"),
        ({"type": "string", "enum": ["a", 1]}, "enum.1"),
        ({"type": "integer", "const": True}, "const.0"),
        ({"enum": [1], "minimum": 3}, "minimum"),
        ({"anyOf": [TEXT], "properties": {}}, "properties"),
        ({"anyOf": []}, "anyOf"),
        ({"anyOf": [TEXT, {"contains": {}}]}, "anyOf.1.contains"),
        ({"allOf": [TEXT, INTEGER]}, "allOf"),
        ({"$ref": "http://example.com"}, "$ref"),
        ({"$ref": "#/$defs/a"}, "$ref"),
        ({"$ref": "#/title", "title": "a"}, "$ref"),
        ({"$ref": "#"}, ""),
        ({"anyOf": [{"$ref": "#"}, TEXT]}, ""),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "$defs.a"),
        ({"$defs": 5}, "$defs"),
        ({"prefixItems": []}, "prefixItems"),
        ({"items": [TEXT]}, "items"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_named_by_its_place(schema: object, place: str) -> None:
    """What the grammar's compiler passes over would be no schema that answers keep to."""
    error = refusal(schema)
    assert error.param == ".".join(filter(None, ("schema", place)))
    assert str(error).startswith(error.param)


@pytest.mark.parametrize(
    "pattern", ["^[A-Z]{2}-\\d{3,4}$", "a|b", "^(?:ab)+\\.$", "", "[\\w.-]+@x", "(a{2}|b)*", "{", "ü"]
)
def test_plain_patterns_are_held(pattern: str) -> None:
    """As they are."""
    assert holdable({"pattern": pattern}, "schema")["pattern"] == pattern


@pytest.mark.parametrize(
    "pattern",
    ['"', "a\\nb", "\\\\", "\\u0041", "\\x00", "\\bword", "(a)\\1", "(?=a)b", "(?<n>a)", "(?i)a", "\n", "a" * 300, "\\",
     "((a{0,50}){0,50}){0,50}", "(a{2}){3}", "a{2000}", "a{600}b{600}", "((?:a{2}|b)){2}"],
)  # fmt: skip
def test_patterns_that_leave_json_or_have_no_bounds_are_refused(pattern: str) -> None:
    """What they match is written otherwise in JSON, or takes more memory than a request may."""
    assert refusal({"pattern": pattern}).param == "schema.pattern"


def test_schemas_are_bounded() -> None:
    """In depth, in number, in values; chains of any length are followed."""
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(MOST_DEPTH + 1):
        deep = {"type": "object", "properties": {"a": deep}}
    assert "deep" in str(refusal(deep))
    many = {"type": "object", "properties": {str(number): {} for number in range(MOST_SCHEMAS)}}
    assert str(MOST_SCHEMAS) in str(refusal(many))
    assert str(MOST_VALUES) in str(refusal({"enum": list(range(MOST_VALUES + 1))}))
    for costly in (
        {"type": "string", "maxLength": 300},
        {"pattern": "a{300}"},
        {"type": "string", "format": "uri"},
        {"type": "integer", "minimum": 3},
    ):
        assert holdable({"properties": {str(number): costly for number in range(10)}}, "schema")
        assert "at most" in str(refusal({"properties": {str(number): costly for number in range(60)}}))
    some: dict[str, Any] = {str(number): {} for number in range(20)}
    assert refusal({"properties": some, "minProperties": 5}).param == "schema.minProperties"
    chain = {str(number): {"$ref": f"#/$defs/{number + 1}"} for number in range(900)}
    assert holdable({"$defs": {**chain, "900": {}}, "$ref": "#/$defs/0"}, "schema")
    twice = {
        str(number): {"anyOf": [{"$ref": f"#/$defs/{number + 1}"}, {"$ref": f"#/$defs/{number + 1}"}]}
        for number in range(300)
    }
    assert holdable({"$defs": {**twice, "300": {}}, "$ref": "#/$defs/0"}, "schema")


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("json", "response_format"),
        ({}, "response_format.type"),
        ({"type": "structural_tag"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "response_format.json_schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}},
            "response_format.json_schema.schema.not",
        ),
        ({"type": "json_schema", "json_schema": {"schema": {"default": DEEP}}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": {}, "other": 1}}, "response_format.json_schema.other"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"title": "a" * 70_000}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_format_that_is_none_is_named_by_its_place(value: object, param: str) -> None:
    """Of the request."""
    body = {"messages": [{"role": "user", "content": "a"}], "response_format": value}
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(body).encode(), ChatRequest)
    assert caught.value.param == param
