"""Calls of tools in what a model writes: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, after Hermes 2 Pro."""

import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import orjson

OPENING: Final = "<tool_call>"
CLOSING: Final = "</tool_call>"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        id: by which its result is given back.
        name: of the tool.
        arguments: JSON object, as text.
    """

    id: str
    name: str
    arguments: str


class CallReader:
    """Takes calls out of one answer's text, piece by piece; what is no call stays text.

    Args:
        names: of the tools.
        begins_within: whether the prompt has opened a call already.
    """

    def __init__(self, names: Collection[str], *, begins_within: bool = False) -> None:
        self._names = names
        self._within = begins_within
        # Of the opening that the prompt wrote nothing is given back.
        self._opened = "" if begins_within else OPENING
        self._held = ""
        self.calls = 0

    def push(self, text: str) -> Iterator[str | ToolCall]:
        """What is certain with a further piece of text."""
        self._held += text
        while (at := self._held.find(CLOSING if self._within else OPENING)) >= 0:
            before = self._held[:at]
            if self._within:
                self._held = self._held[at + len(CLOSING) :]
                yield from self._call(before, CLOSING)
            else:
                self._held = self._held[at + len(OPENING) :]
                self._opened = OPENING
                yield from filter(None, (before,))
            self._within = not self._within
        if not self._within:
            keep = _overlap(self._held, OPENING)
            certain, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
            yield from filter(None, (certain,))

    def end(self) -> Iterator[str | ToolCall]:
        """The rest: a call may end with the answer."""
        rest, self._held = self._held, ""
        if self._within:
            self._within = False
            yield from self._call(rest, "")
        else:
            yield from filter(None, (rest,))

    def _call(self, body: str, closing: str) -> Iterator[str | ToolCall]:
        call = self._read(body)
        if call is None:
            yield from filter(None, (f"{self._opened}{body}{closing}",))
        else:
            self.calls += 1
            yield call

    def _read(self, body: str) -> ToolCall | None:
        try:
            values = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(values, dict) or values.get("name") not in self._names:
            return None
        arguments = values.get("arguments", values.get("parameters", {}))
        if not isinstance(arguments, dict):
            return None
        return ToolCall(f"call_{secrets.token_hex(12)}", values["name"], orjson.dumps(arguments).decode())


def _overlap(text: str, opening: str) -> int:
    """How many of the last characters of a text may be the beginning of a call."""
    return next((n for n in range(min(len(text), len(opening) - 1), 0, -1) if opening.startswith(text[-n:])), 0)
