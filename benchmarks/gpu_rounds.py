"""A round of the real learner's process on a model of random weights, and what it took."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.gpu_models import Shape, Texts, write_model
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from daemon.sizes.estimate import TRAIN, round_parts
from daemon.sizes.model_shape import shape_of_files
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import TrainingSummary, read_report
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.settings import RecipeSettings

LIMIT_S: Final = 600.0
MORE: Final = 1.1
"""Times the text that the steps need: rows are not full to the last token."""


@dataclass(frozen=True, slots=True)
class RoundTrial:
    """A round to be run.

    Attributes:
        shape: of its model.
        recipe: of the round.
        steps: that it takes.
        compile: whether its model's layers are compiled.
    """

    shape: Shape
    recipe: RecipeSettings
    steps: int
    compile: bool = False

    @property
    def replayed(self) -> float:
        """The share of its tokens that is replayed."""
        return self.recipe.replay_ratio


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What a round took.

    Attributes:
        tokens_per_second: trained, new and replayed, after the first steps where that could be told.
        flops_per_second: of the model, at that speed.
        train_peak_bytes: of memory while it trained: a GPU's, on a CPU the process's.
        peak_bytes: in all phases.
        foretold_bytes: what `riverkeep doctor` foretells of the training by the model's shape, likewise.
        foretold_parts: of that, by name.
        phase_seconds: of each phase.
        not_compiled: a sentence where the layers were to be compiled and ran as they are; else empty.
    """

    tokens_per_second: float
    flops_per_second: float
    train_peak_bytes: int
    peak_bytes: int
    foretold_bytes: int
    foretold_parts: dict[str, int]
    phase_seconds: dict[str, float]
    not_compiled: str = ""


def run_round_of(trial: RoundTrial, folder: Path, device: str) -> RoundFigures:
    """Make the model and the round in a folder, and run it in a process of its own.

    Raises:
        SystemExit: the round did not train; the message says why.
    """
    model, directory = folder / "model", folder / "round"
    generation = write_model(trial.shape, model, device)
    _give_back(device)
    context = _write_round(directory, trial, model, generation, device)
    training, events = _run(directory)
    rate = _steady_rate(events, (training.tokens_new + training.tokens_replayed) / training.steps)
    speed, parts = rate or training.tokens_per_second, _foretold(model, trial.recipe, device)
    return RoundFigures(
        tokens_per_second=speed,
        flops_per_second=speed * flops_of_token(trial, context),
        train_peak_bytes=training.phase_peak_bytes["train"],
        peak_bytes=training.peak_memory_bytes,
        foretold_bytes=sum(parts.values()),
        foretold_parts=parts,
        phase_seconds=dict(training.phase_seconds),
        not_compiled=training.compile_note,
    )


def _write_round(directory: Path, trial: RoundTrial, model: Path, generation: GenerationRef, device: str) -> float:
    """Write a round's directory; return how many tokens a token of its text attends to, in the mean."""
    recipe, texts = trial.recipe, Texts(trial.shape, trial.recipe.length)
    tokens = int(MORE * trial.steps * recipe.batch_sequences * recipe.length)
    fresh, replay = texts.of(int(tokens * (1 - trial.replayed))), texts.of(int(tokens * trial.replayed))
    held_out = texts.of(2 * recipe.length)
    spec = RoundSpec(
        round=1,
        kind="causal-lm",
        seed=7,
        parent=generation,
        base=generation,
        recipe=recipe.model_copy(
            update={"max_steps": trial.steps, "early_stop_checks": 0, "interpolation": (0.0,), "learning_rate": 1e-5}
        ),
        device=device,
        compile=trial.compile,
        plausibility_documents=1,
        # Random words make no sense, and are not to be read for any.
        approved=True,
    )
    write_round(
        directory,
        spec,
        parent_dir=model,
        base_dir=model,
        fresh=fresh,
        replay=replay,
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "made up", tuple(held_out))],
    )
    return _context([*fresh, *replay])


def _run(directory: Path) -> tuple[TrainingSummary, list[ProgressEvent]]:
    """Run the learner on a round's directory; what it took, and what it said meanwhile."""
    events: list[ProgressEvent] = []
    ended = LearnerProcess().run(
        directory,
        limits=LearnerLimits(silence=LIMIT_S, time=LIMIT_S),
        on_progress=events.append,
        must_stop=lambda: False,
    )
    if ended.ending is not LearnerEnding.FINISHED:
        raise SystemExit(ended.detail)
    report = read_report(directory)
    if report.training is None:
        raise SystemExit(f"the round ended as {report.outcome.value}: {report.detail}")
    return report.training, events


def _give_back(device: str) -> None:
    """What the model took on the GPU while it was made is the learner's now."""
    if device == "cuda":
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def _steady_rate(events: list[ProgressEvent], tokens_of_step: float) -> float | None:
    """Tokens a second from the first step that was told of to the last; None where that is one."""
    told = [(event.step, event.seconds) for event in events if event.event == "step" and event.step is not None]
    (first, began), (last, ended) = told[0], told[-1]
    return (last - first) * tokens_of_step / (ended - began) if ended > began else None


def flops_of_token(trial: RoundTrial, context: float) -> float:
    """FLOPs that training on a token takes, in the mean over new and replayed ones.

    Args:
        trial: the round.
        context: tokens that a token attends to, in the mean.
    """
    shape, reading = trial.shape, trial.shape.flops_of_reading(context)
    # Backward twice the forward pass: for the activations, and for the weights, which an adapter leaves alone.
    training = 3 * reading - (2 * shape.matrix_weights if trial.recipe.adapter else 0)
    return training + (reading * trial.replayed if trial.recipe.kl else 0.0)


def _context(samples: list[RoundSample]) -> float:
    """Tokens that a token of these documents attends to, in the mean: half of its document."""
    lengths = [len(sample.text.split()) + 2 for sample in samples]
    return sum(length**2 for length in lengths) / sum(lengths) / 2


def _foretold(model: Path, recipe: RecipeSettings, device: str) -> dict[str, int]:
    """What the doctor foretells of the training; on a GPU without the context, which its allocator does not count."""
    shape = shape_of_files(model, "causal-lm", device_type=device, compute_bytes=2 if device == "cuda" else 4)
    if shape is None:
        raise SystemExit(f"the doctor cannot read the shape of {model}")
    parts = round_parts(shape, recipe, is_first=True)[TRAIN]
    return {name: size for name, size in parts.items() if device == "cpu" or name != "process"}
