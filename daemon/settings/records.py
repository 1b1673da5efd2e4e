"""What the model needs of a record to learn from it, as the settings and its files say, without loading it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from checkpoints.errors import CheckpointsError
from checkpoints.files.chat_templates import has_chat_template
from checkpoints.kinds import ModelKind
from daemon.settings.labels import known_labels
from daemon.settings.tree import Settings
from streams.decoding.needs import RecordNeeds

OF_A_CLASSIFIER: Final = "a classifier learns from texts with a label, not from chats"
OF_PAIRS: Final = "a sequence-to-sequence model learns from inputs with their targets, not from chats"
OF_A_MASKED_LM: Final = "a masked language model learns from texts, not from chats"
_OF_KINDS: Final[Mapping[ModelKind, str]] = {
    "classifier": OF_A_CLASSIFIER,
    "seq2seq": OF_PAIRS,
    "masked-lm": OF_A_MASKED_LM,
}
WITHOUT_TEMPLATE: Final = "the model has no chat template, by which a chat becomes a text that it reads"


def record_needs(settings: Settings) -> RecordNeeds:
    """What a record must have for the model to learn from it."""
    return RecordNeeds(
        labels=known_labels(settings), no_chats=why_no_chats(settings), pairs=settings.model.kind == "seq2seq"
    )


def why_no_chats(settings: Settings) -> str:
    """Why the model can learn from no chat; empty where it can, or where nobody can tell before it is imported."""
    if (why := _OF_KINDS.get(settings.model.kind)) is not None:
        return why
    directory = settings.base_dir if settings.base_dir.exists() else settings.model.path
    with suppress(CheckpointsError):
        return WITHOUT_TEMPLATE if directory.is_dir() and not has_chat_template(directory) else ""
    return ""


def needed_of_records(settings: Settings) -> str:
    """What a record needs to have for this model to learn from it, in a sentence."""
    if settings.model.kind == "classifier":
        return f"each needs a text and a label (label_field): {OF_A_CLASSIFIER}"
    if settings.model.kind == "seq2seq":
        return f"each needs an input (input_field) and its target (target_field): {OF_PAIRS}, nor from texts alone"
    if why := why_no_chats(settings):
        return f"each needs a text; chats (messages) become dead letters, chat_not_taken: {why}"
    return "each needs a text, or a chat (messages) with something that the assistant says"
