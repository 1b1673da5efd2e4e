"""What came as corrections by one API key has one quota in a round, whoever is named as their author."""

from pathlib import Path

from memory.ledger.records import DrawSpec
from memory.samples import corrections
from memory.store import Store
from streams.document import CORRECTIONS, Batch, Document, Opinion
from tests.unit.memory.helpers import NOW, accept, begin, open_store, text, value


def correct(store: Store, count: int) -> None:
    """So many answers are corrected by one key, each by somebody else, or by nobody who is named."""
    first = store.next_offset(CORRECTIONS.topic, CORRECTIONS.number) or 0
    users = {at: f"made-up-{at}" if at % 2 else None for at in range(first, first + count)}
    documents = tuple(
        Document(text(at, words=14), "feedback", user, None, None, NOW, CORRECTIONS, at) for at, user in users.items()
    )
    opinions = tuple(
        Opinion(
            partition=CORRECTIONS,
            offset=at,
            answer=f"cmpl-{at}",
            giver="web",
            key=user,
            verdict="reject",
            generation=0,
            answered_at=NOW,
            given_at=NOW,
            corrected=True,
            learned="yes",
        )
        for at, user in users.items()
    )
    store.append(Batch(documents, (), (), {CORRECTIONS: first + count}, opinions=opinions))


def test_new_and_replayed_corrections_of_a_key_share_its_quota(tmp_path: Path) -> None:
    """What lies beyond it is dropped, and what is known of it with it."""
    with open_store(tmp_path / "a.db", key_quota=8) as store:
        correct(store, 40)
        first = begin(store)
        assert len(first.fresh) + len(first.early_stop) == 8
        accept(store, first)
        correct(store, 5)
        second = begin(store, spec=DrawSpec(replay_ratio=0.8, early_stop_share=0))
        assert 0 < len(second.fresh) < 8
        assert 0 < len(second.replay) == 8 - len(second.fresh)
        kept = [sample.id for sample in (*second.fresh, *second.replay)]
        assert set(store.file.read(corrections.givers, kept).values()) == {"web"}
        assert value(store, "SELECT count(*) FROM corrections WHERE sample NOT IN (SELECT id FROM samples)") == 0
