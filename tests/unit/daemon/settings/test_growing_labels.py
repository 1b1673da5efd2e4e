"""A label becomes an answer by a person's word and the documents of many keys, never by one sender's."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon.settings.labels import labels_to_grow
from gate.held_out import judged_by
from memory.ledger.records import OutlinedSample, SliceOutline
from memory.samples.records import Role, Sample

LEAST = 36


def sample(id_: int, label: str | None, key: int | None = None) -> Sample:
    """A fresh document."""
    return Sample(id_, "text", "news", label, Role.FRESH, 1, key, None, 0.0)


def grown(samples: Iterable[Sample], named: Sequence[str] = ("calm", "storm", "frost")) -> tuple[str, ...]:
    """What a head with two labels grows."""
    return labels_to_grow(samples, named=named, answered=("calm", "storm"), least=LEAST)


def test_enough_keys_grow_a_label() -> None:
    """One fewer does not; a document without a key counts by itself."""
    assert grown(sample(at, "frost", at) for at in range(LEAST)) == ("frost",)
    assert grown(sample(at, "frost") for at in range(LEAST)) == ("frost",)
    assert grown(sample(at, "frost", at) for at in range(LEAST - 1)) == ()


def test_one_record_never_grows_a_label_nor_five_hundred_of_one_key() -> None:
    """Whoever sends them."""
    assert grown([sample(1, "frost")]) == ()
    assert grown(sample(at, "frost", 7) for at in range(500)) == ()


def test_what_no_person_named_is_never_grown() -> None:
    """However often it comes."""
    assert grown(sample(at, "spam", at) for at in range(500)) == ()
    assert grown((sample(at, "frost", at) for at in range(500)), named=()) == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["calm", "frost", "hail", "spam"]), st.none() | st.integers(0, 60)), max_size=200
    )
)
def test_a_label_is_grown_where_it_is_named_new_and_of_many_keys(rows: list[tuple[str, int | None]]) -> None:
    """Of each by its own count, in the order of the settings."""
    samples = [sample(at, label, key) for at, (label, key) in enumerate(rows)]
    named = ("calm", "storm", "hail", "frost")
    keys = {
        label: len({key for other, key in rows if other == label and key is not None})
        + sum(other == label and key is None for other, key in rows)
        for label in named
    }
    assert grown(samples, named) == tuple(label for label in ("hail", "frost") if keys[label] >= LEAST)


def test_slices_are_judged_without_what_the_parent_cannot_answer() -> None:
    """A slice of nothing else is none; a language model's have no labels."""
    outline = SliceOutline("new", "newest", "news", (OutlinedSample(1, "calm"), OutlinedSample(2, "frost")))
    other = replace(outline, samples=(OutlinedSample(3, "frost"),))
    assert judged_by([outline, other], ("calm", "storm")) == [replace(outline, samples=(OutlinedSample(1, "calm"),))]
    assert judged_by([outline, other], None) == [outline, other]
