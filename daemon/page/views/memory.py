"""What is kept by source, role and age, what can still be rehearsed, and what a round would be given now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.kept import AgeLine, MemoryAnswer
from daemon.control.answers.next_draw import NextDraw
from daemon.control.answers.status import StatusAnswer
from daemon.control.wording import fate_words, not_kept, part_words
from daemon.page.views.records import SOURCES_SHOWN, SourceRow, source_rows
from daemon.page.views.round import ShownShare, shares

AGES_SHOWN: Final = 100
PARTS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class AgeRow:
    """Replay or held-out text of one source and age; `tokens` None of held-out text."""

    age: str
    role: str
    source: str
    samples: int
    tokens: int | None


@dataclass(frozen=True, slots=True)
class DrawRow:
    """What a round would be given of one part and source; `tokens` None of held-out text."""

    part: str
    source: str
    samples: int
    tokens: int | None


@dataclass(frozen=True, slots=True)
class DrawView:
    """What a round would be given now.

    Attributes:
        new, replayed, held_out: samples in all.
        left_out: how many new documents it would not be given or not train on, and the setting that bounds them.
    """

    round: int
    parent: int
    new: int
    replayed: int
    held_out: int
    ratio: float
    rows: tuple[DrawRow, ...]
    rows_left_out: int
    left_out: tuple[tuple[str, int, str], ...]
    judges_again: str


@dataclass(frozen=True, slots=True)
class MemoryView:
    """What is kept.

    Attributes:
        rehearsable, tokens: samples and tokens of replay.
        fresh, fresh_since: samples that no round settled yet, and since when the first of them waits.
        ages: of replay, with how much each is of it; `rows` replay and held-out text by source and age.
        not_kept: what became of documents that are not kept, a clause; empty where all are.
        draw: None where none can be foreseen; `no_draw` says why.
        in_progress: the round that trains on what is fresh now; None between rounds.
    """

    rehearsable: int
    tokens: int
    fresh: int
    fresh_since: float | None
    held_out: int
    aside: int
    sources: tuple[SourceRow, ...]
    sources_left_out: int
    ages: tuple[ShownShare, ...]
    rows: tuple[AgeRow, ...]
    rows_left_out: int
    not_kept: str
    draw: DrawView | None
    no_draw: str
    in_progress: int | None


def memory_view(facts: StatusAnswer, memory: MemoryAnswer, draw: NextDraw | None, no_draw: str) -> MemoryView:
    """What is kept, and what a round would be given.

    Args:
        facts: the status.
        memory: what is kept.
        draw: what a round would be given; None where none can be foreseen.
        no_draw: why not.
    """
    of_role = dict.fromkeys(("fresh", "replay", "holdout", "aside"), 0)
    for line in memory["kept"]:
        of_role[line["role"]] += line["samples"]
    sources, rows = source_rows(memory), memory["ages"]
    return MemoryView(
        rehearsable=of_role["replay"],
        tokens=sum(line["tokens"] for line in memory["kept"] if line["role"] == "replay"),
        fresh=of_role["fresh"],
        fresh_since=memory["fresh_since"],
        held_out=of_role["holdout"],
        aside=of_role["aside"],
        sources=sources[:SOURCES_SHOWN],
        sources_left_out=max(0, len(sources) - SOURCES_SHOWN),
        ages=shares(_replay_by_age(rows)),
        rows=tuple(
            AgeRow(_age(row), fate_words(row["role"]), row["source"], row["samples"], row["tokens"])
            for row in rows[:AGES_SHOWN]
        ),
        rows_left_out=max(0, len(rows) - AGES_SHOWN),
        not_kept=not_kept(memory["tallies"]),
        draw=None if draw is None else _draw(draw),
        no_draw=no_draw,
        in_progress=None if facts["round"] is None else facts["round"]["number"],
    )


def _replay_by_age(rows: Sequence[AgeLine]) -> dict[str, float]:
    ages: dict[str, float] = {}
    for row in rows:
        if row["role"] == "replay":
            ages[_age(row)] = ages.get(_age(row), 0) + row["samples"]
    return ages


def _age(row: AgeLine) -> str:
    first, last = row["first_round"], row["last_round"]
    if last == 0:
        return "before the stream"
    return f"round {last}" if first == last else f"rounds {first} to {last}"


def _draw(draw: NextDraw) -> DrawView:
    rows = [
        *(DrawRow(part_words(row["part"]), row["source"], row["samples"], row["tokens"]) for row in draw["parts"]),
        *(
            DrawRow(part_words(row["kind"]), row["source"] or "of all", row["documents"], None)
            for row in draw["slices"]
        ),
    ]
    return DrawView(
        round=draw["round"],
        parent=draw["parent"],
        new=sum(row["samples"] for row in draw["parts"] if row["part"] == "fresh"),
        replayed=sum(row["samples"] for row in draw["parts"] if row["part"] == "replay"),
        held_out=sum(row["documents"] for row in draw["slices"]),
        ratio=draw["replay_ratio"],
        rows=tuple(rows[:PARTS_SHOWN]),
        rows_left_out=max(0, len(rows) - PARTS_SHOWN),
        left_out=tuple(
            (part["what"].replace("_", " "), part["documents"], part["setting"]) for part in draw["left_out"]
        ),
        judges_again=draw["judges_again"],
    )
