"""What the ledger knows of the generation that was best on older text, for a round that is to be held to it."""

from checkpoints.errors import CheckpointsError
from daemon.rounds.directories import Rooms
from daemon.rounds.inputs import expected_way
from daemon.settings.tree import Settings
from gate.best_so_far import KnownScores, best_by_slice, in_order_of_need, lacking
from gate.held_out import HeldOut
from gate.scores import alike
from memory.ledger.records import RoundDraw
from memory.ledger.scorings import Scoring
from memory.store import Store


def known_scores(store: Store, how: Scoring | None) -> KnownScores:
    """Scores of the generations that led to the serving one; of what retention removed, of the best.

    Args:
        how: in which they were taken; where that is not known, none is told.
    """
    if how is None:
        return {}
    scores = {
        number: store.generations.scores_by_way(number).get(how, {}) for number in store.generations.serving_line()
    }
    return {number: of_documents for number, of_documents in scores.items() if of_documents}


def find_best(store: Store, *, parent: int, base: int) -> dict[str, int]:
    """The generation that R says was best on each slice, where it is neither of the two that every round scores."""
    # In the way in which the parent was scored last: after a change of it, and until a round is accepted, R has nothing
    # in the new one, and the old best is still the one to be held to.
    rows = alike(store.generations.score_matrix(), parent)
    return best_by_slice(rows, store.generations.serving_line(), {parent, base})


def to_score_again(rooms: Rooms, draw: RoundDraw, settings: Settings) -> int | None:
    """The earlier generation that this round has to score, as too little is known of it; None where there is none.

    One at most, so that what a round costs stays bounded: that which the most slices lack, of those that have files.
    """
    best = find_best(rooms.store, parent=draw.parent_generation, base=draw.base_generation)
    slices = [HeldOut.of(piece) for piece in draw.slices]
    known = known_scores(rooms.store, expected_way(rooms.store, draw.parent_generation, settings))
    with_answers = settings.model.kind == "classifier"
    lacked = lacking(slices, best, known, settings.gate.minimum_documents, answers=with_answers)
    return next((number for number in in_order_of_need(lacked) if _has_files(rooms, number)), None)


def _has_files(rooms: Rooms, number: int) -> bool:
    try:
        rooms.checkpoints.digest(number)
    except CheckpointsError:
        return False
    return True
