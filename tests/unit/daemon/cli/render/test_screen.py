"""Where a person reads."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.render.screen import PIPE_COLUMNS, Screen, open_screen, table
from daemon.control.printable import printable, printable_json

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_json_says_the_same_and_commands_nothing(text: str) -> None:
    """Escaped within its strings, it is the same document to whoever reads it."""
    written = printable_json(json.dumps({"text": text}, ensure_ascii=False, indent=2))
    assert json.loads(written) == json.loads(json.dumps({"text": text}))
    assert not {"\x1b", "\x7f", "\x9b", "\u202e"} & set(written)
    written.encode()


@given(ANY_TEXT)
def test_printable_text_is_printable(text: str) -> None:
    """Every character of it is one that shows, or a line's end or a tab; said twice it is the same."""
    shown = printable(text)
    assert all(one in "\n\t" or one.isprintable() or one.isspace() or ord(one) > 0xA0 for one in shown)
    assert printable(shown) == shown
    assert printable("Zoë 日本語 🙂\n") == "Zoë 日本語 🙂\n"


def test_a_screen_shows_escapes_of_others_as_text() -> None:
    """Its own colours stay."""
    written = io.StringIO()
    screen = Screen(file=written, width=80, force_terminal=True, color_system="standard")
    rows = table("name")
    rows.add_row("\x1b[31mred\x9b0m")
    screen.print(rows, style="green")
    assert "\\x1b[31mred\\x9b0m" in written.getvalue()
    assert "\x1b[" in written.getvalue()


def test_a_table_breaks_words_and_cuts_none() -> None:
    """However narrow the terminal is, what is written can be read; what is fixed stays in one line."""
    written = io.StringIO()
    rows = table("id", "remedy", fixed=("id",))
    rows.add_row("123456789", "Check streams.bootstrap_servers_of_a_name_that_is_longer_than_that.")
    Screen(file=written, width=30).print(rows)
    lines = [line.strip() for line in written.getvalue().splitlines()]
    assert "…" not in written.getvalue()
    assert any(line.startswith("123456789") for line in lines)
    told = "".join(line.removeprefix("123456789").strip() for line in lines[3:])
    assert told == "Checkstreams.bootstrap_servers_of_a_name_that_is_longer_than_that."


@given(st.integers(24, 120), st.lists(st.integers(1, 60), min_size=4, max_size=4))
def test_no_letter_of_a_table_is_lost(width: int, lengths: list[int]) -> None:
    """Whatever is in it, it fits the screen and all of it is there."""
    written = io.StringIO()
    rows = table("one", "two", "three", "four", fixed=("two", "four"))
    rows.add_row(*(letter * length for letter, length in zip("ABCD", lengths, strict=True)))
    Screen(file=written, width=width).print(rows)
    assert [written.getvalue().count(letter) for letter in "ABCD"] == lengths
    assert max(map(len, written.getvalue().splitlines())) <= width


def test_a_pipe_has_no_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sentence is broken there, unless a width is asked for."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert open_screen().width == PIPE_COLUMNS
    monkeypatch.setenv("COLUMNS", "40")
    assert open_screen().width == 40


def test_a_table_in_a_pipe_fits_a_page() -> None:
    """However long its cells are: what does not fit goes on in the next line, and nothing is lost."""
    rows = table("slice", "why")
    rows.add_row(" + ".join(f"news@{number}-{number}" for number in range(40)), "word " * 60)
    written = io.StringIO()
    Screen(file=written, width=PIPE_COLUMNS).print(rows)
    assert max(map(len, written.getvalue().splitlines())) <= 120
    assert "news@39-39" in written.getvalue()
    assert written.getvalue().count("word") == 60
