"""What the schema registry's clients write in front of a key or a value: a zero, and the number of its schema."""

import uuid
from collections.abc import Iterator
from typing import Final

# A zero and four bytes of the schema's number, big-endian. Apicurio's clients may write eight. Glue's write a version,
# a compression (0: none, 5: zlib) and a UUID.
HEAD_BYTES: Final = 5
LONG_HEAD_BYTES: Final = 9
GLUE_BYTES: Final = 18
GLUE_VERSION: Final = 3
GLUE_COMPRESSIONS: Final = frozenset({0, 5})
# Protobuf's tag of field 1 with a length before it: (1 << 3) | 2.
_STRING_FIELD_1 = 0x0A


def schema_id(data: bytes) -> int | None:
    """The number of the schema that framed bytes name; None where they are not framed."""
    return int.from_bytes(data[1:HEAD_BYTES], "big") if len(data) > HEAD_BYTES and data[0] == 0 else None


def describe(number: int) -> str:
    """That a value is framed, for a person."""
    return (
        f"the value is framed by a schema registry's client (a zero byte, then schema {number}: Avro, Protobuf or JSON "
        "Schema): set streams.schema_registry.url, or let the producer, or a connector between, write plain JSON"
    )


def told_of_glue(data: bytes) -> str | None:
    """That a value is framed as AWS Glue's clients do it, for a person; None where it is not."""
    if len(data) <= GLUE_BYTES or data[0] != GLUE_VERSION or data[1] not in GLUE_COMPRESSIONS:
        return None
    version = uuid.UUID(bytes=data[2:GLUE_BYTES])
    return (
        f"the value is framed by a client of AWS Glue's schema registry (schema version {version}), "
        "which is not read here: let the producer write with a registry of Confluent's API, or plain JSON"
    )


def told_of_long_id(data: bytes) -> str:
    """What is known of a number of zero, which no registry gives."""
    number = int.from_bytes(data[1:LONG_HEAD_BYTES], "big")
    return (
        f"perhaps a number of 8 bytes stands there ({number}), as Apicurio's clients write it: have its producer write "
        "4 bytes, as Confluent's do"
    )


def payloads(data: bytes) -> Iterator[str]:
    """The texts that framed bytes may hold where they hold one: as JSON or as it is, of Avro, of Protobuf."""
    if schema_id(data) is None:
        return
    body = data[HEAD_BYTES:]
    # Of Protobuf a zero says that it is the first message of the schema, and a string is its first field.
    bodies = [body, *_split_by_length(body)]
    if body[:1] == b"\0" and body[1:2] == bytes([_STRING_FIELD_1]):
        bodies += _split_by_length(body[2:], zigzag=False)
    for each in bodies:
        try:
            text = each.decode()
        except UnicodeDecodeError:
            continue
        if text and text.isprintable():
            yield text


def _split_by_length(body: bytes, *, zigzag: bool = True) -> Iterator[bytes]:
    """What stands behind its own length, where nothing follows it."""
    number = shift = 0
    # A number of 64 bits takes ten bytes of seven bits each.
    for at, byte in enumerate(body[:10]):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            size = number >> 1 if zigzag else number
            if size == len(body) - at - 1:
                yield body[at + 1 :]
            return
