"""What a record was written as, told by its bytes: for counts, and for a person who looks at it."""

from collections.abc import Mapping
from typing import Final, Protocol

from streams.decoding import framing
from streams.document import RecordForm
from streams.file_kinds import encoding_of
from streams.unpacking import codec_of

_OF_SCHEMAS: Final[Mapping[str, RecordForm]] = {
    "AVRO": RecordForm.AVRO,
    "PROTOBUF": RecordForm.PROTOBUF,
    "JSON": RecordForm.JSON_SCHEMA,
}
_BLANK: Final = b" \t\r\n"
_MARK: Final = b"\xef\xbb\xbf"


class _KnowsKinds(Protocol):
    def kind_of(self, number: int) -> str: ...


def of_framed(value: bytes, registry: _KnowsKinds | None) -> RecordForm | None:
    """By which kind of schema a value is to be read that a registry's client framed; None where it is not framed.

    Args:
        value: its beginning at least.
        registry: knows the schemas that were asked for.
    """
    if (number := framing.schema_id(value)) is None:
        return None
    return _OF_SCHEMAS.get("" if registry is None else registry.kind_of(number), RecordForm.FRAMED)


def of_refused(value: bytes, *, is_json: bool) -> RecordForm:
    """What a value was written as of which no document came.

    Args:
        value: its beginning at least, without a frame.
        is_json: whether the topic's records are to be JSON.
    """
    if not value:
        return RecordForm.NO_VALUE
    if framing.told_of_glue(value) is not None:
        return RecordForm.GLUE
    if codec_of(value) is not None:
        return RecordForm.COMPRESSED
    if encoding_of(value) is not None:
        return RecordForm.OTHER_ENCODING
    if is_json:
        return RecordForm.JSON if value.removeprefix(_MARK).lstrip(_BLANK)[:1] in (b"{", b"[") else RecordForm.OTHER
    return RecordForm.TEXT if _is_utf8(value) else RecordForm.OTHER


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        # A value that was cut may end within a character.
        return error.reason == "unexpected end of data"
    return True
