"""Which labels a classifier has learned: those that memory holds enough text of, which one record never decides."""

from hypothesis import given
from hypothesis import strategies as st

from learner.directory.round_directory import RoundSample
from learner.evaluation.known_labels import ENOUGH_DOCUMENTS, LABELS_TOLD, count_new, learned_from
from streams.decoding.several_labels import write_set


def test_a_label_of_a_few_documents_among_many_is_not_learned() -> None:
    """What one key sent once makes no label known, and takes none from those that are."""
    known = ["calm"] * 400 + ["storm"] * 380
    assert learned_from([*known, "odd"]) == {"calm", "storm"}
    assert learned_from([*known, *["odd"] * ENOUGH_DOCUMENTS]) == {"calm", "storm", "odd"}


def test_many_labels_need_fewer_documents_each() -> None:
    """A hundred labels of eight documents are all learned."""
    assert len(learned_from(f"label {at % 100}" for at in range(800))) == 100


def test_members_of_sets_are_labels_by_themselves() -> None:
    """Where several may fit a document."""
    assert learned_from([write_set(("calm", "cold"))] * 30 + [write_set(())] * 5) == {"calm", "cold"}


def test_nothing_remembered_is_nothing_learned() -> None:
    """In a first round."""
    assert learned_from([]) == frozenset()
    assert learned_from([None]) == frozenset()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=300))
def test_new_labels_are_counted_and_few_are_named(numbers: list[int]) -> None:
    """The most frequent first, of those that are not known."""
    samples = [RoundSample(at, "text", "news", f"label {number}") for at, number in enumerate(numbers)]
    counted = count_new(samples, {"label 0", "label 1"})
    assert len(counted) <= LABELS_TOLD
    assert not {"label 0", "label 1"} & counted.keys()
    assert list(counted.values()) == sorted(counted.values(), reverse=True)
    for label, documents in counted.items():
        assert documents == sum(sample.label == label for sample in samples)
