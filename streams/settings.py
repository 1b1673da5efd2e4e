"""How text arrives: the broker, what is read of it and what is let through, and limits."""

from collections import Counter
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streams.addresses import why_no_address
from streams.registry_settings import SchemaRegistrySettings
from streams.security_settings import SecuritySettings, Visible
from streams.topic_settings import TopicName, TopicSettings

Beginning = Literal["committed", "earliest", "latest"]
"""Where a memory begins with a partition of which it knows nothing."""

KIB = 1024
MIB = 1024 * KIB


class FilterSettings(BaseModel):
    """What is understood but not worth keeping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_characters: int = Field(
        1,
        ge=1,
        le=1_000_000,
        description="Text shorter than this, without the blanks around it, is not kept.",
    )
    max_repetition: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Text of which a larger share repeats itself (one token over and over) is not kept. "
        "1 keeps everything.",
    )


class BudgetSettings(BaseModel):
    """How many dead letters are normal. More pause their partition and raise an alarm, or stop a backfill."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_share: float = Field(
        0.2, gt=0, le=1, description="The share of a partition's recent records that may be dead letters."
    )
    min_dead_letters: int = Field(
        100, ge=1, le=10_000_000, description="Fewer recent dead letters than this are never a flood."
    )
    window_seconds: float = Field(
        600, gt=0, le=86_400, description="What is recent: a record's weight halves with each such time."
    )
    pause_seconds: float | None = Field(
        None,
        gt=0,
        description="After this long a paused partition is tried again by itself. "
        "Left out: it waits for a person (`riverkeep memory dead-letters resume`).",
    )


class StreamsSettings(BaseModel):
    """Text arriving."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: tuple[str, ...] = Field(
        ("localhost:9092",), min_length=1, description="Kafka's brokers, host:port; a few are enough."
    )
    group_id: Visible = Field(
        "riverkeep",
        min_length=1,
        max_length=249,
        description="The consumer group. Replicas with the same one share the partitions; every other project needs "
        "one of its own.",
    )
    start: Beginning = Field(
        "committed",
        description="Where reading begins in a partition of which this memory knows nothing yet. committed: at the "
        "group's offset, where it has one; what lies before it another replica keeps, or nobody does. earliest: at "
        "the first record, whatever the group says; a replica that joins others reads again what they have. latest: "
        "at what comes from now on; partitions that a topic gets later are read from their first record. Records "
        "left out so are told by `riverkeep doctor`, the log and `riverkeep memory gaps`.",
    )
    group_instance_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="A name of this replica that outlives restarts (static membership): "
        "its partitions wait for it. Each replica has its own.",
    )
    topics: tuple[TopicSettings, ...] = Field((), description="What to read. None: nothing is consumed.")
    security: SecuritySettings = SecuritySettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    filters: FilterSettings = FilterSettings()
    budget: BudgetSettings = BudgetSettings()
    dead_letter_topic: TopicName | None = Field(
        None,
        description="Dead letters are also sent here, with their own headers and KIP-298's, but for tombstones, which "
        "hold nothing. Left out: kept locally only, and the oldest make room.",
    )
    dead_letter_bytes: int = Field(
        64 * KIB,
        ge=0,
        le=16 * MIB,
        description="How much of a dead letter's record is kept: of its value, its key and its headers each.",
    )
    max_record_bytes: int = Field(
        MIB,
        ge=KIB,
        le=64 * MIB,
        description="A larger record is a dead letter (too_large); none is ever cut and used.",
    )
    max_batch_bytes: int = Field(
        64 * MIB,
        ge=MIB,
        le=1024 * MIB,
        description="A producer's batch that decompresses to more than this is not read (undecodable_batch).",
    )
    max_response_bytes: int = Field(
        100 * MIB, ge=2 * MIB, le=1024 * MIB, description="The largest answer taken from a broker."
    )
    batch_records: int = Field(
        1000, ge=1, le=1_000_000, description="A transaction with this many records takes no more."
    )
    batch_bytes: int = Field(
        16 * MIB, ge=MIB, le=1024 * MIB, description="A transaction with this much text takes no more."
    )
    session_timeout_seconds: float = Field(
        45, ge=1, le=1800, description="A replica not heard of for this long loses its partitions."
    )
    heartbeat_seconds: float = Field(
        3,
        ge=0.1,
        le=600,
        description="How often a replica is heard of; under a third of the session's timeout.",
    )
    metadata_seconds: float = Field(
        60, ge=1, le=3600, description="How often topics are looked for again: new ones, and ones made anew."
    )
    connect_seconds: float = Field(
        10, ge=0.5, le=600, description="How long one attempt to reach the brokers may take."
    )
    stall_seconds: float = Field(
        120,
        ge=1,
        le=86_400,
        description="A partition that has records but brings none for this long is read anew from its position.",
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _can_be_reached(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        problems = [f"{server!r}: {why}" for server in value if (why := why_no_address(server))]
        problems += [f"{server!r} stands there twice" for server, times in Counter(value).items() if times > 1]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @field_validator("topics")
    @classmethod
    def _each_is_read_once(cls, value: tuple[TopicSettings, ...]) -> tuple[TopicSettings, ...]:
        problems = []
        for at, topic in enumerate(value):
            words, earlier = topic.name or topic.pattern or "", value[:at]
            if any(topic.name == other.name and topic.pattern == other.pattern for other in earlier):
                problems.append(f"{words!r} stands there twice: each topic has one table")
            elif topic.name and (other := next((other for other in earlier if other.matches(topic.name)), None)):
                problems.append(
                    f"{words!r} is read as {other.pattern!r} says, which comes first: put {words!r} before it"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _sane(self) -> Self:
        problems = []
        if self.heartbeat_seconds * 3 > self.session_timeout_seconds:
            problems.append("heartbeat_seconds must be at most a third of session_timeout_seconds")
        if self.dead_letter_topic and any(t.name == self.dead_letter_topic for t in self.topics):
            problems.append(
                f"dead_letter_topic {self.dead_letter_topic!r} is also read: its dead letters would "
                "go round in a circle; name another topic"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def enabled(self) -> bool:
        """Whether anything is consumed."""
        return bool(self.topics)

    def topic(self, name: str) -> TopicSettings | None:
        """The first settings that are for that topic."""
        return next((topic for topic in self.topics if topic.matches(name)), None)
