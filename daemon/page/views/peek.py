"""A few records as they lie in Kafka, and what each would become."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.answers.peeked import HeldOffsets, PeekAnswer, PeekedLine
from daemon.control.wording import FORMS
from daemon.page.addresses import PEEK, record_address, with_query
from daemon.page.views.named import NamedView

LEVELS: Final = {"document": "good", "dead_letter": "care", "waits": "idle"}
TOPICS_OFFERED: Final = 100


@dataclass(frozen=True, slots=True)
class PeekedRow:
    """One record.

    Attributes:
        became: what it would become, in words.
        form: what it is written as, in words.
        address: where the record is followed, once it has been read.
        text, key: what it says; None until somebody asks for it, or where there is none.
        cut: whether the text is longer.
    """

    place: str
    address: str
    became: str
    level: str
    detail: str
    form: str
    size: int
    packed: str
    time: float | None
    source: str | None
    label: str | None
    characters: int | None
    text: str | None
    key: str | None
    cut: bool
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeekView(NamedView):
    """What was found.

    Attributes:
        asked: what the form says: `topic`, `partition`, `offset` and `count` as text, empty where nothing is asked yet.
        topics: names to choose from.
        problem: why nothing is shown; empty otherwise.
        is_shown: whether the text is.
        turned: the address of the same with its text, or without; `next` that of what follows; empty: none.
        ranges: which offsets there are.
        note: why there may be more; empty where there is not.
    """

    title: str = "Look at records"
    asked: Mapping[str, str]
    topics: tuple[str, ...] = ()
    problem: str = ""
    rows: tuple[PeekedRow, ...] = ()
    is_done: bool = False
    is_shown: bool = False
    turned: str = ""
    next: str = ""
    ranges: tuple[HeldOffsets, ...] = ()
    note: str = ""


def nothing_peeked(call: Mapping[str, Any], topics: Sequence[str], problem: str = "", status: int = 200) -> PeekView:
    """The form alone, with why there is no more than that."""
    command = "riverkeep peek TOPIC" if call["topic"] is None else _command(call)
    return PeekView(
        asked=_asked(call), topics=tuple(topics[:TOPICS_OFFERED]), problem=problem, status=status, command=command
    )


def peek_view(call: Mapping[str, Any], answer: PeekAnswer, topics: Sequence[str]) -> PeekView:
    """What was found.

    Args:
        call: `topic`, `number`, `offset`, `count`, `text`.
        answer: to it.
        topics: names to choose from.
    """
    query = {name: call[name] for name in ("topic", "offset", "count") if call[name] is not None}
    query |= {} if call["number"] is None else {"partition": call["number"]}
    text = {"text": 1} if call["text"] else {}
    records, ranges = answer["records"], answer["ranges"]
    following = ""
    if records and len(ranges) == 1 and (after := records[-1]["offset"] + 1) < ranges[0]["next"]:
        following = with_query(PEEK, query | {"partition": ranges[0]["partition"], "offset": after} | text)
    return PeekView(
        title=_title(call),
        asked=_asked(call),
        topics=tuple(topics[:TOPICS_OFFERED]),
        rows=tuple(map(_row, records)),
        is_done=True,
        is_shown=call["text"],
        turned=with_query(PEEK, query | ({} if call["text"] else {"text": 1})),
        next=following,
        ranges=tuple(ranges),
        note=answer["note"],
        json=with_query(PEEK, query | text | {"format": "json"}),
        command=_command(call),
    )


def _asked(call: Mapping[str, Any]) -> dict[str, str]:
    names = {"topic": "topic", "partition": "number", "offset": "offset", "count": "count"}
    return {name: "" if call[of] is None else str(call[of]) for name, of in names.items()}


def _title(call: Mapping[str, Any]) -> str:
    where = call["topic"] if call["number"] is None else f"{call['topic']}/{call['number']}"
    return f"The newest of {where}" if call["offset"] is None else f"{where} from {call['offset']} on"


def _command(call: Mapping[str, Any]) -> str:
    parts = ["riverkeep", "peek", shlex.quote(call["topic"])]
    parts += [] if call["number"] is None else ["--partition", str(call["number"])]
    parts += [] if call["offset"] is None else ["--offset", str(call["offset"])]
    return " ".join([*parts, "--count", str(call["count"]), *([] if call["text"] else ["--masked"])])


def _row(record: PeekedLine) -> PeekedRow:
    became = record["becomes"].replace("_", " ")
    return PeekedRow(
        place=f"{record['topic']}/{record['partition']} at {record['offset']}",
        address=record_address(record["topic"], record["partition"], record["offset"]),
        became=became if record["reason"] is None else f"{became}: {record['reason'].replace('_', ' ')}",
        level=LEVELS.get(record["becomes"], "idle"),
        detail=record["detail"],
        form=FORMS.get(record["form"], record["form"]),
        size=record["value_bytes"],
        packed="" if record["packed"] == "none" else record["packed"],
        time=record["time"],
        source=record["source"],
        label=record["label"],
        characters=record["characters"],
        text=record.get("text"),
        key=record.get("key"),
        cut=record.get("cut", False),
        headers=tuple((name or "", "null" if value is None else value) for name, value in record.get("headers", ())),
    )
