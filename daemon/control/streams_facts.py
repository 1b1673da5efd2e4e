"""How reading gets on: what the store has of each partition beside what the daemon sees and counts of it.

And a few records as they lie in Kafka.
"""

from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from daemon.control.answers.peeked import PeekAnswer, PeekedLine
from daemon.control.answers.status import IngestStanding
from daemon.control.answers.streams import (
    ArrivedAmount,
    ArrivedLately,
    FormLine,
    ReadPartition,
    ReadTopic,
    StreamsAnswer,
)
from daemon.control.facts import kept
from daemon.control.views import IngestView
from daemon.ingestion.arrivals import ArrivedSoFar, ArrivedSum, Lately, OfTopic
from memory.samples.offsets import TopicPosition
from memory.store import Store
from streams.chats import split
from streams.document import DeadLetter, Document, partition_name

if TYPE_CHECKING:
    # With it comes Kafka's client, which a store that is asked does without.
    from daemon.ingestion.peek import KafkaLook
    from streams.kafka.peeked import PeekedRecord

GAPS: Final = 20
TEXT_SHOWN: Final = 2_000
"""Characters of a text, or bytes of a record that is none."""
KEY_SHOWN: Final = 200
HEADERS_SHOWN: Final = 20
REASON: Final = "dead_letters:"


def ingest_standing(ingest: IngestView, broken: str) -> IngestStanding:
    """How a running daemon reads.

    Args:
        broken: why its loop does not turn; empty while it does.
    """
    lag, paused = ingest.lag(), ingest.paused_partitions()
    return {
        "lag_records": sum(lag.values()) if lag else None,
        "lag_by_partition": {partition_name(partition): records for partition, records in lag.items()},
        "paused": {partition_name(partition): why for partition, why in paused.items()},
        "reason": ingest.paused,
        "trouble": ingest.trouble or broken,
        "unread": list(ingest.unread),
    }


def streams_answer(store: Store, reading: IngestStanding | None, arrived: ArrivedSoFar | None) -> StreamsAnswer:
    """How reading gets on.

    Args:
        reading: how a running daemon reads; None where nothing does.
        arrived: what that has counted.
    """
    tallies = store.counts().tallies
    reasons = {name.removeprefix(REASON): number for name, number in tallies.items() if name.startswith(REASON)}
    return {
        "reading": reading,
        "since": None if arrived is None else arrived.since,
        "since_start": None if arrived is None else _amount(arrived.in_all),
        "minute": None if arrived is None else _lately(arrived.minute),
        "hour": None if arrived is None else _lately(arrived.hour),
        "became": {} if arrived is None else {name: number for name, number in arrived.appended.items() if number},
        "partitions": _partitions(store, reading, arrived),
        "topics": [] if arrived is None else [_topic(name, arrived.topics[name]) for name in sorted(arrived.topics)],
        "counted_together": 0 if arrived is None else arrived.left_out,
        "gaps": [kept.gap_line(gap) for gap in store.quarantine.gaps(GAPS)],
        "gap_offsets": tallies.get("gap_offsets", 0),
        "dead_letter_reasons": reasons,
    }


def _partitions(store: Store, reading: IngestStanding | None, arrived: ArrivedSoFar | None) -> list[ReadPartition]:
    stored = {(position.topic, position.number): position for position in store.topic_positions()}
    lags: dict[str, int] = {} if reading is None else reading["lag_by_partition"]
    paused: dict[str, str] = {} if reading is None else reading["paused"]
    places = {*stored, *map(_place, {*lags, *paused})}
    return [
        _partition(place, stored.get(place), arrived, lag=lags.get(_name(place)), paused=paused.get(_name(place), ""))
        for place in sorted(places)
    ]


def _place(name: str) -> tuple[str, int]:
    topic, _, number = name.rpartition("/")
    return topic, int(number)


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]}/{place[1]}"


