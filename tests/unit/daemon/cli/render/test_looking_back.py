"""A round in sentences and a record that is followed, on a terminal."""

import io

import pytest

from daemon.cli.render.explained import print_explained
from daemon.cli.render.flips import print_flips
from daemon.cli.render.generation_diffs import print_diff, print_generation
from daemon.cli.render.kept import print_next_draw
from daemon.cli.render.screen import Screen
from daemon.cli.render.streams import print_peek, print_streams
from daemon.cli.render.traces import print_trace
from tests.unit.daemon.cli.render.screens import show_on
from tests.unit.daemon.fakes import FakeControl


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, on a terminal of 120 columns without colours."""
    output = io.StringIO()
    show_on(Screen(file=output, width=120), monkeypatch)
    return output


def test_a_round_is_explained_with_what_decided_and_what_to_do(screen: io.StringIO) -> None:
    """Figure, interval and bound beside the sentence; nothing from outside moves a cursor or is taken for markup."""
    print_explained(FakeControl().explain_round(4))
    shown = screen.getvalue()
    for words in (
        "Round 4: refused",
        "It began because 40 samples are fresh.",
        "✗ on slice news@1-1 it is worse. Figure 0.100 (0.020 … 0.200), bound 0.050.",
        "Of 1 other bounds every one was kept",
        "$ riverkeep round begin",
        "[bold]worse\\x1b[2J",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_what_flipped_is_listed_and_its_text_shown(screen: io.StringIO) -> None:
    """With both losses; what was erased says so; nothing from outside moves a cursor or is taken for markup."""
    print_flips(FakeControl().flips(4, text=True))
    shown = screen.getvalue()
    for words in (
        "Round 4, candidate 0.25 against generation 2: of 9 held-out documents 2 are worse and 0 better",
        "Of its held-out documents 1 were erased since.",
        "Worse, worst first (2 of 2):",
        "1  slice news@1-1  news/0 at 7  loss 2.000 → 2.500",
        "[bold]a text \\x1b[2J",
        "its text was erased by its key at 1970-01-01T00:00:00+00:00",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_two_generations_are_put_beside_each_other(screen: io.StringIO) -> None:
    """What lies between them, and what differs; nothing from outside moves a cursor or is taken for markup."""
    print_diff(FakeControl().diff_generations(1, 2))
    shown = screen.getvalue()
    for words in (
        "Generation 1: accepted, digest 000000000000, its files are gone, trained on text that was erased since",
        "Generation 2: accepted, of round 7, digest 000000000000, 1,024 bytes",
        "The latest that both came of: generation 1.",
        "Only generation 2 has learned, in 1 rounds: 5 new samples (about 50 tokens), beside 3 replayed.",
        "4 earlier rounds are neither listed nor counted.",
        "[b]\\x1b[2J/0: offsets 0 to 9, 12",
        "1 samples were erased since.",
        "8 settings of the recipe are alike.",
        "2.500",
        "-0.250",
        "A note [b].",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_a_generation_is_told_with_what_it_learned(screen: io.StringIO) -> None:
    """The line that led to it, ranges of offsets, rounds that began from it and made none."""
    print_generation(FakeControl().generation(2))
    shown = screen.getvalue()
    for words in (
        "Generation 2: accepted, of round 7",
        "It came of 0.",
        "Generation 2 has learned, in 1 rounds: 5 new samples",
        "[b]\\x1b[2J/0: offsets 0 to 9, 12",
        "refused",
        "[b]\\x1b[2J/0: 13 to 40",
    ):
        assert words in shown, words
    assert "\x1b" not in shown


def test_a_record_is_followed_to_its_erasure(screen: io.StringIO) -> None:
    """What it became, who saw it, and that nothing was erased."""
    print_trace(FakeControl().trace("news", 2, 7, text=True), now=7_200.0)
    shown = screen.getvalue()
    for words in (
        "news/2 offset 7: replay",
        "Round 1: trained on.",
        "Trained on it: generations 1.",
        "Scores on it are kept of generations 0, 1.",
        "(not done) would erase",
        "/state/rounds/000001",
        "call off round 3, which is in progress (2 min of work)",
        "$ riverkeep forget zoe",
        "a text \\x1b[2J",
    ):
        assert words in shown
    assert "\x1b" not in shown


def test_what_has_no_key_cannot_be_erased_by_one(screen: io.StringIO) -> None:
    """And it says so."""
    print_trace(FakeControl().trace("news", 2, 7) | {"erasures": []}, now=7_200.0)
    assert "No erasure by key finds it" in screen.getvalue()


def test_the_next_draw_names_parts_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Sources as text, whatever they hold."""
    print_next_draw(FakeControl().next_draw())
    told = capsys.readouterr().out
    assert "Round 10, were it drawn now, would start from generation 2." in told
    assert "new, to train on" in told
    assert "held out, the anchor" in told
    assert "\x1b[2J" not in told
    assert "7 documents are left out (fresh): `memory.round_tokens`." in told


def test_how_reading_gets_on_is_shown_by_partition_and_form(screen: io.StringIO) -> None:
    """Rates by how long the window is; a partition that nobody reads here says so."""
    print_streams(FakeControl().streams(), now=7_200.0)
    shown = screen.getvalue()
    for words in (
        "news/0",
        "2/s, 150 B/s",
        "not read here now",
        "Since the service began 2 h ago: 120 documents, 3 dead letters, 9,000 bytes.",
        "What the store made of that: 100 fresh, 20 duplicates, 3 dead letters.",
        "JSON with a text",
        "Dead letters of news since then: 3 not json.",
        "by their producer's compression: 123 zstd.",
        "Offsets that never came: 18.",
    ):
        assert words in shown, shown


def test_what_lies_in_kafka_is_shown_with_what_it_would_become(screen: io.StringIO) -> None:
    """Nothing from outside moves a cursor or is taken for markup."""
    print_peek(FakeControl().peek("news", text=True), now=60.0)
    shown = screen.getvalue()
    for words in (
        "news/0 offset 7 document",
        "JSON with a text, 90 bytes, sent in zstd, 1 min old, source news, label [bold]label, key user-1",
        "headers: trace=4\\x1b[2J",
        "[bold]a text \\x1b[2J …",
        "news/0 offset 8 dead letter: not json",
        "news/0 holds offsets 3 to 89.",
    ):
        assert words in shown, shown
    assert "\x1b" not in shown
