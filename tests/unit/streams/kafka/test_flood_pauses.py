"""A flood pauses its partition until a person, or time, says otherwise."""

import pytest
from kafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from streams.document import DeadLetter, Partition, Reason
from streams.kafka.flood_pauses import FloodPauses
from streams.metrics import StreamsMetrics
from streams.reading import PartitionRead
from streams.settings import BudgetSettings

NEWS = Partition("news", 0)
ASSIGNED = {TopicPartition("news", 0)}


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def flooded(clock: Clock, *, pause_seconds: float | None = None) -> FloodPauses:
    """Pauses that have just seen ten dead letters, and nothing else, of a partition."""
    settings = BudgetSettings(min_dead_letters=10, pause_seconds=pause_seconds)
    floods = FloodPauses(settings, StreamsMetrics(CollectorRegistry()), clock)
    floods.judge(flood())
    assert floods.paused() == ASSIGNED
    return floods


def flood() -> PartitionRead:
    """Ten records, all of them dead."""
    letters = [DeadLetter(NEWS, number, Reason.NOT_JSON, "", None, b"{", 1, 0.0) for number in range(10)]
    return PartitionRead(NEWS, 10, dead_letters=letters, records=10)


@pytest.mark.parametrize("pause_seconds", [None, 60.0])
def test_a_pause_lasts_until_its_time_is_over(pause_seconds: float | None) -> None:
    """Where none is set, until a person ends it."""
    clock = Clock()
    floods = flooded(clock, pause_seconds=pause_seconds)
    for clock.now, is_over in ((59.0, False), (60.0, pause_seconds is not None)):
        floods.lift(ASSIGNED)
        assert (floods.paused() == set()) is is_over


def test_a_person_ends_a_pause_and_the_same_dead_letters_begin_no_other() -> None:
    """It takes as many again."""
    floods = flooded(Clock())
    floods.resume(NEWS)
    assert floods.paused() == ASSIGNED, "taken up by the thread that polls"
    floods.lift(ASSIGNED)
    assert not floods.paused()
    floods.judge(PartitionRead(NEWS, 11, dead_letters=flood().dead_letters[:1], records=1))
    assert not floods.paused()
    floods.judge(flood())
    assert floods.paused() == ASSIGNED


def test_a_partition_that_went_elsewhere_is_judged_anew() -> None:
    """The replica that has it now knows nothing of a pause either."""
    floods = flooded(Clock())
    floods.lift(set())
    floods.lift(ASSIGNED)
    assert not floods.paused()
