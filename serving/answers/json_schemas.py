"""JSON schemas that answers can be held to: what of one cannot be held is refused by its place, never passed over.

What comes out says explicitly what the grammar's compiler would take otherwise: which type is meant, that objects which
name their properties have no others, and lengths as patterns, whose letters need no escape.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from serving.answers.fields import refuse
from serving.answers.patterns import LENGTHS, require_plain

MOST_DEPTH: Final = 16
MOST_SCHEMAS: Final = 1_000
MOST_VALUES: Final = 1_000
MOST_TOLD_APART: Final = 64
"""Of `oneOf`, of which each is held against each."""
MOST_COUNT: Final = 10_000
MOST_REPEATS: Final = 5_000
"""Characters that lengths and patterns count, in all of a schema: some thousand take a second to compile."""
MOST_DEAR: Final = 50
"""Formats, bounds of numbers: each takes up to a tenth of a second."""
MOST_COUNTED_PROPERTIES: Final = 16
"""Of an object whose number of properties is bounded: which of them may still come is counted for each."""
MOST_NUMBER: Final = 1e15
LONGEST_ECHO: Final = 64

ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "$schema", "$comment", "deprecated", "readOnly", "writeOnly",
     "discriminator"}
)  # fmt: skip
DEFINITIONS: Final = ("$defs", "definitions")
COUNTS: Final = frozenset({"minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength"})
LIMITS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
OF_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": LIMITS,
    "integer": LIMITS,
    "boolean": frozenset(),
    "null": frozenset(),
}
"""What each type may be held to."""
ALONE: Final = ("$ref", "anyOf", "oneOf", "allOf", "const", "enum")
"""Beside them nothing else of a schema would be held."""
HELD: Final = frozenset({"type", *DEFINITIONS, *ALONE}).union(*OF_TYPES.values())

Schema = dict[str, Any]
Path = tuple[str, ...]


def holdable(schema: object, place: str) -> Schema:
    """A schema as it can be held.

    Args:
        schema: as the client sent it.
        place: where it stands in the request, for errors.

    Raises:
        RequestError: it is none, is too large, or says what cannot be held; names the place in it.
    """
    walk = _Walk(place)
    held = walk.schema(schema, ())
    walk.require_ends()
    return held


class _Walk:
    """One way through a schema and all that it holds."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._values = self._repeats = self._dear = 0
        self._held: dict[Path, Schema] = {}
        self._refs: dict[Path, Path] = {}

    def schema(self, value: object, path: Path) -> Schema:
        if value is True:
            value = {}
        if not isinstance(value, dict):
            refuse(self._at(path), "a schema is an object")
        self._require_few(path)
        held: Schema = {}
        # Noted before it is whole: what is below it may refer to it.
        self._held[path] = held
        for name in value:
            if name not in HELD and name not in ANNOTATIONS and not name.startswith("x-"):
                refuse(self._at((*path, name[:LONGEST_ECHO])), "answers cannot be held to this; leave it out")
        for name in DEFINITIONS:
            if name in value:
                held[name] = self._schemas(value[name], (*path, name))
        if alone := [name for name in ALONE if name in value]:
            held |= self._alone(alone[0], value, path)
        else:
            held |= self._typed(value, path)
        return held

    def _require_few(self, path: Path) -> None:
        if len(path) > 2 * MOST_DEPTH:
            refuse(self._place, f"a schema may hold others {MOST_DEPTH} deep")
        if len(self._held) >= MOST_SCHEMAS:
            refuse(self._place, f"a schema may hold {MOST_SCHEMAS} others at most")

    def _schemas(self, value: object, path: Path) -> Schema:
        if not isinstance(value, dict):
            refuse(self._at(path), "an object of schemas is needed")
        return {name: self.schema(each, (*path, name)) for name, each in value.items()}

    def _alone(self, name: str, value: Schema, path: Path) -> Schema:
        beside = set(value) - ANNOTATIONS - set(DEFINITIONS) - {name}
        # The type of listed values is theirs: it is looked at, and says nothing more.
        beside -= {"type"} if name in ("const", "enum") else set()
        if rest := sorted(each for each in beside if not each.startswith("x-")):
            refuse(self._at((*path, rest[0])), f"answers cannot be held to this beside {name}; leave one of them out")
        if name == "$ref":
            self._refs[path] = self._target(value[name], (*path, name))
            return {"$ref": value[name]}
        if name in ("const", "enum"):
            return self._listed(name, value, path)
        choices = value[name]
        if not isinstance(choices, list) or not choices:
            refuse(self._at((*path, name)), "a list of schemas is needed")
        if name == "oneOf" and len(choices) > MOST_TOLD_APART:
            refuse(self._at((*path, name)), f"{MOST_TOLD_APART} schemas at most; write anyOf")
        if name == "allOf" and len(choices) > 1:
            refuse(self._at((*path, name)), "answers cannot be held to several at once; write them as one schema")
        held = [self.schema(each, (*path, name, str(number))) for number, each in enumerate(choices)]
        return {name: held}

    def _listed(self, name: str, value: Schema, path: Path) -> Schema:
        values = [value[name]] if name == "const" else value[name]
        if not isinstance(values, list) or not values:
            refuse(self._at((*path, name)), "a list of values is needed")
        self._values += len(values)
        if self._values > MOST_VALUES:
            refuse(self._place, f"a schema may list {MOST_VALUES} values at most")
        types = self._types(value, path)
        for number, each in enumerate(values):
            if types and not any(_is_of(each, one) for one in types):
                refuse(self._at((*path, name, str(number))), f"this is no {' or '.join(types)}")
        return {"enum": values}

    def _types(self, value: Schema, path: Path) -> list[str]:
        named = value.get("type", [])
        types = [named] if isinstance(named, str) else named
        if not isinstance(types, list) or not all(isinstance(each, str) and each in OF_TYPES for each in types):
            refuse(self._at((*path, "type")), f"one of {', '.join(OF_TYPES)} is needed, or a list of them")
        return types

    def _typed(self, value: Schema, path: Path) -> Schema:
        said = {name for names in OF_TYPES.values() for name in names if name in value}
        types = self._types(value, path) or self._meant(said, path)
        for name in sorted(said):
            if not any(name in OF_TYPES[each] for each in types):
                refuse(self._at((*path, name)), f"this says nothing of the type {' or '.join(types)}")
        held: Schema = {"type": types[0] if len(types) == 1 else types} if types else {}
        for name in value:
            if name in said:
                held[name] = self._keyword(name, value[name], (*path, name))
        if "properties" in held:
            # Others would be made up.
            held.setdefault("additionalProperties", False)
            for name in ("minProperties", "maxProperties"):
                if name in held and len(held["properties"]) > MOST_COUNTED_PROPERTIES:
                    refuse(self._at((*path, name)), f"only beside {MOST_COUNTED_PROPERTIES} properties or fewer")
        if "prefixItems" in held:
            held.setdefault("items", False)
        return self._text(held, path)

    def _meant(self, said: set[str], path: Path) -> list[str]:
        """The types that keywords without a type are of: answers of another type would not be held to them."""
        meant = [name for name in ("object", "array", "string", "number") if OF_TYPES[name] & said]
        if len(meant) > 1:
            refuse(self._at((*path, "type")), f"say which is meant: {' or '.join(meant)}")
        return meant

    def _keyword(self, name: str, value: Any, path: Path) -> Any:
        if name == "properties":
            return self._schemas(value, path)
        if name == "prefixItems":
            if not isinstance(value, list) or not value:
                refuse(self._at(path), "a list of schemas is needed")
            return [self.schema(each, (*path, str(number))) for number, each in enumerate(value)]
        if name in ("items", "additionalProperties"):
            return value if isinstance(value, bool) else self.schema(value, path)
        self._require_value(name, value, path)
        return value

    def _require_value(self, name: str, value: Any, path: Path) -> None:
        if name in COUNTS and not (_is_of(value, "integer") and 0 <= value <= MOST_COUNT):
            refuse(self._at(path), f"a whole number from 0 to {MOST_COUNT} is needed")
        if name in LIMITS and not (_is_of(value, "number") and abs(value) <= MOST_NUMBER):
            refuse(self._at(path), f"a number from {-MOST_NUMBER:g} to {MOST_NUMBER:g} is needed")
        if name in ("pattern", "format") and not isinstance(value, str):
            refuse(self._at(path), "a text is needed")
        if name == "required" and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            refuse(self._at(path), "a list of names is needed")
        if name == "pattern":
            self._repeat(require_plain(value, self._at(path)), path)
        if name == "format" or name in LIMITS:
            self._dear += 1
            if self._dear > MOST_DEAR:
                refuse(self._at(path), f"a schema may have {MOST_DEAR} formats and bounds of numbers at most")

    def _repeat(self, times: int, path: Path) -> None:
        self._repeats += times
        if self._repeats > MOST_REPEATS:
            refuse(
                self._at(path), f"lengths and patterns may count {MOST_REPEATS} characters at most in all of a schema"
            )

    def _text(self, held: Schema, path: Path) -> Schema:
        for number, name in enumerate(held.get("required", ())):
            if name not in held.get("properties", {}):
                place = self._at((*path, "required", str(number)))
                refuse(place, f"properties does not say what {name[:LONGEST_ECHO]} is")
        lengths = [held.pop(name, None) for name in ("minLength", "maxLength")]
        if lengths == [None, None]:
            if "pattern" in held and "format" in held:
                refuse(self._at((*path, "format")), "answers cannot be held to this beside pattern")
            return held
        if both := [name for name in ("pattern", "format") if name in held]:
            refuse(self._at((*path, both[0])), "answers cannot be held to this beside a length; leave one of them out")
        self._repeat(max(each or 0 for each in lengths), path)
        least, most = lengths[0] or 0, "" if lengths[1] is None else lengths[1]
        return {**held, "pattern": LENGTHS % (least, most)}

    def _target(self, value: object, path: Path) -> Path:
        if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
            refuse(self._at(path), "a place in this schema is needed: #/$defs/…")
        parts = value[2:].split("/") if value != "#" else ()
        return tuple(unquote(part).replace("~1", "/").replace("~0", "~") for part in parts)

    def require_ends(self) -> None:
        """See that what is referred to is there, and that nothing is only itself again.

        Raises:
            RequestError: with the place of what refers.
        """
        for path, target in self._refs.items():
            if target not in self._held:
                refuse(self._at((*path, "$ref")), "there is no schema at that place")
        self._require_progress()
        for path, held in self._held.items():
            if "oneOf" in held:
                self._part(held, path)

    def _require_progress(self) -> None:
        """See that no schema stands for itself: a grammar of it would have no end."""
        done: set[Path] = set()
        for start in self._held:
            # One after the other and without recursion: a chain may be as long as there are schemas.
            way = [(start, self._same_place(start))]
            above = {start}
            while way:
                path, below = way[-1]
                following = next(below, None)
                if following is None:
                    way.pop()
                    above.discard(path)
                    done.add(path)
                elif following in above:
                    refuse(self._at(following), "this is itself again, with nothing between")
                elif following not in done:
                    way.append((following, self._same_place(following)))
                    above.add(following)

    def _same_place(self, path: Path) -> Iterator[Path]:
        """The schemas that one stands for, without a bracket or a comma of an answer between."""
        if path in self._refs:
            yield self._refs[path]
        for name in ("anyOf", "oneOf", "allOf"):
            for number, _ in enumerate(self._held[path].get(name, ())):
                yield (*path, name, str(number))

    def _part(self, held: Schema, path: Path) -> None:
        """Hold `oneOf` as `anyOf`, where no value can fit two of its schemas."""
        choices = [self._resolved((*path, "oneOf", str(number))) for number in range(len(held["oneOf"]))]
        for number, one in enumerate(choices):
            if not all(_apart(one, other) for other in choices[:number]):
                why = "an earlier one may fit the same value; write anyOf, or tell them apart by a property's const"
                refuse(self._at((*path, "oneOf", str(number))), why)
        held["anyOf"] = held.pop("oneOf")

    def _resolved(self, path: Path) -> Schema:
        while path in self._refs:
            path = self._refs[path]
        return self._held[path]

    def _at(self, path: Path) -> str:
        return ".".join((self._place, *path))


