"""What is done about memory: before a round begins by what it will need, after it ran out by half the micro-batch.

Where the recipe leaves gradient checkpointing open, the round begins with it, or on a CPU with fewer sequences in a
pass, if it would not fit without (see `daemon.sizes.checkpointing`). What runs out of memory all the same lacks little,
and half the micro-batch costs no time to speak of, as a step has the same sequences in more passes; checkpointing costs
a third of the training in this and all later rounds. So the micro-batch is halved first, and only a round that does not
fit with a single sequence in a pass is tried with checkpointing. What did not fit is remembered, without and with it by
itself.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
import structlog

from checkpoints.card import ModelKind
from daemon.processes.device_memory import describe_memory
from daemon.processes.learner import LearnerEnding, LearnerExit
from daemon.sizes.checkpointing import Checkpointing, checkpointing_now
from learner.devices.gpus import RunsOn
from learner.directory.less_memory import halve_micro_batch, limit_micro_batch, settle_checkpointing
from learner.directory.round_directory import BASE, PROGRESS, RoundSpec, read_spec
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
    "optimizer",
    "adapter",
    "adapter_base",
    "adapter_rank",
    "adapter_modules",
)
STRENGTHS: Final = ("kl", "der_alpha", "ewc", "l2_sp")
"""Settings of which it only counts whether they are 0: what they ask for is in memory then, or is not."""
CHECKPOINTING: Final = "gradient_checkpointing"
"""The setting that a round settles where it is left out: in what is noted it is always true or false."""
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
    smallest = _smallest(notes)
    if smallest is None:
        return None
    most = max(1, smallest.micro_batch // 2)
    return MemoryLimit(most, wanted, smallest) if most < wanted else None


def _smallest(notes: Iterable[TooLarge]) -> TooLarge | None:
    """The smallest micro-batch that is taken to be too large."""
    counting = [note for note in notes if note.certain or note.times >= SUSPICIONS]
    return min(counting, key=lambda note: note.micro_batch, default=None)


def limit_by_settings(notes: Iterable[TooLarge], recipe: RecipeSettings, device: str) -> MemoryLimit | None:
    """The limit under the latest conditions, where the settings are still theirs: for who looks between rounds."""
    listed = list(notes)
    if not listed:
        return None
    noted, asked = (
        orjson.loads(listed[0].conditions)["settings"],
        asks_of_memory(recipe.model_dump(mode="json"), device),
    )
    is_open = recipe.gradient_checkpointing is None
    if noted != (asked | {CHECKPOINTING: noted[CHECKPOINTING]} if is_open else asked):
        return None
    latest = [note for note in listed if note.conditions == listed[0].conditions]
    if is_open and not noted[CHECKPOINTING] and _needs_checkpointing(latest) is not None:
        # From there on with it, with which the micro-batch that is set may fit.
        return None
    return limit_of(latest, min(recipe.micro_batch, recipe.batch_sequences))


def _needs_checkpointing(notes: Iterable[TooLarge]) -> TooLarge | None:
    """Of what was noted without checkpointing, the round that did not fit with a single sequence in a pass."""
    smallest = _smallest(notes)
    return smallest if smallest is not None and smallest.micro_batch == 1 else None


Foretold: TypeAlias = Callable[[Path, ModelKind, RecipeSettings, RunsOn], Checkpointing]
"""Decides on checkpointing by a model's directory and kind, a recipe, and on what the round runs."""