def _partition(
    place: tuple[str, int], stored: TopicPosition | None, arrived: ArrivedSoFar | None, *, lag: int | None, paused: str
) -> ReadPartition:
    came = None if arrived is None else arrived.partitions.get(place)
    return {
        "topic": place[0],
        "partition": place[1],
        "next_offset": None if stored is None else stored.next_offset,
        "moved_at": None if stored is None else stored.moved_at,
        "lag": lag,
        "paused": paused,
        "gap_offsets": 0 if stored is None else stored.gap_offsets,
        "since_start": None if came is None else _amount(came.in_all),
        "minute": None if came is None else _lately(came.minute),
        "hour": None if came is None else _lately(came.hour),
    }


def _topic(name: str, came: OfTopic) -> ReadTopic:
    by_form = Counter(came.documents) + Counter(came.dead_letters)
    forms: list[FormLine] = [
        {
            "form": form.value,
            "documents": came.documents.get(form, 0),
            "dead_letters": came.dead_letters.get(form, 0),
        }
        for form, _ in by_form.most_common()
    ]
    return {
        "topic": name,
        "since_start": _amount(came.in_all),
        "forms": forms,
        "reasons": dict(came.reasons),
        "packed": dict(came.packed),
    }


def _amount(amount: ArrivedSum) -> ArrivedAmount:
    return {"documents": amount.documents, "dead_letters": amount.dead_letters, "bytes": amount.value_bytes}


def _lately(lately: Lately) -> ArrivedLately:
    return {**_amount(lately.amount), "seconds": round(lately.seconds, 3)}


def peek_answer(looked: "KafkaLook", *, text: bool) -> PeekAnswer:
    """What was found in Kafka; what it says only where that is asked for."""
    found = looked.found
    return {
        "topic": looked.place.topic,
        "is_read": looked.is_read,
        "format": looked.format_.format,
        "partitions": found.partitions,
        "ranges": [
            {"partition": number, "first": first, "next": end} for number, (first, end) in sorted(found.ranges.items())
        ],
        "records": [_peeked(looked.place.topic, record, text=text) for record in looked.records],
        "note": found.cut,
    }


def _peeked(topic: str, record: "PeekedRecord", *, text: bool) -> PeekedLine:
    outcome = record.outcome
    document = outcome if isinstance(outcome, Document) else None
    letter = outcome if isinstance(outcome, DeadLetter) else None
    line: PeekedLine = {
        "topic": topic,
        "partition": record.number,
        "offset": record.offset,
        "time": record.time,
        "value_bytes": record.value_bytes,
        "form": record.form.value,
        "packed": record.codec,
        "becomes": "document" if document is not None else "dead_letter" if letter is not None else "waits",
        "reason": None if letter is None else letter.reason.value,
        "detail": record.waits if letter is None else letter.detail,
        "source": None if document is None else document.source,
        "label": None if document is None else document.label,
        "characters": None if document is None else len(document.text),
    }
    return line if not text else line | _said(record, document)


def _said(record: "PeekedRecord", document: Document | None) -> PeekedLine:
    """What a record says, as far as it is shown."""
    raw = record.value or b""
    whole = kept.bytes_text(raw[:TEXT_SHOWN]) if document is None else _text(document)
    key = None if record.key is None else kept.bytes_text(record.key[:KEY_SHOWN])
    said = {
        "key": key if document is None or document.key is None else document.key[:KEY_SHOWN],
        "text": whole[:TEXT_SHOWN],
        "cut": len(whole) > TEXT_SHOWN or (document is None and record.value_bytes > TEXT_SHOWN),
        "headers": [
            [name[:KEY_SHOWN], None if value is None else kept.bytes_text(value[:KEY_SHOWN])]
            for name, value in record.headers[:HEADERS_SHOWN]
        ],
    }
    return cast("PeekedLine", said)


def _text(document: Document) -> str:
    """A document's text; of a chat, or a pair, each turn behind whose it is."""
    if document.turns is None:
        return document.text
    return "\n\n".join(f"{each.role}: {each.content}" for each in split(document.text, document.turns))