def _is_of(value: object, kind: str) -> bool:
    """Whether a value is of one of JSON schema's types."""
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "number": (int, float), "integer": int,
    }  # fmt: skip
    return kind in kinds and isinstance(value, kinds[kind])


def _apart(one: Schema, other: Schema) -> bool:
    """Whether no value can fit both."""
    if "enum" in one and "enum" in other:
        return not any(value in other["enum"] for value in one["enum"])
    kinds = [_kinds(each) for each in (one, other)]
    if not kinds[0] or not kinds[1]:
        return False
    if not kinds[0] & kinds[1]:
        return True
    if kinds[0] | kinds[1] != {"object"}:
        return False
    required = set(one.get("required", ())) & set(other.get("required", ()))
    return any(
        "enum" in one["properties"][name]
        and "enum" in other["properties"][name]
        and _apart(one["properties"][name], other["properties"][name])
        for name in required
    )


def _kinds(held: Schema) -> set[str]:
    """The types that a schema's values may have, whole numbers as numbers; empty: any."""
    if "enum" in held:
        return {kind for value in held["enum"] for kind in OF_TYPES if kind != "integer" and _is_of(value, kind)}
    types: str | Sequence[str] = held.get("type", ())
    named = {types} if isinstance(types, str) else set(types)
    return {"number" if kind == "integer" else kind for kind in named}
