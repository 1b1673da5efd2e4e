"""What is kept and what has to be decided on, on a terminal and in a pipe."""

import io

import pytest

from daemon.cli.render.kept import (
    SHOWN_CHARACTERS,
    print_aside,
    print_aside_text,
    print_dead_letter,
    print_dead_letters,
)
from daemon.cli.render.screen import Screen
from tests.harness import Facts
from tests.unit.daemon.cli.render.screens import show_on
from tests.unit.daemon.fakes import FakeControl


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written where no terminal is."""
    written = io.StringIO()
    show_on(Screen(file=written, width=10_000), monkeypatch)
    return written


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a terminal of 80 columns, without colours."""
    written = io.StringIO()
    show_on(Screen(file=written, width=80, force_terminal=True, color_system=None), monkeypatch)
    return written


def test_text_that_is_aside_is_shown_with_its_origin(pipe: io.StringIO) -> None:
    """Id, partition and offset, source; and how to go on where there is more."""
    print_aside_text(FakeControl().aside_text(3, limit=1), now=7_200.0)
    assert "6 characters" in pipe.getvalue()
    assert "text 1" not in pipe.getvalue()
    print_aside_text(FakeControl().aside_text(3, limit=1, text=True), now=7_200.0)
    for words in ("1  news/0 at 7  source news  2 h ago", "    text 1\n", "--after 1"):
        assert words in pipe.getvalue()


def test_what_is_aside_says_how_to_read_it(pipe: io.StringIO) -> None:
    """A list of counts is nothing to judge by."""
    group: Facts = {
        "round": 3,
        "since": 0.0,
        "samples": 5,
        "tokens": 9,
        "held_out": 0,
        "sources": ["news"],
        "reason": "waits",
    }
    print_aside([group], now=0.0)
    assert "riverkeep memory aside ROUND --text" in pipe.getvalue()


@pytest.mark.parametrize("screen", ["pipe", "terminal"])
def test_text_cannot_command_a_terminal(screen: str, request: pytest.FixtureRequest) -> None:
    """Control characters are written as escapes, and no line of the text begins where one of ours does."""
    written: io.StringIO = request.getfixturevalue(screen)
    page = FakeControl().aside_text(3, text=True)
    page["documents"][0] |= {"text": "a\n9  news/0 at 1\x1b[8m\x9b2J\u202eb", "source": "x\x1b[2J\ny", "label": "\x07"}
    print_aside_text(page, now=0.0)
    print_dead_letter(FakeControl().dead_letter(1, text=True) | {"key": "\x1b]0;k\x07\n", "detail": "\x1bc"}, now=0.0)
    shown = written.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
    assert all(character == "\n" or character >= " " for character in shown)
    assert not {"\x9b", "\u202e", "\x7f"} & set(shown)
    for words in ("    9  news/0 at 1\\x1b[8m\\x9b2J\\u202eb", "\\x1b]0;owned\\x07", "{\\x1b[2J", "x\\x1b[2J\\ny"):
        assert words in shown


def test_long_text_is_cut_on_a_terminal_alone(pipe: io.StringIO) -> None:
    """In a pipe it is whole."""
    page = FakeControl().aside_text(3, limit=1, text=True)
    page["documents"][0]["text"] = "x" * (SHOWN_CHARACTERS + 5)
    print_aside_text(page, now=0.0)
    assert "x" * (SHOWN_CHARACTERS + 5) in pipe.getvalue()


def test_what_is_cut_on_a_terminal_says_so(terminal: io.StringIO) -> None:
    """And how to see the rest; one record alone is shown with all that was kept."""
    page = FakeControl().aside_text(3, limit=1, text=True)
    page["documents"][0]["text"] = "x" * (SHOWN_CHARACTERS + 5)
    print_aside_text(page, now=0.0)
    assert "5 characters more; --json shows all" in terminal.getvalue()
    print_dead_letter(FakeControl().dead_letter(1, text=True) | {"value": "y" * 5_000}, now=0.0)
    assert terminal.getvalue().count("y" * 5_000) == 1
    assert "Of 9 bytes the first were kept" in terminal.getvalue()


def test_dead_letters_say_how_many_there_are(pipe: io.StringIO) -> None:
    """And how to see older ones, and what is in one."""
    letters = FakeControl().dead_letters(limit=2)
    print_dead_letters(letters, total=350, now=0.0)
    for words in ("2 of 350 dead letters, newest first. Older ones: --before 2.", "dead-letters --show ID"):
        assert words in pipe.getvalue()
    print_dead_letters([], total=350)
    assert "No older ones: 350 dead letters in all." in pipe.getvalue()


def test_the_last_page_names_no_other(pipe: io.StringIO) -> None:
    """All are there."""
    print_dead_letters(FakeControl().dead_letters(text=True), total=3, now=0.0)
    assert "--before" not in pipe.getvalue()
    assert pipe.getvalue().count("    {\\x1b[2J\n") == 3


def test_what_a_round_measured_is_shown_beside_the_text(pipe: io.StringIO) -> None:
    """Its loss, and that it repeats; nothing of what was not measured."""
    print_aside_text(FakeControl().aside_text(3, limit=1, worst=True, text=True), now=0.0)
    assert "loss 9.50  repeats 80%" in pipe.getvalue()
    print_aside_text(FakeControl().aside_text(3, limit=1, text=True), now=0.0)
    assert pipe.getvalue().count("loss") == 1


def test_a_chat_is_shown_turn_by_turn(pipe: io.StringIO) -> None:
    """With the name of who speaks."""
    page = FakeControl().aside_text(3, limit=1, text=True)
    messages = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    page["documents"][0] |= {"text": "Where?\n\nHere.", "messages": messages}
    print_aside_text(page, now=0.0)
    assert "    user: Where?\n    \n    assistant: Here.\n" in pipe.getvalue()
