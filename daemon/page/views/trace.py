"""One record, or a person's, through offset, role, rounds and generations; and what an erasure would touch."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.answers.kept import DeadLetterLine
from daemon.control.answers.people import GivenRound, SeenBy, SimilarKeyLine
from daemon.control.answers.records import SampleLine
from daemon.control.answers.traces import ForeseenErasure, TraceAnswer, TracedRecord, TracedUse
from daemon.control.printable import inline
from daemon.control.wording import fate_words, shown_text
from daemon.page.addresses import TRACE, record_address, with_query
from daemon.page.views.named import NamedView

USES_SHOWN: Final = 100
"""Rounds that one record was given to, and a person's text."""
GENERATIONS_SHOWN: Final = 40
DIRECTORIES_SHOWN: Final = 20
LEVELS: Final = {"aside": "care", "dead_letter": "care", "gap": "care", "replay": "good", "fresh": "good"}


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One record.

    Attributes:
        address: of its page.
        sample, letter: where it is kept as one; `text` what it says, None until somebody asks for it.
        uses: rounds that were given it, the latest first, bounded; `uses_left_out` how many more there are.
        seen: which generations know it, in sentences.
    """

    place: str
    address: str
    became: str
    level: str
    detail: str
    sample: SampleLine | None
    letter: DeadLetterLine | None
    text: str | None
    slice: str | None
    aside_round: int | None
    uses: tuple[TracedUse, ...]
    uses_left_out: int
    seen: tuple[str, ...]
    key_hashes: tuple[str, ...]
    erased_at: float | None


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """What an erasure of one person would touch, were it done now.

    Attributes:
        amounts: how much would go of what.
        rounds: that were given the person's text, the latest first, bounded; `rounds_left_out` how many more.
        seen: which generations were trained on it, in sentences.
        calls_off: the round in progress and the seconds of its work that would be lost; None where none would be.
    """

    key_hash: str
    amounts: tuple[tuple[str, int], ...]
    rounds: tuple[GivenRound, ...]
    rounds_left_out: int
    directories: tuple[str, ...]
    directories_left_out: int
    seen: tuple[str, ...]
    clean_generation: int | None
    calls_off: tuple[int, float] | None
    erased_at: float | None
    similar: tuple[SimilarKeyLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTrace:
    """What is followed: a record's place or a key, as they were asked for; empty where they were not."""

    topic: str = ""
    partition: str = ""
    offset: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView(NamedView):
    """What is known of it.

    Attributes:
        asked: None where nothing is yet.
        problem: why nothing is shown; empty otherwise.
        is_shown: whether the text is.
        next: the address of the next page; empty where there is none.
        turned: the address of the same with its text, or without; empty where it has none of its own.
    """

    title: str = "Trace"
    asked: AskedTrace | None = None
    problem: str = ""
    rows: tuple[TraceRow, ...] = ()
    erasures: tuple[ErasureRow, ...] = ()
    is_shown: bool = False
    next: str = ""
    turned: str = ""
    json: str = f"{TRACE}?format=json"
    command: str = "riverkeep trace TOPIC PARTITION OFFSET"


def trace_view(call: Mapping[str, Any], answer: TraceAnswer) -> TraceView:
    """What is known of what was asked for.

    Args:
        call: `topic`, `partition`, `offset`, or `key` (a text or a hash); `text`, `limit`, `after`.
        answer: to it.
    """
    query = _query(call, answer)
    text, more = {"text": 1} if call["text"] else {}, {"after": answer["next"]}
    here = {"after": call["after"]} if call["after"] else {}
    rows = tuple(_row(record, call) for record in answer["records"])
    return TraceView(
        asked=_asked(call),
        title=_title(call, answer),
        rows=rows,
        erasures=tuple(_erasure(erasure) for erasure in answer["erasures"]),
        is_shown=call["text"],
        next=with_query(TRACE, query | text | more) if answer["next"] is not None else "",
        turned=with_query(TRACE, query | here | ({} if call["text"] else {"text": 1})),
        json=with_query(TRACE, query | here | text | {"format": "json"}),
        command=_command(call, answer),
    )


def nothing_traced(call: Mapping[str, Any], problem: str, status: int) -> TraceView:
    """The same where there is no answer."""
    return TraceView(asked=_asked(call), problem=problem, status=status)


def _asked(call: Mapping[str, Any]) -> AskedTrace:
    place = {name: "" if call[name] is None else str(call[name]) for name in ("topic", "partition", "offset")}
    return AskedTrace(**place, key=call["key"] if isinstance(call["key"], str) else "")


