"""What is observed of a watched generation: counts of serving processes that come and go, added up and kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from gate.live.judge_live import COLUMNS, Looks, Traffic, no_traffic
from gate.statistics.comparisons import Floats
from memory.ledger.history.canaries import ASKERS, OTHERS

GROUPS: Final = 64
"""Of callers, as serving counts them."""
MOST_ASKERS: Final = 1_000
"""API keys that are told apart, of all processes together."""
OUR_SIDE: Final = "watched"
THEIR_SIDE: Final = "serving"


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What is known of a watch so far; of it everything is kept but what a running process has said.

    Attributes:
        traffic: the counts, and for how long.
        looks: that were taken.
        said: by side, what the process with `pid` had counted when it was asked last.
        pid: that process; None before one was asked.
        replaced: how many processes ended by themselves while the generation answered there.
        loaded: whether it did when a process last answered.
        silent: whether the process has not answered since.
        read_to: the highest number of a sample that both generations have read, or were to; None before the watch was
            looked at.
        documents: how many both have read.
        askers: by the name of an API key, empty for none: how many requests the watched generation answered.
        said_askers: what the process with `pid` had counted of that when it was asked last.
    """

    traffic: Traffic = field(default_factory=lambda: Traffic(no_traffic(GROUPS), no_traffic(GROUPS)))
    looks: Looks = field(default_factory=Looks)
    said: Mapping[str, Floats] = field(default_factory=dict)
    pid: int | None = None
    replaced: int = 0
    loaded: bool = False
    silent: bool = False
    read_to: int | None = None
    documents: int = 0
    askers: Mapping[str, int] = field(default_factory=dict)
    said_askers: Mapping[str, int] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether the generation answered when the process was last asked."""
        return self.loaded and not self.silent

    def passed(self, seconds: float, before: "Observed") -> "Observed":
        """That so much time has passed since `before`.

        It counts for the window only where the generation answered at both of its ends, in one process: what lies
        between two looks nobody saw.
        """
        traffic = self.traffic
        watched = self.answers and before.answers and self.pid == before.pid
        watched_s = traffic.watched_s + (seconds if watched else 0.0)
        return replace(self, traffic=replace(traffic, watched_s=watched_s, open_s=traffic.open_s + seconds))

    def unheard(self) -> "Observed":
        """That no process answers: what it counts meanwhile it tells when it does again."""
        return replace(self, silent=True)

    def heard(self, pid: int, facts: Mapping[str, Any], pair: tuple[int, int]) -> "Observed":
        """What a serving process says now, added to what was known.

        Args:
            pid: of the process: one that is new counts from nothing.
            facts: as `GET /v1/riverkeep/canary` gives them.
            pair: the serving generation and the watched one; counts of others are none of this watch's.
        """
        is_new = pid != self.pid
        replaced = self.replaced + (is_new and self.pid is not None and self.loaded)
        loaded = facts.get("loaded") == pair[1]
        base = {} if is_new else self.said
        counts = facts.get("counts") or {}
        said_askers = {} if is_new else self.said_askers
        heard = replace(
            self, pid=pid, said=base, said_askers=said_askers, replaced=replaced, loaded=loaded, silent=False
        )
        if (facts.get("serving"), facts.get("watched")) != pair or not counts:
            return heard
        said = {side: read_counts(counts[side]) for side in (OUR_SIDE, THEIR_SIDE)}
        more = {side: _more(said[side], base.get(side)) for side in said}
        traffic = replace(
            self.traffic, ours=self.traffic.ours + more[OUR_SIDE], theirs=self.traffic.theirs + more[THEIR_SIDE]
        )
        asked = read_askers(facts.get("askers") or {})
        askers = _with(self.askers, asked, said_askers)
        return replace(heard, traffic=traffic, said=said, askers=askers, said_askers=asked)

    def read(self, group: int, *, tokens: int, difference: float) -> "Observed":
        """What both generations found of a document, added to what was known.

        Args:
            group: of keys, 0 to GROUPS - 1.
            tokens: that were foretold.
            difference: the watched one's loss minus the serving one's, summed over them, in nats.
        """
        losses = np.zeros((GROUPS, 2)) if self.traffic.losses is None else self.traffic.losses.copy()
        losses[group] += (tokens, difference)
        return replace(self, traffic=replace(self.traffic, losses=losses), documents=self.documents + 1)

    def to_json(self) -> dict[str, Any]:
        """What is kept, as JSON values."""
        return {
            "ours": self.traffic.ours.tolist(),
            "theirs": self.traffic.theirs.tolist(),
            "watched_s": self.traffic.watched_s,
            "open_s": self.traffic.open_s,
            "harm": self.looks.harm,
            "harm_at": self.looks.harm_at,
            "proof": self.looks.proof,
            "proof_at": self.looks.proof_at,
            "losses": None if self.traffic.losses is None else self.traffic.losses.tolist(),
            "read_to": self.read_to,
            "documents": self.documents,
            ASKERS: dict(self.askers),
        }

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Observed":
        """What was kept; before the first time nothing was observed."""
        if not values:
            return cls()
        # An earlier version kept no losses.
        losses = values.get("losses")
        traffic = Traffic(
            read_counts(values["ours"]),
            read_counts(values["theirs"]),
            values["watched_s"],
            values["open_s"],
            losses=None if losses is None else read_counts(losses, columns=2),
        )
        looks = Looks(values["harm"], values["harm_at"], values["proof"], values["proof_at"])
        return cls(
            traffic,
            looks,
            read_to=values.get("read_to"),
            documents=values.get("documents", 0),
            askers=values.get(ASKERS, {}),
        )


def read_counts(rows: Any, columns: int = COLUMNS) -> Floats:
    """Counts by group as they stand in JSON.

    Raises:
        ValueError: they are something else.
    """
    found = np.asarray(rows, dtype=np.float64)
    if found.shape != (GROUPS, columns) or not np.isfinite(found).all():
        raise ValueError(f"counts of {found.shape} where ({GROUPS}, {columns}) were expected")
    return found


def read_askers(counts: Any) -> dict[str, int]:
    """How many requests with each API key, as it stands in JSON.

    Raises:
        ValueError: it is something else.
    """
    if not all(isinstance(name, str) and isinstance(count, int) for name, count in dict(counts).items()):
        raise ValueError("counts of requests by key are a number for each name")
    return dict(counts)


def _with(askers: Mapping[str, int], said: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was counted so far, with what a process says now beyond what it said before."""
    if any(said.get(name, 0) < count for name, count in before.items()):
        before = {}
    sums = dict(askers)
    for name, count in said.items():
        known = name if name in sums or len(sums) < MOST_ASKERS else OTHERS
        sums[known] = sums.get(known, 0) + count - before.get(name, 0)
    return sums


def _more(said: Floats, before: Floats | None) -> Floats:
    """What was counted since: all of it, where the process has begun to count anew."""
    # By the counts alone: sums of logarithms fall as well as rise.
    if before is None or (said[:, 0] < before[:, 0]).any():
        return said
    return said - before
