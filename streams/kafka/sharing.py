"""How the members of a consumer group share the partitions."""

from collections import Counter
from typing import Any

import orjson
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

MAX_PARTITIONS = 100_000
"""When another member tells of more, it is not believed."""


class EvenAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # kafka-python has no types
    """Round robin where all members read the same topics, and as even as it can be where they do not.

    kafka-python's own raises a KeyError in the leader as soon as a partition is passed over a member that does not read
    its topic. And its leader knows nothing, when it shares, of topics that only others read: here each member says how
    many partitions its topics have. The name stays: members of both kinds can be in one group.

    Args:
        cluster: kafka-python's metadata, given once there is a consumer.
    """

    def __init__(self) -> None:
        self.cluster: Any = None

    def metadata(self, topics: set[str]) -> ConsumerProtocolSubscription:
        """What this member says when it joins: its topics, and how many partitions each has as far as it knows."""
        counts = {topic: len(self.cluster.partitions_for_topic(topic) or ()) for topic in sorted(topics)}
        return ConsumerProtocolSubscription(self.version, list(counts), orjson.dumps(counts))

    def assign(self, cluster: Any, members: Any) -> dict[str, ConsumerProtocolAssignment]:
        """Give each partition to that reader of its topic who has the fewest so far.

        Topics with few readers come first: what only one may have is not to come on top of what others could have had.
        Members that outlive restarts keep their places before those that come and go.
        """
        order = sorted(members, key=lambda m: (m.group_instance_id is None, m.group_instance_id or "", m.member_id))
        topics = {topic for member in order for topic in member.metadata.topics}
        readers = {topic: [m for m in order if topic in m.metadata.topics] for topic in topics}
        shares: dict[str, dict[str, list[int]]] = {m.member_id: {} for m in order}
        loads: Counter[str] = Counter()
        for topic in sorted(topics, key=lambda topic: (len(readers[topic]), topic)):
            for number in _partitions(cluster, topic, readers[topic]):
                # Of equals `min` takes the first: the order above decides, and every leader comes to the same shares.
                taker = min(readers[topic], key=lambda m: loads[m.member_id]).member_id
                shares[taker].setdefault(topic, []).append(number)
                loads[taker] += 1
        return {
            member: ConsumerProtocolAssignment(self.version, sorted(share.items()), b"")
            for member, share in shares.items()
        }


def _partitions(cluster: Any, topic: str, readers: Any) -> list[int]:
    numbers = cluster.partitions_for_topic(topic)
    return sorted(numbers) if numbers else list(range(max(_read_count(m.metadata.user_data, topic) for m in readers)))


def _read_count(data: bytes | None, topic: str) -> int:
    """How many partitions of a topic a member tells of; 0 where it says nothing that is understood."""
    try:
        counts = orjson.loads(data or b"{}")
    # Other clients that share by round robin have nothing there, or something of their own.
    except orjson.JSONDecodeError:
        return 0
    count = counts.get(topic) if isinstance(counts, dict) else 0
    return count if isinstance(count, int) and 0 <= count <= MAX_PARTITIONS else 0
