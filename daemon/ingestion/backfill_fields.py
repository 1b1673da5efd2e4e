"""Which fields of a file's records mean what: as named, else as those of the topics that are read."""

from collections.abc import Mapping

from daemon.errors import BadRequest
from streams.settings import StreamsSettings
from streams.topic_settings import FIELDS, TopicSettings

UNNAMED = {"text_field": "text"}

Fields = dict[str, str]


def fields_of(streams: StreamsSettings, named: Mapping[str, str], like: str | None) -> Fields:
    """The fields of a JSON record: those that are named, and beside them those of a topic.

    Args:
        streams: the topics that are read.
        named: as on the command line; what is named here wins.
        like: the topic whose fields the files have; None: all topics', where they agree. Where they do not, nothing
            but what is named.

    Raises:
        BadRequest: `like` is no topic of JSON records. Or the topics differ, and no field is named.
    """
    if like is not None:
        return {**_of_topic(_topic(streams, like)), **named}
    # Each in the order of FIELDS, so that topics with the same fields are one key.
    sets = {tuple(_of_topic(topic).items()): topic for topic in streams.topics if topic.format == "json"}
    if len(sets) > 1 and not set(FIELDS) & set(named):
        topics = "; ".join(f"{_name(topic)}: {describe(dict(fields))}" for fields, topic in sets.items())
        raise BadRequest(
            f"The topics that are read have different fields ({topics}). Say which of them these files are like with "
            "--like TOPIC, or name the fields: --text-field, --key-field and so on."
        )
    shared = dict(next(iter(sets))) if len(sets) == 1 else {}
    return {**shared, **named}


def describe(fields: Mapping[str, str]) -> str:
    """The fields in words: `text from text, key from id`."""
    return ", ".join(f"{name.removesuffix('_field')} from {fields[name]}" for name in FIELDS if name in fields)


def _topic(streams: StreamsSettings, like: str) -> TopicSettings:
    exact = (topic for topic in streams.topics if like in (topic.name, topic.pattern))
    # By its own name first: another topic's pattern may fit it as well.
    topic = next(exact, None) or streams.topic(like)
    if topic is not None and topic.format == "json":
        return topic
    json_topics = ", ".join(_name(topic) for topic in streams.topics if topic.format == "json")
    raise BadRequest(
        f"--like {like}: no topic of JSON records is read by that name. Those that are: {json_topics or 'none'}."
    )


def _of_topic(topic: TopicSettings) -> Fields:
    return {name: value for name in FIELDS if (value := getattr(topic, name)) is not None}


def _name(topic: TopicSettings) -> str:
    return topic.name or topic.pattern or ""
