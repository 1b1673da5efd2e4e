"""How the bytes behind a schema registry's five are read by a Protobuf schema: which of its messages, and what of it.

A message becomes what Protobuf's own mapping makes of it in JSON, with fields named as in the schema, but for what
would be another thing here: 64-bit numbers stay numbers and bytes stay bytes, neither being a text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from streams.decoding.fields import LeavesOut
from streams.document import Reason
from streams.registry import protobuf_schemas

MOST_INDICES: Final = 100
# Seven bits a byte: a number of 32 bits takes five.
VARINT_BYTES: Final = 5
OTHERS: Final = (
    ": its producer writes by another schema, or the number otherwise than Confluent's clients do (Apicurio's own "
    "serializer names the message instead; an old client may be set to use.deprecated.format)"
)
NOT_DESCRIBED: Final = "a message of a type that the schema does not describe"
_WRAPPERS: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_NULL: Final = "google.protobuf.NullValue"


class _Refused(Exception):
    """The bytes are no message; says why."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def reader(number: int, text: str, referred_to: Mapping[str, str]) -> Callable[[bytes], Any]:
    """What reads the values of a schema; of what it reads, a tuple is a `Rejection`.

    Args:
        number: of the schema.
        text: the schema itself.
        referred_to: the files that it imports, by the names under which it does.

    Raises:
        NotCompiled: nothing can be read by it.
        NotNow: its descriptors cannot be made now.
    """
    return _Reader(number, *protobuf_schemas.compile_schema(text, referred_to)).read


class _Reader:
    def __init__(self, number: int, pool: DescriptorPool, file: FileDescriptorProto) -> None:
        self._number = number
        self._pool = pool
        self._names = dict(_names(file))
        if not self._names:
            raise protobuf_schemas.NotCompiled("it describes no message")
        self._converter = _Converter(pool)

    def read(self, body: bytes) -> Any:
        """What a message index and its message hold."""
        try:
            indices, at = _indices(body)
            return self._converter.value(self._message(indices, body[at:]))
        except _Refused as error:
            return error.reason, f"{error} (Protobuf, schema {self._number})"
        # Protobuf's own bound on depth holds within one message; one in an `Any` within another begins anew.
        except RecursionError:
            return Reason.TOO_DEEP, "messages in one another without end"
        except Exception as error:  # noqa: BLE001  # whatever the bytes are: no record ends the process
            # Its words may hold what stands in the record.
            return Reason.NOT_OF_SCHEMA, f"the bytes are no Protobuf of schema {self._number} ({type(error).__name__})"

    def _message(self, indices: tuple[int, ...], body: bytes) -> Message:
        """The message: of the two that an index may mean, the one that leaves nothing over."""
        names = self._names.get(indices)
        if names is None:
            raise _Refused(Reason.NOT_OF_SCHEMA, f"the schema has no message of the number that stands there{OTHERS}")
        first, *alternatives = (
            message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name)) for name in names
        )
        if not alternatives:
            return _parse(first, body)
        messages = [message for class_ in (first, *alternatives) if (message := _try_message(class_, body)) is not None]
        # A message of another type often parses as well, and leaves fields that its type does not know.
        whole = (class_ for class_ in messages if not len(UnknownFieldSet(class_)))
        return next(whole, messages[0]) if messages else _parse(first, body)


def _try_message(class_: type[Message], body: bytes) -> Message | None:
    try:
        return _parse(class_, body)
    except _Refused:
        return None


def _parse(class_: type[Message], body: bytes) -> Message:
    message = class_()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        words = str(error)
        # The library has one error for all: its words alone tell what was wrong.
        if "UTF-8" in words:
            raise _Refused(Reason.NOT_UTF8, "a text in it is no UTF-8") from error
        if "MaxDepth" in words:
            raise _Refused(Reason.TOO_DEEP, "messages in one another without end") from error
        raise _Refused(Reason.NOT_OF_SCHEMA, f"the bytes are no {message.DESCRIPTOR.full_name}") from error
    if not message.IsInitialized():
        missing = ", ".join(message.FindInitializationErrors()[:4])
        detail = f"the bytes are no {message.DESCRIPTOR.full_name}: without {missing}, which it requires"
        raise _Refused(Reason.NOT_OF_SCHEMA, detail)
    return message


def _indices(body: bytes) -> tuple[tuple[int, ...], int]:
    """Which message it is, from the outermost inward, and where it begins: zigzag numbers, first how many."""
    count, at = _zigzag(body, 0)
    # The first message of a schema is so frequent that Confluent's clients write one zero for it.
    if count == 0:
        return (0,), at
    if not 0 < count <= MOST_INDICES:
        raise _Refused(Reason.NOT_OF_SCHEMA, f"the number of its message does not stand there{OTHERS}")
    indices = []
    for _ in range(count):
        index, at = _zigzag(body, at)
        indices.append(index)
    return tuple(indices), at


