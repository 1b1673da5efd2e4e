"""Where reading begins: the store is the truth, the group's offset helps where the store knows nothing."""

from streams.document import GapReason
from streams.positions import Committed, Start, committed, following, latest, metadata, start


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
    assert committed(9, metadata("id", "me")) == Committed(9, "id", "me")
    assert committed(9, metadata("", "-")) == Committed(9, "", "-")
    assert committed(9, "") == Committed(9)
    assert committed(9, None) is None
    assert committed(-1, "") is None
