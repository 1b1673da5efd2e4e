"""Log-probabilities as engines give them, with the tokens' numbers or words, as this side tells them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from serving.engine.scores import BYTES, TokenNames, TokenScore, token_bytes
from serving.errors import Failed

NUMBERED: Final = "token_id:"
"""Begins a token's name where the engine was asked for numbers (vLLM's `return_tokens_as_token_ids`)."""


def read_scores(logprobs: object, names: TokenNames, most: int) -> list[TokenScore] | None:
    """The tokens' scores of one piece of an answer; None: it has none.

    Args:
        logprobs: the field of that name, in the shape of OpenAI's completions.
        names: what the model's tokens are called.
        most: of the alternatives that are wanted; engines add the token itself to them.

    Raises:
        Failed: it has another shape.
    """
    if logprobs is None:
        return None
    try:
        return list(_scores(logprobs, names, most))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = "the engine gives log-probabilities in another shape than OpenAI's completions have"
        raise Failed(why) from error


def _scores(logprobs: Any, names: TokenNames, most: int) -> Iterator[TokenScore]:
    tokens: Sequence[str] = logprobs["tokens"]
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    for token, own, top in zip(tokens, logprobs["token_logprobs"], tops, strict=True):
        logprob = None if own is None else float(own)
        ordered = sorted((top or {}).items(), key=lambda item: -float(item[1]))[:most]
        if token.startswith(NUMBERED):
            numbered = [(_number(each), float(value)) for each, value in ordered]
            yield names.score(_number(token), logprob, numbered)
        else:
            named = tuple((str(each), float(value)) for each, value in ordered)
            yield TokenScore(token, logprob, named, characters=_characters(token))


def _number(name: str) -> int:
    return int(name.removeprefix(NUMBERED))


def _characters(name: str) -> int:
    """How many characters of a text a token begins, by its name."""
    if not name.startswith(BYTES):
        return len(name)
    return sum(byte & 0xC0 != 0x80 for byte in token_bytes(name))
