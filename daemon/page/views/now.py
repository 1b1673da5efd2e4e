"""What the first page shows: how things stand, the round in progress, what comes next, the latest rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.control.answers.rounds import RoundLine
from daemon.control.answers.status import PartStanding, StatusAnswer
from daemon.control.how_it_stands import HowItStands, Level, PersonNeeded, forgetting_words, how_it_stands
from daemon.lifecycle.supervised_threads import State
from daemon.page.views.rounds import RoundInProgress, RoundRow, round_in_progress, round_row

LATEST: Final = 6
PLACES: Final[Mapping[str, str]] = {
    "round": "/needs#round-{number}",
    "flood": "/needs#floods",
    "pause": "/needs#pause",
    "aside": "/needs#aside",
    "unread": "/streams",
    "stream": "/streams",
    "full": "/memory",
    "serving": "/serving",
}
"""Where a person decides on what needs one, or looks at it."""
EVIDENCE: Final = {
    "anchor": "held-out documents of the anchor",
    "newest": "held-out documents of new text",
    "labels": "labels of held-out text",
}


@dataclass(frozen=True, slots=True)
class NeedLink:
    """What needs a person, and where it is decided on or looked at; empty where that is not on the page."""

    words: str
    waits: bool
    href: str

    @property
    def is_decided_there(self) -> bool:
        """Whether there is something to press there, not only something to read."""
        return self.href.startswith("/needs")


@dataclass(frozen=True, slots=True)
class Enough:
    """How much there is of what a round is judged by."""

    what: str
    found: int
    needed: int

    @property
    def lacks(self) -> bool:
        """Whether a round that begins by itself waits for more."""
        return self.found < self.needed


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of the daemon; `detail` is empty where there is nothing to say but that it runs."""

    name: str
    level: Level
    detail: str


@dataclass(frozen=True, slots=True)
class NowView:
    """The first page.

    Attributes:
        next_round: what it waits for, a clause; empty where that is not known.
        forgetting: of what serves, in words.
        since: when the daemon began, unix seconds; None where none runs.
        is_ledger_read: whether the latest rounds are known at all.
        may_ask: whether a round can be asked for.
    """

    stands: HowItStands
    needs: tuple[NeedLink, ...]
    progress: RoundInProgress | None
    next_round: str
    evidence: tuple[Enough, ...]
    forgetting: str
    feedback: str
    latest: tuple[RoundRow, ...]
    is_ledger_read: bool
    version: str
    state_dir: str
    since: float | None
    parts: tuple[ShownPart, ...]
    may_ask: bool
    is_paused: bool


def now_view(facts: StatusAnswer, rounds: Sequence[RoundLine] | None) -> NowView:
    """The first page, of the status and the latest rounds; None: these cannot be read."""
    stands, progress, said = how_it_stands(facts), facts["round"], facts["feedback"]
    return NowView(
        stands=stands,
        needs=tuple(map(pointer, stands.needs)),
        progress=None if progress is None else round_in_progress(progress),
        next_round=facts["next_round"] or "",
        evidence=tuple(
            Enough(EVIDENCE.get(need["what"], need["what"]), need["found"], need["needed"])
            for need in facts["evidence"]
        ),
        forgetting=forgetting_words(facts["forgetting"]),
        feedback="" if said is None else f"{said['accepted']:,} accepted, {said['rejected']:,} rejected",
        latest=tuple(map(round_row, rounds or ())),
        is_ledger_read=rounds is not None,
        version=facts["version"],
        state_dir=facts["state_dir"],
        since=facts["started_at"],
        parts=tuple(_part(name, part) for name, part in (facts["parts"] or {}).items()),
        may_ask=facts["running"] and bool(facts["memory"] and facts["memory"]["fresh_samples"]),
        is_paused=facts["rounds_paused"] is not None,
    )


def _part(name: str, part: PartStanding) -> ShownPart:
    begins = part["state"] in (State.STARTING, State.STOPPED)
    level = Level.GOOD if part["ok"] else Level.IDLE if begins else Level.BAD
    return ShownPart(name, level, "" if part["detail"] == State.RUNNING else part["detail"])


def pointer(need: PersonNeeded) -> NeedLink:
    """A need, and where it is decided on."""
    return NeedLink(need.words, need.waits, PLACES.get(need.kind, "").format(number=need.number))
