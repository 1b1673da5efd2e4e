"""Tokens become text as they come, whole characters only, up to a stop string."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.text import TextStream


def decode(tokens: Sequence[int]) -> str:
    """A byte-level tokenizer: each token is a byte."""
    return bytes(tokens).decode(errors="replace")


def run(text: str, stop: Sequence[str] = (), prompt: str = "before ") -> list[str]:
    """The pieces that a stream releases for a text."""
    stream = TextStream(decode, list(prompt.encode()), stop)
    pieces = []
    for token in text.encode():
        pieces.append(stream.push(token))
        if stream.stopped:
            return pieces
    return [*pieces, stream.end()]


@given(st.text(max_size=40))
def test_the_pieces_make_the_text(text: str) -> None:
    """Nothing is lost, doubled or reordered, whatever the bytes of a character are split into."""
    assert "".join(run(text)) == text


@given(st.text(max_size=40))
def test_no_piece_holds_half_a_character(text: str) -> None:
    """A replacement character is released only where the text has one."""
    assert "".join(run(text)).count("\ufffd") == text.count("\ufffd")


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3))
def test_it_ends_before_the_first_stop(text: str, stop: list[str]) -> None:
    """What is released is the text up to the first stop that is complete, and never a part of that stop."""
    released = "".join(run(text, stop))
    ends = [text.find(one) + len(one) for one in stop if one in text]
    if not ends:
        assert released == text
        return
    seen = text[: min(ends)]
    assert released == seen[: min(seen.find(one) for one in stop if one in seen)]


def test_a_stop_that_does_not_come_is_released_late() -> None:
    """The beginning of a stop is held back only until it cannot be one."""
    assert run("ab-", stop=["abc"]) == ["", "", "ab-", ""]


def test_bytes_that_never_become_a_character_are_released_at_the_end() -> None:
    """An answer that ends inside a character says so with a replacement character."""
    stream = TextStream(decode, [])
    assert stream.push(0xE6) == ""
    assert stream.end() == "\ufffd"


def test_endless_garbage_is_not_held_back_for_ever() -> None:
    """Memory stays bounded when no byte sequence ever completes."""
    stream = TextStream(decode, [])
    assert any(stream.push(0xFF) for _ in range(20))


WORDS = {0x01: "<|end|>", 0x02: "<pad>"}


def run_with_words(tokens: bytes, stop: Sequence[str]) -> tuple[str, bool]:
    """What is released of tokens, some of which show nothing, and whether a stop ended it."""
    stream = TextStream(lambda ids: decode([token for token in ids if token not in WORDS]), b"before \x01", stop, WORDS)
    text = ""
    for token in tokens:
        text += stream.push(token)
        if stream.stopped:
            return text, True
    return text + stream.end(), stream.stopped


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ("<|end|>", "ab"),
        ("<|end|>\n", "ab"),
        ("b<|end|>", "a"),
        ("<|end|>\ncd<pad>", "ab"),
        ("<pad><|end|>", "ab\ncd"),
        ("cd<pad>", "ab\n"),
    ],
)
def test_a_stop_may_name_tokens_that_no_text_shows(stop: str, said: str) -> None:
    """With what stands beside them, as a template writes it."""
    assert run_with_words(b"ab\x01\ncd\x02\x01", [stop]) == (said, True)


@pytest.mark.parametrize(
    "stop", [[], ["x"], ["<|end|>x"], ["<|end|>\ncx"], ["end|>\ncd<pad>!"], ["<|end|>\ncd<pad><|end|>."]]
)
def test_tokens_that_no_text_shows_are_not_shown_by_a_stop_that_does_not_come(stop: list[str]) -> None:
    """However long they were held back."""
    assert run_with_words(b"ab\x01\ncd\x02\x01", stop) == ("ab\ncd", False)


def test_a_stop_in_plain_letters_is_one_all_the_same() -> None:
    """A model may spell the words of a control token."""
    assert run_with_words(b"ab<|end|>cd", ["<|end|>"]) == ("ab", True)


def test_half_a_character_before_an_unshown_token_is_shown_as_such() -> None:
    """It is never completed."""
    assert run_with_words(b"a\xe6\x01b", ["<|end|>x"]) == ("a\ufffdb", False)
