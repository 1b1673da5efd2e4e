"""Positions in doubt and partitions that stand still, against a fake consumer and clocks that the test moves."""

from collections.abc import Iterable
from typing import cast

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata, TopicPartition
from prometheus_client import CollectorRegistry

from streams.chunk import Chunk
from streams.decoding.needs import RecordNeeds
from streams.document import Partition
from streams.kafka.assignment import REST, SETTLING_SECONDS, Assignment
from streams.kafka.consumer import REQUEST_MS, Consumer, Moved
from streams.kafka.source import KafkaSource
from streams.metrics import StreamsMetrics
from streams.reading import BatchBuilder
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings
from tests.streams_harness import KeptStore

SETTINGS = StreamsSettings(topics=(TopicSettings(name="news", format="text"),))
MANY = [TopicPartition("news", number) for number in range(40)]
ONE = MANY[0]


class FakeConsumer:
    """Stands for `Consumer`: notes the questions to its broker, which takes `answer_s` for each or answers some never.

    Attributes:
        silent: questions about these partitions fail, after `silence_s`.
        questions: the partitions asked about, in order.
        seeks: where it was told to read on, in order.
        end: of each partition, as the last fetch told it.
    """

    is_connected = True
    failure = None

    def __init__(self, partitions: Iterable[TopicPartition] = (), silent: Iterable[TopicPartition] = ()) -> None:
        self.now = 0.0
        self.answer_s = 0.0
        self.silence_s = REQUEST_MS / 1000
        self.assigned = list(partitions)
        self.silent = set(silent)
        self.questions: list[TopicPartition] = []
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.end: int | None = None
        self.chunks: list[Chunk] = []

    def committed(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """The group has committed nothing."""
        self.questions.append(partition)
        if partition in self.silent:
            self.now += self.silence_s
            raise KafkaTimeoutError("no answer")
        self.now += self.answer_s
        return None

    def beginning(self, partition: TopicPartition) -> int:
        """Every partition begins at 0."""
        return 0

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Every partition ends where it begins."""
        return dict.fromkeys(partitions, 0)

    def moves(self) -> list[tuple[Moved, TopicPartition]]:
        """All partitions come in one rebalance."""
        moved, self.assigned = self.assigned, []
        return [(Moved.ASSIGNED, partition) for partition in moved]

    def poll(self, timeout_s: float) -> Chunk | None:
        """The chunks that the test has laid ready, then nothing."""
        return self.chunks.pop(0) if self.chunks else None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Note it."""
        self.seeks.append((partition, offset))

    def highwater(self, partition: TopicPartition) -> int | None:
        """As the test set it."""
        return self.end

    def topic_id(self, topic: str) -> str:
        """One topic, never made anew."""
        return "id-1"

    def has(self, topic: TopicSettings) -> bool:
        """It is there."""
        return True

    def denied(self) -> set[str]:
        """Everything may be seen."""
        return set()

    def hold(self, held: set[TopicPartition]) -> None:
        """The test chooses what comes."""

    def commit(self, offsets: object, failed: object) -> None:
        """Nobody asks for it."""

    def close(self, timeout_s: float, offsets: object) -> None:
        """Nothing to leave."""


class World:
    """An assignment, its fake consumer, and what they share."""

    def __init__(self, fake: FakeConsumer) -> None:
        self.fake = fake
        self.consumer = cast("Consumer", fake)
        self.registry = CollectorRegistry()
        metrics = StreamsMetrics(self.registry)
        self.assignment = Assignment(
            SETTINGS, KeptStore(), metrics, needs=RecordNeeds(), owner="-", monotonic=lambda: self.fake.now
        )

    def turn(self) -> list[TopicPartition]:
        """Follow and settle as one poll does; returns what the broker was asked about."""
        builder = BatchBuilder(records=10, size=10)
        before = len(self.fake.questions)
        self.assignment.follow(self.consumer, builder)
        self.assignment.settle(self.consumer, builder, 0.0)
        return self.fake.questions[before:]

    def stalls(self) -> float:
        """The metric."""
        return self.registry.get_sample_value("riverkeep_stalled_partitions_total", {"topic": "news"}) or 0.0


def test_a_broker_that_hangs_is_asked_once_a_turn() -> None:
    """Forty positions are in doubt: the loop turns after the first question, and each turn asks about another one."""
    world = World(FakeConsumer(MANY, silent=MANY))
    assert [world.turn() for _ in range(41)] == [[one] for one in (*MANY, ONE)]
    assert world.assignment.unsettled() == set(MANY)


def test_all_are_settled_in_one_turn_when_the_broker_answers_again() -> None:
    """None waits for longer than the broker makes it wait."""
    world = World(FakeConsumer(MANY, silent=MANY))
    world.turn()
    world.fake.silent.clear()
    assert sorted(world.turn()) == MANY
    assert not world.assignment.unsettled()
    assert sorted(world.fake.seeks) == [(one, 0) for one in MANY]


def test_a_partition_without_a_leader_keeps_none_of_the_others_back() -> None:
    """It is asked about first once, and from then on after all others."""
    world = World(FakeConsumer(MANY, silent=[ONE]))
    assert world.turn() == [ONE]
    assert world.turn() == [*MANY[1:], ONE]
    assert world.assignment.unsettled() == {ONE}
    assert world.assignment.unanswered() == {ONE: "KafkaTimeoutError: no answer"}
    world.fake.silent.clear()
    world.fake.assigned = [ONE]
    world.turn()
    assert not world.assignment.unanswered()


def test_a_partition_without_a_leader_leaves_most_of_the_time_to_the_others() -> None:
    """Its question rests for longer than it took; asked each turn, it would let one batch through for each time-out."""
    world = World(FakeConsumer([ONE], silent=[ONE]))
    assert [world.turn() for _ in range(3)] == [[ONE], [], []]
    world.fake.now += REST * world.fake.silence_s - 0.1
    assert world.turn() == []
    world.fake.now += 0.2
    assert world.turn() == [ONE]


@pytest.mark.parametrize("sign", ["it is assigned anew", "another is answered", "it was refused at once"])
def test_a_question_rests_no_longer_than_it_must(sign: str) -> None:
    """Whatever says that an answer may come now, or that asking costs nothing."""
    fake = FakeConsumer([ONE], silent=[ONE])
    fake.silence_s = 0.0 if sign == "it was refused at once" else fake.silence_s
    world = World(fake)
    world.turn()
    fake.silent.clear()
    fake.assigned = {"it is assigned anew": [ONE], "another is answered": MANY[1:2]}.get(sign, [])
    asked = [*world.turn(), *world.turn()]
    assert asked.count(ONE) == 1
    assert not world.assignment.unsettled()


def test_a_broker_that_takes_long_for_each_answer_lets_the_loop_turn() -> None:
    """Answers that come just in time add up as silence does."""
    world = World(FakeConsumer(MANY))
    world.fake.answer_s = SETTLING_SECONDS / 2
    assert [len(world.turn()) for _ in range(21)] == [2] * 20 + [0]
    assert not world.assignment.unsettled()


def test_what_stays_in_doubt_is_asked_about_once_in_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each poll brings the others' text, of however many chunks, and not a question with each."""
    fake = FakeConsumer(MANY[:2], silent=[ONE])
    monkeypatch.setattr("streams.kafka.source.Consumer", lambda settings: fake)
    registry = CollectorRegistry()
    with KafkaSource(SETTINGS, KeptStore(), StreamsMetrics(registry), lambda: 0.0) as source:
        source.poll(0.0)
        fake.questions.clear()
        fake.chunks = [Chunk(MANY[1], n, n + 1, rows=[(n, 0, None, b"some text %d" % n)]) for n in range(5)]
        batch = source.poll(0.0)
        assert source.unanswered() == {("news", 0): "KafkaTimeoutError: no answer"}
        told = registry.get_sample_value("riverkeep_partition_unanswered", {"topic": "news", "partition": "0"})
    assert told == 1
    assert fake.questions == [ONE]
    assert batch is not None
    assert batch.next_offsets == {Partition("news", 1, "id-1"): 5}


def test_a_partition_that_stands_still_is_read_anew_and_counted() -> None:
    """It has records and brings none for `stall_seconds`: it is sought anew, and again only after so long once more."""
    world = World(FakeConsumer([ONE]))
    world.turn()
    world.fake.seeks.clear()
    world.fake.end = 5
    times = [SETTINGS.stall_seconds * part for part in (0.5, 1.0, 1.01, 2.0, 2.02)]
    counted = []
    for now in times:
        world.assignment.watch(world.consumer, set(), now)
        counted.append(world.stalls())
    assert counted == [0, 0, 1, 1, 2]
    assert world.fake.seeks == [(ONE, 0)] * 2


@pytest.mark.parametrize("why", ["paused", "read to its end", "never fetched"])
def test_a_partition_from_which_nothing_is_to_come_does_not_stand_still(why: str) -> None:
    """The time counts from when something could have come."""
    world = World(FakeConsumer([ONE]))
    world.turn()
    held, world.fake.end = (
        ({ONE} if why == "paused" else set()),
        {"read to its end": 0, "never fetched": None}.get(why, 5),
    )
    late = SETTINGS.stall_seconds * 3
    world.assignment.watch(world.consumer, held, late)
    world.fake.end = 5
    world.assignment.watch(world.consumer, set(), late + SETTINGS.stall_seconds)
    assert world.stalls() == 0
    world.assignment.watch(world.consumer, set(), late + SETTINGS.stall_seconds * 1.01)
    assert world.stalls() == 1


@pytest.mark.parametrize("step", [-3_600.0, +3_600.0], ids=["set back an hour", "set forward an hour"])
def test_a_clock_that_is_set_stops_no_look_and_begins_none_early(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Brokers, lag and topics are looked at as before; nothing stands still, and no flood is over, for that."""
    fake = FakeConsumer([ONE])
    monkeypatch.setattr("streams.kafka.source.Consumer", lambda settings: fake)
    registry = CollectorRegistry()
    wall, steady = [1_700_000_000.0], [50.0]
    budget = {"min_dead_letters": 2, "pause_seconds": 60}
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(), "budget": budget})
    with KafkaSource(
        settings, KeptStore(), StreamsMetrics(registry), lambda: wall[0], monotonic=lambda: steady[0]
    ) as source:
        source.poll(0.0)
        fake.chunks = [Chunk(ONE, 0, 4, rows=[(n, 0, None, b"\xff") for n in range(4)])]
        source.poll(0.0)
        assert source.paused_partitions()
        wall[0] += step
        monkeypatch.setattr(fake, "has", lambda topic: False)
        monkeypatch.setattr(fake, "is_connected", False)
        fake.end = 9
        steady[0] += 6.0
        source.poll(0.0)
        assert source.missing_topics() == ("news",)
        assert registry.get_sample_value("riverkeep_broker_connected") == 0.0
        assert source.paused_partitions()
        monkeypatch.setattr(fake, "is_connected", True)
        steady[0] += 56.0
        source.poll(0.0)
        assert source.lag() == {Partition("news", 0, "id-1"): 5}
        assert not source.paused_partitions()
        assert registry.get_sample_value("riverkeep_stalled_partitions_total", {"topic": "news"}) in (None, 0.0)
