"""What in a chat's messages is no text is named by its place, in a true sentence."""

import pytest

from serving.answers.messages import read_messages
from serving.errors import RequestError
from streams.chats import Message

USER = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TEXT = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    ("message", "place", "said"),
    [
        ({"role": "user", "content": [TEXT, IMAGE]}, "content.1", "parts of type image_url are not supported"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "content.0", "type input_audio are not supported"),
        ({"role": "user", "content": [{"type": "file"}]}, "content.0", "type file are not supported"),
        ({"role": "user", "content": [{"type": "video_url"}]}, "content.0", "type video_url are not supported"),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "content.0", "type refusal"),
        ({"role": "user", "content": [{"text": "a"}]}, "content.0", "needs its type"),
        ({"role": "user", "content": [{"type": 5}]}, "content.0", "type a int are not supported"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text", "a text is needed"),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, "content.0.text", "a text is needed"),
        ({"role": "user", "content": ["a"]}, "content.0", "a part is an object"),
        ({"role": "user", "content": []}, "content", "is empty"),
        ({"role": "user", "content": None}, "content", "is null"),
        ({"role": "user"}, "content", "is missing"),
        ({"role": "user", "content": 5}, "content", "a text is needed"),
        ({"role": "user", "content": {"type": "text", "text": "a"}}, "content", "a text is needed, or a list"),
        (
            {"role": "user", "content": "x", "tool_calls": [CALL]},
            "tool_calls",
            "only an assistant calls tools",
        ),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "f"}},
            "function_call",
            "written as tool_calls",
        ),
        ({"role": "assistant", "content": None, "refusal": "no"}, "refusal", "refusals are not supported"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "audio", "reads text only"),
        ({"role": "assistant", "content": None}, "content", "is null"),
        ({"role": "tool", "content": "x"}, "tool_call_id", "the id of the call"),
        ({"role": "function", "name": "f", "content": "x"}, "role", "said by the role tool"),
        ({"role": "robot", "content": "x"}, "role", "robot is none of system, developer, user, assistant"),
        ({"role": None, "content": "x"}, "role", "null is none of"),
        ({"role": ["user"], "content": "x"}, "role", "a list is none of"),
        ({"content": "x"}, "role", "null is none of"),
        ({"role": "assistant", "content": "x", "reasoning_content": "y"}, "reasoning_content", "not supported here"),
        ({"role": "assistant", "content": "x", "prefix": True}, "prefix", "not supported here"),
        ("hi", "", "a message is an object"),
        (None, "", "a message is an object"),
    ],
)
def test_the_place_and_the_reason_are_named(message: object, place: str, said: str) -> None:
    """The third message of three; those before it are well."""
    with pytest.raises(RequestError) as caught:
        read_messages([USER, USER, message])
    assert caught.value.param == f"messages.2.{place}".rstrip(".")
    assert str(caught.value).startswith(str(caught.value.param))
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [None, "hi", {}, 5, [], {"role": "user", "content": "hi"}])
def test_no_conversation_is_refused(value: object) -> None:
    """A list with at least one message is needed."""
    with pytest.raises(RequestError, match="a list of messages is needed"):
        read_messages(value)


@pytest.mark.parametrize(
    "extra",
    [
        {"refusal": None, "audio": None, "function_call": None, "tool_calls": None, "annotations": []},
        {"tool_calls": [], "annotations": [{"type": "url_citation"}], "id": "msg_1", "refusal": ""},
        {"name": "someone"},
    ],
)
def test_an_answer_can_be_sent_back_as_it_came(extra: dict[str, object]) -> None:
    """Clients keep whole messages; what says nothing in them does no harm."""
    assert read_messages([{"role": "assistant", "content": "yes", **extra}]) == [Message("assistant", "yes")]


def test_texts_and_parts_are_taken() -> None:
    """Parts are joined; what is kept of them beside their text is the provider's business."""
    parts = [TEXT, {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}]
    assert read_messages([{"role": "developer", "content": parts}, {**USER, "content": ""}]) == [
        Message("developer", "ab"),
        Message("user", ""),
    ]
