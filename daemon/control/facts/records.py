"""Where text came from: what answers about samples and dead letters have in common."""

from daemon.control.answers.records import RecordPlace, SampleLine
from memory.samples.reading import FoundSample
from streams.document import Partition


def place(partition: Partition, offset: int) -> RecordPlace:
    """The record that something came from."""
    return {"topic": partition.topic, "partition": partition.number, "offset": offset}


def sample_line(found: FoundSample) -> SampleLine:
    """A sample without its text."""
    sample = found.sample
    return {
        "id": sample.id,
        "role": sample.role.name.lower(),
        "source": sample.source,
        "label": sample.label,
        "topic": found.partition.topic,
        "partition": found.partition.number,
        "offset": found.offset,
        "event_time": sample.event_time,
        "arrived_at": sample.arrived_at,
    }
