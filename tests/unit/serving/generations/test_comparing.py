"""An engine's log-probabilities against the learner's, by a fake engine that answers as it is told to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from checkpoints.probe.reference_answer import ANSWER_TOKENS, ReferenceAnswer, write_reference
from serving.errors import BrokenGeneration
from serving.generations.comparing import difference, require_alike

PROMPT, ANSWER = (5, 6), tuple(range(10, 10 + ANSWER_TOKENS))
REFERENCE = ReferenceAnswer((*PROMPT, *ANSWER), (-1.0,) * (1 + ANSWER_TOKENS))
BOUND = 0.1
READ = [None, *REFERENCE.log_probabilities, -9.0]
WROTE = [-1.0] * ANSWER_TOKENS


def compared(
    tmp_path: Path,
    read: Any = READ,
    wrote: Any = WROTE,
    *,
    numbers: Sequence[int] | None = ANSWER,
    status: int = 200,
    must_tell: bool = True,
) -> None:
    """Compare a fake engine that tells this of what it reads, and of what it writes."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        assert body["temperature"] == 0
        if body.get("echo"):
            assert (body["prompt"], body["max_tokens"]) == (list(REFERENCE.tokens), 1)
            choice: dict[str, Any] = {
                "logprobs": read if isinstance(read, dict) or read is None else {"token_logprobs": read}
            }
        else:
            assert (body["prompt"], body["max_tokens"]) == (list(PROMPT), ANSWER_TOKENS)
            choice = {"logprobs": {"token_logprobs": wrote}}
            if body.get("return_token_ids"):
                choice["token_ids"] = numbers
        return httpx.Response(status, json={"choices": [choice]})

    write_reference(tmp_path, REFERENCE)
    client = httpx.Client(base_url="http://engine", transport=httpx.MockTransport(answer))
    tells = numbers is not None
    require_alike(client, "name", 3, tmp_path, bound=BOUND, must_tell=must_tell, tells_tokens=tells)


def test_what_reads_and_writes_as_the_learner_does_may_answer(tmp_path: Path) -> None:
    """What it writes behind what it reads is left out, and so is the first token, behind which nothing stands."""
    compared(tmp_path)


def test_it_is_the_mean_distance_over_the_tokens_that_follow_another() -> None:
    """Whichever side is higher."""
    assert difference(REFERENCE.log_probabilities, REFERENCE) == 0
    assert difference([-1.9, *REFERENCE.log_probabilities[1:]], REFERENCE) == pytest.approx(0.1)


@pytest.mark.parametrize("odd", [None, -2.0])
def test_what_reads_otherwise_may_not(odd: float | None, tmp_path: Path) -> None:
    """JSON has no word for what is no number but null."""
    with pytest.raises(BrokenGeneration, match="reads generation 3 otherwise"):
        compared(tmp_path, [None, odd, *READ[2:]])


@pytest.mark.parametrize("at", range(1, ANSWER_TOKENS + 1))
def test_what_writes_another_token_may_not(at: int, tmp_path: Path) -> None:
    """A less probable one, as a penalty makes it write. Where it tells no numbers, the first one shows it."""
    wrote = [*WROTE[: at - 1], -3.0, *WROTE[at:]]
    numbers = [*ANSWER[: at - 1], 99, *ANSWER[at:]]
    with pytest.raises(BrokenGeneration, match=f"token {at} of its answer"):
        compared(tmp_path, wrote=wrote, numbers=numbers)
    if at == 1:
        with pytest.raises(BrokenGeneration, match="token 1 of its answer"):
            compared(tmp_path, wrote=wrote, numbers=None)
    else:
        compared(tmp_path, wrote=wrote, numbers=None)


def test_of_a_program_that_may_add_something_by_itself_the_log_says_so(tmp_path: Path) -> None:
    """What requests say of it holds there too."""
    with capture_logs() as logged:
        compared(tmp_path, wrote=[-3.0, *WROTE[1:]], numbers=None, must_tell=False)
    assert [line["event"] for line in logged] == ["engine_writes_otherwise", "engine_compared"]


def test_between_two_that_are_as_good_either_may_be_written(tmp_path: Path) -> None:
    """And whatever follows."""
    compared(tmp_path, wrote=[-1.0, -1.0, -0.85, *([-7.0] * 5)], numbers=[*ANSWER[:2], 99, *([98] * 5)])


def test_an_answer_that_ends_early_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    """Where an engine cannot be asked to write on behind the end of a text."""
    compared(tmp_path, wrote=WROTE[:2], numbers=ANSWER[:2])
    compared(tmp_path, wrote=[], numbers=())


@pytest.mark.parametrize(
    "told", [None, {}, {"token_logprobs": None}, {"token_logprobs": [None, -1.0]}, {"token_logprobs": [None, {}, 1]}]
)
def test_an_engine_that_tells_none_is_not_compared(told: Any, tmp_path: Path) -> None:
    """Nor is one that tells too few: neither is a difference of nothing."""
    with pytest.raises(BrokenGeneration, match=r"cannot be compared with the learner: .* log-probabilities"):
        compared(tmp_path, told)


def test_a_refusal_is_told_in_its_words(tmp_path: Path) -> None:
    """With its status."""
    with pytest.raises(BrokenGeneration, match="it answered 400"):
        compared(tmp_path, status=400)
