"""Whether an engine that is a program of its own reads and writes a generation as the learner does.

Reading is compared by log-probabilities of the learner's own greedy answer, writing by a greedy answer of the engine's:
one may read rightly and write otherwise, by penalties or a temperature that it takes from the model's files.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import structlog

from checkpoints.probe.reference_answer import ANSWER_TOKENS, ReferenceAnswer, read_reference
from serving.errors import BrokenGeneration
from serving.outbound import in_words

_log = structlog.get_logger(__name__)

LONGEST_ECHO: Final = 300


def require_alike(
    client: httpx.Client, name: str, number: int, model: Path, *, bound: float, must_tell: bool, tells_tokens: bool
) -> None:
    """Hold an engine to what the learner's own scorer found of a generation.

    Args:
        client: of the engine.
        name: of the model there.
        number: the generation.
        model: the directory that says what it answers.
        bound: how far they may be apart, in nats a token.
        must_tell: whether the engine is known to tell log-probabilities, and to add nothing by itself.
        tells_tokens: whether it can be asked for the numbers of tokens, as vLLM can.

    Raises:
        BrokenGeneration: it reads the model otherwise, or writes otherwise where it is known to add nothing.
        CheckpointsError: what the generation says of its answer is damaged.
    """
    reference = read_reference(model)
    if reference is None:
        _log.warning("engine_not_compared", generation=number, reason="the generation has no reference answer")
        return
    try:
        told = _told(client, name, reference.tokens)
        apart = difference(told, reference)
        _require_near(apart, bound, number)
        written = _written(client, name, reference, tells_tokens=tells_tokens)
    except NotCompared as error:
        if must_tell:
            raise BrokenGeneration(f"the engine cannot be compared with the learner: {error}") from error
        _log.warning("engine_not_compared", generation=number, reason=str(error))
        return
    if (left_at := goes_apart(written, told, reference, bound)) is not None:
        refusal = _written_otherwise(number, left_at)
        if must_tell:
            raise BrokenGeneration(refusal)
        # Some programs follow the model's own generation_config where a request is silent, and requests are not.
        _log.warning("engine_writes_otherwise", generation=number, reason=refusal)
    _log.info("engine_compared", generation=number, nats_apart=round(apart, 4))


def _require_near(apart: float, bound: float, number: int) -> None:
    if apart > bound:
        raise BrokenGeneration(
            f"the engine reads generation {number} otherwise than the learner: their log-probabilities are "
            f"{apart:.3f} nats a token apart, and serving.engine_process.max_difference is {bound:g}. Compare its "
            "precision, quantization and model files with the generation's; raise the bound only if that is why"
        )


def _written_otherwise(number: int, left_at: int) -> str:
    return (
        f"the engine reads generation {number} as the learner does, and writes otherwise: asked for the most probable "
        f"tokens it wrote another one, token {left_at} of its answer. Look for a temperature, a penalty or a bias that "
        "it adds by itself: by its arguments, or from the model's generation_config.json"
    )


class NotCompared(Exception):
    """The engine does not tell log-probabilities; the message says what it said instead."""


@dataclass(frozen=True, slots=True)
class WrittenToken:
    """A token of an engine's own greedy answer.

    Attributes:
        number: of the token; None: it is not told.
        log_probability: as the engine finds it, in nats.
    """

    number: int | None
    log_probability: float


def difference(told: Sequence[float], reference: ReferenceAnswer) -> float:
    """How far an engine's log-probabilities of the reference answer are from the learner's.

    Args:
        told: the engine's, of every token but the first.
        reference: what the learner's own scorer found.

    Returns:
        the mean over tokens of the absolute difference, in nats; infinite where one of the two is no number.
    """
    apart = [abs(one - other) for one, other in zip(told, reference.log_probabilities, strict=True)]
    mean = statistics.fmean(apart)
    return mean if math.isfinite(mean) else math.inf


def goes_apart(
    written: Sequence[WrittenToken], told: Sequence[float], reference: ReferenceAnswer, bound: float
) -> int | None:
    """Where an engine's greedy answer leaves the learner's, although another token is clearly more probable.

    Where two tokens are as good as equally probable, each side may take another; nothing can be said of what follows.
    If two models' log-probabilities are at most `bound` apart, then what one takes is for it at most twice that above
    what the other takes.

    Args:
        written: the engine's answer to the reference's prompt; may end early.
        told: its log-probabilities of the reference's tokens, but for the first.
        reference: what the learner wrote.
        bound: in nats.

    Returns:
        the place in the answer, from 1; None: nowhere.
    """
    behind = told[-ANSWER_TOKENS:]
    for at, (taken, found, number) in enumerate(
        zip(written, behind, reference.tokens[-ANSWER_TOKENS:], strict=False), 1
    ):
        if not abs(taken.log_probability - found) <= 2 * bound:
            return at
        if taken.number != number:
            return None
    return None


def _told(client: httpx.Client, name: str, tokens: Sequence[int]) -> list[float]:
    """What the engine finds of every token but the first."""
    # A whole answer by OpenAI's word: there is none of no token at all.
    choice = _asked(client, {"model": name, "prompt": list(tokens), "max_tokens": 1, "echo": True})
    told = _log_probabilities(choice)[1 : len(tokens)]
    if len(told) != len(tokens) - 1:
        raise NotCompared(f"it told the log-probabilities of {len(told) + 1} tokens, {len(tokens)} were sent")
    return told


def _written(client: httpx.Client, name: str, reference: ReferenceAnswer, *, tells_tokens: bool) -> list[WrittenToken]:
    """What the engine itself writes to the reference's prompt."""
    prompt = list(reference.tokens[:-ANSWER_TOKENS])
    # What only some engines know is asked of those alone: others may refuse a request for it.
    beyond = {"return_token_ids": True, "ignore_eos": True} if tells_tokens else {}
    choice = _asked(client, {"model": name, "prompt": prompt, "max_tokens": ANSWER_TOKENS, **beyond})
    found = _log_probabilities(choice)
    numbers = choice.get("token_ids") or [None] * len(found)
    return [WrittenToken(number, value) for number, value in zip(numbers, found, strict=False)]


def _asked(client: httpx.Client, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The one answer to what is asked greedily, with log-probabilities."""
    try:
        answer = client.post("/v1/completions", content=orjson.dumps({"temperature": 0, "logprobs": 1, **asked}))
    except httpx.HTTPError as error:
        raise NotCompared(f"it gave no answer ({in_words(error, str(client.base_url))})") from error
    if answer.status_code != httpx.codes.OK:
        raise NotCompared(f"it answered {answer.status_code}: {answer.text[:LONGEST_ECHO]}")
    try:
        choice: dict[str, Any] = orjson.loads(answer.content)["choices"][0]
        # Read here, where it is known what was answered instead.
        _log_probabilities(choice)
    except (ValueError, LookupError, TypeError) as error:
        raise NotCompared(f"it answered without log-probabilities: {answer.text[:LONGEST_ECHO]}") from error
    return choice


def _log_probabilities(choice: Mapping[str, Any]) -> list[float]:
    # The first token of a prompt has none.
    return [math.nan if value is None else float(value) for value in choice["logprobs"]["token_logprobs"]]
