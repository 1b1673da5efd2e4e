"""Generations on disk that the database does not know: it is an older copy that was put back, or a new one."""

import structlog

from checkpoints.card import Card
from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from daemon.rounds.directories import Rooms, round_directories
from memory.ledger.records import SliceScore
from memory.ledger.restored import FoundGeneration
from memory.store import Store

log = structlog.get_logger(__name__)


def unknown_generations(store: Store, checkpoints: GenerationStore) -> list[int]:
    """Their numbers, oldest first."""
    on_disk = checkpoints.numbers()
    return sorted(set(on_disk) - store.generations.accepted_among(on_disk))


def take_up_unknown(rooms: Rooms) -> None:
    """Let numbers go on above all that is known anywhere, and what serves go on serving.

    What the pointer names was accepted once: where the ledger does not know it, it is entered from its card with those
    that led to it, as its own copy would have it. Called before anything moves the pointer.
    """
    store, checkpoints = rooms.store, rooms.checkpoints
    unknown = unknown_generations(store, checkpoints)
    cards = {number: card for number in unknown if (card := _card(checkpoints, number)) is not None}
    rounds = [card.round or 0 for card in cards.values()]
    if store.generations.number_above(
        generation=max([checkpoints.highest_number(), *unknown]),
        round_number=max([0, *rounds, *round_directories(rooms.rounds_dir)]),
    ):
        log.warning("numbers_go_on_above_what_is_on_disk", unknown_generations=unknown)
    if generations := _line(store, checkpoints, cards):
        store.generations.take_up(generations)
        log.warning(
            "generations_taken_up",
            generations=[generation.number for generation in generations],
            reason="they served, and the database does not know them: it is an older copy, or a new one",
            unknown="which samples their rounds were given",
        )


def _line(store: Store, checkpoints: GenerationStore, cards: dict[int, Card]) -> list[FoundGeneration]:
    """The generations that led to what serves and are unknown, oldest first; none where that is known or damaged."""
    serving, number = store.generations.serving(), _find_pointed(checkpoints)
    if serving is None or number not in cards:
        return []
    line: list[int] = []
    parent: int | None = number
    # Cards are files, which a person may have copied about: parents in a ring must not hold up the start.
    while parent is not None and parent in cards and parent not in line:
        line.append(parent)
        parent = cards[parent].parent
    root = parent if parent is not None and store.generations.accepted_among([parent]) else serving
    # The oldest of them hangs below what the ledger knows: its own parent there, else what serves by the ledger.
    parents = [*line[1:], root]
    return [
        FoundGeneration(
            number=generation,
            parent=parent_of_it,
            round=cards[generation].round or 0,
            digest=checkpoints.digest(generation),
            created_at=cards[generation].created_at,
            scores=_scores(cards[generation]),
        )
        for generation, parent_of_it in reversed(list(zip(line, parents, strict=True)))
    ]


def _find_pointed(checkpoints: GenerationStore) -> int:
    """What the pointer names, where that is whole; else -1, which no generation has."""
    try:
        pointer = checkpoints.serving()
        if pointer is None:
            return -1
        checkpoints.verify(pointer.generation, digest=pointer.digest)
    except CheckpointsError as error:
        log.warning("pointed_to_is_not_taken_up", reason=str(error))
        return -1
    return pointer.generation


def _card(checkpoints: GenerationStore, number: int) -> Card | None:
    try:
        # Read for what it raises: without a digest a generation cannot be entered, whatever its card says.
        checkpoints.digest(number)
        return checkpoints.card(number)
    except CheckpointsError as error:
        log.warning("generation_unreadable", generation=number, reason=str(error))
        return None


def _scores(card: Card) -> dict[str, SliceScore]:
    return {
        name: SliceScore(
            float(score["mean_nll"] or 0.0),
            int(score["tokens"] or 0),
            int(score["documents"] or 0),
            score.get("accuracy"),
            score.get("macro_f1"),
        )
        for name, score in card.scores.items()
        if score.get("mean_nll") is not None
    }
