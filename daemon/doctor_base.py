"""The model: whether it loads, whether there is memory for it, and whether it knows anything."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil

from checkpoints.generation import BASE
from daemon.doctor_findings import Finding
from daemon.doctor_memory import Shape, serving_bytes, training_bytes
from daemon.doctor_proposal import as_lines, proposal
from daemon.settings import Settings
from learner.settings import RecipeSettings

GIB = 2**30
MILLIONS_FROM = 100_000
MODEL_LOAD_S = 600.0
# A loss above this share of the logarithm of the vocabulary is nearly that of guessing.
GUESSING = 0.9


def examine(settings: Settings) -> Iterator[Finding]:
    """Load the model in a process of its own, and say what was found."""
    answer = _load_in_a_process(settings)
    if "error" in answer:
        remedy = answer.get("remedy", "Mend it, or set another `model.path`.")
        yield Finding("model", ok=False, detail=answer["error"], remedy=remedy)
        return
    device, served, cost = (answer.pop(name, "") for name in ("device", "served", "cost"))
    shape = Shape(**answer)
    yield Finding("model", ok=True, detail=f"{_parameters(shape.parameters)}; trains on {device}")
    yield Finding("how it answers", ok=True, detail=f"{served}: {cost}" if cost else served)
    yield from _memory(settings, shape)
    if shape.by_token:
        yield from _knowledge(settings, shape.outputs)


def _parameters(number: int) -> str:
    if number < MILLIONS_FROM:
        return f"{number / 1e3:,.1f} thousand parameters"
    return f"{number / 1e6:,.1f} million parameters"


def _memory(settings: Settings, shape: Shape) -> Iterator[Finding]:
    on_gpu = shape.device_type == "cuda"
    free = _free_gpu_bytes() if on_gpu else psutil.virtual_memory().available
    if free is None:
        return
    training = training_bytes(shape, settings.learner.recipe)
    serving = serving_bytes(shape) if settings.serving.enabled else 0
    yield Finding(
        "GPU memory" if on_gpu else "memory",
        ok=free >= training + serving,
        detail=f"{free / GIB:.1f} GiB free; a round needs about {training / GIB:.1f} GiB, "
        f"answering and a swap {serving / GIB:.1f} GiB",
        remedy=_what_fits(shape, settings.learner.recipe, free - serving),
    )


def _what_fits(shape: Shape, recipe: RecipeSettings, free: int) -> str:
    """The settings with which a round would fit, by the same estimate; empty where it does as it is."""
    change = proposal(shape, recipe, free)
    if change == {}:
        return ""
    if change is None:
        return (
            "Neither a smaller micro-batch nor shorter sequences are enough: free some memory, or take a smaller model."
        )
    needed = training_bytes(shape, recipe.model_copy(update=change))
    shorter = " Shorter sequences make earlier scores incomparable." if "sequence_length" in change else ""
    return f"Set {as_lines(change)}: a round then needs about {needed / GIB:.1f} GiB, by this estimate.{shorter}"


def _knowledge(settings: Settings, vocabulary: int) -> Iterator[Finding]:
    """What rounds have found out of the base model: one that knows nothing cannot tell text from noise."""
    if not settings.database.exists():
        return
    from memory.errors import StoreError  # noqa: PLC0415 - SQLite only where there is a store
    from memory.store import Store  # noqa: PLC0415 - the same

    memory = settings.memory.model_copy(update={"integrity_check": False})
    try:
        with Store.open(settings.database, memory, read_only=True) as store:
            scores = [row.score for row in store.score_matrix() if row.generation == BASE]
    except StoreError:
        return  # told of by itself
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


def _load_in_a_process(settings: Settings) -> dict[str, Any]:
    """What `daemon.doctor_model` says; a crash or a silence of the process is an answer too."""
    model = settings.model
    # The path of a generation, where the model was read already and its origin may be gone.
    path = model.path if model.path.exists() else settings.base_dir
    learner = settings.learner
    command = [sys.executable, "-m", "daemon.doctor_model", str(path), model.kind, learner.device]
    try:
        done = subprocess.run(
            [*command, learner.recipe.precision, *model.labels],
            capture_output=True,
            text=True,
            timeout=MODEL_LOAD_S,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"it did not load within {MODEL_LOAD_S:.0f} s"}
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"error": f"loading it ended with: {last[0]}"}
    assert isinstance(answer, dict)
    return answer


def _free_gpu_bytes() -> int | None:
    """Free memory of the emptiest GPU; None where nvidia-smi cannot tell."""
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        return max(int(line) for line in listed.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
