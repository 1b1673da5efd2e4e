"""A short settings file: what Riverkeep needs to know of somebody's model and Kafka, and no more."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from checkpoints.kinds import KINDS, ModelKind
from daemon.settings.written.schema import LINE

TEMPLATE: Final = """\
{schema}
# What Riverkeep needs to know of yours. `riverkeep init --reference` writes every setting with its default.
{state}# everything it keeps; relative paths start at this file

[model]
{path}# a Hugging Face directory (safetensors) or a .gguf file
{kind}# or {others}

[streams]
bootstrap_servers = [{servers}]
{group}# this project's own: another with the same shares its partitions

[[streams.topics]]
name = {topic}
"""
COMMENTS_AT: Final = 45
BESIDE: Final = "riverkeep-state"
"""Where state is kept unless somebody names a place: a folder beside the file."""
PLAIN: Final = "none"
"""In the place of the text's field: records are the text itself."""
FIELDS: Final[Mapping[str, str]] = {
    "text_field": 'the JSON field; or format = "text" for plain text',
    "label_field": "the JSON field with one of the classifier's labels",
    "input_field": "the JSON field with what the model reads",
    "target_field": "and that with what it is to write for it",
}
"""Fields of a record, and what each has."""
BY_ARCHITECTURE: Final[Mapping[str, ModelKind]] = {
    "ForSequenceClassification": "classifier",
    "ForConditionalGeneration": "seq2seq",
    "ForMaskedLM": "masked-lm",
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
}


@dataclass(frozen=True, slots=True)
class Needed:
    """What only its user knows.

    Attributes:
        model: a path, as it is written.
        servers: Kafka's brokers.
        fields: of a record, by the setting that names each; the text's may be `PLAIN`.
        group: Kafka's consumer group.
        state_dir: where everything is kept; relative to the file.
    """

    model: str
    kind: ModelKind
    servers: Sequence[str]
    topic: str
    fields: Mapping[str, str]
    group: str
    state_dir: str = BESIDE


def fields_of(kind: ModelKind) -> tuple[str, ...]:
    """Which fields a record of this kind of model has to have."""
    return {"classifier": ("text_field", "label_field"), "seq2seq": ("input_field", "target_field")}.get(
        kind, ("text_field",)
    )


def kind_of_files(model: Path) -> ModelKind | None:
    """What a model is by its configuration; None where that is not there, or tells none of the kinds."""
    try:
        content = json.loads((model / "config.json").read_bytes())
        names = content.get("architectures") or ()
    except (OSError, ValueError, AttributeError):
        return None
    told = (kind for name in names for ending, kind in BY_ARCHITECTURE.items() if str(name).endswith(ending))
    return next(told, None)


def short_file(needed: Needed) -> str:
    """The file."""
    # JSON's strings are TOML's too, but for what lies above U+FFFF: as escapes those are pairs, which TOML refuses.
    quote = partial(json.dumps, ensure_ascii=False)
    short = TEMPLATE.format(
        schema=LINE,
        state=f"state_dir = {quote(needed.state_dir)} ".ljust(COMMENTS_AT),
        path=f"path = {quote(needed.model)} ".ljust(COMMENTS_AT),
        kind=f'kind = "{needed.kind}" '.ljust(COMMENTS_AT),
        others=" or ".join(quote(other) for other in KINDS if other != needed.kind),
        servers=", ".join(map(quote, needed.servers)),
        topic=quote(needed.topic),
        group=f"group_id = {quote(needed.group)} ".ljust(COMMENTS_AT),
    )
    return short + "".join(_field(name, needed.fields[name]) for name in fields_of(needed.kind))


def _field(name: str, value: str) -> str:
    if name == "text_field" and value == PLAIN:
        return 'format = "text" '.ljust(COMMENTS_AT) + "# a record is the text itself\n"
    written = f"{name} = {json.dumps(value, ensure_ascii=False)} ".ljust(COMMENTS_AT)
    return f"{written}# {FIELDS[name]}\n"
