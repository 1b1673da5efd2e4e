"""Log-probabilities in OpenAI's two shapes: of chats a list of tokens, of completions lists beside each other."""

from collections.abc import Sequence
from typing import Any, Final

from serving.engine.scores import TokenScore, token_bytes

MOST_LOGPROBS: Final = 20
"""Tokens that may be named in the place of one."""
MOST_NAMED: Final = 2**18
"""Tokens that one request may have named, alternatives included: an answer of so many takes some 20 MB."""


def chat_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """The `logprobs` of a chat's choice: of what is said, without the token that ends it."""
    content = [
        {
            **_named(score.token, score.logprob),
            "top_logprobs": [_named(token, logprob) for token, logprob in score.top],
        }
        for score in scores
    ]
    return {"content": content, "refusal": None}


def _named(token: str, logprob: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token_bytes(token))}


def text_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """The `logprobs` of a completion's choice: as many entries as the answer has tokens, its end among them."""
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [_alternatives(score) for score in scores],
        "text_offset": [score.offset for score in scores],
    }


def _alternatives(score: TokenScore) -> dict[str, float] | None:
    """The most probable tokens by name, and the token itself, wherever it stands; None where nothing foretold it."""
    if score.logprob is None:
        return None
    named: dict[str, float] = {}
    # Two tokens may be the same text: the more probable one has the name.
    for token, logprob in (*score.top, (score.token, score.logprob)):
        named.setdefault(token, logprob)
    return named
