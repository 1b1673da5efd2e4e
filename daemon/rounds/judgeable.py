"""Whether a round that begins now could be judged: the gate's own counting, before anything is trained.

Where a round was refused for want of evidence, the next one by itself waits until there is more of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.settings.tree import Settings
from gate.held_out import LABELS_TO_TELL, DrawnSlice, HeldOut, Need, needs
from memory.ledger.records import Round
from memory.ledger.states import RoundState
from memory.store import Store

# A round whose candidate could not be judged at all ends failed, as that is not its text's fault.
JUDGED_FOR_WANT: Final = frozenset({RoundState.REFUSED, RoundState.FAILED})
PATIENCE: Final = 4
"""Times the fresh text of a round that was refused for want of evidence begin another, whatever was held out of it."""
FULL: Final = (
    "; none comes while consumption is paused for a full memory: raise `memory.fresh_samples` and `memory.fresh_tokens`"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the next round by itself waits for after one that was refused for want of evidence.

    Attributes:
        round: the one that was refused.
        documents: of the newest held-out text (keys, where several have the same), from which on another round may tell
            more.
        fresh_samples: from which on it begins in any case: held-out text may be bounded, or come seldom.
    """

    round: int
    documents: int
    fresh_samples: int


@dataclass(frozen=True, slots=True)
class ForeseenEvidence:
    """What there is to judge a round by, were it begun now.

    Attributes:
        needs: what every verdict rests on.
        wanted: what a refusal for want of evidence lets the next round wait for; None where there is none such.
        full: no more text comes before a round is accepted.
    """

    needs: tuple[Need, ...]
    wanted: Wanted | None
    full: bool

    @property
    def newest(self) -> int:
        """Held-out documents of the newest text, or keys, where several have the same."""
        return next(need.found for need in self.needs if need.what == "newest")

    def needed_by_itself(self, need: Need) -> int:
        """How much a round that begins by itself needs: after a refusal for want of evidence more than the least."""
        return max(need.needed, self.wanted.documents if self.wanted is not None and need.what == "newest" else 0)

    @property
    def lacking(self) -> str:
        """Why no verdict is possible, whatever is trained and whoever asks; empty where one is."""
        unmet = next((need for need in self.needs if not need.is_met), None)
        return "" if unmet is None else unmet.sentence() + (FULL if self.full else "")

    @property
    def too_early(self) -> str:
        """Why none begins by itself: it could be judged, but would most likely be refused again; empty otherwise."""
        if self.wanted is None or self.full or self.newest >= self.wanted.documents:
            return ""
        return (
            f"round {self.wanted.round} was refused for want of evidence: {self.newest} of the {self.wanted.documents} "
            "held-out documents of new text are there that the next round by itself waits for"
        )


def foresee(store: Store, settings: Settings, latest: Iterable[Round]) -> ForeseenEvidence:
    """What there is to judge a round by, were it begun now. Changes nothing.

    Args:
        store: what is held out.
        settings: of the gate and the recipe.
        latest: rounds, newest first.
    """
    outlines = store.rounds.foreseen_slices()
    needs_now = needs_of(outlines, settings, first=nothing_trained_serves(store))
    awaited = waits_for(latest, settings.learner.recipe.model_dump(mode="json"))
    if awaited is not None and store.counts().fresh_samples >= awaited.fresh_samples:
        awaited = None
    return ForeseenEvidence(needs_now, awaited, store.is_full())


def needs_of(slices: Iterable[DrawnSlice], settings: Settings, *, first: bool) -> tuple[Need, ...]:
    """What a verdict on these slices rests on, by the gate's settings.

    Args:
        first: nothing that was trained here serves yet.
    """
    labels = LABELS_TO_TELL if first and settings.model.kind == "classifier" else 0
    return needs([HeldOut.of(piece) for piece in slices], settings.gate.minimum_documents, labels=labels)


def nothing_trained_serves(store: Store) -> bool:
    """Whether the base serves, or nothing."""
    serving = store.generations.serving()
    return serving is None or store.generations.read(serving).parent is None


def waits_for(latest: Iterable[Round], recipe: Mapping[str, Any]) -> Wanted | None:
    """What the latest round lets the next one wait for; None where it was judged, or the recipe is another since.

    Args:
        latest: newest first; those that were only tried or cut off say nothing.
        recipe: of the next round, as the ledger keeps them.
    """
    latest_judged = next((round_ for round_ in latest if round_.state is not RoundState.ABANDONED), None)
    if latest_judged is None or latest_judged.state not in JUDGED_FOR_WANT or latest_judged.recipe != recipe:
        return None
    documents = latest_judged.verdict.get("evidence", 0)
    if not documents:
        return None
    return Wanted(
        latest_judged.number, documents, PATIENCE * (latest_judged.fresh_samples + latest_judged.early_stop_samples)
    )
