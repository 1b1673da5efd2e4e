"""A second model beside the kept one: the same new text, its own recipe and its own generations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from checkpoints.card import Card
from checkpoints.generation_store import BASE, GenerationStore
from daemon.errors import DaemonError
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds import directories
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import FILE_NAME as REPORT
from learner.directory.report import Outcome, Report, read_report
from learner.directory.round_directory import CANDIDATES, GenerationRef, RoundSpec, read_round, write_round
from learner.settings import RecipeSettings
from memory.ledger.records import DocumentScore

LIMITS = LearnerLimits(silence=600.0, time=6 * 3600.0)


def naive(kept: RecipeSettings, learning_rate: float) -> RecipeSettings:
    """The recipe of naive fine-tuning: as many new tokens a step as `kept`, on the same schedule, and nothing else.

    Each round begins its optimizer anew, as a fine-tuner does who goes on from a checkpoint of weights.
    """
    new_share = 1 - kept.replay_ratio
    return kept.model_copy(
        update={
            "batch_sequences": max(1, round(kept.batch_sequences * new_share)),
            "replay_ratio": 0.0,
            "kl": 0.0,
            "l2_sp": 0.0,
            "ewc": 0.0,
            "carry_moments": False,
            "interpolation": (0.0,),
            "learning_rate": learning_rate,
        }
    )


class Lineage:
    """Follows the rounds of another model with a recipe of its own, without a gate.

    Args:
        home: where its generations and round directories go; made when missing.
        base_model: the directory of the model that both start from.
        recipe: how it learns.
        threads: of the learner on CPU; None for all.
        choose: names the candidate that becomes its next generation.
    """

    def __init__(
        self,
        home: Path,
        base_model: Path,
        recipe: RecipeSettings,
        *,
        threads: int | None = None,
        choose: Callable[[Report], str] = lambda report: report.candidates[0],
    ) -> None:
        self._home = home
        self._recipe = recipe
        self._threads = threads
        self._choose = choose
        self._store = GenerationStore(home / "checkpoints")
        self._current = self._base = self._store.publish(base_model, BASE, Card(BASE, "causal-lm"))
        self._learner = LearnerProcess()

    def follow(
        self,
        round_directory: Path,
        on_progress: Callable[[ProgressEvent], None] | None = None,
        *,
        must_stop: Callable[[], bool] = lambda: False,
        max_tokens: int | None = None,
    ) -> Report:
        """Train on the new text of a round of the kept model, from this lineage's latest generation.

        The round's replayed samples are used as far as the recipe replays at all. Where it has a report, its scores of
        the base, which both have, are not made again.

        Args:
            round_directory: of the kept model.
            on_progress: gets each word of the learner's progress.
            must_stop: asked now and then; the learner is ended where it says so.
            max_tokens: that are trained in this round; None for what the recipe says.

        Raises:
            DaemonError: the learner did not finish, or trained nothing.
        """
        number = self._current.generation + 1
        directory = directories.round_directory(self._home / "rounds", number)
        recipe = self._recipe if max_tokens is None else self._recipe.model_copy(update={"max_tokens": max_tokens})
        self._write(round_directory, directory, recipe)
        ended = self._learner.run(directory, limits=LIMITS, on_progress=on_progress or _ignore, must_stop=must_stop)
        if ended.ending is not LearnerEnding.FINISHED:
            raise DaemonError(f"The learner on {directory} failed: {ended.detail}.")
        report = read_report(directory)
        if report.outcome is not Outcome.TRAINED:
            raise DaemonError(f"The round in {directory} trained nothing: {report.detail}")
        candidate = directory / CANDIDATES / self._choose(report)
        if not candidate.is_dir():
            self._write_candidate(directory, candidate.name)
        self._current = self._store.publish(candidate, number, Card(number, "causal-lm", parent=number - 1))
        return report

    def _write_candidate(self, directory: Path, name: str) -> None:
        ended = self._learner.run(directory, limits=LIMITS, on_progress=_ignore, must_stop=lambda: False, write=name)
        if ended.ending is not LearnerEnding.FINISHED:
            raise DaemonError(f"The candidate {name} of {directory} could not be written: {ended.detail}.")

    def _write(self, source: Path, directory: Path, recipe: RecipeSettings) -> None:
        round_ = read_round(source)
        write_round(
            directory,
            self._spec(round_.spec, recipe),
            parent_dir=self._current.path,
            base_dir=self._base.path,
            fresh=round_.fresh,
            replay=round_.replay if recipe.replay_ratio > 0 else (),
            early_stop=round_.early_stop,
            slices=round_.slices,
            known_base=_of_base(source),
            scored=read_report(source).scored if (source / REPORT).exists() else None,
        )

    def _spec(self, kept: RoundSpec, recipe: RecipeSettings) -> RoundSpec:
        return replace(
            kept,
            parent=GenerationRef(self._current.generation, self._current.digest),
            base=GenerationRef(BASE, self._base.digest),
            recipe=recipe,
            threads=self._threads,
            # Without bounds, and by nobody's leave: this lineage learns whatever comes.
            plausibility=PlausibilityBounds(),
            plausibility_documents=1,
            approved=True,
            # Of other generations than this lineage's, and trained otherwise.
            best=None,
            kept=None,
        )


def _of_base(source: Path) -> dict[int, DocumentScore]:
    """What the base scored on each held-out document, where the round was judged."""
    if not (source / REPORT).exists():
        return {}
    slices = read_report(source).slices.values()
    return {score.id: score for scores in slices for score in scores.base}


def _ignore(_: ProgressEvent) -> None:
    """Nobody watches this lineage's progress."""
