"""A rehearsal: the learner runs a made-up round of a few steps with the user's model, and what it took is noted.

The text is made up, so that rows are as wide as the recipe allows; the model, the recipe, the process and its phases
are those of a real round. Nothing of it is kept.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from checkpoints.card import ModelKind
from checkpoints.files.label_names import SEVERAL
from daemon.doctor.scoring_reads import times_read, tokens_read
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from learner.devices.cores import usable_cores
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import TrainingSummary, read_report
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from learner.skills.prompts import Skill
from streams.chats import INPUT, TARGET, Message, join
from streams.decoding.several_labels import write_set

FEWEST_STEPS = 2
"""AdamW makes its moments in the first step: only the second has everything in memory."""
MOST_STEPS = 8
"""From here on the first step, which is slower, weighs less than one run differs from the next."""
WORDS = (
    "the",
    "river",
    "rises",
    "night",
    "keeper",
    "lock",
    "walks",
    "water",
    "morning",
    "rain",
    "hills",
    "boats",
    "mill",
)
SOURCE = "rehearsal"
PROMPTS_ASKED = 16
"""Prompts of each skill that a rehearsal asks."""
SEED = 7


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rehearsal is of.

    Attributes:
        directory: of the generation that is trained.
        digest: of its manifest.
        kind: of the model.
        longest: tokens that the model takes at most.
        characters_per_token: of `filler`, under the model's tokenizer.
        settings: of the learner.
        skills: what rounds ask, of which a rehearsal asks a part.
    """

    directory: Path
    digest: str
    kind: ModelKind
    longest: int
    characters_per_token: float
    settings: LearnerSettings
    skills: tuple[Skill, ...] = ()

    @property
    def prompts(self) -> int:
        """How many a round asks each model."""
        return sum(len(skill.prompts) for skill in self.skills)

    @property
    def width(self) -> int:
        """Tokens in a sequence."""
        return min(self.settings.recipe.length, self.longest)

    @property
    def tokens_of_row(self) -> int:
        """Tokens in a row: those of a sequence, or of two, where a row is an input and its target."""
        return 2 * self.width if self.kind == "seq2seq" else self.width

    def steps_within(self, seconds: float, tokens_per_second: float, rows: int) -> int:
        """How many optimizer steps a rehearsal with so many rows a pass may take, at a speed known from another."""
        step_seconds = recipe_of(self, rows).batch_sequences * self.width / max(tokens_per_second, 1e-9)
        return min(MOST_STEPS, max(FEWEST_STEPS, int(seconds / step_seconds)))


@dataclass(frozen=True, slots=True)
class RehearsalFigures:
    """What a rehearsal took.

    Attributes:
        rows: sequences in a micro-batch.
        width: tokens in each.
        peaks: bytes of memory at the highest, by phase.
        load_seconds: until the model was there and the text read.
        trained_per_second: tokens, new and replayed.
        scored_per_second: tokens that are read to score others.
        written_seconds: for one candidate, beside scoring it.
        important_per_second: sequences on which importance was estimated; None where the recipe has none.
        asked_per_second: prompts of skills that a model was asked; None where there are none.
    """

    rows: int
    width: int
    peaks: Mapping[str, int]
    load_seconds: float
    trained_per_second: float
    scored_per_second: float
    written_seconds: float
    important_per_second: float | None = None
    asked_per_second: float | None = None

    @property
    def peak(self) -> int:
        """Bytes of memory at the highest."""
        return max(self.peaks.values())


@dataclass(frozen=True, slots=True)
class FailedRehearsal:
    """Why a rehearsal came to no end.

    Attributes:
        rows: sequences in a micro-batch.
        why: a sentence.
        for_memory: whether memory ran out.
    """

    rows: int
    why: str
    for_memory: bool


def filler(characters: int, seed: int) -> str:
    """Made-up text of at least so many characters."""
    generator, words, length = random.Random(seed), list[str](), 0  # noqa: S311 - no secret
    while length < characters:
        words.append(generator.choice(WORDS))
        length += len(words[-1]) + 1
    return " ".join(words)


def rehearse(
    subject: Subject,
    rows: int,
    *,
    steps: int = FEWEST_STEPS,
    seconds: float,
    within: Path | None,
    on_progress: Callable[[ProgressEvent], None],
) -> RehearsalFigures | FailedRehearsal:
    """Run a made-up round with micro-batches of so many rows, in a process of its own.

    Args:
        subject: what to train.
        rows: sequences in a micro-batch.
        steps: optimizer steps, at least `FEWEST_STEPS`. Memory needs no more; a speed taken from more of them has less
            of the first one in it, which makes what later ones find ready.
        seconds: after which it is ended.
        within: the folder in which the round's directory is made and removed again.
        on_progress: gets each word of the learner's progress.

    Raises:
        OSError: the disk refused, or no process can be started.
    """
    with TemporaryDirectory(prefix=".rehearsal-", dir=within) as folder:
        directory = Path(folder) / "round"
        _write(directory, subject, rows, steps)
        outcome = LearnerProcess().run(
            directory,
            limits=LearnerLimits(silence=seconds, time=seconds),
            on_progress=on_progress,
            must_stop=lambda: False,
        )
        if outcome.ending is not LearnerEnding.FINISHED:
            return FailedRehearsal(rows, outcome.detail, for_memory=outcome.ending is LearnerEnding.OUT_OF_MEMORY)
        report = read_report(directory)
    if report.training is None:
        return FailedRehearsal(
            rows, f"the made-up round ended as {report.outcome.value}: {report.detail}", for_memory=False
        )
    scores = [score for slice_ in report.slices.values() for score in slice_.parent]
    # The first token of a document is read, but not scored.
    tokens = sum(tokens_read(score.tokens + 1, subject.width) for score in scores)
    if subject.kind != "causal-lm":
        tokens = round(rows * subject.tokens_of_row * times_read(subject.kind, subject.width, subject.width))
    return _summarise(report.training, rows, subject, tokens)


