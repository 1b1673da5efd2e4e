"""What holds of a store whenever it is opened, however the process before ended."""

from memory.ledger.records import GenerationState
from memory.ledger.states import UNFINISHED, RoundState
from memory.samples.records import Role
from memory.store import Store


def assert_rounds_are_whole(store: Store) -> None:
    """Ledger, serving pointer, scores and samples tell the same: a round took effect wholly or not at all."""
    rounds = store.rounds.listed(limit=1_000)
    assert sum(line.state in UNFINISHED for line in rounds) <= 1
    accepted = {line.generation: line.number for line in rounds if line.state is RoundState.ACCEPTED}
    made = {one.number: one for one in store.generations.listed() if one.round is not None}
    assert store.generations.serving() == max((number or 0 for number in accepted), default=0)
    assert {number for number, one in made.items() if one.state is GenerationState.ACCEPTED} <= accepted.keys()
    for number, its_round in accepted.items():
        one = made[number or 0]
        # Retention gives up the files and the scores of old ones, never that they were accepted.
        assert one.state in {GenerationState.ACCEPTED, GenerationState.RETIRED}
        assert one.scores or one.state is GenerationState.RETIRED
        assert (one.round, one.digest != "") == (its_round, True)
    with store.file.database.read() as tx:
        still_fresh = tx.execute(
            "SELECT r.round, s.id FROM round_samples r JOIN samples s ON s.id = r.sample JOIN rounds ON number = round "
            "WHERE state = ? AND s.role = ? AND part IN ('fresh', 'early_stop')",
            (RoundState.ACCEPTED.value, Role.FRESH),
        ).fetchall()
    assert still_fresh == []
