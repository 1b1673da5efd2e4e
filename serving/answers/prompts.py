"""Requests into token ids, by the tokenizer of the generation that will answer."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from learner.errors import UnrenderableChat
from learner.material.chats import render, system_role
from learner.material.plain_text import control_ids, drop_steering_tokens
from learner.material.template_forms import template_of
from serving.answers.openai import TextRequest
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError, TooLong
from streams.chats import Message

# More of a prompt adds nothing to a warm-up.
WARM_TOKENS: Final = 64
# A text that every vocabulary has.
PROBE: Final = "a"
SPEAKERS: Final = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
PLAIN: Final = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}Assistant:"
PLAIN_STOP: Final = "\nUser:"
TEMPLATE_FAILED: Final = "chat_template_failed"


class RecentPrompts:
    """The last prompts, in memory only: what a new generation is warmed with.

    Args:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self._prompts: deque[tuple[int, ...]] = deque(maxlen=limit)
        # Requests add on the event loop while the follower's thread goes through them, which a deque does not allow.
        self._lock = threading.Lock()

    def add(self, prompt: Sequence[int]) -> None:
        """Remember a prompt in place of the oldest."""
        with self._lock:
            self._prompts.append(tuple(prompt[:WARM_TOKENS]))

    def usable_by(self, generation: LoadedGeneration) -> list[Sequence[int]]:
        """Those that this generation can read; one of its own when there is none."""
        with self._lock:
            # Ids above the last row of its embedding would fail a pass: another generation may have another vocabulary.
            prompts: list[Sequence[int]] = [prompt for prompt in self._prompts if max(prompt) < generation.tokens]
        return prompts or [[min(generation.stop_ids, default=0)] * 8]


