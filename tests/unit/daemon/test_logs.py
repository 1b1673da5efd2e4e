"""What is logged, in which shape, and what never is."""

import io
import json
import logging
import threading

import pytest
import structlog

from daemon import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """The JSON objects that were logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_each_line_is_json() -> None:
    """One object a line, with event, level, logger and time."""
    logs.configure(stream=(stream := io.StringIO()))
    structlog.get_logger("daemon.x").info("round_began", fresh_samples=3)
    (line,) = lines(stream)
    assert line["event"] == "round_began"
    assert (line["level"], line["logger"], line["fresh_samples"]) == ("info", "daemon.x", 3)
    assert "timestamp" in line


def test_on_a_terminal_it_is_for_people() -> None:
    """No JSON, the event and its fields readable."""
    logs.configure(stream=(stream := Terminal()))
    structlog.get_logger("daemon.x").info("round_began", fresh_samples=3)
    assert not stream.getvalue().startswith("{")
    assert "round_began" in stream.getvalue()


def test_what_is_carried_is_in_every_line() -> None:
    """Of every thread and of libraries too; what a line or its context says itself goes before."""
    logs.configure(stream=(stream := io.StringIO()))
    logs.carry(generation=3)
    with structlog.contextvars.bound_contextvars(round=7):
        structlog.get_logger("daemon.x").info("a")
        logging.getLogger("some.library").warning("b")
    other = threading.Thread(target=lambda: structlog.get_logger("daemon.y").info("c"))
    other.start()
    other.join()
    structlog.get_logger("daemon.x").info("candidate_discarded", generation=5)
    logs.carry(generation=4)
    structlog.get_logger("daemon.x").info("d")
    assert [line["generation"] for line in lines(stream)] == [3, 3, 3, 5, 4]
    assert [line.get("round") for line in lines(stream)] == [7, 7, None, None, None]


@pytest.mark.parametrize("key", sorted(logs.WITHHELD_KEYS))
def test_no_text_of_documents_is_logged(key: str) -> None:
    """A field that may carry text says only that it was there."""
    logs.configure(stream=(stream := io.StringIO()))
    for value in ("what somebody wrote", b"what somebody wrote", ["what somebody wrote"], {"a": "what somebody wrote"}):
        structlog.get_logger("x").warning("odd", **{key: value})
    assert "somebody" not in stream.getvalue()


def test_numbers_pass_in_any_field() -> None:
    """`samples=3` is a count, not a text."""
    logs.configure(stream=(stream := io.StringIO()))
    structlog.get_logger("x").info("drawn", samples=3)
    assert lines(stream)[0]["samples"] == 3


def test_long_values_are_cut() -> None:
    """A line stays a line, whatever was bound."""
    logs.configure(stream=(stream := io.StringIO()))
    structlog.get_logger("x").info("odd", detail="x" * 1_000_000)
    assert len(stream.getvalue()) < 3_000


def test_tracebacks_come_without_local_variables() -> None:
    """Local variables hold documents."""
    for shape in ("json", "pretty"):
        logs.configure(stream=(stream := io.StringIO()), format=shape)
        somebody_wrote = "".join(("lo", "rem"))
        try:
            len(somebody_wrote) / 0
        except ZeroDivisionError:
            structlog.get_logger("x").exception("failed")
        assert "ZeroDivisionError" in stream.getvalue()
        assert "lorem" not in stream.getvalue()


def test_the_level_is_kept() -> None:
    """Less than the configured level is not logged."""
    logs.configure(stream=(stream := io.StringIO()), level="warning")
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_chatty_libraries_are_quiet() -> None:
    """Kafka's and HTTP's information is not an operator's."""
    logs.configure(stream=(stream := io.StringIO()))
    for name in ("kafka.client", "httpx", "apscheduler.scheduler"):
        logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""


def test_a_repeating_library_is_heard_once_a_minute() -> None:
    """A broker that is away says the same thing endlessly."""
    now = [0.0]
    repeats = logs.RepeatFilter("kafka", clock=lambda: now[0])
    record = logging.LogRecord("kafka.conn", logging.ERROR, "conn.py", 10, "connect %s", ("b",), None)
    other = logging.LogRecord("kafka.conn", logging.ERROR, "conn.py", 11, "closed", (), None)
    ours = logging.LogRecord("daemon.ingestion.ingest", logging.ERROR, "conn.py", 10, "x", (), None)
    assert [repeats.filter(one) for one in (record, record, other, ours, ours)] == [True, False, True, True, True]
    now[0] = logs.REPEAT_EVERY_S
    assert repeats.filter(record)


def test_what_the_filter_remembers_is_bounded() -> None:
    """Endlessly many places do not grow it endlessly."""
    repeats = logs.RepeatFilter("kafka", clock=lambda: 0.0)
    for line in range(logs.REPEATS_REMEMBERED * 3):
        repeats.filter(logging.LogRecord("kafka", logging.ERROR, "a.py", line, "x", (), None))
    assert len(repeats._last) <= logs.REPEATS_REMEMBERED
