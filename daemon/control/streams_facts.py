"""How reading gets on: what the store has of each partition beside what the daemon sees and counts of it."""

from collections import Counter
from typing import Final

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
from daemon.ingestion.arrivals import ArrivedSoFar, ArrivedSum, Lately, OfTopic
from memory.samples.offsets import TopicPosition
from memory.store import Store

GAPS: Final = 20
REASON: Final = "dead_letters:"


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
