"""docs/openai-api.md says of every parameter what the code does with it."""

import json
import re
from pathlib import Path

import pytest

from serving.answers.fields import MAX_BIASES, MAX_STOP_IDS, MAX_STOP_LENGTH, MAX_STOPS
from serving.answers.logprobs import MOST_LOGPROBS
from serving.answers.messages import PASSED_OVER as PASSED_OVER_IN_MESSAGES
from serving.answers.openai import MOST_CHOICES, ChatRequest, CompletionRequest
from serving.answers.parameters import PASSED_OVER, REFUSED, refuse_unsupported
from serving.errors import RequestError
from streams.chats import ROLES

PAGE = (Path(__file__).parents[2] / "docs" / "openai-api.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """A section's table: each parameter with its next cell."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|(?: ((?:[^|\\]|\\.)*) ?\|)?", section, re.MULTILINE)
    return {name: value.strip() for name, value in found}


def test_every_parameter_that_is_honoured_is_listed() -> None:
    """The fields of both requests, and no other."""
    assert set(rows("Honoured")) == {*CompletionRequest.model_fields, *ChatRequest.model_fields}


def test_bounds_are_those_of_the_code() -> None:
    """Of lists and texts."""
    listed = rows("Honoured")
    assert f"{MAX_STOPS} texts of up to {MAX_STOP_LENGTH}" in listed["stop"]
    assert str(MAX_STOP_IDS) in listed["stop_token_ids"]
    assert str(MAX_BIASES) in listed["logit_bias"]
    assert f"1 … {MOST_CHOICES}" in listed["n"]
    assert all(f"0 … {MOST_LOGPROBS}" in listed[name] for name in ("logprobs", "top_logprobs"))


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty"])
def test_ranges_are_those_of_the_code(name: str) -> None:
    """As the page writes them."""
    said = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", rows("Honoured")[name])]
    metadata = CompletionRequest.model_fields[name].metadata
    ends = [getattr(bound, end, None) for bound in metadata for end in ("ge", "le")]
    assert said == [end for end in ends if end is not None]


def test_every_parameter_that_is_refused_is_listed_with_what_asks_for_nothing() -> None:
    """Value by value."""
    listed = rows("Refused")
    assert list(listed) == list(REFUSED)
    for name, said in listed.items():
        written = said.partition(";")[0]
        assert json.loads(f"[{written}]") == list(REFUSED[name]), name


def test_every_parameter_that_is_passed_over_is_listed() -> None:
    """Here and in messages."""
    assert set(rows("Passed over")) == PASSED_OVER
    section = PAGE.partition("\n## Messages\n")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in (*PASSED_OVER_IN_MESSAGES, *ROLES))


def test_the_codes_are_those_of_the_code() -> None:
    """For programs."""
    codes = []
    for name in ("best_of", "nobody_knows"):
        with pytest.raises(RequestError) as caught:
            refuse_unsupported({name: 2}, ())
        codes.append(caught.value.code)
    assert all(f"`{code}`" in PAGE for code in codes)
