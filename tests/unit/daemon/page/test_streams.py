"""The page of streams: what the operation says, since when it is counted, and whatever a topic is called."""

from collections import Counter
from html import unescape

import pytest

from daemon.control.streams_facts import streams_answer
from daemon.ingestion.arrivals import ArrivalCounter
from memory.intake.records import Appended
from streams.document import Arrived, Batch, DeadLetter, Partition, Reason, RecordForm
from tests.unit.daemon.page.browsers import Browser
from tests.unit.daemon.page.conftest import Ground

NEWS, ODD = Partition("news", 0), Partition("<b>odd</b>", 3)


def counted() -> ArrivalCounter:
    """An hour in which two topics came, by a clock that stands still since."""
    times = iter([100.0, *[3_700.0] * 9])
    arrivals = ArrivalCounter(lambda: 1.0, lambda: next(times))
    chats = Counter({RecordForm.JSON_TEXT: 500, RecordForm.JSON_MESSAGES: 90})
    news = Arrived(30_000, chats, Counter({RecordForm.COMPRESSED: 10}), Counter({"zstd": 600}))
    letters = tuple(DeadLetter(NEWS, at, Reason.NOT_UTF8, "why", None, b"", 0, 1.0) for at in range(10))
    arrivals.count(
        Batch((), letters, (), {}, arrived={NEWS: news}), Appended(fresh=560, duplicates=30, dead_letters=10)
    )
    arrivals.count(Batch((), (), (), {}, arrived={ODD: Arrived(7, Counter({RecordForm.AVRO: 1}))}), Appended(fresh=1))
    return arrivals


def test_the_page_says_what_the_operation_says(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates by how long the window is, forms, reasons, compression; and what names there are is text."""
    reading = {"lag_records": 12, "lag_by_partition": {"news/0": 12, "<b>odd</b>/3": 0}, "paused": {}}
    reading |= {"reason": "", "trouble": ""}
    answer = streams_answer(ground.here.store, reading, counted().so_far())  # type: ignore[arg-type]  # by hand
    monkeypatch.setattr(type(ground.control), "streams", lambda _: answer)
    page = unescape(reader.get("/streams").text)
    for words in (
        "12 records behind",
        "591 documents, 10 dead letters, 30,007 bytes",
        "561 fresh, 30 duplicates, 10 dead letters",
        '<td>JSON with messages of a chat</td><td class="n">90</td><td class="n">0</td><td class="n">15.0%</td>',
        '<td>compressed by its writer</td><td class="n">0</td><td class="n">10</td>',
        "<dt>not utf8</dt><dd>10",
        "<dt>zstd</dt><dd>600",
        "Avro, by the schema registry",
    ):
        assert words in page, words
    assert "<b>odd" not in reader.get("/streams").text
    assert answer["minute"] is not None
    assert f"{591 / answer['minute']['seconds']:.2g}/s" in page or f"{591 / answer['minute']['seconds']:,.0f}/s" in page
    assert reader.get("/streams?format=json").json() == answer


def test_without_anything_read_the_store_alone_answers(ground: Ground, reader: Browser) -> None:
    """How far each partition was read; nothing is counted, and it says so."""
    answer = ground.control.streams()
    assert answer["reading"] is None
    assert answer["since"] is None
    stored = {line["topic"]: line["next_offset"] for line in answer["partitions"]}
    assert stored["news"] == ground.here.store.next_offset("news", 0)
    page = reader.get("/streams").text
    assert "No stream is read" in page
    assert "Nothing is counted where nothing is read" in page
    assert "not read here now" in page
