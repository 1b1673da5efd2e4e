"""The ledger of generations: numbers never used again, scores, and what serves."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from memory.database import facts, sqlite
from memory.database.sqlite import Connection
from memory.errors import UnknownGeneration, WrongState
from memory.identity.categories import all_categories
from memory.identity.shared_keys import first_of_key
from memory.ledger import rounds, scorings
from memory.ledger.history import audit, canaries
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import DocumentScore, Generation, GenerationState, ScoreRow, SliceScore, lineage
from memory.ledger.scorings import Scoring
from memory.ledger.skills import skill_scores
from memory.samples import slices
from memory.settings import MemorySettings

BROAD: Final = 0.9
"""Of the documents of a slice that any generation scored, the share that one must have scored to stand for it."""

STATES_TO_SERVE = (GenerationState.ACCEPTED, GenerationState.ROLLED_BACK)


def register_base(tx: Connection, *, digest: str, source_path: str, generation: int, now: float) -> None:
    """See `Store.generations.register_base`."""
    row = tx.execute("SELECT digest FROM generations WHERE number = ?", (generation,)).fetchone()
    if row is not None:
        if row[0] != digest:
            raise WrongState(
                f"Generation {generation}, the base, is another model (digest {row[0][:12]}, now {digest[:12]}). A "
                "store belongs to one base model: choose another `state_dir` for this one."
            )
        return
    tx.execute(
        "INSERT INTO generations(number, state, parent, round, digest, source_path, created_at) "
        "VALUES (?, ?, NULL, NULL, ?, ?, ?)",
        (generation, GenerationState.ACCEPTED, digest, source_path, now),
    )
    facts.put(tx, "base", generation)
    facts.put(tx, "generations_numbered", max(facts.get_int(tx, "generations_numbered"), generation + 1))
    facts.put(tx, "serving", generation)
    audit.note(tx, "serves", {"generation": generation, "before": None}, who=audit.BY_DAEMON, now=now)


def reserve(tx: Connection, round_number: int, now: float) -> int:
    """A new generation's number, for a candidate of this round."""
    parent = rounds.read(tx, round_number).parent_generation
    # From a counter and not from the rows, which leave the ledger: no number is given again.
    number = facts.get_int(tx, "generations_numbered")
    facts.put(tx, "generations_numbered", number + 1)
    tx.execute(
        "INSERT INTO generations(number, state, parent, round, digest, source_path, created_at) "
        "VALUES (?, ?, ?, ?, '', '', ?)",
        (number, GenerationState.RESERVED, parent, round_number, now),
    )
    return number


def accept(
    tx: Connection, number: int, *, round_number: int, digest: str, canary: CanaryPlan | None, now: float
) -> None:
    """Make a reserved generation the serving one; or let it be watched first, while that one serves on."""
    generation = read(tx, number)
    if generation.state is not GenerationState.RESERVED or generation.round != round_number:
        raise WrongState(
            f"Generation {number} is {generation.state} of round {generation.round}, not reserved for this."
        )
    if facts.get_int(tx, "serving") != generation.parent:
        raise WrongState(
            f"Generation {number} comes from generation {generation.parent}, which does not serve any more "
            f"({facts.get_int(tx, 'serving')} does): it was not compared with what it would replace."
        )
    state = GenerationState.ACCEPTED if canary is None else GenerationState.CANARY
    tx.execute("UPDATE generations SET state = ?, digest = ? WHERE number = ?", (state, digest, number))
    tx.execute("UPDATE rounds SET generation = ? WHERE number = ?", (number, round_number))
    if canary is None:
        facts.put(tx, "serving", number)
        detail = {"generation": number, "before": generation.parent, "round": round_number}
        audit.note(tx, "serves", detail, who=audit.BY_DAEMON, now=now)
    else:
        canaries.begin(tx, number, round_number=round_number, plan=canary, now=now)


def rolled_back(tx: Connection) -> frozenset[int]:
    """See `Store.generations.rolled_back`."""
    rows = tx.execute("SELECT number FROM generations WHERE state = ?", (GenerationState.ROLLED_BACK,))
    return frozenset(number for (number,) in rows)


def serving_line(tx: Connection) -> list[int]:
    """The generations that led to the serving one, oldest first; none where none serves."""
    serving = facts.find_int(tx, "serving")
    return [] if serving is None else line(tx, serving)


def line(tx: Connection, number: int) -> list[int]:
    """The generations that led to this one, oldest first, itself among them."""
    return lineage(dict(tx.execute("SELECT number, parent FROM generations")), number)


def flag_line(tx: Connection, number: int, state: GenerationState) -> None:
    """Let all that led to a generation have a state, but for those whose files are gone."""
    tx.execute(
        "UPDATE generations SET state = ? WHERE state IN (?, ?) AND number IN (SELECT value FROM json_each(?))",
        (state, *STATES_TO_SERVE, sqlite.as_json(line(tx, number))),
    )


