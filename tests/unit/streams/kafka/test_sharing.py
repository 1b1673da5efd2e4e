"""How a group's leader shares the partitions."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.sharing import MAX_PARTITIONS, EvenAssignor


class Cluster:
    """Metadata that knows some topics."""

    def __init__(self, **topics: int) -> None:
        self.topics = topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """As kafka-python's."""
        return set(range(self.topics[topic])) if topic in self.topics else None


def member(name: str, *topics: str, knows: Cluster | None = None, instance: str | None = None) -> Any:
    """A member as the leader sees it."""
    assignor = EvenAssignor()
    assignor.cluster = knows or Cluster()
    return SimpleNamespace(member_id=name, group_instance_id=instance, metadata=assignor.metadata(set(topics)))


def shared(cluster: Cluster, *members: Any) -> dict[str, list[tuple[str, int]]]:
    """Who gets what."""
    found = EvenAssignor().assign(cluster, members)
    return {name: [(p.topic, p.partition) for p in given_.partitions()] for name, given_ in found.items()}


topics = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1)


@given(topics, st.data())
def test_each_partition_goes_to_one_reader_of_its_topic(found: dict[str, int], data: st.DataObject) -> None:
    """Whoever reads what: none is left out, none given twice, none to somebody who did not ask for it."""
    reads = data.draw(st.lists(st.sets(st.sampled_from(sorted(found)), min_size=1), min_size=1, max_size=5))
    members = [member(f"m{n}", *wanted) for n, wanted in enumerate(reads)]
    shares = shared(Cluster(**found), *members)
    expected = Counter((topic, number) for topic in set().union(*reads) for number in range(found[topic]))
    assert Counter(partition for share in shares.values() for partition in share) == expected
    for n, wanted in enumerate(reads):
        assert {topic for topic, _ in shares[f"m{n}"]} <= wanted


@given(topics, st.integers(1, 6))
def test_readers_of_the_same_topics_have_equal_shares(found: dict[str, int], count: int) -> None:
    """One partition's difference at most."""
    shares = shared(Cluster(**found), *(member(f"m{n}", *found) for n in range(count)))
    sizes = [len(share) for share in shares.values()]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1


def test_what_only_one_reads_is_counted_first() -> None:
    """It has less of what others read too."""
    shares = shared(Cluster(alone=2, both=2), member("a", "alone", "both"), member("b", "both"))
    assert shares == {"a": [("alone", 0), ("alone", 1)], "b": [("both", 0), ("both", 1)]}


def test_members_that_outlive_restarts_keep_their_places() -> None:
    """Their names decide, not the identifiers that the broker gives them anew."""
    cluster = Cluster(t=2)
    before = shared(cluster, member("x", "t", instance="r-0"), member("y", "t", instance="r-1"))
    after = shared(cluster, member("z", "t", instance="r-0"), member("y", "t", instance="r-1"))
    assert (before["x"], before["y"]) == (after["z"], after["y"])


def test_a_leader_believes_the_readers_of_a_topic_that_it_does_not_know() -> None:
    """Until its own metadata say better."""
    reader = member("b", "theirs", knows=Cluster(theirs=3))
    assert shared(Cluster(mine=1), member("a", "mine"), reader)["b"] == [("theirs", n) for n in range(3)]
    assert shared(Cluster(mine=1, theirs=2), member("a", "mine"), reader)["b"] == [("theirs", 0), ("theirs", 1)]


def test_what_other_clients_say_of_themselves_is_not_taken_for_ours() -> None:
    """Members that are not Riverkeep may put anything there."""
    stranger = member("b", "theirs")
    for data in (None, b"", b"\xff\x00", b"[1]", b'{"theirs": "2"}', b'{"theirs": -1}', b'{"theirs": %d}' % 10**9):
        stranger.metadata.user_data = data
        assert shared(Cluster(mine=1), member("a", "mine"), stranger) == {"a": [("mine", 0)], "b": []}
    assert MAX_PARTITIONS < 10**9
