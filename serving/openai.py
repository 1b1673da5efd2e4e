"""OpenAI's request and answer shapes, as far as they are supported; everything else is refused by name."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.body import Many
from serving.engine import Finish
from serving.errors import RequestError
from serving.loaded import LoadedGeneration

MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 256
MAX_SEED: Final = 2**63 - 1

# What would change the answer and is not supported, and the values of it that ask for nothing.
REFUSED: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
}


class StreamOptions(BaseModel):
    """How a stream ends."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class Asked(BaseModel):
    """What requests for text have in common."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-MAX_SEED, le=MAX_SEED)
    stop: str | Many[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, neutral in REFUSED.items():
                _refuse(name, values.get(name), neutral)
        return values

    @model_validator(mode="after")
    def _check_stops(self) -> Self:
        stops = self.stops
        if len(stops) > MAX_STOPS or any(not 0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
            raise ValueError(f"stop takes up to {MAX_STOPS} texts of 1 to {MAX_STOP_LENGTH} characters")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts before which the answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(Asked):
    """Body of `POST /v1/completions`."""

    prompt: str | Many[str] | Many[int] | Many[Many[int]]

    @property
    def prompts(self) -> Sequence[str | list[int]]:
        """The prompts, each a text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        # Of ids there may be a million; its shape says that all are alike.
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return cast("list[str] | list[list[int]]", self.prompt)


class TextPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(strict=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Many[TextPart]

    @property
    def text(self) -> str:
        """What was said."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Asked):
    """Body of `POST /v1/chat/completions`."""

    max_completion_tokens: int | None = Field(None, ge=1)
    messages: Many[Message] = Field(min_length=1)


class ClassifyRequest(BaseModel):
    """Body of `POST /v1/classify`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str | None = None
    input: str | Many[str]

    @property
    def texts(self) -> list[str]:
        """What to classify."""
        return [self.input] if isinstance(self.input, str) else self.input


def _refuse(name: str, value: object, neutral: tuple[object, ...]) -> None:
    # 0 == False in Python, but logprobs=0 asks for something and logprobs=false for nothing.
    if value is None or any(value == other and type(value) is type(other) for other in neutral):
        return
    raise RequestError(f"{name} is not supported here; leave it out", code="unsupported_parameter", param=name)


def usage(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's token counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


class Shape(ABC):
    """What one answer looks like on the wire, whole or in pieces.

    Args:
        generation: what answers.
        model: the name that the client knows the model by.
        created: unix seconds.
    """

    prefix: ClassVar[str]
    whole: ClassVar[str]
    piece: ClassVar[str]

    def __init__(self, generation: LoadedGeneration, model: str, created: int) -> None:
        self._common = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": created,
            "model": model,
            "system_fingerprint": generation.fingerprint,
        }

    def answer(self, choices: list[dict[str, Any]], counts: dict[str, int]) -> dict[str, Any]:
        """The whole answer."""
        return {**self._common, "object": self.whole, "choices": choices, "usage": counts}

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """One piece of a stream."""
        return {**self._common, "object": self.piece, "choices": choices}

    @abstractmethod
    def choice(self, index: int, text: str, finish: Finish) -> dict[str, Any]:
        """One whole text."""

    @abstractmethod
    def delta(self, index: int, text: str, finish: Finish | None) -> dict[str, Any]:
        """A further piece of one text."""

    def opening(self) -> list[dict[str, Any]]:
        """The choices of a stream's first chunk, if it has one before any text."""
        return []


class CompletionShape(Shape):
    """Answers of `/v1/completions`."""

    prefix = "cmpl"
    whole = piece = "text_completion"

    def choice(self, index: int, text: str, finish: Finish) -> dict[str, Any]:
        """One whole text."""
        return self.delta(index, text, finish)

    def delta(self, index: int, text: str, finish: Finish | None) -> dict[str, Any]:
        """A further piece of one text."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


class ChatShape(Shape):
    """Answers of `/v1/chat/completions`."""

    prefix = "chatcmpl"
    whole = "chat.completion"
    piece = "chat.completion.chunk"

    def choice(self, index: int, text: str, finish: Finish) -> dict[str, Any]:
        """One whole message."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}

    def delta(self, index: int, text: str, finish: Finish | None) -> dict[str, Any]:
        """A further piece of the message."""
        piece = {"content": text} if text else {}
        return {"index": index, "delta": piece, "logprobs": None, "finish_reason": finish}

    def opening(self) -> list[dict[str, Any]]:
        """Says who speaks."""
        return [{**self.delta(0, "", None), "delta": {"role": "assistant", "content": ""}}]
