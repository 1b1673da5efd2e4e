"""OpenAI's request and answer shapes, as far as they are supported; everything else is refused by name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from serving.answers.body import Many
from serving.answers.fields import MAX_STOP_IDS, read_bias, read_prompts, read_stops, read_texts
from serving.answers.formats import read_format
from serving.answers.logprobs import MOST_LOGPROBS, chat_logprobs, text_logprobs
from serving.answers.messages import read_messages
from serving.answers.tools import ForcedCall, Tool, call_schema, read_choice, read_tools
from serving.engine.completion import Finish
from serving.engine.defaults import Defaults
from serving.engine.grammar_state import WantedFormat
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.engine.scores import TokenScore
from serving.errors import RequestError
from streams.chats import Message

MAX_SEED: Final = 2**63 - 1
MOST_CHOICES: Final = 128


class StreamOptions(BaseModel):
    """How a stream ends."""

    model_config = ConfigDict(strict=True, extra="forbid")

    include_usage: bool | None = None
    # It pads pieces against those who count bytes on the wire; the answer is the same.
    include_obfuscation: bool | None = None


class TextRequest(BaseModel):
    """What requests for text have in common. What of it is null is for the model's `generation_config` to say."""

    # What is not a field here is refused, in better words, before this is made.
    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    # -1 is vLLM's word for all, and clients of vLLM send it.
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float | None = Field(None, ge=-2, le=2, allow_inf_nan=False)
    logit_bias: Annotated[tuple[tuple[int, float], ...], PlainValidator(read_bias)] = ()
    seed: int | None = Field(None, ge=-MAX_SEED, le=MAX_SEED)
    stop: Annotated[tuple[str, ...], PlainValidator(read_stops)] = ()
    stop_token_ids: Many[Annotated[int, Field(ge=0)]] | None = Field(None, max_length=MAX_STOP_IDS)
    ignore_eos: bool | None = None
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    # As the JSON schema that answers are held to.
    response_format: Annotated[str | None, PlainValidator(read_format)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Whatever it is, the answer is the same; a canary's share is chosen by it.
    user: object = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def limit(self) -> tuple[str, int | None]:
        """Most tokens of the answer, and the field that says so."""
        return "max_tokens", self.max_tokens

    @property
    def choices(self) -> int:
        """Answers to each prompt."""
        return self.n or 1

    @property
    def scored(self) -> int | None:
        """With how many alternatives each token's log-probability is told; None: it is not."""
        return None

    def samplings(self, defaults: Defaults) -> list[Sampling]:
        """How each of the answers to one prompt is drawn; with a seed, each by the next one."""
        drawn = self.sampling(defaults)
        if self.seed is None:
            return [drawn] * self.choices
        # Beyond the largest it goes on at the smallest: each is as good as another.
        return [
            replace(drawn, seed=(self.seed + number + MAX_SEED) % (2 * MAX_SEED + 1) - MAX_SEED)
            for number in range(self.choices)
        ]

    def sampling(self, defaults: Defaults) -> Sampling:
        """How the answer is drawn: as the request says, and as the model does where it says nothing."""
        temperature, top_p = _or(self.temperature, defaults.temperature), _or(self.top_p, defaults.top_p)
        if top_p <= 0:
            # The most probable token alone. Not every engine takes such a `top_p`; all have this word for it.
            temperature, top_p = 0.0, 1.0
        return Sampling(
            temperature=temperature,
            top_p=top_p,
            seed=self.seed,
            # Not `or`, here and below: 0 is a value, which asks for something.
            top_k=defaults.top_k if self.top_k is None else self.top_k,
            min_p=_or(self.min_p, defaults.min_p),
            repetition_penalty=_or(self.repetition_penalty, defaults.repetition_penalty),
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            bias=self.logit_bias,
        )

    def stop_ids(self, usual: frozenset[int]) -> frozenset[int]:
        """The tokens that end the answer.

        Args:
            usual: those that end the model's answers.
        """
        return frozenset(self.stop_token_ids or ()) | (frozenset() if self.ignore_eos else usual)


def _without_false(value: object) -> object:
    """Chats have a bool by this name, whose false asks for nothing here too."""
    return None if value is False else value


def wanted_format(body: TextRequest) -> WantedFormat | None:
    """What a request's `response_format` asks for; None: nothing."""
    return None if body.response_format is None else WantedFormat(body.response_format)


class CompletionRequest(TextRequest):
    """Body of `POST /v1/completions`."""

    prompt: Annotated[list[str | list[int]], PlainValidator(read_prompts)]
    # 0 asks about the prompt alone.
    max_tokens: int | None = Field(None, ge=0)
    echo: bool | None = None
    logprobs: Annotated[int | None, BeforeValidator(_without_false)] = Field(None, ge=0, le=MOST_LOGPROBS)

    @property
    def scored(self) -> int | None:
        """See `TextRequest`."""
        return self.logprobs

    @model_validator(mode="after")
    def _require_company(self) -> Self:
        """Refuse what goes with something else alone."""
        if self.max_tokens == 0 and not self.echo:
            raise RequestError("max_tokens: at least 1, and 0 only with echo", param="max_tokens")
        return self


class ChatRequest(TextRequest):
    """Body of `POST /v1/chat/completions`."""

    max_completion_tokens: int | None = Field(None, ge=1)
    messages: Annotated[list[Message], PlainValidator(read_messages)]
    tools: Annotated[tuple[Tool, ...], PlainValidator(read_tools)] = ()
    tool_choice: Annotated[ForcedCall | str | None, PlainValidator(read_choice)] = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)

    @property
    def scored(self) -> int | None:
        """See `TextRequest`."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @model_validator(mode="after")
    def _require_company(self) -> Self:
        """Refuse what goes with something else alone."""
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs: goes with logprobs true", param="top_logprobs")
        if isinstance(self.tool_choice, ForcedCall):
            call_schema(self.tools, self.tool_choice)
            if self.response_format:
                why = "a call that has to be made leaves no room for another format; leave one of them out"
                raise RequestError(f"tool_choice: {why}", param="tool_choice")
        return self

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model is told of: what is never called is not."""
        return () if self.tool_choice == "none" else self.tools

    @property
    def forced(self) -> ForcedCall | None:
        """The call that has to be made, if one has."""
        return self.tool_choice if isinstance(self.tool_choice, ForcedCall) else None

    @property
    def limit(self) -> tuple[str, int | None]:
        """Most tokens of the answer, by the newer name where both are given, and the field that says so."""
        if self.max_completion_tokens is None:
            return "max_tokens", self.max_tokens
        return "max_completion_tokens", self.max_completion_tokens