def _zigzag(body: bytes, begin: int) -> tuple[int, int]:
    number = 0
    for shift, byte in enumerate(body[begin : begin + VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), begin + shift + 1
    raise _Refused(Reason.NOT_OF_SCHEMA, "the number of its message is cut off")


def _names(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
    """What its messages are called, by their numbers.

    The entries of maps are messages too, though nobody wrote them. Java's clients count what is written, and others
    what is described: where a number means two, Java's comes first.
    """
    written = dict(_number_messages(file.message_type, file.package, (), entries=False))
    described = dict(_number_messages(file.message_type, file.package, (), entries=True))
    for indices in written | described:
        yield indices, tuple(dict.fromkeys(each[indices] for each in (written, described) if indices in each))


def _number_messages(
    messages: Iterable[DescriptorProto], outside: str, above: tuple[int, ...], *, entries: bool
) -> Iterator[tuple[tuple[int, ...], str]]:
    counted = (each for each in messages if entries or not each.options.map_entry)
    for index, each in enumerate(counted):
        if not each.options.map_entry:
            name, indices = f"{outside}.{each.name}".lstrip("."), (*above, index)
            yield indices, name
            yield from _number_messages(each.nested_type, name, indices, entries=entries)


class _Converter:
    """Makes of messages what JSON has."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._unset: dict[str, dict[str, Any]] = {}
        self._special: dict[str, Callable[[Any], Any]] = {
            "google.protobuf.Timestamp": self._as_json_text,
            "google.protobuf.Duration": self._as_json_text,
            "google.protobuf.FieldMask": lambda mask: ",".join(mask.paths),
            "google.protobuf.Struct": lambda struct: {name: self.value(each) for name, each in struct.fields.items()},
            "google.protobuf.ListValue": lambda listed: [self.value(each) for each in listed.values],
            "google.protobuf.Value": self._any_of_json,
            "google.protobuf.Any": self._any,
        } | {f"google.protobuf.{name}Value": self._unwrap for name in _WRAPPERS}

    def value(self, message: Any, *, whole: bool = True) -> Any:
        """What a message holds.

        Args:
            message: any.
            whole: also what its fields are that it leaves out.
        """
        kind: Descriptor = message.DESCRIPTOR
        special = self._special.get(kind.full_name)
        # A schema may call a type of its own so.
        if special is not None and kind.file.name.startswith("google/protobuf/"):
            return special(message)
        return self._fields(kind, message, whole=whole)

    def _fields(self, kind: Descriptor, message: Any, *, whole: bool) -> LeavesOut:
        fields = LeavesOut(self._unset_of(kind) if whole else {})
        for field, value in message.ListFields():
            # So Protobuf's own JSON names an extension: its name alone could be a field's.
            name = f"[{field.full_name}]" if field.is_extension else field.name
            fields[name] = self._field(field, value)
        return fields

    def _field(self, field: FieldDescriptor, value: Any) -> Any:
        if not field.is_repeated:
            return self._one(field, value)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            of = entry.fields_by_name["value"]
            return {_name(key): self._one(of, value[key], whole=False) for key in value}
        return [self._one(field, each, whole=False) for each in value]

    def _one(self, field: FieldDescriptor, value: Any, *, whole: bool = True) -> Any:
        if field.message_type is not None:
            return self.value(value, whole=whole)
        if field.enum_type is not None:
            return _enum_value(field, value)
        if field.type == FieldDescriptor.TYPE_STRING and isinstance(value, bytes):
            # So the library gives a string of proto2 that is none.
            raise _Refused(Reason.NOT_UTF8, "a text in it is no UTF-8")
        return value

    def _unset_of(self, kind: Descriptor) -> dict[str, Any]:
        """What its fields are where a message leaves them out: what has a presence is missing then."""
        unset = self._unset.get(kind.full_name)
        if unset is None:
            unset = self._unset[kind.full_name] = {
                field.name: [] if field.is_repeated else self._one(field, field.default_value)
                for field in kind.fields
                if field.message_type is None and (not field.has_presence or field.has_default_value)
            }
        return unset

    def _as_json_text(self, message: Any) -> Any:
        try:
            return message.ToJsonString()
        except ValueError:  # beyond the years 1 to 9999: as a time that is refused
            return self._fields(message.DESCRIPTOR, message, whole=False)

    def _unwrap(self, message: Any) -> Any:
        return self._one(message.DESCRIPTOR.fields_by_name["value"], message.value)

    def _any_of_json(self, message: Any) -> Any:
        kind = message.WhichOneof("kind")
        if kind in {"struct_value", "list_value"}:
            return self.value(getattr(message, kind))
        return None if kind in {"null_value", None} else getattr(message, kind)

    def _any(self, message: Any) -> Any:
        name = message.type_url.rpartition("/")[2]
        try:
            kind = self._pool.FindMessageTypeByName(name)
        except KeyError:
            return LeavesOut({}, {"@type": message.type_url}, why=NOT_DESCRIBED)
        inside = self.value(_parse(message_factory.GetMessageClass(kind), message.value))
        if isinstance(inside, LeavesOut):
            inside["@type"] = message.type_url
            return inside
        return {"@type": message.type_url, "value": inside}


def _name(key: Any) -> str:
    # As Protobuf's own JSON writes the keys of maps.
    return str(key).lower() if isinstance(key, bool) else str(key)


def _enum_value(field: FieldDescriptor, number: int) -> Any:
    if field.enum_type.full_name == _NULL:
        return None
    member = field.enum_type.values_by_number.get(number)
    # A number that this version of the schema does not name: a newer producer's. As in Protobuf's JSON it stays a
    # number.
    return number if member is None else member.name
