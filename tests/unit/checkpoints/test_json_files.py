"""What stands in a file: its strictness, its numbers that are not finite, and what is said of a mistake in it."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import pytest
from pydantic import NonNegativeInt, ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, AsRow, EndsAtFirst, Figure, explain_json, read_json, write_json


class Point(NamedTuple):
    """What stands in a file as a row."""

    x: int
    y: int
    name: str | None


POINT = AsRow({"x": int, "y": NonNegativeInt, "name": str}, Point, list, optional=1)


@dataclass(frozen=True, slots=True, config=STRICT)
class Map:
    """A type with one field of each kind."""

    scale: Figure
    kind: Literal["sea", "land"]
    points: Annotated[tuple[Annotated[Point, POINT], ...], EndsAtFirst] = ()
    names: Mapping[str, bool] | None = None


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null_and_nan(scale: float) -> None:
    """JSON stays JSON, and who reads it can tell."""
    written = write_json(Map(scale, "sea"))
    assert b'"scale":null' in written
    assert math.isnan(read_json(Map, written).scale)


def test_rows_have_no_names_and_may_be_shorter() -> None:
    """What may be left out is None."""
    read = read_json(Map, b'{"scale":1,"kind":"sea","points":[[1,2],[-3,4,"cape"]]}')
    assert read.points == ((1, 2, None), (-3, 4, "cape"))
    assert b'"points":[[1,2,null],[-3,4,"cape"]]' in write_json(read)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"scale":1,"kind":"sea"', "the map is not JSON: EOF"),
        ("[]", "map is an array, not an object"),
        ('{"scale":1}', "map.kind is missing"),
        ('{"scale":"1","kind":"sea"}', "map.scale is text, not a number"),
        ('{"scale":true,"kind":"sea"}', "map.scale is true or false, not a number"),
        ('{"scale":1,"kind":"air"}', "map.kind is 'air', not 'sea' or 'land'"),
        ('{"scale":1,"kind":"sea","depth":3}', "map.depth is not a field that this version of Riverkeep knows"),
        ('{"scale":1,"kind":"sea","names":{"a":[]}}', "map.names.a is an array, not true or false"),
        ('{"scale":1,"kind":"sea","points":{}}', "map.points is an object, not an array"),
        ('{"scale":1,"kind":"sea","points":[[1,2],null]}', "map.points[1] is null, not an array"),
        ('{"scale":1,"kind":"sea","points":[[1,2],{"x":1}]}', "map.points[1] is an object, not an array"),
        ('{"scale":1,"kind":"sea","points":[[1]]}', "map.points[0] has 1 columns, it lacks y"),
        ('{"scale":1,"kind":"sea","points":[[1,2,"a",4]]}', "map.points[0] has more columns than are known"),
        ('{"scale":1,"kind":"sea","points":[[1,-2]]}', "map.points[0].y is -2, less than 0"),
        ('{"scale":1,"kind":"sea","points":[[1.5,2]]}', "map.points[0].x is a number, not a whole number"),
    ],
)
def test_a_mistake_is_said_with_its_place(content: str, said: str) -> None:
    """In JSON's own words, as a person would write where it is."""
    with pytest.raises(ValidationError) as error:
        read_json(Map, content.encode())
    assert explain_json(error.value, "map", {"points": tuple(POINT.columns)}).startswith(said)


def test_of_many_wrong_rows_the_first_is_told() -> None:
    """A whole file of them costs no more than one."""
    content = b'{"scale":1,"kind":"sea","points":[' + b",".join([b"[]"] * 1000) + b"]}"
    with pytest.raises(ValidationError) as error:
        read_json(Map, content)
    assert error.value.error_count() < 10
