"""Which topics are read, and what one record of them is."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from streams.decoding import fields


def _names_a_field(name: str) -> str:
    fields.Field(name)
    return name


FieldPath = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_names_a_field)]


def _is_no_directory(name: str) -> str:
    if name in (".", ".."):
        raise ValueError(f"no topic is called {name!r}")
    return name


TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$"), AfterValidator(_is_no_directory)]
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")

FIELDS: Final = (
    "text_field",
    "messages_field",
    "input_field",
    "target_field",
    "key_field",
    "label_field",
    "source_field",
    "time_field",
)
"""The settings that name a field of a JSON record."""


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
    messages_field: FieldPath | None = Field(
        None,
        description="The field with the messages of a chat, a list of {role, content}: the model's chat template "
        "writes them, and what the assistant says is learned. A record that has it is a chat, any other a document. "
        "Left out: `messages`, in records without a text.",
    )
    input_field: FieldPath | None = Field(
        None, description="The field with what a sequence-to-sequence model reads. Left out: `input`."
    )
    target_field: FieldPath | None = Field(
        None,
        description="The field with what such a model is to write for that, which is what is learned. Left out: "
        "`target`.",
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
        *fields, last = (name for name in FIELDS if name != "text_field")
        if self.format == "text" and any(getattr(self, name) for name in (*fields, last)):
            raise ValueError(
                f'plain text has no fields: leave out {", ".join(fields)} and {last}, or set format = "json"'
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
    # Of such patterns it cannot be told so simply: they pass.
    if "|" in pattern or "(?" in pattern or "\\" in pattern:
        return False
    outside = re.sub(r"\[\^?\]?[^]]*\]", "", pattern)
    return re.search(r"[^A-Za-z0-9._\-()*+?{}^$,](?![?*{])", outside) is not None and "(" not in outside
