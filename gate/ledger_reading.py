"""What the ledger tells of the serving generation's knowledge, read anew only where the ledger stands otherwise."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from gate.kept_knowledge import ScoredDocuments
from gate.scores import Knowledge, alike, knowledge, lineage, way_of
from gate.skills.known_skills import comparable
from memory.ledger.records import Generation, ScoreRow, Standing
from memory.ledger.skills.skill_scores import SkillRow
from memory.store import Store


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The ledger as it stood.

    Attributes:
        serving: the serving generation; -1 before there is one.
        generations: all of them.
        rows: of R, those taken in the way in which the serving generation's were.
        knowledge: of the serving generation.
        skills: what generations answer rightly, as far as it can be compared with what the serving one does.
    """

    serving: int
    generations: Sequence[Generation]
    rows: Sequence[ScoreRow]
    knowledge: Knowledge
    skills: Sequence[SkillRow] = ()


# Scores of documents are megabytes, and Prometheus and `riverkeep status` both ask every few seconds.
_remembered: Final[WeakKeyDictionary[Store, tuple[Standing, LedgerReading]]] = WeakKeyDictionary()
_lock: Final = threading.Lock()


def read_ledger(store: Store) -> LedgerReading:
    """What the ledger tells now. May be called from any thread; a second one waits for the first to have read."""
    with _lock:
        standing = store.rounds.standing()
        read_at, reading = _remembered.get(store, (None, None))
        if reading is None or read_at != standing:
            reading = _read(store, -1 if standing.serving is None else standing.serving)
            _remembered[store] = standing, reading
        return reading


def _read(store: Store, serving: int) -> LedgerReading:
    generations, matrix = store.generations.listed(), store.generations.score_matrix()
    rows, how = alike(matrix, serving), way_of(matrix, serving)
    led_here = [each.number for each in lineage(generations, serving)]
    scored = {number: store.generations.scores_by_way(number).get(how, {}) for number in led_here}
    documents = ScoredDocuments(store.generations.held_out_documents(), scored)
    skills = comparable(store.generations.skill_scores(), serving)
    return LedgerReading(serving, generations, rows, knowledge(rows, generations, serving, documents), skills)
