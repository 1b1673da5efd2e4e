"""The page of streams: what the operation says, since when it is counted, and whatever a topic is called."""

import re
from collections import Counter
from html import unescape
from typing import Any

import pytest

from daemon.control.answers.peeked import PeekAnswer
from daemon.control.streams_facts import streams_answer
from daemon.errors import UnknownThing
from daemon.ingestion.arrivals import ArrivalCounter
from memory.intake.records import Appended
from streams.document import Arrived, Batch, DeadLetter, Partition, Reason, RecordForm
from tests.unit.daemon.fakes import FakeControl
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
    reading = {"lag_records": 12, "lag_by_partition": {"news/0": 12, "<b>odd</b>/3": 0}, "paused": {}, "unread": []}
    reading |= {"reason": "", "trouble": "", "unread": ["<b>nwes</b> cannot be read: there is no such topic"]}
    answer = streams_answer(ground.here.store, reading, counted().so_far())  # type: ignore[arg-type]  # by hand
    monkeypatch.setattr(type(ground.control), "streams", lambda _: answer)
    page = unescape(reader.get("/streams").text)
    for words in (
        "12 records behind",
        "<b>nwes</b> cannot be read: there is no such topic.",
        "591 documents, 10 dead letters, 30,007 bytes",
        "561 fresh, 30 duplicates, 10 dead letters",
        '<td>JSON with messages of a chat</td><td class="n">90</td><td class="n">0</td><td class="n">15.0%</td>',
        '<td>compressed by its writer</td><td class="n">0</td><td class="n">10</td>',
        "<dt>not utf8</dt><dd>10",
        "<dt>zstd</dt><dd>600",
        "Avro, by the schema registry",
    ):
        assert words in page, words
    for written in ("<b>odd", "<b>nwes"):
        assert written not in reader.get("/streams").text
    assert answer["minute"] is not None
    assert f"{591 / answer['minute']['seconds']:.2g}/s" in page or f"{591 / answer['minute']['seconds']:,.0f}/s" in page
    assert reader.get("/streams?format=json").json() == answer
    # Offered is what can be asked for.
    offered = re.findall('<option value="([^"]*)">', reader.get("/streams/peek").text)
    assert "news" in offered
    assert not any("odd" in name for name in offered)


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


def peeked(*, text: bool = False) -> PeekAnswer:
    """What was found, by a producer who means harm."""
    answer: PeekAnswer = FakeControl().peek("news", number=0, offset=7, text=text)
    answer["records"][0]["label"] = "<script>label"
    if text:
        answer["records"][0] |= {
            "text": "<script>alert(1)</script>\u202e",
            "key": "<b>key",
            "headers": [["<i>h", None]],
        }
    return answer


def test_records_are_masked_until_asked_for_and_asking_is_noted(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say is not sent before; then it is text and nothing else. The command does the same."""
    asked: list[dict[str, Any]] = []

    def peek(_: object, topic: str, **place: Any) -> PeekAnswer:
        asked.append({"topic": topic, **place})
        return peeked(text=place["text"])

    monkeypatch.setattr(type(ground.control), "peek", peek)
    where = "/streams/peek?topic=news&partition=0&offset=7&count=2"
    noted = len([line for line in ground.control.audit(limit=500) if line["what"] == "peek"])
    masked = reader.get(where).text
    assert "9 characters, masked" in masked
    assert "alert(1)" not in masked
    assert "&lt;script&gt;label" in masked
    assert "riverkeep peek news --partition 0 --offset 7 --count 2" in masked
    assert "dead letter: not json" in masked
    assert "holds offsets 3 to 89" in masked
    assert 'href="/streams/peek?topic=news&amp;offset=9&amp;count=2&amp;partition=0"' in masked
    shown = reader.get(f"{where}&text=1").text
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert" not in shown
    assert "\u202e" not in shown
    assert "&lt;b&gt;key" in shown
    assert "&lt;i&gt;h" in shown
    assert [call["text"] for call in asked] == [False, True]
    assert asked[0] == {"topic": "news", "number": 0, "offset": 7, "count": 2, "text": False}
    lines = [line for line in ground.control.audit(limit=500) if line["what"] == "peek"]
    assert len(lines) == noted + 1
    assert (lines[0]["who"].startswith("ada"), lines[0]["detail"]) == (True, asked[1])
    assert reader.get(f"{where}&format=json").json() == peeked()


def test_a_form_may_be_left_empty_and_what_is_wrong_stands_beside_it(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a topic it only asks; topics that were read are offered; a broker's error has its status."""

    def peek(_: object, topic: str, **place: Any) -> PeekAnswer:
        if place["offset"] == 3:
            raise UnknownThing(f"Offset 3 of {topic}/0 is deleted: it holds offsets 6 to 8.")
        assert (place["number"], place["offset"], place["count"]) == (None, None, 5)
        return peeked()

    monkeypatch.setattr(type(ground.control), "peek", peek)
    assert '<option value="news">' in reader.get("/streams/peek").text
    assert reader.get("/streams/peek?topic=news&partition=&offset=&count=").status_code == 200
    gone = reader.get("/streams/peek?topic=news&partition=0&offset=3&count=5")
    assert (gone.status_code, "it holds offsets 6 to 8" in gone.text) == (404, True)
    assert 'value="3"' in gone.text
    for wrong in ("topic=../etc", "topic=news&offset=x", "topic=news&count=51", "topic=news&partition=-1"):
        assert reader.get(f"/streams/peek?{wrong}").status_code == 400, wrong
    assert reader.get("/streams/peek?format=json").status_code == 400


def test_without_a_broker_the_page_says_so(ground: Ground, reader: Browser) -> None:
    """Of topics that are read; of others it says where they can be looked into."""
    answer = reader.get("/streams/peek?topic=salaries")
    assert answer.status_code == 409
    assert "does not name salaries" in unescape(answer.text)
