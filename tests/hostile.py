"""Bodies that are cheap to send and would be dear to check, for whichever listener takes bodies."""

from collections.abc import Callable

BYTES = 2 * 1024 * 1024


def filled(before: bytes, item: bytes, after: bytes, *, size: int = BYTES) -> bytes:
    """As many items as fit in so many bytes, with commas between them."""
    return before + b",".join([item] * ((size - len(before) - len(after)) // (len(item) + 1))) + after


def names(before: bytes, after: bytes, *, size: int = BYTES) -> bytes:
    """An object with as many fields as fit."""
    return before + b",".join(b'"%08d":1' % number for number in range((size - 64) // 13)) + after


COMPLETIONS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: filled(b'{"prompt":[', b"{}", b"]}"),
    "lists": lambda: filled(b'{"prompt":[', b"[]", b"]}"),
    "lists in lists": lambda: filled(b'{"prompt":[', b"[[[0]]]", b"]}"),
    "numbers, the last of them none": lambda: filled(b'{"prompt":[', b"1", b',""]}'),
    "texts, the last of them none": lambda: filled(b'{"prompt":[', b'""', b",1]}"),
    "halves": lambda: filled(b'{"prompt":[', b"0.5", b"]}"),
    "stops": lambda: filled(b'{"prompt":"a","stop":[', b'""', b"]}"),
    "stops that are objects": lambda: filled(b'{"prompt":"a","stop":[', b"{}", b"]}"),
    "fields": lambda: names(b'{"prompt":[],', b"}"),
    "brackets": lambda: b"[" * BYTES,
    "escapes without an end": lambda: b'{"prompt":"' + b'\\"' * (BYTES // 2 - 10),
    "digits": lambda: b'{"prompt":[' + b"9" * (BYTES - 20) + b"]}",
}
CHATS: dict[str, Callable[[], bytes]] = {
    "messages": lambda: filled(b'{"messages":[', b'{"role":"user","content":""}', b"]}"),
    "messages without a word": lambda: filled(b'{"messages":[', b"{}", b"]}"),
    "parts": lambda: filled(
        b'{"messages":[{"role":"user","content":[', b'{"type":"text","text":""}', b',{"type":"image"}]}]}'
    ),
    "parts that are objects": lambda: filled(b'{"messages":[{"role":"user","content":[', b"{}", b"]}]}"),
    "parts that are numbers": lambda: filled(b'{"messages":[{"role":"user","content":[', b"0", b"]}]}"),
}
