"""A generation brought into this process's memory, for the builtin engine; and what every way of doing so can do."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
import torch
from transformers import PreTrainedModel

from checkpoints.card import ModelKind
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_beside, load_model, load_tokenizer, require_match
from checkpoints.probe.ask import conduct_of
from checkpoints.probe.conduct import Conduct
from serving.engine.loaded import LoadedGeneration
from serving.generations.verifying import tokenizer_files, verify
from serving.metrics import ServingMetrics

_log = structlog.get_logger(__name__)


class Brings(Protocol):
    """What brings generations to answer, and lets them go."""

    @property
    def store(self) -> GenerationStore:
        """Where generations are."""

    def fits_beside(self, number: int, beside: LoadedGeneration, /) -> bool:
        """Whether a generation is brought in while another answers."""

    def load(self, number: int, digest: str | None, beside: LoadedGeneration | None) -> LoadedGeneration:
        """Verify a generation and bring it in; raises where it cannot serve."""

    def warm(self, generation: LoadedGeneration, answer: Callable[[LoadedGeneration], None]) -> None:
        """Let a generation answer before it serves; raises where it cannot."""

    def let_go(self, generation: LoadedGeneration) -> None:
        """Say that no new request gets this generation; what it takes is given back with its last answer."""

    def take_back(self, generation: LoadedGeneration, /) -> bool:
        """Have a generation that was let go stay; False where what it takes is being given back, or has been."""

    def make_room(self, generation: LoadedGeneration) -> None:
        """Let a generation go and wait until what it takes is given back."""

    def break_off(self) -> None:
        """Bring in no more: what takes long is broken off."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Brings one generation into memory.

    Attributes:
        store: where generations are.
        kind: what the model is for.
        device: where it goes.
        metrics: where phases are timed.
        recipe_length: to how many tokens the base's texts are cut, which no recipe made; None: what the model takes.
        clock: unix seconds.
    """

    store: GenerationStore
    kind: ModelKind
    device: str
    metrics: ServingMetrics
    recipe_length: int | None = None
    clock: Callable[[], float] = time.time

    def load(self, number: int, digest: str | None, beside: LoadedGeneration | None) -> LoadedGeneration:
        """Verify and load a generation.

        Args:
            number: the generation.
            digest: what its manifest must be, when known.
            beside: a loaded one, whose architecture it probably has.

        Raises:
            CheckpointsError: it is missing, damaged, unsafe or unusable.
        """
        with self._timed("verify"):
            verify(self.store, number, digest)
        with self._timed("load"):
            path = self.store.path(number)
            files = tokenizer_files(self.store, number)
            length = self._recipe_length(number)
            # A tokenizer holds the length that it cuts to: of another length is another tokenizer.
            shared = beside and (beside.tokenizer_files, beside.recipe_length) == (files, length)
            tokenizer = beside.tokenizer if beside and shared else load_tokenizer(path)
            copied = load_beside(beside.model, path) if beside else None
            model = self._model(path) if copied is None else copied
            require_match(model, self.kind, tokenizer, path)
        with self._timed("probe"):
            # Of the same architecture the same is true: a swap waits for no probe.
            shared_conduct = beside.conduct if beside and copied is not None else None
            conduct = shared_conduct or conduct_of(model, self.kind, tokenizer)
        _say_conduct(number, self.kind, conduct, shared=shared_conduct is not None)
        return LoadedGeneration.of(
            number,
            self.store.digest(number),
            self.kind,
            model,
            tokenizer,
            loaded_at=self.clock(),
            conduct=conduct,
            tokenizer_files=files,
            recipe_length=length,
            model_digest=self.store.model_digest(number),
        )

    def _recipe_length(self, number: int) -> int | None:
        """To how many tokens the recipe that made a classifier cut its texts."""
        if self.kind != "classifier":
            return None
        length = self.store.card(number).recipe.get("sequence_length")
        return length if isinstance(length, int) else self.recipe_length

    def _model(self, path: Path) -> PreTrainedModel:
        # On a CPU half precision is slower and coarser than single.
        dtype = torch.float32 if self.device == "cpu" else None
        return load_model(path, self.kind, device=self.device, dtype=dtype)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        with self.metrics.swap_seconds.labels(phase).time():
            yield

    def warm(self, generation: LoadedGeneration, answer: Callable[[LoadedGeneration], None]) -> None:
        """Let a generation answer before it serves.

        Raises:
            BrokenGeneration: it cannot.
        """
        with self._timed("warm"):
            answer(generation)

    def fits_beside(self, _number: int, _beside: LoadedGeneration, /) -> bool:
        """Two models fit, or nothing could be swapped."""
        return True

    def let_go(self, generation: LoadedGeneration) -> None:
        """Nothing is to be done: its memory goes with the last that holds it."""

    def take_back(self, _: LoadedGeneration, /) -> bool:
        """Whoever holds it keeps it."""
        return True

    def make_room(self, generation: LoadedGeneration) -> None:
        """Nothing is to be done, as two fit."""

    def break_off(self) -> None:
        """A load under way is finished: nothing of it can be broken off."""


def _say_conduct(number: int, kind: ModelKind, conduct: Conduct, *, shared: bool) -> None:
    """What a model's nature costs those who ask it is told once, not at each swap."""
    if not shared and (why := conduct.cost(kind)):
        _log.warning("generation_is_asked_slowly", generation=number, served=conduct.description(kind), reason=why)