def retire(tx: Connection, numbers: Sequence[int]) -> None:
    """See `Store.generations.retire`."""
    if (serving := facts.find_int(tx, "serving")) in numbers:
        raise WrongState(f"Generation {serving} serves: it cannot be retired.")
    if (canary := canaries.watched(tx)) is not None and canary.generation in numbers:
        raise WrongState(f"Generation {canary.generation} is watched: it cannot be retired.")
    tx.execute(
        "UPDATE generations SET state = ? WHERE number IN (SELECT value FROM json_each(?))",
        (GenerationState.RETIRED, sqlite.as_json(numbers)),
    )
    tx.execute(
        "DELETE FROM document_scores WHERE generation IN (SELECT number FROM generations WHERE state = ?) "
        "AND generation NOT IN (SELECT value FROM json_each(?))",
        (GenerationState.RETIRED, sqlite.as_json(_best_on_a_slice(tx) | _best_on_documents(tx))),
    )


def _best_on_a_slice(tx: Connection) -> set[int]:
    """The generations of the serving line on which one slice or another has its lowest mean loss, the latest of equals.

    What a person went back from is no measure for what comes after.
    """
    led_here = serving_line(tx)
    names = [slices.name(tx, row) for row in slices.list_slices(tx, "anchor", "closed")]
    rows = tx.execute(
        "SELECT slice, generation FROM scores WHERE slice IN (SELECT value FROM json_each(?)) "
        "AND generation IN (SELECT value FROM json_each(?)) "
        "AND generation IN (SELECT generation FROM document_scores) ORDER BY mean_nll DESC, generation",
        (json.dumps(names), sqlite.as_json(led_here)),
    )
    # The worst come first: of each slice the dict keeps the last row, which is the best.
    return set(dict(rows).values())


def held_out_documents(tx: Connection, settings: MemorySettings) -> dict[str, dict[int, int]]:
    """See `Store.generations.held_out_documents`."""
    rows = slices.list_slices(tx, "anchor", "closed")
    members = {slices.name(tx, row): slices.members(tx, {row.id: -1})[row.id] for row in rows}
    keys = tx.execute(
        "SELECT id, key_hash FROM samples WHERE id IN (SELECT value FROM json_each(?))",
        (sqlite.as_json(sample for samples in members.values() for sample in samples),),
    )
    shared = first_of_key(keys, all_categories(tx, settings.key_quota))
    return {name: {sample: shared.get(sample, sample) for sample in samples} for name, samples in members.items()}


def _best_on_documents(tx: Connection) -> set[int]:
    """The generations of the serving line that were best on what they scored of one slice or another.

    R does not tell: its columns are merged where both are known, and a generation that scored one of the two alone
    leaves it, as good as it may have been there.
    """
    serving = facts.find_int(tx, "serving")
    rows = tx.execute(
        "SELECT h.slice, count(*), sum(d.nll - s.nll) / max(sum(d.tokens), 1), -d.generation FROM holdout h "
        "JOIN document_scores d ON d.sample = h.sample "
        # Against the serving generation, as one may have scored the harder half of a slice and another the easier.
        "JOIN document_scores s ON s.generation = ? AND s.sample = h.sample AND s.tokens = d.tokens "
        "AND s.scoring IS d.scoring "
        "WHERE d.generation IN (SELECT value FROM json_each(?)) GROUP BY h.slice, d.generation",
        (serving, sqlite.as_json(serving_line(tx))),
    )
    by_slice: dict[int, list[tuple[int, float, int]]] = defaultdict(list)
    for slice_id, *entry in rows:
        by_slice[slice_id].append((entry[0], entry[1], entry[2]))
    best = set()
    for entries in by_slice.values():
        widest = max(documents for documents, _, _ in entries)
        # And of those that scored nearly all of it: what was best on a part says nothing of the rest.
        broad = [entry for entry in entries if entry[0] >= BROAD * widest]
        best |= {-min(some, key=lambda entry: entry[1:])[2] for some in (entries, broad)}
    return best


def read(tx: Connection, number: int) -> Generation:
    """One generation, also one that has left the ledger: of that is known where it came from.

    Raises:
        UnknownGeneration: there is none of that number, or it is too long ago.
    """
    matches = _generations(tx, "WHERE number = ?", (number,)) or _past(tx, number)
    if not matches:
        raise UnknownGeneration(f"There is no generation {number}. See `riverkeep generations`.")
    return matches[0]


def _past(tx: Connection, number: int) -> list[Generation]:
    rows = tx.execute("SELECT parent, round, digest, created_at FROM past_generations WHERE number = ?", (number,))
    return [
        Generation(number, GenerationState.RETIRED, parent, its_round, digest, "", created_at, {})
        for parent, its_round, digest, created_at in rows
    ]


