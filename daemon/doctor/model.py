"""The model: whether it loads, whether there is memory for it, and whether it knows anything."""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from checkpoints.generation_store import BASE, GenerationStore
from daemon.doctor import rounds
from daemon.doctor.findings import Finding
from daemon.doctor.how_it_learns import describe_learning, describe_parameters
from daemon.doctor.proposal import as_lines, changed_by, proposal, to_be_installed, with_adapter
from daemon.doctor.rehearsal import Subject
from daemon.doctor.rounds import WHAT_AN_ADAPTER_SAVES, Room, Say, room_of_each
from daemon.errors import STATE_DIR_REMEDY, said_by_the_system
from daemon.lifecycle.lock import holder_of
from daemon.settings.tree import Settings, with_recipe
from daemon.sizes.checkpointing import Checkpointing, decide_checkpointing
from daemon.sizes.estimate import describe_parts, least_bytes, training_bytes
from daemon.sizes.job_resources import devices_of_job, memory_of_job
from daemon.sizes.round_memory import bytes_computed_in, memory_of_round, taken_by_serving
from daemon.sizes.sequence_length import length_of, with_chosen_length
from daemon.sizes.shape import ModelShape
from daemon.skills import read_skills
from learner.devices.gpus import count_shares, describe_devices
from learner.process_settings import LearnerSettings
from memory.samples.records import Counts

if TYPE_CHECKING:
    from memory.store import Store

GIB = 2**30
ALONE = " and `learner.sharded = false`"
T = TypeVar("T")
MODEL_LOAD_S = 600.0
# A loss above this share of the logarithm of the vocabulary is nearly that of guessing.
GUESSING = 0.9


def examine(settings: Settings, say: Say = lambda _: None) -> Iterator[Finding]:
    """Load the model in a process of its own, rehearse a round, and say what was found."""
    with ExitStack() as stack:
        try:
            store, within = _places(settings, stack)
        except OSError as error:
            yield Finding("model", ok=False, detail=said_by_the_system(error), remedy=STATE_DIR_REMEDY)
            return
        say("Loading the model …")
        yield from _examine(settings, store, within, say)


def _places(settings: Settings, stack: ExitStack) -> tuple[Path, Path]:
    """The checkpoint store to load from and the folder to write into: of its own where there is no base yet."""
    parent = settings.state_dir if settings.state_dir.is_dir() else None
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".doctor-", dir=parent)))
    return settings.checkpoints_dir if settings.base_dir.exists() else scratch / "checkpoints", scratch


def _examine(settings: Settings, store: Path, within: Path, say: Say) -> Iterator[Finding]:
    answer = _load_in_a_process(settings, store)
    if "error" in answer:
        remedy = answer.get("remedy", "Mend it, or set another `model.path`.")
        yield Finding("model", ok=False, detail=answer["error"], remedy=remedy)
        return
    device, served, cost, documents = (answer.pop(name, "") for name in ("device", "served", "cost", "documents"))
    gpus = answer.pop("gpus", 0)
    characters = answer.pop("characters_per_token", 0.0)
    shape, counts = _where_rounds_run(ModelShape.of(answer), settings), _counts(settings)
    length = length_of(settings, counts)
    settings = with_chosen_length(settings, length)
    room = _room(settings, shape)
    settings, decided = _settle_checkpointing(settings, shape, room)
    where = (
        f"trains on {device}" if settings.jobs.template_file is None else f"loads here, on {device}; rounds are Jobs"
    )
    yield Finding("model", ok=True, detail=f"{describe_parameters(shape.parameters)}; {where}")
    yield from _devices(settings, shape, gpus)
    yield Finding("how it learns", ok=True, detail=describe_learning(settings, shape, length, decided))
    yield Finding("how it answers", ok=True, detail=f"{served}: {cost}" if cost else served)
    if documents:
        yield Finding("how it reads documents", ok=True, detail=documents)
    if room is None:
        pass
    elif room.left < least_bytes(shape, settings.learner.recipe):
        yield _too_large(settings, shape, room)
    elif settings.jobs.template_file is not None:
        yield _estimate(settings, shape, room, "that is a Job")
    elif holder_of(settings.state_dir) is not None:
        yield _estimate(settings, shape, room, "while the daemon runs")
    elif shape.divided_by > 1:
        yield _estimate(settings, shape, room, "of a model whose weights are divided")
    else:
        generations = GenerationStore(store)
        subject = Subject(
            generations.path(BASE),
            generations.digest(BASE),
            settings.model.kind,
            shape.positions,
            characters,
            settings.learner,
            read_skills(settings).skills,
        )
        may_checkpoint = decided is not None
        yield from rounds.examine(
            settings, subject, shape, room, counts, may_checkpoint=may_checkpoint, within=within, say=say
        )
    if shape.by_token:
        yield from _knowledge(settings, shape.outputs)


