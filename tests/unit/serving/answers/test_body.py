"""What is taken in of a body, and what is refused before anything is built of it."""

import json
from collections.abc import Callable

import pytest

from serving.answers.body import MOST_CONTAINERS, MOST_NAMES, parse, require_few
from serving.answers.openai import ChatRequest, ClassifyRequest, CompletionRequest
from serving.errors import RequestError
from tests.hostile import CHATS, COMPLETIONS, names


def refused(body: bytes, shape: type[CompletionRequest | ChatRequest | ClassifyRequest]) -> str:
    """The sentence that a body is refused with; short, however much was wrong."""
    with pytest.raises(RequestError) as caught:
        parse(body, shape)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 200
    return str(caught.value)


@pytest.mark.parametrize("make", COMPLETIONS.values(), ids=COMPLETIONS.keys())
def test_a_completion_is_refused_by_its_first_mistake(make: Callable[[], bytes]) -> None:
    """One sentence, whatever the rest of the body holds."""
    assert refused(make(), CompletionRequest)


@pytest.mark.parametrize("make", CHATS.values(), ids=CHATS.keys())
def test_a_chat_is_refused_by_its_first_mistake(make: Callable[[], bytes]) -> None:
    """The same for messages and their parts."""
    assert refused(make(), ChatRequest)


def test_fields_without_end_are_refused_where_every_field_is_known() -> None:
    """A shape that names what it does not know would name each of them."""
    assert "fields" in refused(names(b'{"input":"",', b"}"), ClassifyRequest)


def test_what_stands_in_texts_is_not_counted() -> None:
    """Code is full of brackets and colons, escaped quotes before and after them."""
    text = '{[: "' * (MOST_NAMES * 2)
    assert parse(json.dumps({"prompt": text}).encode(), CompletionRequest).prompt == [text]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_bound_is_exact(extra: int) -> None:
    """As many as are allowed pass, one more does not."""
    body = b"[" + b",".join([b"{}"] * (MOST_CONTAINERS - 1 + extra)) + b"]"
    if extra:
        with pytest.raises(RequestError, match=str(MOST_CONTAINERS)):
            require_few(body)
    else:
        require_few(body)


def test_a_long_prompt_of_ids_is_read() -> None:
    """Numbers are no things: a prompt by token ids may fill the body."""
    ids = [7] * 500_000
    body = b'{"prompt": [' + b",".join([b"7"] * 500_000) + b"]}"
    assert parse(body, CompletionRequest).prompt == [ids]


def test_ids_that_end_in_a_text_are_refused_as_such() -> None:
    """The first mistake is named with its field."""
    with pytest.raises(RequestError) as caught:
        parse(b'{"prompt": [1, 2, "three"]}', CompletionRequest)
    assert (caught.value.param or "").startswith("prompt")
