"""What a comparison is asked of: two generations whose files are here, on a machine with room for one of them."""

import secrets
from dataclasses import dataclass
from typing import Final

from checkpoints.errors import CheckpointsError
from checkpoints.generation_store import GenerationStore
from daemon.comparisons.answer_comparison import ComparisonWish
from daemon.comparisons.room import why_no_room
from daemon.errors import BadRequest, Refused, UnknownThing
from daemon.settings.tree import Settings, with_kept_length
from memory.errors import UnknownGeneration
from memory.store import Store
from serving.comparison.exchange import ComparisonPrompt

DRAWN: Final = 1.0
"""The temperature where a seed is given, and nothing else is said."""
SEED_BITS: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedComparison:
    """A comparison as somebody asks for it.

    Attributes:
        prompt: to be answered.
        first, second: the generations; None stands for the parent of the second, and for the one that serves.
        temperature, seed: None where nothing is said of it.
    """

    prompt: str
    first: int | None
    second: int | None
    blind: bool
    chat: bool
    max_tokens: int
    temperature: float | None
    seed: int | None


def prepared(
    asked: AskedComparison, store: Store, checkpoints: GenerationStore, settings: Settings
) -> tuple[ComparisonWish, ComparisonPrompt]:
    """A comparison that may begin, with what was left out of it, and what its process is asked.

    Args:
        asked: the comparison.
        store: the memory.
        checkpoints: the generations.
        settings: in force.

    Raises:
        UnknownThing: there is no such generation.
        BadRequest: it makes no sense.
        Refused: there is nothing to compare, the files of one are gone or damaged, or there is no room.
    """
    kind = settings.model.kind
    if kind == "masked-lm":
        raise Refused("A masked language model answers no prompts: there is nothing to compare.")
    if asked.chat and kind != "causal-lm":
        raise BadRequest(f"`chat`: a model of kind {kind} takes no chat; leave it out.")
    first, second = _pair(store, asked.first, asked.second)
    for number in (first, second):
        _require_files(store, checkpoints, number)
    temperature, seed = _drawing(asked.temperature, asked.seed)
    wish = ComparisonWish(
        first, second, asked.prompt, asked.blind, asked.chat, asked.max_tokens, temperature=temperature, seed=seed
    )
    try:
        problem = why_no_room(checkpoints, (first, second), kind)
        prompt = _prompt(wish, checkpoints, with_kept_length(settings))
    except CheckpointsError as error:
        raise Refused(f"It cannot be compared: {error}") from error
    if problem:
        raise Refused(problem)
    return wish, prompt


def _prompt(wish: ComparisonWish, checkpoints: GenerationStore, settings: Settings) -> ComparisonPrompt:
    return ComparisonPrompt(
        checkpoints=checkpoints.root.absolute(),
        kind=settings.model.kind,
        generations=(wish.first, wish.second),
        prompt=wish.prompt,
        chat=wish.chat,
        max_tokens=wish.max_tokens,
        temperature=wish.temperature,
        seed=wish.seed,
        recipe_length=settings.learner.recipe.sequence_length,
    )


def _drawing(temperature: float | None, seed: int | None) -> tuple[float, int]:
    """How tokens are drawn; a seed that nobody named is told afterwards, so that it can be asked for again."""
    heat = (0.0 if seed is None else DRAWN) if temperature is None else temperature
    return heat, (secrets.randbits(SEED_BITS) if heat else 0) if seed is None else seed


def _pair(store: Store, first: int | None, second: int | None) -> tuple[int, int]:
    serving = store.generations.serving()
    if serving is None:
        raise Refused("No generation serves yet: there is nothing to compare.")
    if second is None:
        second = serving
    if first is None:
        first = _known(store, second)
        if first is None:
            raise Refused(f"Generation {second} is the base, and came of none: name the one to put beside it.")
    if first == second:
        raise BadRequest(f"Both are generation {first}: name two.")
    return first, second


def _known(store: Store, number: int) -> int | None:
    """The parent of a generation. Raises UnknownThing."""
    try:
        return store.generations.read(number).parent
    except (UnknownGeneration, OverflowError) as error:
        raise UnknownThing(f"There is no generation {number}.") from error


def _require_files(store: Store, checkpoints: GenerationStore, number: int) -> None:
    numbers = checkpoints.numbers()
    if number in numbers:
        return
    _known(store, number)
    there = ", ".join(map(str, numbers[-12:]))
    raise Refused(
        f"The files of generation {number} are not here any more (`checkpoints.keep_last` says how many stay); those "
        f"that are here: {there}."
    )