class MicroBatchLimits:
    """How large a micro-batch may be after what earlier rounds ran into; the recipe's own where nothing happened.

    It settles whether a round computes activations again, where the recipe leaves that open.

    Args:
        store: remembers it.
        show: told what share of the recipe's micro-batch a round is tried with, in (0, 1].
        there: tells the memory that a device has.
        foretell: decides on checkpointing where nothing is remembered.
        beside_service: whether the learner runs beside this process, which then may end with it for want of memory.
    """

    def __init__(
        self,
        store: Store,
        *,
        show: Callable[[float], None],
        there: Callable[[str], str] = describe_memory,
        foretell: Foretold = checkpointing_now,
        beside_service: bool = True,
    ) -> None:
        self._beside_service = beside_service
        self._store, self._show, self._there, self._foretell = store, show, there, foretell
        self._next: int | None = None
        self._conditions = ""

    def begin(self, directory: Path, number: int) -> None:
        """Let a round begin with as large a micro-batch as is not known to be too large."""
        decided = self._settle_checkpointing(directory, number)
        self._conditions = self._conditions_in(directory, number)
        wanted = self._rows(directory)
        limit = limit_of(self._noted(), wanted)
        sizes = [wanted] if limit is None else [wanted, limit.micro_batch]
        most = min(sizes if self._next is None else [*sizes, self._next])
        if most < wanted:
            cut_off = "the last one was cut off with the service"
            log.warning("round_begins_smaller", micro_batch=most, reason=cut_off if limit is None else limit.sentence())
        self._show(most / wanted)
        # Not shown: where it is chosen for its speed nobody need look for memory.
        chosen = None if decided is None else decided.micro_batch
        if (begins := most if chosen is None else min(most, chosen)) < wanted:
            limit_micro_batch(directory, begins)

    def _settle_checkpointing(self, directory: Path, number: int) -> Checkpointing | None:
        """Decide whether the round computes activations again; one that goes on, or trains nothing, has no need."""
        spec = read_spec(directory)
        if spec.recipe.gradient_checkpointing is not None or spec.kept is not None:
            return None
        self._conditions = self._conditions_in(directory, number)
        noted = self._noted()
        if (ran_out := _needs_checkpointing(noted)) is not None:
            why = f"round {ran_out.round} ran out of memory with a single sequence in a pass"
            decided = Checkpointing(on=True, why=why)
        else:
            limit = limit_of(noted, _rows(spec))
            rows = spec.recipe.micro_batch if limit is None else limit.micro_batch
            recipe = spec.recipe.model_copy(update={"micro_batch": rows})
            # Its base, of the parent's architecture: that may be an adapter, whose files tell only what it changes.
            decided = self._foretell(directory / BASE, spec.kind, recipe, spec)
        log.info("round_checkpointing", on=decided.on, reason=decided.why)
        is_news = decided.on or decided.micro_batch is not None
        settle_checkpointing(directory, on=decided.on, note=decided.sentence() if is_news else "")
        return decided

    def learn(self, directory: Path, number: int, run: Callable[[], LearnerExit]) -> LearnerExit:
        """Run a round's learner, again with half the micro-batch each time that it runs out of memory.

        A step has as many sequences as before, in more passes: their gradients add up.
        """
        wanted, tried, ended = self._rows(directory), list[str](), run()
        first = ended
        while ended.ending is LearnerEnding.OUT_OF_MEMORY:
            self._note(self._rows(directory), number, certain=ended.certain)
            half = halve_micro_batch(directory)
            if half is not None:
                log.warning("round_tried_again", reason=ended.detail, micro_batch=half)
                tried.append(str(half))
                self._show(half / wanted)
            elif self._begin_checkpointing(directory, number):
                log.warning("round_tried_again", reason=ended.detail, micro_batch=1, gradient_checkpointing=True)
                tried.append("1 with gradient checkpointing")
            else:
                return replace(ended, detail=f"{_history(first, tried, ended)}; {_nothing_smaller(directory)}")
            ended = run()
        if ended.ending is LearnerEnding.FINISHED:
            self._next = None
            self._store.rounds.note_fits(self._conditions, self._rows(directory))
        return replace(ended, detail=_history(first, tried, ended))

    def _begin_checkpointing(self, directory: Path, number: int) -> bool:
        """Let a round compute activations again that did not fit without; False where it does, or must not."""
        is_open = self._store.rounds.read(number).recipe.get(CHECKPOINTING) is None
        if not is_open or read_spec(directory).recipe.gradient_checkpointing:
            return False
        decided = Checkpointing(on=True, why="it ran out of memory with a single sequence in a pass")
        settle_checkpointing(directory, on=True, note=decided.sentence())
        self._conditions = self._conditions_in(directory, number)
        return True

    def note_cut_off(self, directory: Path, number: int) -> str:
        """Let the next round begin with half the micro-batch of one whose learner was at work; what to say of it.

        A container that is killed whole for memory takes the daemon with its learner. Nothing tells that from other
        sudden ends, and the same round anew would end the same way for ever: once is a suspicion, for the next round
        alone; twice with one size, and none finished with it between, is remembered.
        """
        # A learner that had not said a word yet had loaded nothing that could fill the memory.
        if not self._beside_service or not (directory / PROGRESS).exists():
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
        spec = read_spec(directory)
        settled = {CHECKPOINTING: bool(spec.recipe.gradient_checkpointing)}
        recipe = {**self._store.rounds.read(number).recipe, **settled}
        return conditions_of(recipe, spec.device, spec.base.digest, self._there(spec.device))

    def _noted(self) -> list[TooLarge]:
        return [note for note in self._store.rounds.too_large() if note.conditions == self._conditions]

    def _note(self, rows: int, number: int, *, certain: bool) -> None:
        self._store.rounds.note_too_large(self._conditions, rows, certain=certain, number=number)

    @staticmethod
    def _rows(directory: Path) -> int:
        return _rows(read_spec(directory))


def _rows(spec: RoundSpec) -> int:
    """Sequences in a pass: no step has more of them than a batch."""
    return min(spec.recipe.micro_batch, spec.recipe.batch_sequences)


def _history(first: LearnerExit, tried: list[str], last: LearnerExit) -> str:
    if not tried:
        return last.detail
    return f"{first.detail}; tried again with a micro-batch of {', '.join(tried)}: {last.detail}"


def _nothing_smaller(directory: Path) -> str:
    """What is left to do where memory does not hold a single sequence."""
    spec = read_spec(directory)
    recipe = spec.recipe
    saving = [f"`learner.recipe.sequence_length` below {recipe.length:,}"]
    if not recipe.gradient_checkpointing:
        saving.insert(0, "`learner.recipe.gradient_checkpointing = true`")
    if recipe.ewc:
        saving.append("`learner.recipe.ewc = 0` (no importance of each weight)")
    if recipe.adapter is None:
        # Beside an adapter nothing is left that could be divided.
        undivided = " with `learner.sharded = false`" if spec.sharded else ""
        saving.append(f'`learner.recipe.adapter = "lora"`{undivided} (no second model, and next to no optimizer)')
    if (recipe.kl or recipe.der_alpha) and recipe.adapter is None:
        saving.append("`learner.recipe.kl = 0` and `der_alpha = 0` (no second model, but more is forgotten)")
    return (
        f"the micro-batch is 1 already: memory does not hold one sequence. Set {', or '.join(saving)}; else take a "
        "smaller model or a device with more memory. `riverkeep doctor` rehearses a round with what you set"
    )