def list_generations(tx: Connection) -> list[Generation]:
    """The generations of the ledger, oldest first."""
    return _generations(tx, "ORDER BY number", ())


def _generations(tx: Connection, condition: str, values: tuple[int, ...]) -> list[Generation]:
    rows = tx.execute(
        f"SELECT number, state, parent, round, digest, source_path, created_at FROM generations {condition}", values
    ).fetchall()
    numbers = sqlite.as_json(row[0] for row in rows)
    scores: dict[int, dict[str, SliceScore]] = defaultdict(dict)
    for row in tx.execute(
        "SELECT generation, slice, mean_nll, tokens, documents, accuracy, macro_f1 FROM scores "
        "WHERE generation IN (SELECT value FROM json_each(?))",
        (numbers,),
    ):
        scores[row[0]][row[1]] = SliceScore(*row[2:])
    return [
        Generation(
            number=number,
            state=GenerationState(state),
            parent=parent,
            round=its_round,
            digest=digest,
            source_path=source_path,
            created_at=created_at,
            scores=dict(scores[number]),
        )
        for number, state, parent, its_round, digest, source_path, created_at in rows
    ]


def save_scores(tx: Connection, generation: int, scores: Mapping[str, SliceScore], how: Scoring | None) -> None:
    """Add to R's row of a generation."""
    scoring = scorings.number_of(tx, how)
    tx.executemany(
        "INSERT OR REPLACE INTO scores(generation, slice, mean_nll, tokens, documents, accuracy, macro_f1, scoring) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (generation, name, score.mean_nll, score.tokens, score.documents, score.accuracy, score.macro_f1, scoring)
            for name, score in scores.items()
        ],
    )


def count(tx: Connection) -> tuple[tuple[str, int], ...]:
    """How many generations are in each state, and how many scores of them there are."""
    states = tx.execute("SELECT state, count(*) FROM generations GROUP BY state ORDER BY state").fetchall()
    scores = tx.execute("SELECT 'scores', count(*) FROM scores UNION ALL SELECT 'skills', count(*) FROM skill_scores")
    return (*states, *scores)


def score_matrix(tx: Connection) -> list[ScoreRow]:
    """R, as recorded."""
    rows = tx.execute(
        "SELECT s.generation, s.slice, s.scoring, s.mean_nll, s.tokens, s.documents, s.accuracy, s.macro_f1 "
        "FROM scores s JOIN generations g ON g.number = s.generation WHERE g.state != ? "
        "ORDER BY s.generation, s.slice",
        (GenerationState.RESERVED,),
    )
    ways = scorings.list_scorings(tx)
    return [ScoreRow(row[0], row[1], SliceScore(*row[3:]), ways[row[2]]) for row in rows]


def save_document_scores(tx: Connection, generation: int, rows: Iterable[DocumentScore], how: Scoring | None) -> None:
    """Keep scores on held-out documents that are there."""
    scoring = scorings.number_of(tx, how)
    tx.executemany(
        "INSERT OR REPLACE INTO document_scores(generation, sample, nll, tokens, correct, predicted, scoring) "
        "SELECT ?, sample, ?, ?, ?, ?, ? FROM holdout WHERE sample = ?",
        [(generation, row.nll, row.tokens, row.correct, row.predicted, scoring, row.id) for row in rows],
    )


def forget_scores(tx: Connection, generation: int) -> None:
    """Let go of all that a generation was found to score."""
    tx.execute("DELETE FROM scores WHERE generation = ?", (generation,))
    tx.execute("DELETE FROM document_scores WHERE generation = ?", (generation,))
    skill_scores.forget(tx, generation)


def document_scores(tx: Connection, generation: int) -> dict[int, DocumentScore]:
    """A generation's scores on held-out documents, by sample id."""
    return {
        sample: score for by_sample in scores_by_way(tx, generation).values() for sample, score in by_sample.items()
    }


def scores_by_way(tx: Connection, generation: int) -> dict[Scoring | None, dict[int, DocumentScore]]:
    """The same by how they were taken; under None those of which that is not known."""
    ways = scorings.list_scorings(tx)
    rows = tx.execute(
        "SELECT scoring, sample, nll, tokens, correct, predicted FROM document_scores WHERE generation = ?",
        (generation,),
    )
    found: defaultdict[Scoring | None, dict[int, DocumentScore]] = defaultdict(dict)
    for scoring, sample, nll, tokens, correct, predicted in rows:
        was_right = None if correct is None else bool(correct)
        found[ways[scoring]][sample] = DocumentScore(sample, nll, tokens, predicted, was_right=was_right)
    return dict(found)
