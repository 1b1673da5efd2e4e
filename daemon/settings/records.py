"""What the model needs of a record, by the settings."""

from daemon.settings.chats import why_no_chats
from daemon.settings.labels import known_labels
from daemon.settings.tree import Settings
from streams.decoding.needs import RecordNeeds


def record_needs(settings: Settings) -> RecordNeeds:
    """What a record must have for the model to learn from it."""
    return RecordNeeds(labels=known_labels(settings), no_chats=why_no_chats(settings))
