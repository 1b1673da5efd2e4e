"""Whether a round that begins now could be judged: the gate's own counting, before anything is trained.

Where a round was refused for want of evidence, the next one by itself waits until there is more of it. Then it judges
again what was trained; where that was given up, it trains anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from daemon.rounds.directories import round_directory
from daemon.rounds.kept.kept_round import JUDGED_FOR_WANT, KeptRound, find_kept, latest_judged, why_void
from daemon.settings.labels import answered_labels, labels_learned
from daemon.settings.tree import Settings
from gate.held_out import LABELS_TO_TELL, DrawnSlice, HeldOut, Need, judged_by, needs
from gate.looks import LOOKS
from memory.ledger.records import Round
from memory.store import Store

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
        kept: what the next round by itself judges again, once there is what it waits for; None where it trains.
    """

    needs: tuple[Need, ...]
    wanted: Wanted | None
    full: bool
    kept: KeptRound | None = None

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
        ) + (f"; {self.kept_sentence}" if self.kept_sentence else "")

    @property
    def kept_sentence(self) -> str:
        """What is kept to be judged again, and when that is; empty where nothing is."""
        return "" if self.kept is None else self.kept.sentence(self.newest)

    @property
    def judged_again(self) -> KeptRound | None:
        """What a round that begins by itself now judges again; None where it trains."""
        return self.kept if self.kept is not None and self.newest >= self.kept.documents else None


def foresee(store: Store, settings: Settings, latest: Iterable[Round]) -> ForeseenEvidence:
    """What there is to judge a round by, were it begun now. Changes nothing.

    Args:
        store: what is held out.
        settings: of the gate and the recipe.
        latest: rounds, newest first.
    """
    answered = answered_labels(settings, store.generations.serving())
    outlines = judged_by(
        store.rounds.foreseen_slices(),
        answered,
        lambda: labels_learned(settings, store.fresh_labels(), answered),
        minimum=settings.gate.minimum_documents,
    )
    needs_now = needs_of(outlines, settings, first=nothing_trained_serves(store))
    # Drawn once: each is read from the ledger, with its long report.
    judged, recipe = latest_judged(latest), settings.learner.recipe.model_dump(mode="json")
    awaited = None if judged is None else waits_for(judged, recipe)
    if awaited is not None and store.counts().fresh_samples >= awaited.fresh_samples:
        awaited = None
    kept = None if judged is None else find_kept([judged], partial(round_directory, settings.rounds_dir))
    if kept is not None and why_void(kept, serving=store.generations.serving(), recipe=recipe):
        kept = None
    return ForeseenEvidence(needs_now, awaited, store.is_full(), kept)


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


def waits_for(judged: Round, recipe: Mapping[str, Any]) -> Wanted | None:
    """What a round lets the next one wait for; None where it was judged, or the next one trains something else.

    Args:
        judged: the latest that was not only tried or cut off.
        recipe: of the next round, as the ledger keeps them.
    """
    if judged.state not in JUDGED_FOR_WANT or judged.recipe != recipe:
        return None
    documents = judged.verdict.get("evidence", 0)
    # What was judged as often as it may be is given up, and all text that is fresh trains the next.
    if not documents or judged.verdict.get("look", 1) >= LOOKS:
        return None
    return Wanted(judged.number, documents, PATIENCE * (judged.fresh_samples + judged.early_stop_samples))
