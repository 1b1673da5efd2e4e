"""What is done about a round whose learner ran out of memory: half the micro-batch until it fits, remembered after."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from daemon.processes.device_memory import describe_memory
from daemon.processes.learner_process import LearnerEnding, LearnerExit
from learner.directory.round_directory import PROGRESS, halve_micro_batch, limit_micro_batch, read_spec
from learner.errors import BadRoundDirectory
from learner.settings import RecipeSettings
from memory.ledger.records import TooLarge
from memory.store import Store

log = structlog.get_logger(__name__)

SIZES: Final = (
    "micro_batch",
    "batch_sequences",
    "sequence_length",
    "precision",
    "gradient_checkpointing",
    "adapter",
    "adapter_rank",
    "adapter_modules",
)
STRENGTHS: Final = ("kl", "der_alpha", "ewc", "l2_sp")
"""Settings of which it only counts whether they are 0: what they ask for is in memory then, or is not."""
SUSPICIONS: Final = 2
"""Ends in a row that may have been for memory, after which they are taken for it."""


def asks_of_memory(recipe: Mapping[str, Any], device: str) -> dict[str, Any]:
    """What of the settings decides on how large a micro-batch fits.

    Args:
        recipe: as the ledger keeps it.
        device: as in `learner.device`.
    """
    strengths = {name: bool(recipe.get(name)) for name in STRENGTHS}
    return {name: recipe.get(name) for name in SIZES} | strengths | {"device": device}


def conditions_of(recipe: Mapping[str, Any], device: str, model: str, there: str) -> str:
    """Everything under which a micro-batch that was too large stays so, as JSON.

    Args:
        recipe: as the ledger keeps it.
        device: as in `learner.device`.
        model: digest of the base, whose architecture every generation has.
        there: the memory that there is.
    """
    versions = {name: _version(name) for name in ("riverkeep", "torch", "transformers")}
    conditions = {"settings": asks_of_memory(recipe, device), "model": model, "memory": there, **versions}
    return orjson.dumps(conditions, option=orjson.OPT_SORT_KEYS).decode()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """That rounds begin with a smaller micro-batch than the recipe asks for.

    Attributes:
        micro_batch: sequences in a pass that they begin with.
        wanted: that the recipe asks for.
        too_large: the latest size that did not fit.
    """

    micro_batch: int
    wanted: int
    too_large: TooLarge

    def sentence(self) -> str:
        """For a person: what happened, what follows, what to do."""
        return (
            f"round {self.too_large.round} ran out of memory with {self.too_large.micro_batch:,} sequences in a pass: "
            f"rounds begin with {self.micro_batch:,} of the {self.wanted:,} that are set, which changes their time and "
            f"nothing else. Set `learner.recipe.micro_batch = {self.micro_batch}` to leave it so; {self.wanted:,} are "
            "tried again when model, device, its memory, what the recipe asks of memory or the version is another"
        )


def limit_of(notes: Iterable[TooLarge], wanted: int) -> MemoryLimit | None:
    """The limit that follows from what was noted under the present conditions; None where the recipe's size may fit."""
    counting = [note for note in notes if note.certain or note.times >= SUSPICIONS]
    if not counting:
        return None
    smallest = min(counting, key=lambda note: note.micro_batch)
    most = max(1, smallest.micro_batch // 2)
    return MemoryLimit(most, wanted, smallest) if most < wanted else None


def limit_by_settings(notes: Iterable[TooLarge], recipe: RecipeSettings, device: str) -> MemoryLimit | None:
    """The limit under the latest conditions, where the settings are still theirs: for who looks between rounds."""
    listed = list(notes)
    if not listed:
        return None
    if orjson.loads(listed[0].conditions)["settings"] != asks_of_memory(recipe.model_dump(mode="json"), device):
        return None
    latest = [note for note in listed if note.conditions == listed[0].conditions]
    return limit_of(latest, min(recipe.micro_batch, recipe.batch_sequences))


class MicroBatchLimits:
    """How large a micro-batch may be after what earlier rounds ran into; the recipe's own where nothing happened.

    Args:
        store: remembers it.
        show: told what share of the recipe's micro-batch a round is tried with, in (0, 1].
        there: tells the memory that a device has.
    """

    def __init__(
        self, store: Store, *, show: Callable[[float], None], there: Callable[[str], str] = describe_memory
    ) -> None:
        self._store, self._show, self._there = store, show, there
        self._next: int | None = None
        self._conditions = ""

    def begin(self, directory: Path, number: int) -> None:
        """Let a round begin with as large a micro-batch as is not known to be too large."""
        self._conditions = self._conditions_in(directory, number)
        spec = read_spec(directory)
        wanted = min(spec.recipe.micro_batch, spec.recipe.batch_sequences)
        limit = limit_of(self._noted(), wanted)
        sizes = [wanted] if limit is None else [wanted, limit.micro_batch]
        most = min(sizes if self._next is None else [*sizes, self._next])
        if most < wanted and limit_micro_batch(directory, most):
            cut_off = "the last one was cut off with the service"
            log.warning("round_begins_smaller", micro_batch=most, reason=cut_off if limit is None else limit.sentence())
        self._show(most / wanted)

    def learn(self, directory: Path, number: int, run: Callable[[], LearnerExit]) -> LearnerExit:
        """Run a round's learner, again with half the micro-batch each time that it runs out of memory.

        A step has as many sequences as before, in more passes: their gradients add up.
        """
        wanted, tried, ended = self._rows(directory), list[int](), run()
        first = ended
        while ended.ending is LearnerEnding.OUT_OF_MEMORY:
            self._note(self._rows(directory), number, certain=ended.certain)
            half = halve_micro_batch(directory)
            if half is None:
                return replace(ended, detail=f"{_history(first, tried, ended)}; {_nothing_smaller(directory)}")
            log.warning("round_tried_again", reason=ended.detail, micro_batch=half)
            tried.append(half)
            self._show(half / wanted)
            ended = run()
        if ended.ending is LearnerEnding.FINISHED:
            self._next = None
            self._store.rounds.note_fits(self._conditions, self._rows(directory))
        return replace(ended, detail=_history(first, tried, ended))

    def note_cut_off(self, directory: Path, number: int) -> str:
        """Let the next round begin with half the micro-batch of one whose learner was at work; what to say of it.

        A container that is killed whole for memory takes the daemon with its learner. Nothing tells that from other
        sudden ends, and the same round anew would end the same way for ever: once is a suspicion, for the next round
        alone; twice with one size, and none finished with it between, is remembered.
        """
        # A learner that had not said a word yet had loaded nothing that could fill the memory.
        if not (directory / PROGRESS).exists():
            return ""
        try:
            self._conditions = self._conditions_in(directory, number)
            self._note(self._rows(directory), number, certain=False)
            self._next = halve_micro_batch(directory) or 1
        except (OSError, BadRoundDirectory):
            return ""
        return (
            f", together with the service: the next round begins with a micro-batch of {self._next}, in case they "
            "were killed for memory"
        )

    def _conditions_in(self, directory: Path, number: int) -> str:
        spec, recipe = read_spec(directory), self._store.rounds.read(number).recipe
        return conditions_of(recipe, spec.device, spec.base.digest, self._there(spec.device))

    def _noted(self) -> list[TooLarge]:
        return [note for note in self._store.rounds.too_large() if note.conditions == self._conditions]

    def _note(self, rows: int, number: int, *, certain: bool) -> None:
        self._store.rounds.note_too_large(self._conditions, rows, certain=certain, number=number)

    @staticmethod
    def _rows(directory: Path) -> int:
        """Sequences in a pass: no step has more of them than a batch."""
        recipe = read_spec(directory).recipe
        return min(recipe.micro_batch, recipe.batch_sequences)


def _history(first: LearnerExit, tried: list[int], last: LearnerExit) -> str:
    if not tried:
        return last.detail
    return f"{first.detail}; tried again with a micro-batch of {', '.join(map(str, tried))}: {last.detail}"


def _nothing_smaller(directory: Path) -> str:
    """What is left to do where memory does not hold a single sequence."""
    recipe = read_spec(directory).recipe
    saving = [f"`learner.recipe.sequence_length` below {recipe.length:,}"]
    if not recipe.gradient_checkpointing:
        saving.insert(0, "`learner.recipe.gradient_checkpointing = true`")
    if recipe.ewc:
        saving.append("`learner.recipe.ewc = 0` (no importance of each weight)")
    if recipe.adapter is None:
        saving.append('`learner.recipe.adapter = "lora"` (no second model, and next to no optimizer)')
    if (recipe.kl or recipe.der_alpha) and recipe.adapter is None:
        saving.append("`learner.recipe.kl = 0` and `der_alpha = 0` (no second model, but more is forgotten)")
    return (
        f"the micro-batch is 1 already: memory does not hold one sequence. Set {', or '.join(saving)}; else take a "
        "smaller model or a device with more memory. `riverkeep doctor` rehearses a round with what you set"
    )