def _summarise(training: TrainingSummary, rows: int, subject: Subject, held_out: int) -> RehearsalFigures:
    seconds, recipe = training.phase_seconds, subject.settings.recipe
    scored_per_second = held_out / max(seconds["score"], 1e-9)
    candidates = len(set(recipe.interpolation))
    # Looks are spread over the steps, each at one document: they count by themselves.
    stopping_seconds = min(training.steps, recipe.early_stop_checks) * subject.width / scored_per_second
    trained_tokens = training.tokens_new + training.tokens_replayed
    important_per_second = None
    if recipe.ewc:
        important_per_second = training.importance_sequences / max(seconds["importance"], 1e-9)
    # Parent and base are one model here, which is asked once; so is each candidate.
    asking_seconds = seconds.get("skills", 0.0)
    asked = sum(len(skill.prompts) for skill in _sampled(subject))
    return RehearsalFigures(
        rows=rows,
        width=subject.width,
        peaks=training.phase_peak_bytes,
        load_seconds=seconds["verify"] + seconds["load"] + seconds["encode"],
        trained_per_second=trained_tokens / max(training.seconds - stopping_seconds, training.seconds / 2),
        scored_per_second=scored_per_second,
        written_seconds=max(0.0, seconds["candidates"] / candidates - held_out / scored_per_second - asking_seconds),
        important_per_second=important_per_second,
        asked_per_second=asked / max(asking_seconds, 1e-9) if asked else None,
    )


def _sampled(subject: Subject) -> tuple[Skill, ...]:
    return tuple(skill.sampled(PROMPTS_ASKED) for skill in subject.skills)


def recipe_of(subject: Subject, rows: int, steps: int = FEWEST_STEPS) -> RecipeSettings:
    """The user's recipe, in so many steps that each have a pass of new rows alone and one of replayed rows alone."""
    recipe = subject.settings.recipe
    new_share = 1 - recipe.replay_ratio
    batch = math.ceil(rows / min(new_share, 1 - new_share)) if new_share < 1 else rows
    changed = {
        "micro_batch": rows,
        "batch_sequences": min(recipe.batch_sequences, batch),
        "epochs": 1,
        "max_steps": steps,
    }
    return recipe.model_copy(update={**changed, "max_tokens": None, "max_seconds": None})


def _documents(subject: Subject, rows: int, steps: int) -> tuple[int, int]:
    """How many new and replayed documents, of a row each, the steps need."""
    recipe = recipe_of(subject, rows, steps)
    replayed_share = recipe.replay_ratio
    new = steps * max(1, round(recipe.batch_sequences * (1 - replayed_share)))
    return new, 0 if not replayed_share else max(1, round(new * replayed_share / (1 - replayed_share)))


def _write(directory: Path, subject: Subject, rows: int, steps: int) -> None:
    ref = GenerationRef(0, subject.digest)
    spec = RoundSpec(
        round=1,
        kind=subject.kind,
        seed=SEED,
        parent=ref,
        base=ref,
        recipe=recipe_of(subject, rows, steps),
        device=subject.settings.device,
        compile=subject.settings.compile,
        threads=subject.settings.threads or usable_cores(),
        plausibility_documents=1,
    )
    labels = _labels(subject.directory) if subject.kind == "classifier" else [None]
    numbers = iter(range(1, 1_000_000))

    def samples(count: int) -> list[RoundSample]:
        chosen = [number for number, _ in zip(numbers, range(count), strict=False)]
        return [_sample(subject, number, labels[number % len(labels)]) for number in chosen]

    new, replayed = _documents(subject, rows, steps)
    write_round(
        directory,
        spec,
        parent_dir=subject.directory,
        base_dir=subject.directory,
        fresh=samples(new),
        replay=samples(replayed),
        early_stop=samples(1 if spec.recipe.early_stop_checks else 0),
        slices=[RoundSlice(SOURCE, "anchor", SOURCE, tuple(samples(rows)))],
        skills=_sampled(subject),
    )


def _sample(subject: Subject, number: int, label: str | None) -> RoundSample:
    """A document as wide as a row, or a pair whose input and target are."""
    text = filler(int(subject.width * subject.characters_per_token), number)
    if subject.kind != "seq2seq":
        return RoundSample(number, text, SOURCE, label)
    pair = join([Message(INPUT, text), Message(TARGET, text)])
    return RoundSample(number, pair.text, SOURCE, label, pair.turns)


def _labels(directory: Path) -> list[str | None]:
    """The labels of the generation's classes, each as a document has it."""
    config = orjson.loads((directory / "config.json").read_bytes())
    names = list(config["id2label"].values())
    return [write_set({name}) if config.get("problem_type") == SEVERAL else name for name in names]
