"""A flood is told from the normal few; what is told of a dead letter follows KIP-298."""

from hypothesis import given
from hypothesis import strategies as st

from streams.dead_letter_flood import DeadLetterBudget
from streams.document import DeadLetter, Partition, Reason
from streams.kafka.publisher import headers
from streams.settings import BudgetSettings

A, B = Partition("t", 0), Partition("t", 1)


def budget(**options: object) -> DeadLetterBudget:
    """A small budget."""
    defaults = {"max_share": 0.2, "min_dead_letters": 10, "window_seconds": 60}
    return DeadLetterBudget(BudgetSettings.model_validate(defaults | options))


def letters(*reasons: Reason) -> list[DeadLetter]:
    """Dead letters with these reasons."""
    return [DeadLetter(A, n, reason, "", None, b"{", 1, 0.0) for n, reason in enumerate(reasons)]


def floods(mine: DeadLetterBudget, partition: Partition, records: int, dead: int, now: float) -> bool:
    """Whether that many records, with that many dead ones among them, are a flood."""
    return mine.judge(partition, records, letters(*[Reason.NOT_JSON] * dead), now) is not None


def test_a_few_dead_letters_are_no_flood() -> None:
    """Fewer than the least number, even if they are all there is."""
    assert not floods(budget(), A, 9, 9, 0.0)


def test_a_share_within_the_budget_is_no_flood() -> None:
    """Many dead letters among many more records."""
    assert not floods(budget(), A, 1000, 200, 0.0)


def test_a_share_beyond_the_budget_is_a_flood() -> None:
    """A bad deploy at a producer."""
    mine = budget()
    assert not floods(mine, A, 100, 0, 0.0)
    assert floods(mine, A, 100, 60, 1.0)


def test_what_the_filters_leave_out_is_no_flood() -> None:
    """Understood, and judged by settings that a person chose: nothing is wrong, however much it is."""
    for reason in (Reason.TOMBSTONE, Reason.EMPTY_TEXT, Reason.TOO_SHORT, Reason.REPETITIVE):
        assert budget().judge(A, 1000, letters(*[reason] * 1000), 0.0) is None


def test_a_flood_is_told_with_its_most_frequent_reason() -> None:
    """Of what is not understood; short texts among it change nothing."""
    mixed = letters(*[Reason.TOO_SHORT] * 60, *[Reason.NOT_JSON] * 5, *[Reason.NOT_UTF8] * 20)
    assert budget().judge(A, 100, mixed, 0.0) is Reason.NOT_UTF8


def test_each_partition_has_its_own_budget() -> None:
    """A flood in one does not touch the others."""
    mine = budget()
    assert floods(mine, A, 20, 20, 0.0)
    assert not floods(mine, B, 20, 0, 0.0)


def test_old_dead_letters_weigh_less() -> None:
    """Half after each window: a trickle over days never sums up to a flood."""
    mine = budget()
    assert not any(floods(mine, A, 1, 1, 60.0 * minute) for minute in range(1000))


def test_good_records_of_long_ago_excuse_nothing() -> None:
    """A million good ones yesterday do not hide that everything is bad now."""
    mine = budget()
    floods(mine, A, 1_000_000, 0, 0.0)
    assert floods(mine, A, 50, 50, 60.0 * 40)


def test_forgiving_starts_anew() -> None:
    """After a person's word the flood has to come again to count."""
    mine = budget()
    assert floods(mine, A, 20, 20, 0.0)
    mine.forgive(A)
    assert not floods(mine, A, 9, 9, 0.0)
    assert floods(mine, A, 9, 9, 0.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(-10, 1000)), max_size=30))
def test_records_without_dead_letters_are_never_a_flood(steps: list[tuple[int, int, float]]) -> None:
    """Whatever the clock does."""
    mine = budget()
    assert not any(floods(mine, A, records, 0, now) for records, _, now in steps)


def test_headers_tell_where_a_dead_letter_came_from_and_why() -> None:
    """The names that Kafka Connect's tools look for."""
    letter = DeadLetter(Partition("news", 3), 42, Reason.NOT_UTF8, "at byte 5", b"k", b"v", 900, 1.0)
    told = dict(headers(letter, "group"))
    assert told["__connect.errors.topic"] == b"news"
    assert told["__connect.errors.partition"] == b"3"
    assert told["__connect.errors.offset"] == b"42"
    assert told["__connect.errors.exception.class.name"] == b"not_utf8"
    assert told["__connect.errors.exception.message"] == b"at byte 5"
    assert told["riverkeep.value.bytes"] == b"900"
