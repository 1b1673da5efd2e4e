"""How text arrives: the broker, the topics and their formats, and limits."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from streams.addresses import why_no_address
from streams.decoding import fields

Beginning = Literal["committed", "earliest", "latest"]
"""Where a memory begins with a partition of which it knows nothing."""


KIB = 1024
MIB = 1024 * KIB

SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def _names_a_field(name: str) -> str:
    fields.Field(name)
    return name


FieldPath = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_names_a_field)]


def _is_no_directory(name: str) -> str:
    if name in (".", ".."):
        raise ValueError(f"no topic is called {name!r}")
    return name


def _is_visible(word: str) -> str:
    if not word.strip() or not word.isprintable():
        raise ValueError("it has nothing that can be seen, or a character that cannot")
    return word


TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$"), AfterValidator(_is_no_directory)]
Visible = Annotated[str, AfterValidator(_is_visible)]
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class TopicFormat(BaseModel):
    """What one record is, and which of its fields mean what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["json", "text"] = Field(
        "json",
        description="json: each record is an object with fields. text: each record is the text itself.",
    )
    text_field: FieldPath = Field(
        "text",
        description="The field with the text. Where no field bears the whole name, a dot reaches into an object: "
        "payload.body. What stands in quotes is one name, dots and all: '\"log.message\".text'.",
    )
    key_field: FieldPath | None = Field(
        None,
        description="The field that tells whose text it is, a string or a whole number (4711.0 is 4711): what "
        "`riverkeep forget` looks for, and what keeps a person's texts on one side of the held-out split. "
        "Left out: the record's own key.",
    )
    label_field: FieldPath | None = Field(
        None,
        description="The field with the label, for a classifier; for one of several labels the list of those that fit.",
    )
    source_field: FieldPath | None = Field(
        None, description="The field that names where the text comes from. Left out: `source`."
    )
    source: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None,
        description="Where the text comes from, for all of it. Left out: the topic's or the file's name.",
    )
    time_field: FieldPath | None = Field(
        None,
        description="The field with the time of the text: ISO 8601, or unix time, by its size in seconds, milli-, "
        "micro- or nanoseconds, as a number or its digits. Years before 1000 and after 2199 are refused (bad_time). "
        "Left out: the record's own timestamp.",
    )

    @model_validator(mode="after")
    def _fields_need_json(self) -> Self:
        fields = (self.key_field, self.label_field, self.source_field, self.time_field)
        if self.format == "text" and any(fields):
            raise ValueError(
                "plain text has no fields: leave out key_field, label_field, source_field and time_field, "
                'or set format = "json"'
            )
        return self


class TopicSettings(TopicFormat):
    """A topic, or all topics that match a pattern."""

    name: TopicName | None = Field(None, description="The topic's name. Either `name` or `pattern`.")
    pattern: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="A regular expression that a topic's whole name must match. Topics that appear later are found.",
    )
    on_tombstone: Literal["count", "erase"] = Field(
        "count",
        description="What a record without a value does. count: nothing, but it is counted. erase: all text of its key "
        "that came before is erased, as by `riverkeep forget`, from whichever topic it came; later text of the key is "
        "stored again. Needs the record's own key: no key_field.",
    )

    @model_validator(mode="after")
    def _name_or_pattern(self) -> Self:
        if (self.name is None) == (self.pattern is None):
            raise ValueError("set either name or pattern")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None
            plain = _is_plain(self.pattern) and TOPIC.fullmatch(self.pattern.replace("\\", "")) is None
            if plain or _has_what_no_topic_has(self.pattern):
                raise ValueError(f"pattern {self.pattern!r} matches no topic: their names have A-Z a-z 0-9 . _ - alone")
        return self

    @model_validator(mode="after")
    def _tombstones_name_keys(self) -> Self:
        if self.on_tombstone == "erase" and self.key_field is not None:
            raise ValueError(
                'on_tombstone = "erase" goes by the record\'s own key, and key_field names another: a tombstone has no '
                "fields; leave out key_field"
            )
        return self

    def matches(self, topic: str) -> bool:
        """Whether these settings are for that topic."""
        if self.name is not None:
            return topic == self.name
        return re.fullmatch(self.pattern or "", topic) is not None


