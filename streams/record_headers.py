"""A record's own headers: read where a dead letter is made of it, and sent on with it."""

from collections.abc import Iterable, Iterator
from typing import Any

from streams.document import Header


def parse(data: bytes) -> Iterator[Header]:
    """The headers in the bytes behind a record's value (record format 2), as far as they can be read.

    Names come more than once, and values are any bytes, or null. A name that is no UTF-8 is shown with escapes.
    """
    count, position = _read_signed(data, 0)
    for _ in range(count):
        size, position = _read_signed(data, position)
        if size < 0:
            return
        name, position = data[position : position + size], position + size
        size, position = _read_signed(data, position)
        value = None if size < 0 else data[position : position + size]
        position += max(0, size)
        if position > len(data):
            return
        yield name.decode(errors="backslashreplace"), value


def bound_headers(headers: Iterable[Header], limit: int) -> tuple[tuple[Header, ...], int]:
    """The first headers that fit into so many bytes, each whole, and how many do not."""
    fitting: list[Header] = []
    dropped = size = 0
    for header in headers:
        size += header_bytes(header)
        if dropped or size > limit:
            dropped += 1
        else:
            fitting.append(header)
    return tuple(fitting), dropped


def header_bytes(header: Header) -> int:
    """How much room a header takes."""
    return len(header[0].encode()) + len(header[1] or b"")


class _ForProducer(list[tuple[str, Any]]):
    """Headers for kafka-python's producer, which writes those without a value rightly, but would not take them in.

    It looks for bytes in each, and adds up their lengths in the end. Only before it writes them (or sees how much room
    that takes) it asks how many there are, and only before it adds up whether there are any: by that they are shown.
    """

    _is_written = False

    def __len__(self) -> int:
        self._is_written = True
        return super().__len__()

    def __bool__(self) -> bool:
        self._is_written = False
        return super().__len__() > 0

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return super().__iter__() if self._is_written else ((name, value or b"") for name, value in super().__iter__())


def for_producer(headers: Iterable[Header]) -> list[tuple[str, Any]]:
    """Headers as kafka-python's producer takes them, for one record."""
    return _ForProducer(headers)


def _read_signed(data: bytes, position: int) -> tuple[int, int]:
    """The zigzag number at a position, and the position after it; -1, at the end, where none is whole."""
    number = shift = 0
    # Seven bits a byte: ten bytes hold the longest number.
    for at in range(position, min(len(data), position + 10)):
        number |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return (number >> 1) ^ -(number & 1), at + 1
        shift += 7
    # Beyond the end, so that whoever reads on stops there.
    return -1, len(data) + 1
