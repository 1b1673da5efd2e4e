"""What waits for a person, with the evidence beside the word that is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.kept import AsideDocument, AsideLine, AsideTextAnswer, MemoryAnswer
from daemon.control.answers.rounds import RoundAnswer
from daemon.control.answers.status import StatusAnswer
from daemon.control.how_it_stands import how_it_stands
from daemon.control.wording import shown_text
from daemon.ingestion.flood_sentence import flooded
from daemon.page.addresses import record_address
from daemon.page.views.checks import CheckRow, check_rows, failed
from daemon.page.views.now import NeedLink, pointer

SHOWN_HERE: Final = frozenset({"round", "aside", "flood", "pause"})
REASONS_SHOWN: Final = 6
REPEATS: Final = 0.5
"""The share of a document that repeats from which on it is marked."""
SOURCES_SHOWN: Final = 20
BEYOND_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class HeldText:
    """Text that one round set aside.

    Attributes:
        waits: whether its round waits for a person's word; else it was refused too often.
        why: a sentence.
        beyond: what of it was beyond its bound, the first of it.
        beyond_left_out: how much more was.
    """

    round: int
    waits: bool
    why: str
    since: float
    samples: int
    tokens: int
    held_out: int
    sources: tuple[str, ...]
    sources_left_out: int
    beyond: tuple[CheckRow, ...]
    beyond_left_out: int


@dataclass(frozen=True, slots=True)
class Flood:
    """Partitions that a flood of dead letters paused, and why letters were dead so far, the most frequent first."""

    partitions: tuple[str, ...]
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PausedHere:
    """That no round begins by itself."""

    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsView:
    """All that waits.

    Attributes:
        others: what no button of the page can mend.
    """

    held: tuple[HeldText, ...]
    flood: Flood | None
    pause: PausedHere | None
    others: tuple[NeedLink, ...]

    @property
    def is_anything(self) -> bool:
        """Whether a person is needed at all."""
        return bool(self.held or self.flood or self.pause or self.others)


def needs_view(
    facts: StatusAnswer, aside: Sequence[AsideLine], rounds: Mapping[int, RoundAnswer], memory: MemoryAnswer
) -> NeedsView:
    """What waits.

    Args:
        facts: the status.
        aside: what is set aside, by round.
        rounds: those that set it aside, as far as they are known.
        memory: for the reasons of dead letters.
    """
    waiting, pause = frozenset(facts["waiting"]), facts["rounds_paused"]
    held = [_held(group, rounds.get(group["round"]), waits=group["round"] in waiting) for group in aside]
    paused = flooded(facts["ingest"]["paused"]) if facts["ingest"] is not None else []
    return NeedsView(
        # Who waits comes first, and of those the latest.
        held=tuple(sorted(held, key=lambda each: (not each.waits, -each.round))),
        flood=_flood(paused, memory) if paused else None,
        pause=None if pause is None else PausedHere(pause["since"], pause["reason"]),
        others=tuple(pointer(need) for need in how_it_stands(facts).needs if need.kind not in SHOWN_HERE),
    )


def _held(group: AsideLine, of_round: RoundAnswer | None, *, waits: bool) -> HeldText:
    why = group["reason"] if of_round is None or not of_round["detail"] else of_round["detail"]
    beyond = () if of_round is None else failed(check_rows(of_round["verdict"]))
    return HeldText(
        round=group["round"],
        waits=waits,
        why=why,
        since=group["since"],
        samples=group["samples"],
        tokens=group["tokens"],
        held_out=group["held_out"],
        sources=tuple(group["sources"][:SOURCES_SHOWN]),
        sources_left_out=max(0, len(group["sources"]) - SOURCES_SHOWN),
        beyond=beyond[:BEYOND_SHOWN],
        beyond_left_out=max(0, len(beyond) - BEYOND_SHOWN),
    )


def _flood(partitions: Sequence[str], memory: MemoryAnswer) -> Flood:
    reasons = sorted(memory["dead_letter_reasons"].items(), key=lambda entry: -entry[1])
    return Flood(tuple(partitions), tuple(reasons[:REASONS_SHOWN]))


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """One document that is set aside.

    Attributes:
        trace: the address where its record is followed.
        text: None until somebody asks for it.
        loss: nats per token under what served; None where it was not measured.
    """

    id: int
    place: str
    trace: str
    source: str
    label: str | None
    key_hash: str | None
    arrived_at: float
    held_out: bool
    loss: float | None
    repeats: float | None
    characters: int
    text: str | None


@dataclass(frozen=True, slots=True)
class HeldTextView:
    """Documents that a round set aside.

    Attributes:
        next: what `after` brings the next page; None where there is none.
        is_shown: whether the text is.
    """

    round: int
    waits: bool
    documents: tuple[HeldDocument, ...]
    next: int | None
    is_shown: bool
    worst: bool


def held_text_view(answer: AsideTextAnswer, *, waits: bool, text: bool, worst: bool) -> HeldTextView:
    """A page of them, with their text only where that is asked for."""
    documents = tuple(_document(document, text=text) for document in answer["documents"])
    return HeldTextView(answer["round"], waits, documents, answer["next"], text, worst)


def _document(document: AsideDocument, *, text: bool) -> HeldDocument:
    repetition = document["repetition"]
    return HeldDocument(
        id=document["id"],
        place=f"{document['topic']}/{document['partition']} at {document['offset']}",
        trace=record_address(document["topic"], document["partition"], document["offset"]),
        source=document["source"],
        label=document["label"],
        key_hash=document["key_hash"],
        arrived_at=document["arrived_at"],
        held_out=document["held_out"],
        loss=document["loss"],
        repeats=repetition if repetition is not None and repetition >= REPEATS else None,
        characters=document["characters"],
        text=shown_text(document) if text else None,
    )
