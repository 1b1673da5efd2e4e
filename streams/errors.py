"""What can go wrong with a stream as a whole; what is wrong with one record is a `Reason`, not an error."""


class StreamsError(Exception):
    """A stream cannot go on by itself."""


class BadSecret(StreamsError):
    """A file that a password should be read from cannot be read or is empty."""


class NotAuthorized(StreamsError):
    """The broker refuses these credentials, or they may not read the topic or join the group."""


class MembershipTaken(StreamsError):
    """Another consumer joined the group under this one's `group_instance_id`."""


class RegistryAway(StreamsError):
    """A record can be read only with a schema that the registry does not give now: it is to come again."""


class DamagedFile(StreamsError):
    """A file cannot be read to its end; what came before the damage was handed over."""


class UnreadableFile(StreamsError):
    """A file cannot be opened."""


class NotNow(StreamsError):
    """A schema cannot be made use of at this moment, and it is no fault of its own; says why."""


class BrokerUnreachable(StreamsError):
    """No broker answers, or not in time."""


class NoSuchTopic(StreamsError):
    """There is no such topic, or partition of it, or it may not be seen."""


class PartitionUnnamed(StreamsError):
    """Which of a topic's partitions is meant is not said."""


class OffsetNotThere(StreamsError):
    """A partition holds other offsets than the one that is asked for."""
