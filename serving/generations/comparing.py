"""Whether an engine that is a program of its own reads a generation as the learner does: by its log-probabilities."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import structlog

from checkpoints.probe.reference_answer import ReferenceAnswer, read_reference
from serving.errors import BrokenGeneration

_log = structlog.get_logger(__name__)

LONGEST_ECHO: Final = 300


def require_alike(client: httpx.Client, name: str, number: int, model: Path, *, bound: float, must_tell: bool) -> None:
    """Hold an engine to what the learner's own scorer found of a generation.

    Args:
        client: of the engine.
        name: of the model there.
        number: the generation.
        model: the directory that says what it answers.
        bound: how far they may be apart, in nats a token.
        must_tell: whether the engine is known to tell log-probabilities: not every program does.

    Raises:
        BrokenGeneration: it reads the model otherwise.
        CheckpointsError: what the generation says of its answer is damaged.
    """
    reference = read_reference(model)
    if reference is None:
        _log.warning("engine_not_compared", generation=number, reason="the generation has no reference answer")
        return
    try:
        apart = difference(client, name, reference)
    except NotCompared as error:
        if must_tell:
            raise BrokenGeneration(f"the engine cannot be compared with the learner: {error}") from error
        _log.warning("engine_not_compared", generation=number, reason=str(error))
        return
    if apart > bound:
        raise BrokenGeneration(
            f"the engine reads generation {number} otherwise than the learner: their log-probabilities are "
            f"{apart:.3f} nats a token apart, and serving.engine_process.max_difference is {bound:g}. Compare its "
            "precision, quantization and model files with the generation's; raise the bound only if that is why"
        )
    _log.info("engine_compared", generation=number, nats_apart=round(apart, 4))


class NotCompared(Exception):
    """The engine does not tell log-probabilities; the message says what it said instead."""


def difference(client: httpx.Client, name: str, reference: ReferenceAnswer) -> float:
    """How far an engine's log-probabilities of the reference answer are from the learner's.

    Args:
        client: of the engine.
        name: of the model there.
        reference: what the learner's own scorer found.

    Returns:
        the mean over tokens of the absolute difference, in nats; infinite where one of the two is no number.

    Raises:
        NotCompared: the engine does not tell them.
    """
    told = _told(client, name, reference.tokens)
    apart = [abs(one - other) for one, other in zip(told, reference.log_probabilities, strict=True)]
    mean = statistics.fmean(apart)
    return mean if math.isfinite(mean) else math.inf


def _told(client: httpx.Client, name: str, tokens: Sequence[int]) -> list[float]:
    """What the engine finds of every token but the first."""
    body = {
        "model": name,
        "prompt": list(tokens),
        # A whole answer by OpenAI's word: there is none of no token at all.
        "max_tokens": 1,
        "temperature": 0,
        "echo": True,
        "logprobs": 1,
    }
    try:
        answer = client.post("/v1/completions", content=orjson.dumps(body))
    except httpx.HTTPError as error:
        raise NotCompared(f"it gave no answer ({type(error).__name__})") from error
    if answer.status_code != httpx.codes.OK:
        raise NotCompared(f"it answered {answer.status_code}: {answer.text[:LONGEST_ECHO]}")
    try:
        found: Any = orjson.loads(answer.content)["choices"][0]["logprobs"]["token_logprobs"]
        told = [math.nan if value is None else float(value) for value in found[1 : len(tokens)]]
    except (ValueError, LookupError, TypeError) as error:
        raise NotCompared(f"it answered without log-probabilities: {answer.text[:LONGEST_ECHO]}") from error
    if len(told) != len(tokens) - 1:
        raise NotCompared(f"it told the log-probabilities of {len(told) + 1} tokens, {len(tokens)} were sent")
    return told
