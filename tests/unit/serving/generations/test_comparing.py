"""An engine's log-probabilities against the learner's, by a fake engine that answers as it is told to."""

import json
import math
from typing import Any

import httpx
import pytest

from checkpoints.probe.reference_answer import ReferenceAnswer
from serving.generations.comparing import NotCompared, difference

REFERENCE = ReferenceAnswer((5, 6, 7), (-1.0, -2.0))


def asked(told: Any, status: int = 200) -> float:
    """The difference from a fake engine that tells this as its log-probabilities."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        assert body["prompt"] == [5, 6, 7]
        assert body["echo"] is True
        return httpx.Response(status, json={"choices": [{"logprobs": told}]})

    client = httpx.Client(base_url="http://engine", transport=httpx.MockTransport(answer))
    return difference(client, "name", REFERENCE)


def test_it_is_the_mean_distance_over_the_tokens_that_follow_another() -> None:
    """What the engine writes itself is left out, and so is the first token, behind which nothing stands."""
    assert asked({"token_logprobs": [None, -1.0, -2.0, -9.0]}) == 0
    assert asked({"token_logprobs": [None, -1.2, -1.6, -9.0]}) == pytest.approx(0.3)


def test_what_is_no_number_is_as_far_as_can_be() -> None:
    """JSON has no word for it but null."""
    assert asked({"token_logprobs": [None, -1.0, None, -9.0]}) == math.inf


@pytest.mark.parametrize(
    "told", [None, {}, {"token_logprobs": None}, {"token_logprobs": [None, -1.0]}, {"token_logprobs": [None, {}, 1]}]
)
def test_an_engine_that_tells_none_is_not_compared(told: Any) -> None:
    """Nor is one that tells too few: neither is a difference of nothing."""
    with pytest.raises(NotCompared, match="log-probabilities"):
        asked(told)


def test_a_refusal_is_told_in_its_words() -> None:
    """With its status."""
    with pytest.raises(NotCompared, match="it answered 400"):
        asked({}, status=400)
