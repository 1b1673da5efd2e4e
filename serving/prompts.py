"""Requests into token ids, by the tokenizer of the generation that will answer."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import TemplateError

from learner.plain_text import control_ids, unforged
from serving.errors import RequestError, TooLong
from serving.loaded import LoadedGeneration
from serving.openai import Message

# More of a prompt adds nothing to a warm-up.
WARM_TOKENS: Final = 64
SPEAKERS: Final = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
PLAIN: Final = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}Assistant:"
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


def encode(generation: LoadedGeneration, text: str, param: str) -> list[int]:
    """A text's token ids, in the tokenizer's own frame; the words of control tokens in it are those tokens.

    Args:
        generation: whose tokenizer.
        text: any text.
        param: the request's field it comes from, for errors.

    Raises:
        RequestError: there is no token in it, or it cannot be encoded.
    """
    _require_text(text, param)
    return _some(generation, list(generation.tokenizer(text)["input_ids"]), param)


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

    So that what is served is what the gate has measured. The words of control tokens in it are plain text. Arguments
    and errors are those of `encode`; the generation is a classifier.
    """
    _require_text(text, param)
    tokenizer = generation.tokenizer
    encoded = tokenizer(
        text,
        truncation=True,
        max_length=generation.context,
        # Rust's tokenizers tell it anyway, and would answer in another shape.
        return_overflowing_tokens=not tokenizer.is_fast,
        split_special_tokens=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    beyond = encoded.encodings[0].overflowing if encoded.encodings else encoded.get("overflowing_tokens")
    ids = unforged(encoded["input_ids"], encoded["special_tokens_mask"], control_ids(tokenizer))
    return CutText(_some(generation, ids, param), truncated=bool(beyond))


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
    """The token ids of one prompt of `/v1/completions`; it may write control tokens, to build a prompt by hand.

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
    line would begin. The words of control tokens in a message are plain text: only the template opens and closes
    turns.

    Raises:
        RequestError: the template refuses the conversation (roles that do not alternate, say), or a message holds
            what the tokenizer takes for a control token however it is read.
    """
    if generation.tokenizer.chat_template:
        return _rendered(generation, [(_role(message), message.text) for message in messages], None), ()
    lines = _rendered(generation, [(SPEAKERS[message.role], message.text) for message in messages], PLAIN)
    return [*_beginning(generation), *lines], (PLAIN_STOP,)


def _rendered(generation: LoadedGeneration, turns: Sequence[tuple[str, str]], template: str | None) -> list[int]:
    for _, text in turns:
        _require_text(text, "messages")
    try:
        ids: Any = generation.tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in turns],
            chat_template=template,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except TemplateError as error:
        raise RequestError(f"messages: the model's chat template refuses them: {error}", param="messages") from None
    except ValueError as error:
        raise RequestError(f"messages: {error}", param="messages") from None
    return _some(generation, list(ids), "messages")


def _beginning(generation: LoadedGeneration) -> list[int]:
    """The token that this tokenizer begins every text with, if it has such a habit."""
    tokenizer = generation.tokenizer
    first = list(tokenizer("")["input_ids"])[:1]
    return first if first == [tokenizer.bos_token_id] else []


def _role(message: Message) -> str:
    return "system" if message.role == "developer" else message.role


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
