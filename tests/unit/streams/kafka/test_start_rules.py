"""Where reading begins: the store is the truth, the group's offset helps where the store knows nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.document import GapReason
from streams.kafka.start_rules import Committed, Start, first_start, following, latest, metadata, read_commit, start
from streams.settings import Beginning


def begun(stored: dict[str, int], group: Committed | None = None, owner: str = "me") -> Start:
    """Where reading begins."""
    return start("id", stored.get, group, owner)


def test_a_new_partition_begins_at_its_first_offset() -> None:
    """Nothing stored, nothing committed."""
    assert begun({}) == Start("id", None)


def test_the_store_rules_over_the_group() -> None:
    """Whatever a tool set the group's offset to, and whatever this replica itself committed."""
    assert begun({"id": 5}, Committed(9)) == Start("id", 5)
    assert begun({"id": 5}, Committed(2)) == Start("id", 5)
    assert begun({"id": 5}, Committed(9, "id", "me")) == Start("id", 5)


def test_a_store_that_knows_nothing_follows_the_group() -> None:
    """Another replica of the group had the partition until now."""
    assert begun({}, Committed(9, "id", "other")) == Start("id", 9)
    assert begun({}, Committed(9)) == Start("id", 9)


def test_a_commit_of_another_incarnation_means_nothing() -> None:
    """The topic was made anew since."""
    assert begun({}, Committed(9, "old", "other")) == Start("id", None)


def test_what_another_replica_stored_is_not_read_twice() -> None:
    """The partition went away and came back: the offsets between are accounted for as stored elsewhere."""
    found = begun({"id": 5}, Committed(9, "id", "other"))
    assert found == Start("id", 9, (5, 8, GapReason.STORED_ELSEWHERE))
    assert begun({"id": 5}, Committed(5, "id", "other")) == Start("id", 5)


def test_the_latest_incarnation_of_a_cut_log_is_found() -> None:
    """Where the broker keeps the topic's id though it lost its log, a number tells the incarnations apart."""
    stored = {"id": 50, "id+1": 7}
    assert following("id") == "id+1"
    assert following("id+1") == "id+2"
    assert latest("id", stored.get) == "id+1"
    assert begun(stored) == Start("id+1", 7)
    assert following("") == "+1"


def test_what_a_commit_says_is_read_back() -> None:
    """Brokers give back the text; a tool's commit has an empty one; some brokers keep none."""
    assert read_commit(9, metadata("id", "me")) == Committed(9, "id", "me")
    assert read_commit(9, metadata("", "-")) == Committed(9, "", "-")
    assert read_commit(9, "") == Committed(9)
    assert read_commit(9, None) is None
    assert read_commit(-1, "") is None


OLD = Start("id", 12)


@pytest.mark.parametrize(
    ("how", "found", "new_topic", "offset", "left_out"),
    [
        ("committed", OLD, True, 12, (3, 11)),
        ("committed", Start("id", None), True, 3, None),
        ("committed", Start("id", 99), True, 99, (3, 19)),
        ("earliest", OLD, True, 3, None),
        ("earliest", OLD, False, 3, None),
        ("latest", OLD, True, 20, (3, 19)),
        ("latest", OLD, False, 12, (3, 11)),
        ("latest", Start("id", None), False, 3, None),
    ],
)
def test_where_a_new_memory_begins_is_a_setting(
    how: Beginning, found: Start, new_topic: bool, offset: int, left_out: tuple[int, int] | None
) -> None:
    """In a log from 3 to 20; what lies before is accounted for."""
    first = first_start(found, how, 3, 20, new_topic=new_topic)
    assert first == Start("id", offset, None if left_out is None else (*left_out, GapReason.BEFORE_START))


@given(
    how=st.sampled_from(("committed", "earliest", "latest")),
    group=st.none() | st.integers(0, 60),
    begins=st.integers(0, 30),
    length=st.integers(0, 30),
    new_topic=st.booleans(),
)
def test_each_offset_is_read_or_accounted_for(
    how: Beginning, group: int | None, begins: int, length: int, *, new_topic: bool
) -> None:
    """Of those that the log holds: none is left out without a word, none is both."""
    ends = begins + length
    first = first_start(Start("id", group), how, begins, ends, new_topic=new_topic)
    assert first.offset is not None
    read = set(range(max(begins, first.offset), ends))
    told = set() if first.missing is None else set(range(first.missing[0], first.missing[1] + 1))
    assert read | told == set(range(begins, ends))
    assert not read & told
