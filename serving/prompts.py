"""Requests into token ids, by the tokenizer of the generation that will answer."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import TemplateError

from serving.errors import RequestError, TooLong
from serving.loaded import LoadedGeneration
from serving.openai import Message

# More of a prompt adds nothing to a warm-up.
WARM_TOKENS: Final = 64
SPEAKERS: Final = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
PLAIN_STOP: Final = "\nUser:"


class RecentPrompts:
    """The last prompts, in memory only: what a new generation is warmed with.

    Args:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self._prompts: deque[tuple[int, ...]] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def add(self, prompt: Sequence[int]) -> None:
        """Remember a prompt in place of the oldest."""
        with self._lock:
            self._prompts.append(tuple(prompt[:WARM_TOKENS]))

    def usable_by(self, generation: LoadedGeneration) -> list[Sequence[int]]:
        """Those that this generation can read; one of its own when there is none."""
        size = len(generation.tokenizer)
        with self._lock:
            prompts: list[Sequence[int]] = [prompt for prompt in self._prompts if max(prompt) < size]
        return prompts or [[min(generation.stop_ids, default=0)] * 8]


def encode(generation: LoadedGeneration, text: str, param: str, *, special: bool = True) -> list[int]:
    """A text's token ids.

    Args:
        generation: whose tokenizer.
        text: any text.
        param: the request's field it comes from, for errors.
        special: whether the tokenizer adds its own special tokens (the beginning of a text).

    Raises:
        RequestError: there is no token in it, or it cannot be encoded.
    """
    _require_text(text, param)
    return _some(generation, list(generation.tokenizer(text, add_special_tokens=special)["input_ids"]), param)


@dataclass(frozen=True, slots=True)
class CutText:
    """A text to classify.

    Attributes:
        ids: its token ids, at most as many as the generation's context.
        truncated: whether more of the text was there.
    """

    ids: list[int]
    truncated: bool


def cut(generation: LoadedGeneration, text: str, param: str) -> CutText:
    """A text as the learner reads a document of a classifier: framed by the tokenizer, cut to what it was trained on.

    So that what is served is what the gate has measured.

    Args:
        generation: a classifier.
        text: any text.
        param: the request's field it comes from, for errors.

    Raises:
        RequestError: there is no token in it, or it cannot be encoded.
    """
    _require_text(text, param)
    tokenizer = generation.tokenizer
    encoded = tokenizer(
        text,
        truncation=True,
        max_length=generation.context,
        # Rust's tokenizers tell it anyway, and would answer in another shape.
        return_overflowing_tokens=not tokenizer.is_fast,
        verbose=False,
    )
    beyond = encoded.encodings[0].overflowing if encoded.encodings else encoded.get("overflowing_tokens")
    return CutText(_some(generation, list(encoded["input_ids"]), param), truncated=bool(beyond))


def _require_text(text: str, param: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{param} holds half of a surrogate pair: not text", param=param) from None


def _some(generation: LoadedGeneration, ids: list[int], param: str) -> list[int]:
    """The ids; where there is none, the token that begins a text."""
    if not ids and generation.tokenizer.bos_token_id is not None:
        return [generation.tokenizer.bos_token_id]
    if not ids:
        raise RequestError(f"{param} is empty", param=param)
    return ids


def completion_prompt(generation: LoadedGeneration, prompt: str | list[int]) -> list[int]:
    """The token ids of one prompt of `/v1/completions`.

    Raises:
        RequestError: it is empty or has ids that the model does not know.
    """
    if isinstance(prompt, str):
        return encode(generation, prompt, "prompt")
    size = len(generation.tokenizer)
    if not prompt or not all(0 <= token < size for token in prompt):
        raise RequestError(f"prompt: token ids are at least one and in 0 … {size - 1}", param="prompt")
    return prompt


def chat_prompt(generation: LoadedGeneration, messages: Sequence[Message]) -> tuple[list[int], tuple[str, ...]]:
    """The token ids of a conversation, and texts that end the answer beside those asked for.

    By the tokenizer's own template; where it has none, in plain lines, and the answer ends where the user's next
    line would begin.

    Raises:
        RequestError: the template refuses the conversation (roles that do not alternate, say).
    """
    tokenizer = generation.tokenizer
    if not tokenizer.chat_template:
        return encode(generation, _plain(messages), "messages"), (PLAIN_STOP,)
    turns = [{"role": _role(message), "content": message.text} for message in messages]
    try:
        text: Any = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise RequestError(f"messages: the model's chat template refuses them: {error}", param="messages") from None
    return encode(generation, str(text), "messages", special=False), ()


def _role(message: Message) -> str:
    return "system" if message.role == "developer" else message.role


def _plain(messages: Sequence[Message]) -> str:
    lines = [f"{SPEAKERS[message.role]}: {message.text}" for message in messages]
    return "\n".join([*lines, f"{SPEAKERS['assistant']}:"])


def room(generation: LoadedGeneration, prompt: Sequence[int], asked: int | None, default: int, param: str) -> int:
    """How many tokens the answer to a prompt may have.

    Args:
        generation: what answers.
        prompt: token ids.
        asked: what the request asks for.
        default: when it asks for nothing; as much of it as fits.
        param: the field that the prompt comes from.

    Raises:
        TooLong: the prompt, with what was asked for, does not fit the context.
    """
    free = generation.context - len(prompt)
    if free < (asked or 1):
        raise TooLong(len(prompt), asked or 0, generation.context, param)
    return asked or min(default, free)