def _room(settings: Settings, shape: ModelShape) -> Room | None:
    """What memory there is; None where the GPU's cannot be told."""
    learner = settings.learner
    if settings.jobs.template_file is not None:
        job, ranks = memory_of_job(settings.jobs.template_file, learner.device), learner.devices
        return None if job.bytes is None else Room(job.bytes, 0, ranks if isinstance(ranks, int) else 1)
    memory = memory_of_round(learner)
    # torch may find a GPU of which nvidia-smi does not tell.
    if memory.free is None or (shape.device_type == "cuda" and not memory.gpus):
        return None
    answers_now = holder_of(settings.state_dir) is not None
    return Room(memory.free, taken_by_serving(settings.serving, memory, shape, answers_now=answers_now), memory.ranks)


def _where_rounds_run(shape: ModelShape, settings: Settings) -> ModelShape:
    """The shape with what training holds of the weights divided as the settings say; of Jobs as one computes it."""
    learner, template = settings.learner, settings.jobs.template_file
    if template is not None:
        on_gpu = memory_of_job(template, learner.device).on_gpu
        computed = bytes_computed_in(learner.recipe.precision, native_bfloat16=on_gpu)
        shape = replace(shape, device_type="cuda" if on_gpu else "cpu", compute_bytes=computed)
    return replace(shape, divided_by=count_shares(learner))


def _devices(settings: Settings, shape: ModelShape, gpus: int) -> Iterator[Finding]:
    """On what a round runs, where that is more than one device."""
    learner = settings.learner
    described = describe_devices(learner.devices, learner.device, sharded=learner.sharded)
    if not described:
        return
    if settings.jobs.template_file is not None:
        asked = devices_of_job(settings.jobs.template_file)
        enough = isinstance(learner.devices, str) or learner.device == "cpu" or asked >= learner.devices
        remedy = f"Let the Job ask for {learner.devices} GPUs, in {settings.jobs.template_file}."
        yield Finding("devices", ok=enough, detail=f"rounds run {described}; a Job asks for {asked}", remedy=remedy)
        return
    ok = learner.devices == "all" or shape.device_type == "cpu" or learner.devices <= max(1, gpus)
    there = f"; GPUs that are here: {gpus}"
    remedy = f'Set `learner.devices = {max(1, gpus)}`{ALONE if learner.sharded and gpus < 2 else ""}, or "all".'
    yield Finding("devices", ok=ok, detail=f"rounds run {described}{there}", remedy=remedy)


def _settle_checkpointing(
    settings: Settings, shape: ModelShape, room: Room | None
) -> tuple[Settings, Checkpointing | None]:
    """Settings whose recipe says whether activations are computed again, and so many sequences, as a round would begin.

    None where the recipe itself says so, or nobody can tell.
    """
    recipe = settings.learner.recipe
    if recipe.gradient_checkpointing is not None or room is None:
        return settings, None
    decided = decide_checkpointing(shape, recipe, room.left)
    return with_recipe(settings, **decided.changes), decided


def _too_large(settings: Settings, shape: ModelShape, room: Room) -> Finding:
    """Of a model for which no rehearsal need be tried."""
    recipe = settings.learner.recipe
    least = least_bytes(shape, recipe)
    smaller = _smaller(shape, settings.learner, room)
    return Finding(
        shape.memory_name,
        ok=False,
        detail=f"{room.free / GIB:.1f} GiB free; {room_of_each(room)} needs {least / GIB:.1f} GiB before it reads a "
        f"token, answering and a swap {room.serving / GIB:.1f} GiB; {describe_parts(shape, recipe)}",
        remedy=f"No `learner.recipe.micro_batch` is small enough: {smaller}.",
    )


