"""What is wrong with model, topics, labels and adapter once they are looked up on this machine."""

from checkpoints.errors import CheckpointsError
from checkpoints.files.label_names import labels_in
from daemon.settings import sources
from daemon.settings.labels import extends
from daemon.settings.mistakes import Mistake
from daemon.settings.tree import Settings
from learner.adapter_library import HOW_TO_INSTALL, has_adapters


def of_model(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """The model is read once: where generation 0 is there, its origin may be gone."""
    if settings.base_dir.exists():
        return of_labels(settings, raw)
    if settings.model.path.exists():
        return []
    return [
        Mistake(
            "model.path",
            str(settings.model.path),
            raw.place(("model", "path")),
            "Nothing is there.",
            "Name a directory as Hugging Face's save_pretrained writes it, or a .gguf file.",
        )
    ]


def of_topics(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """A classifier learns from labels: of a topic without them every record would be a dead letter."""
    if settings.model.kind != "classifier":
        return []
    plain = "Plain text has no fields: send JSON, and name the field that holds its label."
    return [
        Mistake(
            f"streams.topics[{index}].label_field",
            None,
            raw.place(("streams", "topics", index)),
            "A classifier's documents need a label; without this field every record would become a dead letter.",
            'Name the JSON field that holds it: label_field = "label".' if topic.format == "json" else plain,
        )
        for index, topic in enumerate(settings.streams.topics)
        if topic.label_field is None
    ]


def of_adapter(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """An adapter is made by a library that is an extra."""
    adapter = settings.learner.recipe.adapter
    if adapter is None or has_adapters():
        return []
    return [
        Mistake(
            "learner.recipe.adapter",
            adapter,
            raw.place(("learner", "recipe", "adapter")),
            "It needs the library peft, which is not installed.",
            f"{HOW_TO_INSTALL[0].upper()}{HOW_TO_INSTALL[1:]}, or leave adapter out.",
        )
    ]


def of_labels(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """Labels are part of generation 0: what is named after them is learned later, nothing else can be."""
    if settings.model.kind != "classifier" or not settings.model.labels:
        return []
    try:
        has = labels_in(settings.base_dir)
    except CheckpointsError:
        return []  # What is damaged is said where it is loaded.
    if extends(settings.model.labels, has):
        return []
    return [
        Mistake(
            "model.labels",
            ", ".join(settings.model.labels),
            raw.place(("model", "labels")),
            f"Generation 0 in {settings.state_dir} classifies into {', '.join(has)}.",
            "Name the same labels in the same order, or none; new ones come after them. Other labels need another "
            "state_dir.",
        )
    ]
