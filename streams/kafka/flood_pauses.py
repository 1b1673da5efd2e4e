"""Which partitions are paused for a flood of dead letters, and when they come again."""

from collections import deque
from collections.abc import Callable, Container

import structlog
from kafka.structs import TopicPartition

from streams.dead_letter_flood import DeadLetterBudget
from streams.document import Partition
from streams.metrics import StreamsMetrics
from streams.reading import PartitionRead
from streams.settings import BudgetSettings

log = structlog.get_logger(__name__)


class FloodPauses:
    """Pauses a partition when its dead letters are over the budget.

    All but `resume` is called by the thread that polls.

    Args:
        settings: how many dead letters are normal, and how long a pause is.
        metrics: floods are counted into.
        monotonic: seconds, of a clock that never goes back.
    """

    def __init__(self, settings: BudgetSettings, metrics: StreamsMetrics, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._monotonic = monotonic
        self._budget = DeadLetterBudget(settings)
        self._paused: dict[TopicPartition, float] = {}
        self._resumed: deque[Partition] = deque()

    def judge(self, part: PartitionRead) -> None:
        """Count what came from a partition, and pause it where that is a flood."""
        partition = part.partition
        reason = self._budget.judge(partition, part.records, part.dead_letters, self._monotonic())
        if reason is None:
            return
        # Else what caused this pause would pause it again with the first record after it.
        self._budget.forgive(partition)
        self._paused[TopicPartition(partition.topic, partition.number)] = self._monotonic()
        self._metrics.floods.labels(partition.topic).inc()
        log.error(
            "dead_letter_flood",
            topic=partition.topic,
            partition=partition.number,
            reason=reason,
            resume="riverkeep memory dead-letters resume",
        )

    def resume(self, partition: Partition) -> None:
        """A person's word that a partition comes again; it is taken up by `lift`. From any thread."""
        self._resumed.append(partition)

    def lift(self, assigned: Container[TopicPartition]) -> None:
        """End the pauses that a person ended, that lasted long enough, or whose partition went elsewhere."""
        now = self._monotonic()
        resumed = set[TopicPartition]()
        while self._resumed:
            partition = self._resumed.popleft()
            resumed.add(TopicPartition(partition.topic, partition.number))
        if (pause_s := self._settings.pause_seconds) is not None:
            resumed |= {topic_partition for topic_partition, since in self._paused.items() if now - since >= pause_s}
        for topic_partition in list(self._paused):
            # One that went to another replica takes its pause with it: if it comes back, it is judged anew.
            if topic_partition in resumed or topic_partition not in assigned:
                del self._paused[topic_partition]
                log.info("partition_resumed", topic=topic_partition.topic, partition=topic_partition.partition)

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused now."""
        return set(self._paused)
