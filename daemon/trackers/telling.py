"""Every round that has ended is told to a tracker once, oldest first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from daemon.control.answers.rounds import RoundLine
from daemon.control.bounds import MOST_ROWS
from daemon.control.protocol import Control
from daemon.trackers.tracked_round import TrackedRound, id_of, is_concluded, tracked


class Tracker(Protocol):
    """Who is told of rounds. Both block."""

    def known(self) -> set[str]:
        """Ids of the rounds that it has."""

    def tell(self, round_: TrackedRound) -> None:
        """Add a round."""


@dataclass(frozen=True, slots=True)
class ToldRounds:
    """What was told.

    Attributes:
        rounds: numbers of those that were new to the tracker.
        already: how many it had.
        open: how many have not ended, or wait for a person.
    """

    rounds: tuple[int, ...]
    already: int
    open: int


def tell_rounds(control: Control, tracker: Tracker) -> ToldRounds:
    """Tell a tracker of each concluded round that it does not have.

    What it was told of before an error stays; a second call goes on from there.

    Raises:
        DaemonError: of the control, or of the tracker.
    """
    known = tracker.known()
    rounds = list(_all_rounds(control))
    concluded = [round_ for round_ in rounds if is_concluded(round_)]
    new = sorted(round_["number"] for round_ in concluded if id_of(round_) not in known)
    digests = {made["number"]: made["digest"] for made in control.generations()["generations"]} if new else {}
    for number in new:
        round_ = control.round(number)
        digest = None if round_["generation"] is None else digests.get(round_["generation"])
        tracker.tell(tracked(round_, digest))
    return ToldRounds(tuple(new), len(concluded) - len(new), len(rounds) - len(concluded))


def _all_rounds(control: Control) -> Iterator[RoundLine]:
    before: int | None = None
    while page := control.rounds(limit=MOST_ROWS, before=before):
        yield from page
        before = page[-1]["number"]