def encode(generation: LoadedGeneration, text: str, param: str) -> list[int]:
    """A prompt's token ids; the words of control tokens in it are those tokens.

    It begins as the tokenizer begins texts, unless it does so already, and does not end as they end: an answer follows.

    Args:
        generation: whose tokenizer.
        text: any text.
        param: the request's field it comes from, for errors.

    Raises:
        RequestError: there is no token in it, or it cannot be encoded.
    """
    _require_text(text, param)
    # A prompt that was built by hand, from a chat template say, often has its opening token already.
    bare = list(generation.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    opening = opening_of(generation.tokenizer)
    ids = bare if bare[:1] == opening[:1] else [*opening, *bare]
    return _keep_known_ids(generation, _some(generation, ids, param), param)


def encode_input(generation: LoadedGeneration, text: str, param: str) -> list[int]:
    """The token ids that an encoder reads: framed by the tokenizer, and plain text in it, as the learner reads inputs.

    Arguments and errors are those of `encode`; the generation is a sequence-to-sequence model.
    """
    _require_text(text, param)
    read = generation.tokenizer(text, split_special_tokens=True, return_special_tokens_mask=True, verbose=False)
    control = control_ids(generation.tokenizer)
    ids = drop_steering_tokens(read["input_ids"], read["special_tokens_mask"], control)
    return _keep_known_ids(generation, _some(generation, ids, param), param)


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
    # One is filled by tokenizers in Rust, the other by those in Python.
    beyond = encoded.encodings[0].overflowing if encoded.encodings else encoded.get("overflowing_tokens")
    ids = drop_steering_tokens(encoded["input_ids"], encoded["special_tokens_mask"], control_ids(tokenizer))
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


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt as the model reads it.

    Attributes:
        ids: token ids.
        param: where it stands in the request, for errors.
        echo: its text, where that is to be given back.
    """

    ids: list[int]
    param: str
    echo: str | None = None


def prompt_text(generation: LoadedGeneration, prompt: str | list[int]) -> str:
    """A prompt of `/v1/completions` as a text: as it was given, or what its tokens show."""
    if isinstance(prompt, str):
        return prompt
    return str(generation.tokenizer.decode(prompt, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def places(field: str, count: int) -> list[str]:
    """Where each of so many values of a field stands, for errors: the field itself where there is one."""
    return [field] if count == 1 else [f"{field}.{number}" for number in range(count)]


def completion_prompt(generation: LoadedGeneration, prompt: str | list[int], param: str = "prompt") -> list[int]:
    """The token ids of one prompt of `/v1/completions`; it may write control tokens, to build a prompt by hand.

    Args:
        generation: whose tokenizer.
        prompt: a text, or the ids themselves.
        param: where it stands in the request, for errors.

    Raises:
        RequestError: it is empty or has ids that the model does not know.
    """
    if isinstance(prompt, str):
        return encode_input(generation, prompt, param) if generation.opening else encode(generation, prompt, param)
    if not prompt or not all(0 <= token < generation.tokens for token in prompt):
        raise RequestError(f"{param}: token ids are at least one and in 0 … {generation.tokens - 1}", param=param)
    return prompt


def require_known(generation: LoadedGeneration, body: TextRequest) -> None:
    """Refuse tokens that the model does not have.

    Raises:
        RequestError: with the field that names one.
    """
    named = {f"stop_token_ids.{number}": token for number, token in enumerate(body.stop_token_ids or ())}
    named |= {f"logit_bias.{token}": token for token, _ in body.logit_bias}
    for field, token in named.items():
        if token >= generation.tokens:
            raise RequestError(f"{field}: token ids are in 0 … {generation.tokens - 1}", param=field)


def _keep_known_ids(generation: LoadedGeneration, ids: list[int], param: str) -> list[int]:
    """The ids; a tokenizer may know control tokens that the model has no place for (those of pictures, say)."""
    beyond = [token for token in ids if token >= generation.tokens]
    if beyond:
        word = generation.tokenizer.convert_ids_to_tokens(beyond[0])
        raise RequestError(f"{param}: the model has no place for the token {word}; leave it out", param=param)
    return ids


def chat_prompt(generation: LoadedGeneration, messages: Sequence[Message]) -> tuple[list[int], tuple[str, ...]]:
    """The token ids of a conversation, and texts that end the answer beside those asked for.

    By the tokenizer's own template; where it has none, in plain lines, and the answer ends where the user's next
    line would begin. The words of control tokens in a message are plain text: only the template opens and closes
    turns.

    Raises:
        RequestError: the template refuses the conversation (roles that do not alternate, say), leaves a message out or
            fails, or a message holds what the tokenizer takes for a control token however it is read.
    """
    try:
        template = template_of(generation.tokenizer)
        if template is not None:
            return _render(generation, template, [system_role(message) for message in messages]), ()
        lines = _render(generation, PLAIN, [replace(message, role=SPEAKERS[message.role]) for message in messages])
    except UnrenderableChat as error:
        raise RequestError(f"messages: {error}", code=TEMPLATE_FAILED, param="messages") from None
    # A model that never saw a chat writes on in the user's place.
    return [*opening_of(generation.tokenizer), *lines], (PLAIN_STOP,)


def _render(generation: LoadedGeneration, template: str, messages: Sequence[Message]) -> list[int]:
    for message in messages:
        _require_text(message.content, "messages")
    ids = render(generation.tokenizer, template, messages)
    return _keep_known_ids(generation, _some(generation, ids, "messages"), "messages")


def opening_of(tokenizer: Any) -> list[int]:
    """The tokens that this tokenizer begins every text with, if it has such a habit."""
    # Asked of the tokenizer itself: a flag, a class or a post-processor may be what adds them.
    bare = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    framed = list(tokenizer(PROBE)["input_ids"])
    begins = (at for at in range(len(framed)) if bare and framed[at : at + len(bare)] == bare)
    return framed[: next(begins, 0)]


def room(generation: LoadedGeneration, prompt: Sequence[int], requested: int | None, default: int, param: str) -> int:
    """How many tokens the answer to a prompt may have.

    Args:
        generation: what answers.
        prompt: token ids.
        requested: what the request asks for; 0: the prompt alone is read.
        default: when it asks for nothing; as much of it as fits.
        param: the field that the prompt comes from.

    Raises:
        TooLong: the prompt, with what was asked for, does not fit the context; of a sequence-to-sequence model either.
    """
    # A decoder has places of its own for its answer, beside what the encoder read.
    taken = len(generation.opening) if generation.opening and len(prompt) <= generation.context else len(prompt)
    free = generation.context - taken
    if free < (1 if requested is None else requested):
        raise TooLong(len(prompt), requested or 0, generation.context, param)
    return min(default, free) if requested is None else requested
