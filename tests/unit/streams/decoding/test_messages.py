"""Records with messages become chats, or dead letters that say why not."""

import json
from typing import Any

import pytest

from streams.chats import Message, split
from streams.decoding.decode import Decoder
from streams.decoding.messages import MOST_MESSAGES
from streams.decoding.needs import RecordNeeds
from streams.document import Document, Partition, Reason, Rejection
from streams.topic_settings import TopicFormat

HI = {"role": "user", "content": "What is it?"}
YES = {"role": "assistant", "content": "It is a river."}


def decoded(record: Any, *, no_chats: str = "", **fields: Any) -> Document | Rejection:
    """What becomes of a record."""
    decoder = Decoder(
        TopicFormat.model_validate(fields), "chats", max_record_bytes=1 << 20, needs=RecordNeeds(no_chats=no_chats)
    )
    return decoder.decode(json.dumps(record).encode(), b"k", None, Partition("chats", 0), 3, 1.0)


def said(record: Any, **fields: Any) -> list[tuple[str, str]]:
    """The turns of a record that becomes a chat."""
    chat = decoded(record, **fields)
    assert isinstance(chat, Document), chat
    assert chat.turns is not None
    return [(message.role, message.content) for message in split(chat.text, chat.turns)]


def test_messages_become_a_chat() -> None:
    """Texts and lists of texts, with whatever else clients send along; key, source and time are a document's."""
    parts = [{"type": "text", "text": "It is "}, {"type": "text", "text": "a river."}]
    system = {"role": "developer", "content": "", "name": "x"}
    record = {"messages": [system, HI, {**YES, "content": parts, "tool_calls": []}], "who": 4711, "at": 1.0e9}
    assert said(record) == [("developer", ""), ("user", "What is it?"), ("assistant", "It is a river.")]
    chat = decoded(record, key_field="who", time_field="at")
    assert isinstance(chat, Document)
    assert (chat.key, chat.event_time, chat.text) == ("4711", 1.0e9, "\n\nWhat is it?\n\nIt is a river.")


def test_documents_and_chats_come_in_one_topic() -> None:
    """A record with a text is a document, whatever else is in it, unless a setting names the messages."""
    document = decoded({"text": "The river.", "messages": [HI, YES]})
    assert isinstance(document, Document)
    assert (document.text, document.turns) == ("The river.", None)
    named = {"messages_field": "body.chat"}
    assert said({"text": "The river.", "body": {"chat": [HI, YES]}}, **named)[1] == ("assistant", "It is a river.")
    plain = decoded({"text": "The river."}, **named)
    assert isinstance(plain, Document)
    assert plain.turns is None
    neither = decoded({"body": {}}, **named)
    assert isinstance(neither, tuple)
    assert neither[0] is Reason.MISSING_FIELD


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], Reason.NO_MESSAGES),
        ("hello", Reason.WRONG_TYPE),
        ([HI, "hello"], Reason.WRONG_TYPE),
        ([HI, {"role": "assistant", "content": 5}], Reason.WRONG_TYPE),
        ([{"role": "narrator", "content": "secret"}, YES], Reason.UNKNOWN_ROLE),
        ([{"role": ["user"], "content": "secret"}, YES], Reason.UNKNOWN_ROLE),
        ([{"content": "secret"}, YES], Reason.UNKNOWN_ROLE),
        ([HI, {"role": "assistant", "content": " \n"}], Reason.EMPTY_TURN),
        ([HI, {"role": "assistant"}], Reason.EMPTY_TURN),
        ([HI, {"role": "assistant", "content": []}], Reason.EMPTY_TURN),
        ([HI], Reason.NO_ASSISTANT_TURN),
        ([HI, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], Reason.TOOL_CALLS),
        ([HI, {"role": "tool", "content": "secret"}, YES], Reason.TOOL_CALLS),
        ([HI, {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}], Reason.NOT_TEXT),
        ([HI, {"role": "assistant", "content": None, "audio": {"id": "1"}}], Reason.NOT_TEXT),
        ([HI, {"role": "assistant", "content": [{"type": "text"}]}], Reason.WRONG_TYPE),
        ([HI, YES] * (MOST_MESSAGES // 2 + 1), Reason.TOO_LARGE),
        ([HI, {"role": "assistant", "content": "a\0b"}], Reason.NUL_BYTE),
    ],
)
def test_what_is_no_chat_has_its_reason(messages: Any, reason: Reason) -> None:
    """Each a reason of its own, which tells where, and nothing of what was said."""
    rejection = decoded({"messages": messages})
    assert isinstance(rejection, tuple)
    assert rejection[0] is reason
    assert "secret" not in rejection[1]


def test_a_chat_for_a_model_without_chats_is_refused_by_name() -> None:
    """Documents come through."""
    assert decoded({"messages": [HI, YES]}, no_chats="no template") == (Reason.CHAT_NOT_TAKEN, "no template")
    assert isinstance(decoded({"text": "The river."}, no_chats="no template"), Document)


def test_messages_are_those_of_serving() -> None:
    """One type for what is asked and what is learned."""
    from serving.answers.messages import read_messages

    assert read_messages([HI, YES]) == [Message("user", "What is it?"), Message("assistant", "It is a river.")]