class ClassifyRequest(BaseModel):
    """Body of `POST /v1/classify`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = None
    input: Annotated[list[str], PlainValidator(read_texts)]
    user: object = None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def usage(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's token counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


@dataclass(slots=True)
class ChoicePart:
    """What is known of one choice: all of it, or what one piece of a stream adds.

    Attributes:
        text: that was written.
        scores: of its tokens; empty where they were not asked for.
        finish: why it ended; None: it has not.
        end: the score of the token that ended it.
    """

    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    finish: Finish | None = None
    end: TokenScore | None = None


class AnswerShape(ABC):
    """What one answer looks like on the wire, whole or in pieces.

    Args:
        generation: what answers.
        model: the name that the client knows the model by.
        created: unix seconds.
        unique: what tells the answer's id from all others.
    """

    prefix: ClassVar[str]
    whole: ClassVar[str]
    piece: ClassVar[str]

    def __init__(self, generation: LoadedGeneration, model: str, created: int, unique: str) -> None:
        self.id = f"{self.prefix}-{unique}"
        self._common = {
            "id": self.id,
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
    def choice(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """One whole choice."""

    @abstractmethod
    def delta(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """A further piece of one choice."""

    def opening(self, choices: int) -> list[dict[str, Any]]:  # noqa: ARG002 - of chats
        """What a stream's first chunk has of so many choices, if it has one before any text."""
        return []


class CompletionShape(AnswerShape):
    """Answers of `/v1/completions`."""

    prefix = "cmpl"
    whole = piece = "text_completion"

    def choice(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """One whole text."""
        return self.delta(index, part)

    def delta(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """A further piece of one text."""
        scores = [*part.scores, *([part.end] if part.end else [])]
        # Null, not left out: clients with types of their own expect the field.
        logprobs = text_logprobs(scores) if scores else None
        return {"index": index, "text": part.text, "logprobs": logprobs, "finish_reason": part.finish}


class ChatShape(AnswerShape):
    """Answers of `/v1/chat/completions`."""

    prefix = "chatcmpl"
    whole = "chat.completion"
    piece = "chat.completion.chunk"

    def choice(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """One whole message."""
        message = {"role": "assistant", "content": part.text, "refusal": None}
        return {"index": index, "message": message, **self._ending(part)}

    def delta(self, index: int, part: ChoicePart) -> dict[str, Any]:
        """A further piece of the message."""
        piece = {"content": part.text} if part.text else {}
        return {"index": index, "delta": piece, **self._ending(part)}

    def _ending(self, part: ChoicePart) -> dict[str, Any]:
        logprobs = chat_logprobs(part.scores) if part.scores else None
        return {"logprobs": logprobs, "finish_reason": part.finish}

    def opening(self, choices: int) -> list[dict[str, Any]]:
        """Says who speaks."""
        said = {"role": "assistant", "content": ""}
        return [{**self.delta(index, ChoicePart()), "delta": said} for index in range(choices)]
