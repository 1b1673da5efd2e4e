"""Answers of chats whose model may call tools."""

from collections.abc import Callable
from typing import Any

from serving.answers.openai import ChatShape, ChoicePart
from serving.answers.tool_calls import CallReader, ToolCall
from serving.engine.loaded import LoadedGeneration


class ToolChatShape(ChatShape):
    """Answers of `/v1/chat/completions` with the calls that the model writes taken out of its text.

    Args:
        generation: what answers.
        model: the name that the client knows the model by.
        created: unix seconds.
        unique: what tells the answer's id from all others.
        reader: makes what takes calls out of one choice's text.
    """

    def __init__(
        self, generation: LoadedGeneration, model: str, created: int, unique: str, reader: Callable[[], CallReader]
    ) -> None:
        super().__init__(generation, model, created, unique)
        self._reader = reader
        self._readers: dict[int, CallReader] = {}

    def choice(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """One whole message: its text, and the calls in it."""
        reader = self._reader()
        pieces = [*reader.push(part.text), *reader.end()]
        calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        choice = super().choice(index, ChoicePart(text, part.scores, part.finish, part.end))
        if calls:
            # Blanks between calls are nothing that was said.
            choice["message"]["content"] = text.strip() or None
            choice["message"]["tool_calls"] = [_whole(call) for call in calls]
        return {**choice, "finish_reason": _reason(part, reader)}

    def delta(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """A further piece of the message; each call comes in one piece."""
        reader = self._readers.setdefault(index, self._reader())
        before = reader.calls
        pieces = [*reader.push(part.text), *(reader.end() if part.finish else ())]
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        delta = super().delta(index, ChoicePart(text, part.scores, part.finish, part.end))
        calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
        if calls:
            numbered = [{"index": before + place, **_whole(call)} for place, call in enumerate(calls)]
            delta["delta"]["tool_calls"] = numbered
        return {**delta, "finish_reason": _reason(part, reader)}


def _whole(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _reason(part: ChoicePart, reader: CallReader) -> str | None:
    return "tool_calls" if part.finish == "stop" and reader.calls else part.finish
