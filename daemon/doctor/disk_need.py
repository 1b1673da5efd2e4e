"""How much more disk a state directory takes until everything in it is full: an estimate."""

import math
from pathlib import Path
from typing import Final

from checkpoints.files.weight_files import stored_weights
from daemon.settings.tree import Settings
from learner.directory.trained_result import are_written_at_once
from learner.settings import RecipeSettings
from learner.training.moment_sizes import CODED_BYTES

_TEXT_BYTES_PER_TOKEN: Final = 4.5
# The base, the previous one, and the one that is being published.
_GENERATIONS_BESIDE: Final = 3
# Of the round in progress, and of one that could not be proven yet; finished rounds' directories stay beside them.
_ROUNDS_BESIDE: Final = 2
# Formats whose rounding is kept in a byte a weight, and the bytes of a weight's importance.
_ROUNDED: Final = ("BF16", "F16")
_IMPORTANCE_BYTES: Final = 4
# Of a weight of the trained result, before it is rounded.
_RESULT_BYTES: Final = 4
# Of each weight that a round saves under way: itself and the optimizer's two moments; and where it looks when to stop,
# the best so far.
_SAVED_BYTES, _BEST_BYTES = 3 * 4, 4
# Of a matrix that is 256 wide or wider, an adapter's change of rank 1 has at most so much.
_ADAPTER_SHARE_PER_RANK: Final = 1 / 128
# The last one, and the one that is being written.
_SAVES: Final = 2


def bytes_to_come(settings: Settings) -> int:
    """What everything that is kept takes when it is full, less what is there.

    Generations, what rounds leave in their directories, what a round saves of itself, and the memory at its budgets.
    """
    memory = settings.memory
    text = int((memory.fresh_tokens + memory.replay_tokens) * _TEXT_BYTES_PER_TOKEN) + memory.quarantine_bytes
    model = _model(settings)
    base = _size_of(model)
    trained = settings.checkpoints.keep_last + _GENERATIONS_BESIDE - 1
    # What the oldest adapters lie on is one more.
    whole, adapters = _whole_and_adapters(settings, trained)
    whole += adapters > 0
    generations = base + whole * (base + bytes_beside(model, settings)) + adapters * adapter_bytes(model, settings)
    whole, adapters = _whole_and_adapters(settings, settings.lifecycle.rounds_kept + _ROUNDS_BESIDE)
    rounds = whole * round_bytes(model, settings) + adapters * adapter_round_bytes(model, settings)
    return text + generations + rounds + save_bytes(model, settings) - _size_of(settings.state_dir)


def _whole_and_adapters(settings: Settings, count: int) -> tuple[int, int]:
    """How many of as many rounds in a row leave a whole model at most, and how many of the others an adapter."""
    recipe = settings.learner.recipe
    whole = math.ceil(count / (recipe.adapter_rounds + 1)) if recipe.adapter == "lora" else count
    return whole, count - whole


def adapter_bytes(model: Path, settings: Settings) -> int:
    """What a generation takes at most that is an adapter, with the importance of all weights where there is that."""
    recipe = settings.learner.recipe
    share = min(1.0, recipe.adapter_rank * recipe.adapter_rounds * _ADAPTER_SHARE_PER_RANK)
    important = 1 if recipe.ewc else 0
    return int(stored_weights(model).total() * (_RESULT_BYTES * share + _IMPORTANCE_BYTES * important))


def adapter_round_bytes(model: Path, settings: Settings) -> int:
    """What a round leaves in its directory whose candidates are adapters, all with one file of importance."""
    recipe = settings.learner.recipe
    important = stored_weights(model).total() * _IMPORTANCE_BYTES if recipe.ewc else 0
    adapter = adapter_bytes(model, settings) - important
    return len(set(recipe.interpolation)) * adapter + important


def round_bytes(model: Path, settings: Settings) -> int:
    """What a round leaves in its directory: the result, and of the candidates what is written whole."""
    candidates, size = len(set(settings.learner.recipe.interpolation)), _size_of(model)
    whole = size + bytes_beside(model, settings)
    if candidates == 1:
        return whole
    result = int(stored_weights(model).total() * (_RESULT_BYTES + _for_the_next_round(settings.learner.recipe)))
    return result + whole * (candidates if are_written_at_once(size, candidates) else 1)


def save_bytes(model: Path, settings: Settings) -> int:
    """What a round under way takes to save itself, while one save takes the place of another."""
    recipe = settings.learner.recipe
    best = _BEST_BYTES if recipe.early_stop_checks else 0
    trained = 1.0 if recipe.adapter is None else min(1.0, recipe.adapter_rank * _ADAPTER_SHARE_PER_RANK)
    return int(_SAVES * stored_weights(model).total() * trained * (_SAVED_BYTES + best))


def bytes_beside(model: Path, settings: Settings) -> int:
    """What a round leaves beside the weights of each generation: what rounding cut off, importance, and moments."""
    weights = stored_weights(model)
    rounded = sum(weights[name] for name in _ROUNDED)
    return rounded + int(weights.total() * _for_the_next_round(settings.learner.recipe))


def _for_the_next_round(recipe: RecipeSettings) -> float:
    """Bytes of each weight, beside a result and each generation that it is made into."""
    important = _IMPORTANCE_BYTES if recipe.ewc else 0
    return important + (CODED_BYTES if recipe.carry_moments and recipe.adapter is None else 0)


def _model(settings: Settings) -> Path:
    """The base as it is stored, where it has been imported: what was a .gguf file is several times larger here."""
    return settings.base_dir if settings.base_dir.is_dir() else settings.model.path


def _size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
