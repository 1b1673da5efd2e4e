"""Whether a round judges again what is kept or trains anew, and its draw."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from daemon.rounds.begin_or_wait import Ask
from daemon.rounds.directories import Rooms
from daemon.rounds.inputs import draw_spec
from daemon.rounds.judgeable import foresee
from daemon.rounds.kept.kept_round import KeptRound, find_kept, why_void
from daemon.settings.tree import Settings
from gate.held_out import DrawnSlice
from memory.errors import NotJudgedAgain
from memory.ledger.records import RoundDraw
from memory.ledger.states import RoundState
from memory.samples.records import Sample

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DrawnRound:
    """A round that was drawn.

    Attributes:
        judges: whose candidates it judges again; None where it trains.
        gives_up: whose candidates go, as this one trains anew; None where none were kept.
        why: that is, a sentence's end.
    """

    draw: RoundDraw
    judges: KeptRound | None = None
    gives_up: KeptRound | None = None
    why: str = ""

    def tell(self, state: RoundState) -> None:
        """Say what became of what was kept, when the round has ended in `state`."""
        # What was only tried or cut off takes nobody's place: what is kept stays.
        if self.gives_up is not None and state is not RoundState.ABANDONED:
            log.info("candidates_given_up", trained_in=self.gives_up.trained_in, reason=self.why)


def draw_round(
    rooms: Rooms,
    settings: Settings,
    ask: Ask,
    *,
    reason: str,
    seed: Callable[[], int],
    now: float,
    is_judgeable: Callable[[Iterable[DrawnSlice], Sequence[Sample]], bool],
) -> DrawnRound | None:
    """Draw a round: of what is kept, where that can be judged again now; else anew. None where nothing can be drawn.

    Args:
        rooms, settings, ask: as they are when it begins.
        reason: why it does, a sentence.
        seed: of a round that trains.
        now: unix seconds.
        is_judgeable: whether it could be judged on these slices, on this fresh text.

    Raises:
        RiverMemoryError: the store failed.
    """
    rounds = rooms.store.rounds
    # Nothing follows from a dry run: what is kept waits on.
    kept = None if ask.dry_run else find_kept(rounds.latest(), rooms.round_dir)
    why = "" if kept is None else _why_anew(kept, ask, rooms, settings)
    if kept is not None and not why:
        try:
            draw = rounds.begin_again(
                kept.number, trigger=ask.recorded_as, reason=reason, now=now, judgeable=is_judgeable
            )
            return DrawnRound(draw, judges=kept)
        except NotJudgedAgain as error:
            why = str(error)
    new = rounds.begin(
        trigger=ask.recorded_as,
        reason=reason,
        recipe=settings.learner.recipe.model_dump(mode="json"),
        seed=seed(),
        spec=draw_spec(settings),
        now=now,
        released_from=ask.released_from,
        judgeable=None if _answered_in_the_ledger(ask) else is_judgeable,
    )
    return None if new is None else DrawnRound(new, gives_up=kept, why=why)


def _why_anew(kept: KeptRound, ask: Ask, rooms: Rooms, settings: Settings) -> str:
    """Why a round trains although candidates are kept; empty where it judges them again."""
    if ask.by_a_person:
        return f"{ask.by} asked for a round"
    store = rooms.store
    void = why_void(kept, serving=store.generations.serving(), recipe=settings.learner.recipe.model_dump(mode="json"))
    if void:
        return void
    # It begins all the same where much fresh text has come, or no more can: to look again would prove as little.
    evidence = foresee(store, settings, store.rounds.latest())
    return "" if evidence.newest >= kept.documents else "the held-out text that they waited for has not come"


def _answered_in_the_ledger(ask: Ask) -> bool:
    """Whether somebody waits for this round's line, so that it is drawn even if it can only say what is lacking."""
    return ask.by_a_person and ask.released_from is None
