"""What the ledger knows of the generation that was best on older text, for a round that is to be held to it."""

from checkpoints.errors import CheckpointsError
from daemon.rounds.directories import Rooms
from daemon.rounds.inputs import comparable
from daemon.settings.tree import Settings
from gate.best_so_far import KnownScores, best_by_slice, in_order_of_need, lacking
from gate.held_out import HeldOut
from gate.scores import alike
from memory.ledger.records import RoundDraw
from memory.store import Store


def known_scores(store: Store, settings: Settings) -> KnownScores:
    """Scores of the generations that led to the serving one; of what retention removed, of the best."""
    scores = {number: store.generations.document_scores(number) for number in store.generations.serving_line()}
    return {
        number: of_documents
        for number, of_documents in scores.items()
        if of_documents and comparable(store, number, settings)
    }


def find_best(store: Store, *, parent: int, base: int) -> dict[str, int]:
    """The generation that R says was best on each slice, where it is neither of the two that every round scores."""
    # By the length that the parent was scored in last: after a change of that setting, and until a round is accepted, R
    # has nothing at the new one, and the old best is still the one to be held to.
    rows = alike(store.generations.score_matrix(), store.generations.scored_in(), parent)
    return best_by_slice(rows, store.generations.serving_line(), {parent, base})


def to_score_again(rooms: Rooms, draw: RoundDraw, settings: Settings) -> int | None:
    """The earlier generation that this round has to score, as too little is known of it; None where there is none.

    One at most, so that what a round costs stays bounded: that which the most slices lack, of those that have files.
    """
    best = find_best(rooms.store, parent=draw.parent_generation, base=draw.base_generation)
    slices = [HeldOut.of(piece) for piece in draw.slices]
    known, with_answers = known_scores(rooms.store, settings), settings.model.kind == "classifier"
    lacked = lacking(slices, best, known, settings.gate.minimum_documents, answers=with_answers)
    return next((number for number in in_order_of_need(lacked) if _has_files(rooms, number)), None)


def _has_files(rooms: Rooms, number: int) -> bool:
    try:
        rooms.checkpoints.digest(number)
    except CheckpointsError:
        return False
    return True