def _smaller(shape: ModelShape, learner: LearnerSettings, room: Room) -> str:
    """What is left to do where not even what lies in memory between two passes fits."""
    change = with_adapter(learner)
    changed = None if change is None else changed_by(learner, change)
    if change is not None and changed is not None:
        least = least_bytes(replace(shape, divided_by=1), changed.recipe)
        if least <= room.left:
            return (
                f"set {as_lines(change)}{to_be_installed(change)} {WHAT_AN_ADAPTER_SAVES}, with which that is "
                f"{least / GIB:.1f} GiB, and run this again"
            )
    return "take a smaller model or a larger machine"


def _estimate(settings: Settings, shape: ModelShape, room: Room, unrehearsed: str) -> Finding:
    """Where none is rehearsed: beside a daemon that runs, which it would take memory and time from.

    Args:
        settings: of the service.
        shape: of the model.
        room: that there is.
        unrehearsed: when or of what no round is rehearsed.
    """
    recipe = settings.learner.recipe
    change = proposal(shape, settings.learner, room.left)
    return Finding(
        shape.memory_name,
        ok=change == {},
        detail=f"{room.free / GIB:.1f} GiB free; {room_of_each(room)} needs about "
        f"{training_bytes(shape, recipe) / GIB:.1f} GiB, answering and a swap {room.serving / GIB:.1f} GiB (an "
        f"estimate: no round is rehearsed {unrehearsed}); {describe_parts(shape, recipe)}",
        remedy=f"Set {as_lines(change)}{to_be_installed(change)}."
        if change
        else "Take a smaller model or a larger machine.",
    )


def _counts(settings: Settings) -> Counts | None:
    """How full the memory is; None where there is none that can be read, which is told of by itself."""
    return _ask_memory(settings, lambda store: store.counts())


def _knowledge(settings: Settings, vocabulary: int) -> Iterator[Finding]:
    """What rounds have found out of the base model: one that knows nothing cannot tell text from noise."""
    rows = _ask_memory(settings, lambda store: store.generations.score_matrix()) or ()
    scores = [row.score for row in rows if row.generation == BASE]
    tokens = sum(score.tokens for score in scores)
    if not tokens:
        return
    loss = sum(score.mean_nll * score.tokens for score in scores) / tokens
    guessing = math.log(vocabulary)
    yield Finding(
        "what the model knows",
        ok=loss < GUESSING * guessing,
        detail=f"{loss:.2f} nats per token on held-out text; guessing among {vocabulary:,} tokens has {guessing:.2f}",
        remedy="A model that guesses cannot tell implausible text from good, nor forget: set a trained one as "
        "`model.path`, with a new `state_dir`.",
    )


def _ask_memory(settings: Settings, question: Callable[["Store"], T]) -> T | None:
    """What the memory answers; None where there is none, or none that can be read, which is told of by itself."""
    if not settings.database.exists():
        return None
    from memory.errors import StoreError  # noqa: PLC0415 - SQLite only where there is a store
    from memory.store import Store  # noqa: PLC0415 - the same

    memory = settings.memory.model_copy(update={"integrity_check": False})
    try:
        with Store.open(settings.database, memory, read_only=True) as store:
            return question(store)
    except StoreError:
        return None


def _load_in_a_process(settings: Settings, store: Path) -> dict[str, Any]:
    """What `daemon.doctor.load_model` says; a crash or a silence of the process is an answer too."""
    model, learner = settings.model, settings.learner.model_dump(mode="json")
    if settings.jobs.template_file is not None:
        # What it names is where Jobs run.
        learner["device"] = "auto"
    arguments = [str(store), str(model.path), model.kind, list(model.labels), learner]
    try:
        completed = subprocess.run(
            [sys.executable, "-m", "daemon.doctor.load_model", json.dumps(arguments)],
            capture_output=True,
            text=True,
            timeout=MODEL_LOAD_S,
            check=False,
        )
        answer = json.loads(completed.stdout.rpartition("\n")[2])  # after what libraries say
    except subprocess.TimeoutExpired:
        return {
            "error": f"{model.path} did not load within {MODEL_LOAD_S / 60:.0f} minutes",
            "remedy": "Look whether it or `state_dir` lies on a slow disk or beyond a network, and whether the machine "
            "swaps; then run this again, as what was read once is read faster. `riverkeep doctor --skip-model` looks "
            "at all else, and `riverkeep run` waits for as long as it takes.",
        }
    except ValueError:
        last = completed.stderr.strip().splitlines()[-1:] or [f"exit status {completed.returncode}"]
        return {"error": f"loading it ended with: {last[0]}"}
    assert isinstance(answer, dict)
    return answer
