"""A chat is one text and its turns, and both together are the conversation again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.chats import ROLES, Message, join, learned_text, roles, split

messages = st.lists(st.builds(Message, st.sampled_from(ROLES), st.text(max_size=30)), min_size=1, max_size=8)


@settings(max_examples=30)
@given(messages)
def test_what_is_joined_is_split_as_it_was(said: list[Message]) -> None:
    """Whatever is said, blank lines and other writings among it."""
    chat = join(said)
    assert split(chat.text, chat.turns) == tuple(said)
    assert roles(chat.turns) == tuple(message.role for message in said)


def test_the_text_is_what_a_person_would_call_it() -> None:
    """No roles, no brackets: so it is compared with other text, and shown."""
    chat = join([Message("user", "Where is it?"), Message("assistant", "Here."), Message("user", "I see.")])
    assert chat.text == "Where is it?\n\nHere.\n\nI see."
    assert learned_text(chat.text, chat.turns) == "Here."
    assert learned_text("Here.", None) == "Here."


@pytest.mark.parametrize("turns", ["", "{}", '[["user", 1]]', '[["user", -1], ["user", 9]]', '[["user"]]', "[[1, 5]]"])
def test_turns_that_do_not_fit_are_refused(turns: str) -> None:
    """Of a file that was changed, say."""
    with pytest.raises(ValueError, match=r"turns|validation error"):
        split("hello", turns)
