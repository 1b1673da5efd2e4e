"""Where text came from: what answers about samples and dead letters have in common."""

from daemon.control.answers.records import RecordPlace, SampleLine
from memory.samples.reading import FoundSample
from streams.chats import split, split_pair
from streams.document import Partition


def place(partition: Partition, offset: int) -> RecordPlace:
    """The record that something came from."""
    return {"topic": partition.topic, "partition": partition.number, "offset": offset}


def sample_line(entry: FoundSample) -> SampleLine:
    """A sample without its text."""
    sample = entry.sample
    return {
        "id": sample.id,
        "role": sample.role.name.lower(),
        "source": sample.source,
        "label": sample.label,
        "topic": entry.partition.topic,
        "partition": entry.partition.number,
        "offset": entry.offset,
        "event_time": sample.event_time,
        "arrived_at": sample.arrived_at,
    }


def sample_with_text(entry: FoundSample) -> SampleLine:
    """A sample with its text, and with its messages where it is a chat, input and target where it is a pair."""
    sample, line = entry.sample, sample_line(entry)
    line["text"] = sample.text
    if (pair := split_pair(sample.text, sample.turns)) is not None:
        line["input"], line["target"] = pair
    elif sample.turns is not None:
        messages = split(sample.text, sample.turns)
        line["messages"] = [{"role": message.role, "content": message.content} for message in messages]
    return line
