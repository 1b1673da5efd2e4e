"""What people said of answers is kept once, as each person's last word, within bounds, and erased with the person."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from memory.intake import feedback
from memory.intake.feedback import FeedbackCounts
from memory.metrics import MemoryMetrics
from memory.store import Store
from streams.document import Batch, Document, Erasure, Opinion, Partition
from tests.unit.memory.helpers import NOW, Stream, text

SAID = Partition("(feedback)", 0)


def opinion(offset: int, **more: Any) -> Opinion:
    """One, of an answer of its own unless `more` says otherwise."""
    usual: dict[str, Any] = {
        "answer": f"cmpl-{offset}",
        "giver": "web",
        "key": None,
        "verdict": "reject",
        "generation": 3,
        "answered_at": NOW,
        "given_at": NOW,
    }
    return Opinion(partition=SAID, offset=offset, **{**usual, **more})


def batch(*opinions: Opinion, documents: tuple[Document, ...] = ()) -> Batch:
    """A batch that ends with the last of them."""
    return Batch(documents, (), (), {SAID: opinions[-1].offset + 1}, opinions=opinions)


def test_what_is_said_is_counted_by_generation(store: Store) -> None:
    """The newest first."""
    store.append(
        batch(
            opinion(0),
            opinion(1, verdict="accept"),
            opinion(2, corrected=True),
            opinion(3, generation=4, verdict="accept"),
        )
    )
    assert dict(store.feedback.counts()) == {4: FeedbackCounts(1, 0, 0), 3: FeedbackCounts(1, 2, 1)}
    assert list(store.feedback.counts()) == [4, 3]


def test_what_comes_again_is_stored_once(store: Store) -> None:
    """The offset is in the same transaction."""
    first = batch(opinion(0, answer="a", verdict="accept"), opinion(1, answer="a"))
    store.append(first)
    store.append(first)
    assert dict(store.feedback.counts()) == {3: FeedbackCounts(0, 1, 0)}
    assert store.next_offset("(feedback)", 0) == 2


def test_the_last_word_of_each_counts(store: Store) -> None:
    """Of another key, or another person, it is another word."""
    store.append(batch(*(opinion(at, answer="a", verdict=word) for at, word in enumerate(["accept", "reject"]))))
    assert dict(store.feedback.counts()) == {3: FeedbackCounts(0, 1, 0)}
    store.append(batch(opinion(2, answer="a", giver="app"), opinion(3, answer="a", key="u"), opinion(4, answer="b")))
    assert dict(store.feedback.counts()) == {3: FeedbackCounts(0, 4, 0)}


def test_the_latest_are_listed_in_pages(store: Store) -> None:
    """By generation too."""
    store.append(batch(*(opinion(at, generation=at % 2, prompt="p", text="t", correction="c") for at in range(6))))
    first = store.feedback.latest(2)
    assert [said.answer for said in first] == ["cmpl-5", "cmpl-4"]
    assert [said.answer for said in store.feedback.latest(2, first[-1].id)] == ["cmpl-3", "cmpl-2"]
    assert {said.generation for said in store.feedback.latest(9, None, 1)} == {1}
    assert (first[0].prompt, first[0].text, first[0].correction) == ("p", "t", "c")


def test_rows_and_texts_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest verdicts go, and before them their text."""
    monkeypatch.setattr(feedback, "ROWS_KEPT", 5)
    monkeypatch.setattr(feedback, "TEXTS_KEPT", 2)
    for at in range(9):
        store.append(batch(opinion(at, prompt="p", text="t")))
    kept = store.feedback.latest()
    assert [said.answer for said in kept] == [f"cmpl-{at}" for at in (8, 7, 6, 5, 4)]
    assert [said.text for said in kept] == ["t", "t", None, None, None]


def test_it_is_erased_with_the_person(store: Store, tmp_path: Path) -> None:
    """No byte stays; what comes later of an erased person is a verdict of nobody."""
    secret = opinion(0, key="u", prompt="secret-prompt", text="secret-answer", correction="secret-correction")
    store.append(batch(secret, opinion(1, key="other")))
    assert store.people.find("u").feedback == 1
    assert store.people.forget("u").feedback == 1
    assert store.people.find("u").feedback == 0
    store.append(batch(replace(secret, offset=2, answer="later")))
    assert [(said.answer, said.text) for said in store.feedback.latest()] == [("later", None), ("cmpl-1", None)]
    assert store.people.find("u").feedback == 0
    for path in tmp_path.glob("riverkeep.db*"):
        assert b"secret-" not in path.read_bytes()


def test_a_tombstone_of_the_person_erases_it_too(store: Store, stream: Stream) -> None:
    """What was said before it."""
    store.append(batch(opinion(0, key="u", prompt="p"), opinion(1, key="other")))
    asked = Erasure(stream.partition, 0, "u")
    store.append(Batch((), (), (), {stream.partition: 1}, (asked,)))
    assert store.people.apply_tombstones(scrub=False).feedback == 1
    assert [said.answer for said in store.feedback.latest()] == ["cmpl-1"]


def test_a_batch_is_stored_whole_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opinion, document and offset."""
    document = Document(text(1), "feedback", "u", None, None, NOW, SAID, 0)
    said = batch(opinion(0, key="u", corrected=True, learned="yes"), documents=(document,))
    with monkeypatch.context() as patch:
        patch.setattr("memory.intake.intake.Intake._take_documents", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.append(said)
    assert (store.feedback.latest(), store.next_offset("(feedback)", 0)) == ([], None)
    appended = store.append(said)
    assert appended.fresh + appended.holdout == 1
    assert len(store.feedback.latest()) == 1


def test_metrics_show_the_latest_generations(store: Store) -> None:
    """As many as stay readable."""
    store.append(batch(*(opinion(at, generation=at) for at in range(20))))
    registry = CollectorRegistry()
    MemoryMetrics(registry, store)
    shown = {
        (sample.labels["generation"], sample.labels["verdict"]): sample.value
        for family in registry.collect()
        if family.name == "riverkeep_memory_feedback"
        for sample in family.samples
    }
    assert shown["19", "reject"] == 1
    assert shown["19", "accept"] == 0
    assert {number for number, _ in shown} == {str(number) for number in range(4, 20)}