def _query(call: Mapping[str, Any], answer: TraceAnswer) -> dict[str, object]:
    """The part of the address that names it: of a person the key's hash."""
    if call["topic"] is not None:
        return {name: call[name] for name in ("topic", "partition", "offset")}
    return {"key_hash": answer["erasures"][0]["key_hash"]}


def _title(call: Mapping[str, Any], answer: TraceAnswer) -> str:
    if call["topic"] is not None:
        return f"{call['topic']}/{call['partition']} at {call['offset']}"
    return f"The key with hash {answer['erasures'][0]['key_hash']}"


def _command(call: Mapping[str, Any], answer: TraceAnswer) -> str:
    text = " --text" if call["text"] else ""
    paged = f" --limit {call['limit']}" + (f" --after {call['after']}" if call["after"] else "")
    if call["topic"] is not None:
        return inline(f"riverkeep trace {shlex.quote(call['topic'])} {call['partition']} {call['offset']}{text}")
    # By the hash: shells keep what is typed.
    return f"riverkeep trace --key-hash {answer['erasures'][0]['key_hash']}{text}{paged}"


def _row(record: TracedRecord, call: Mapping[str, Any]) -> TraceRow:
    sample, letter, uses = record["sample"], record["dead_letter"], record["rounds"][::-1]
    text = None
    if call["text"]:
        text = letter.get("value") if letter is not None else None if sample is None else shown_text(sample)
    return TraceRow(
        place=f"{record['topic']}/{record['partition']} at {record['offset']}",
        address=record_address(record["topic"], record["partition"], record["offset"]),
        became=fate_words(record["became"]),
        level=LEVELS.get(record["became"], "idle"),
        detail=record["detail"],
        sample=sample,
        letter=letter,
        text=text,
        slice=record["slice"],
        aside_round=record["aside_round"],
        uses=tuple(uses[:USES_SHOWN]),
        uses_left_out=max(0, len(uses) - USES_SHOWN),
        seen=tuple(_seen_record(record)),
        key_hashes=tuple(record["key_hashes"]),
        erased_at=record["erased_at"],
    )


def _erasure(erasure: ForeseenErasure) -> ErasureRow:
    off, rounds, directories = erasure["calls_off"], erasure["rounds"][::-1], erasure["directories"]
    return ErasureRow(
        key_hash=erasure["key_hash"],
        amounts=(
            ("Samples", erasure["samples"]),
            ("Dead letters", erasure["dead_letters"]),
            ("Feedback", erasure["feedback"]),
        ),
        rounds=tuple(rounds[:USES_SHOWN]),
        rounds_left_out=max(0, len(rounds) - USES_SHOWN),
        directories=tuple(directories[:DIRECTORIES_SHOWN]),
        directories_left_out=max(0, len(directories) - DIRECTORIES_SHOWN),
        seen=tuple(seen_sentences(erasure)),
        clean_generation=erasure["clean_generation"],
        calls_off=None if off is None else (off["round"], off["seconds"]),
        erased_at=erasure["erased_at"],
        similar=tuple(erasure["similar"]),
    )


def _seen_record(record: TracedRecord) -> list[str]:
    sentences = []
    if record["generations"]:
        sentences.append(f"Trained on it: {_numbers(record['generations'])}.")
    if record["descendants"]:
        sentences.append(f"Made from those: {_numbers(record['descendants'])}.")
    if record["scored_by"]:
        sentences.append(f"Scores on it are kept of {_numbers(record['scored_by'])}.")
    if record["lineage_from"] > 1:
        sentences.append(f"What rounds before {record['lineage_from']} were given is not known any more.")
    return sentences


def seen_sentences(facts: SeenBy) -> list[str]:
    """Which generations were trained on a person's text."""
    sentences = []
    if facts["lineage_from"] > 1:
        sentences.append(
            f"What rounds before {facts['lineage_from']} were given is not known any more: their generations, and what "
            "came of those, may have been trained on it too."
        )
    if facts["generations"]:
        sentences.append(f"Trained on it: {_numbers(facts['generations'])}. Nothing is unlearned by an erasure.")
    else:
        sentences.append(f"{'No' if facts['lineage_from'] == 1 else 'No other'} generation was trained on it.")
    if facts["descendants"]:
        sentences.append(f"Made from those: {_numbers(facts['descendants'])}.")
    return sentences


def _numbers(numbers: list[int]) -> str:
    """Generations in words, the latest of many."""
    named = ", ".join(map(str, numbers[-GENERATIONS_SHOWN:]))
    more = f" and {len(numbers) - GENERATIONS_SHOWN:,} before" if len(numbers) > GENERATIONS_SHOWN else ""
    return f"{'generation' if len(numbers) == 1 else 'generations'} {named}{more}"