def _is_plain(pattern: str) -> bool:
    """Whether a regular expression has nothing in it but letters that stand for themselves."""
    return re.search(r"[][()*+?{}|^$]|\\[A-Za-z0-9]", pattern) is None


def _has_what_no_topic_has(pattern: str) -> bool:
    """Whether every match has a character that no topic's name may have, outside of brackets and never left out."""
    if "|" in pattern or "(?" in pattern or "\\" in pattern:
        return False
    outside = re.sub(r"\[\^?\]?[^]]*\]", "", pattern)
    return re.search(r"[^A-Za-z0-9._\-()*+?{}^$,](?![?*{])", outside) is not None and "(" not in outside


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
        "Left out: it waits for a person (`riverkeep resume`).",
    )


class SecuritySettings(BaseModel):
    """How the broker is reached: encryption and credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="As the broker's listener: with or without TLS (SSL) and a login (SASL)."
    )
    sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-512", description="How to log in.")
    username: Visible | None = Field(None, min_length=1, description="The login's name.")
    password_file: Path | None = Field(None, description="The file that holds the login's password.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Left out: those of the system.")
    certificate_file: Path | None = Field(None, description="The client's certificate (PEM), for mutual TLS.")
    private_key_file: Path | None = Field(None, description="The private key of that certificate (PEM).")
    private_key_password_file: Path | None = Field(
        None, description="The file that holds that key's password, if it has one."
    )
    check_hostname: bool = Field(
        default=True, description="Whether the broker's certificate must bear its host's name."
    )

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        problems = []
        if self.protocol.startswith("SASL") and (self.username is None or self.password_file is None):
            problems.append(f"{self.protocol} needs username and password_file")
        if (self.certificate_file is None) != (self.private_key_file is None):
            problems.append("certificate_file and private_key_file belong together: set both or neither")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class SchemaRegistrySettings(BaseModel):
    """Where the schemas are of values that a schema registry's clients wrote: Avro, Protobuf and JSON Schema.

    While the registry does not answer, the partitions that need it wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        None,
        max_length=2048,
        description="The address, for Confluent's REST API. For Avro and Protobuf: `pip install '.[registry]'`. "
        "Left out: framed values are dead letters (schema_framed). A record's own key is not read by it: a framed one "
        "stays 0x and its hex digits, so name a key_field.",
    )
    username: Visible | None = Field(None, min_length=1, description="The login's name (HTTP basic).")
    password_file: Path | None = Field(None, description="The file that holds the login's password.")
    token_file: Path | None = Field(None, description="The file that holds a bearer token, instead of a login.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Left out: those of the system.")
    timeout_seconds: float = Field(
        5, ge=0.1, le=60, description="How long a schema may take to come, with those it refers to."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"no address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", url):
            raise ValueError("must be an address such as https://registry.example.com:8081")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no login: set username and password_file")
        if parts.query or parts.fragment:
            raise ValueError("must end with its path, without ? and #")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        problems = []
        if (self.username is None) != (self.password_file is None):
            problems.append("username and password_file belong together: set both or neither")
        if self.token_file is not None and self.username is not None:
            problems.append("token_file stands for a login: leave out username and password_file")
        if self.url is None and (self.username or self.password_file or self.token_file or self.ca_file):
            problems.append("a login or certificates without a registry: set url")
        if problems:
            raise ValueError("; ".join(problems))
        return self


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
            if any(topic.name == one.name and topic.pattern == one.pattern for one in earlier):
                problems.append(f"{words!r} stands there twice: each topic has one table")
            elif topic.name and (one := next((one for one in earlier if one.matches(topic.name)), None)):
                problems.append(
                    f"{words!r} is read as {one.pattern!r} says, which comes first: put {words!r} before it"
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
