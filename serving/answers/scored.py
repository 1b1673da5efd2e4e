"""How much may be asked about the probabilities of tokens in one request."""

from collections.abc import Sequence
from typing import Final

from serving.answers.logprobs import MOST_NAMED
from serving.answers.writing import Wish
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError

MOST_LOGITS: Final = 2**28
"""Of one pass: a GiB of them, where a model reads a prompt at once."""


def require_few_scores(generation: LoadedGeneration, wishes: Sequence[Wish]) -> None:
    """Refuse what would take too much memory to tell.

    Args:
        generation: what is asked.
        wishes: of one request.

    Raises:
        RequestError: more tokens would have to be named, or more logits held at once, than one request may have.
    """
    named = sum(_places(wish) * (1 + wish.scored) for wish in wishes if wish.scored is not None)
    if named > MOST_NAMED:
        raise RequestError(
            f"logprobs: {named} tokens would be named, of {MOST_NAMED} at most; ask for fewer alternatives, for fewer "
            "tokens, or about fewer prompts at once",
            param="logprobs",
        )
    for wish in wishes:
        asks = wish.scored is not None and wish.echo is not None
        if asks and _at_once(generation, wish) and len(wish.prompt) * generation.tokens > MOST_LOGITS:
            raise RequestError(
                f"logprobs: this model reads a prompt at once, and that of {len(wish.prompt)} tokens is too long to "
                "tell how probable each is; shorten it",
                param="logprobs",
            )


def _at_once(generation: LoadedGeneration, wish: Wish) -> bool:
    """Whether a prompt is read in one pass."""
    if generation.engine is not None:
        return False
    conduct = generation.conduct
    beyond = conduct.cached_up_to is not None and len(wish.prompt) + wish.max_tokens > conduct.cached_up_to
    return beyond or not conduct.way.stretches


def _places(wish: Wish) -> int:
    return wish.max_tokens + (len(wish.prompt) if wish.echo is not None else 0)
