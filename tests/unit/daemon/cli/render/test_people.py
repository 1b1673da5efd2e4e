"""What was found of a person, and gaps, on a terminal."""

import io

import pytest
from rich.console import Console

from daemon.cli.render.kept import print_gaps
from daemon.cli.render.people import print_found
from tests.unit.daemon.cli.render.screens import show_on
from tests.unit.daemon.fakes import FakeControl


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, on a terminal of 120 columns without colours."""
    output = io.StringIO()
    show_on(Console(file=output, width=120), monkeypatch)
    return output


def test_a_person_is_shown_with_what_saw_the_text(screen: io.StringIO) -> None:
    """Counts, where it came from, rounds, and the generations as after an erasure."""
    print_found(FakeControl().find("zoe"), now=7_200.0)
    shown = screen.getvalue()
    for words in ("Kept: 1 fresh; 0 dead letters.", "news/0", "2 h ago", "rounds: 1 (1 fresh)", "generations 1."):
        assert words in shown
    assert "rollback 0" in shown


def test_text_is_shown_as_it_is(screen: io.StringIO) -> None:
    """Where it was asked for; what looks like markup is text."""
    print_found(FakeControl().find("[bold]zoe", text=True), now=0.0)
    assert "[bold]zoe" in screen.getvalue()


def test_an_erased_person_is_said_to_be(screen: io.StringIO) -> None:
    """And where to go on when there is more."""
    erased = {"by_role": {}, "kept": [], "erased_at": 0.0, "rounds": [], "generations": [], "next": 7}
    print_found(FakeControl().find("zoe") | erased, now=7_200.0)
    assert "no sample" in screen.getvalue()
    assert "Erased 2 h ago" in screen.getvalue()
    assert "--after 7" in screen.getvalue()


def test_gaps_are_a_table(screen: io.StringIO) -> None:
    """How many offsets, and why; none is a sentence."""
    print_gaps(FakeControl().gaps(limit=1), now=7_200.0)
    assert all(word in screen.getvalue() for word in ("news/0", "retention", "6"))
    print_gaps([], now=0.0)
    assert "Every offset came." in screen.getvalue()
