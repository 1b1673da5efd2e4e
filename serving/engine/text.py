"""Token ids into text as they come, up to a stop string: pure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Final

REPLACEMENT: Final = "\ufffd"
# Some tokenizers write a token differently at the start of a text: decode with a few tokens before it.
CONTEXT_TOKENS: Final = 6
# A character is at most four bytes, so at most four byte-level tokens can be waiting for the rest of it.
MAX_PENDING: Final = 8


class TextStream:
    """Turns an answer's tokens into text, piece by piece.

    Text that may turn out to be the beginning of a stop string, and bytes that are not yet a character, are held
    back until more is known.

    Args:
        decode: token ids to text.
        prompt: the token ids before the answer.
        stop: texts before which the answer ends.
        unshown: the tokens that `decode` leaves out, with their words: a stop may name them.
        begins_at: characters of the answer before the first of its tokens.

    Attributes:
        stopped: whether a stop was found.
        certain: characters of the answer that were released.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        prompt: Sequence[int],
        stop: Sequence[str] = (),
        unshown: Mapping[int, str] | None = None,
        *,
        begins_at: int = 0,
    ) -> None:
        self._decode = decode
        self._context = list(prompt[-CONTEXT_TOKENS:])
        self._pending: list[int] = []
        self._stop = tuple(stop)
        self._words = unshown if unshown and stop else {}
        self._held = ""
        self._held_shown: list[bool] = []
        self.stopped = False
        self.certain = begins_at

    @property
    def position(self) -> int:
        """Characters of the answer before the token that comes next, what is held back among them."""
        return self.certain + sum(self._held_shown)

    def push(self, token: int) -> str:
        """Take the answer's next token; returns the text that is now certain."""
        if token in self._words:
            return self._push_unshown(token)
        self._pending.append(token)
        # A token of bytes may end in the middle of a character, which decodes to the replacement character. Where that
        # was meant, or the bytes are no UTF-8, waiting ends after a few tokens.
        text = self._new_text()
        if text.endswith(REPLACEMENT) and len(self._pending) < MAX_PENDING:
            return ""
        self._settle()
        return self._release(text)

    def _push_unshown(self, token: int) -> str:
        text = self._new_text() if self._pending else ""
        # It goes into the context too, but only now: what was pending must be decoded without it.
        self._pending.append(token)
        self._settle()
        released = self._release(text)
        return released if self.stopped else released + self._release(self._words[token], shown=False)

    def end(self) -> str:
        """The rest, when no more tokens come."""
        text = self._new_text() if self._pending else ""
        self._pending.clear()
        released = self._release(text)
        rest = "".join(compress(self._held, self._held_shown))
        self._held, self._held_shown = "", []
        if self.stopped:
            return released
        self.certain += len(rest)
        return released + rest

    def _new_text(self) -> str:
        # The difference of two texts, as a token decoded alone may lose its leading blank or gain one.
        before = self._decode(self._context)
        return self._decode(self._context + self._pending)[len(before) :]

    def _settle(self) -> None:
        self._context = (self._context + self._pending)[-CONTEXT_TOKENS:]
        self._pending.clear()

    def _release(self, text: str, *, shown: bool = True) -> str:
        # Words that are not shown go through the search too, so that a stop may span them, and are left out at the end.
        marks = self._held_shown + [shown] * len(text)
        text = self._held + text
        stops_at = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        self.stopped = bool(stops_at)
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        certain = min(stops_at) if stops_at else len(text) - keep
        self._held, self._held_shown = ("", []) if stops_at else (text[certain:], marks[certain:])
        released = "".join(compress(text[:certain], marks))
        self.certain += len(released)
        return released


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of `text` may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
