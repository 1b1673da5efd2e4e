"""Whether an engine that is a program of its own reads a generation as the learner does: by its log-probabilities."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final

import httpx
import orjson

from checkpoints.probe.reference_answer import ReferenceAnswer

LONGEST_ECHO: Final = 300


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
