"""What is wrong with model, topics, labels, adapter, devices and skills once they are looked up on this machine."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from checkpoints.errors import CheckpointsError
from checkpoints.files.label_names import labels_in
from checkpoints.kinds import KINDS
from daemon.settings import sources
from daemon.settings.jobs.template import BadTemplate, read_template
from daemon.settings.labels import extends
from daemon.settings.mistakes import Mistake
from daemon.settings.records import why_no_chats
from daemon.settings.tree import Settings
from gate.skills.prompts_needed import confidence_of_each, prompts_needed
from learner import low_memory_library
from learner.adapter_library import HOW_TO_INSTALL, has_adapters
from learner.devices.divisible import why_not_divisible
from learner.devices.gpus import visible_gpus
from learner.skills.prompts import BadSkill, Skill, has_chats, read_skill
from learner.skills.settings import SkillSettings
from serving.door.certificates import problem_with
from serving.tracing.settings import obstacle


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
    """Without what the model learns from, labels or two parts, every record of a topic would be a dead letter."""
    if settings.model.kind == "seq2seq":
        return _of_texts_alone(settings, raw)
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


def _of_texts_alone(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    return [
        Mistake(
            f"streams.topics[{index}].format",
            topic.format,
            raw.place(("streams", "topics", index)),
            "A sequence-to-sequence model learns from an input and its target, and plain text has no fields: every "
            "record would become a dead letter.",
            'Send JSON with fields `input` and `target`, or name others: input_field = "question".',
        )
        for index, topic in enumerate(settings.streams.topics)
        if topic.format == "text"
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


def of_divided_weights(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """A round that would divide the weights of a model that has to be whole would end as it begins."""
    if not settings.learner.sharded or not (why := why_not_divisible(settings.model.kind, _config(settings))):
        return []
    return [
        Mistake(
            "learner.sharded",
            "true",
            raw.place(("learner", "sharded")),
            f"{why[0].upper()}{why[1:]}.",
            "Leave sharded out: each device then holds the whole model with its optimizer.",
        )
    ]


def _config(settings: Settings) -> dict[str, Any]:
    """The model's configuration; nothing where it cannot be read, which is told of by itself."""
    path = settings.base_dir if settings.base_dir.exists() else settings.model.path
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def of_devices(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """A round that wants more GPUs than there are would end as it begins; those of a Job are not here."""
    devices, device = settings.learner.devices, settings.learner.device
    if settings.jobs.template_file is not None:
        return []
    if isinstance(devices, str) or devices == 1 or device == "cpu":
        return []
    there = visible_gpus()
    if there is None or devices <= there or (there == 0 and device == "auto"):
        return []
    alone = " and leave sharded out," if settings.learner.sharded and there < 2 else ""
    return [
        Mistake(
            "learner.devices",
            str(devices),
            raw.place(("learner", "devices")),
            f"GPUs that a learner sees: {there}.",
            f'Set devices to {max(1, there)}{alone} or to "all", or look whether CUDA_VISIBLE_DEVICES hides some.',
        )
    ]


def of_job(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """No round could be begun; that the file is not there is told of by itself."""
    path = settings.jobs.template_file
    if path is None:
        return []
    try:
        read_template(path)
    except BadTemplate as error:
        return [
            Mistake("jobs.template_file", str(path), raw.place(("jobs", "template_file")), str(error), error.remedy)
        ]
    except OSError:
        pass
    return []


def of_tracing(settings: Settings, raw: sources.Raw, environment: Mapping[str, str]) -> list[Mistake]:
    """Spans are sent by an extra, and where to is said by variables that are not Riverkeep's."""
    if not settings.tracing.enabled or (found := obstacle(environment)) is None:
        return []
    return [Mistake("tracing.enabled", "true", raw.place(("tracing", "enabled")), *found)]


def of_engine(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """Serving would end as it begins."""
    engine, kind = settings.serving.engine, settings.model.kind
    if engine == "builtin" or kind == "causal-lm":
        return []
    return [
        Mistake(
            "serving.engine",
            engine,
            raw.place(("serving", "engine")),
            f"It answers for causal language models, and the model is a {KINDS[kind].title} ({kind}).",
            'Leave engine out: "builtin" answers for every kind.',
        )
    ]


def of_four_bits(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """So are weights in 4 bits."""
    held = settings.learner.recipe.adapter_base
    if held is None or low_memory_library.has_four_bits():
        return []
    how = low_memory_library.HOW_TO_INSTALL
    return [
        Mistake(
            "learner.recipe.adapter_base",
            held,
            raw.place(("learner", "recipe", "adapter_base")),
            "It needs the library bitsandbytes, which is not installed.",
            f"{how[0].upper()}{how[1:]}, or leave adapter_base out.",
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


def of_skills(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """Files that cannot be read, or that could never prove anything; and those of a model that answers no prompt."""
    skills, title = settings.evaluation.skills, KINDS[settings.model.kind].title
    if skills and not KINDS[settings.model.kind].writes:
        return [
            Mistake(
                "evaluation.skills",
                None,
                raw.place(("evaluation", "skills", 0)),
                f"Rounds ask models that write, and this is a {title}: no prompt can be asked of it.",
                "Leave them out; the gate bounds what it loses on held-out text, and of a classifier's right answers.",
            )
        ]
    return [mistake for at, skill in enumerate(skills) for mistake in _of_skill(at, skill, settings, raw)]


def _of_skill(at: int, skill: SkillSettings, settings: Settings, raw: sources.Raw) -> Iterator[Mistake]:
    key, place = f"evaluation.skills[{at}].file", raw.place(("evaluation", "skills", at))
    try:
        read = read_skill(skill)
    except BadSkill as error:
        problem = f"{error}."[len(f"skill {skill.name}: ") :].removeprefix(f"{skill.file}: ")
        remedy = "A JSON object a line: `prompt` or `messages`, and one of `exact`, `contains`, `choices`."
        yield Mistake(key, str(skill.file), place, f"{problem[0].upper()}{problem[1:]}", remedy)
        return
    if (line := has_chats(read)) is not None and (why := why_no_chats(settings)):
        problem = f"Line {line} asks in `messages`, and {why}."
        reads = "its encoder reads" if settings.model.kind == "seq2seq" else "the model goes on with"
        yield Mistake(key, str(skill.file), place, problem, f"Ask with `prompt`, which {reads}.")
    if missing := _missing_prompts(read, skill, settings):
        bound = min(skill.max_drop_parent, skill.max_drop_best)
        problem = (
            f"It has {len(read.prompts):,} prompts. In so few a drop of {bound:g} can go unseen, so that no candidate "
            "would ever be accepted."
        )
        remedy = f"Add {missing:,} prompts, or raise `max_drop_parent` and `max_drop_best`."
        yield Mistake(key, str(skill.file), place, problem, remedy)


def _missing_prompts(read: Skill, skill: SkillSettings, settings: Settings) -> int:
    """How many more it takes for the gate to prove anything, in a round like most."""
    candidates = len(set(settings.learner.recipe.interpolation))
    confidence = confidence_of_each(settings.gate.confidence, candidates)
    needed = prompts_needed(min(skill.max_drop_parent, skill.max_drop_best), confidence)
    return max(0, needed - len(read.prompts))


def of_certificates(settings: Settings, raw: sources.Raw) -> list[Mistake]:
    """A mistake for each listener with which no client could agree on TLS; of missing files others tell."""
    remedy = (
        "Name a certificate that is valid now, with those between it and a root behind it, and its own key, as PEM."
    )
    return [
        Mistake(
            f"{section}.tls_cert_file",
            str(files.certificate),
            raw.place((section, "tls_cert_file")),
            f"{problem[0].upper()}{problem[1:]}.",
            remedy,
        )
        for section, files in (("serving", settings.serving.tls), ("admin", settings.admin.tls))
        if files is not None and files.are_there and (problem := problem_with(files))
    ]
