"""What the schema registry's clients write in front of a key or a value: a zero, and the number of its schema."""

from collections.abc import Iterator
from typing import Final

HEAD_BYTES: Final = 5
_STRING_FIELD_1 = 0x0A


def schema_id(data: bytes) -> int | None:
    """The number of the schema that framed bytes name; None where they are not framed."""
    return int.from_bytes(data[1:HEAD_BYTES], "big") if len(data) > HEAD_BYTES and data[0] == 0 else None


def told(number: int) -> str:
    """That a value is framed, for a person."""
    return (
        f"the value is framed by a schema registry's client (a zero byte, then schema {number}: Avro, Protobuf or JSON "
        "Schema): set streams.schema_registry.url, or let the producer, or a connector between, write plain JSON"
    )


def payloads(data: bytes) -> Iterator[str]:
    """The texts that framed bytes may hold where they hold one: as JSON or as it is, of Avro, of Protobuf."""
    if schema_id(data) is None:
        return
    body = data[HEAD_BYTES:]
    # Of Protobuf a zero says that it is the first message of the schema, and a string is its first field.
    bodies = [body, *_measured(body)]
    if body[:1] == b"\0" and body[1:2] == bytes([_STRING_FIELD_1]):
        bodies += _measured(body[2:], zigzag=False)
    for each in bodies:
        try:
            text = each.decode()
        except UnicodeDecodeError:
            continue
        if text and text.isprintable():
            yield text


def _measured(body: bytes, *, zigzag: bool = True) -> Iterator[bytes]:
    """What stands behind its own length, where nothing follows it."""
    number = shift = 0
    for at, byte in enumerate(body[:10]):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            size = number >> 1 if zigzag else number
            if size == len(body) - at - 1:
                yield body[at + 1 :]
            return
