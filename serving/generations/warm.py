"""Let a generation answer before it serves, so that the first request after a swap waits for nothing."""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from serving.answers.prompts import RecentPrompts
from serving.engine.classify import Classification, Classifier, Probabilities
from serving.engine.completion import Completion, Delta, Event
from serving.engine.completions import Writer
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.errors import REFUSED_BY_ENGINE, BrokenGeneration, RequestError

T = TypeVar("T")

WARM_NEW_TOKENS: Final = 4
PATIENCE_S: Final = 120.0


def warming(worker: Writer | Classifier, recent: RecentPrompts) -> Callable[[LoadedGeneration], None]:
    """What lets a generation answer the recent prompts, one after the other, among the requests under way.

    The returned function raises BrokenGeneration when the generation fails to answer.
    """

    def warm(generation: LoadedGeneration) -> None:
        for prompt in recent.usable_by(generation):
            # A prompt of the old generation may be longer than what the new one has a place for.
            fitting = prompt[: max(1, generation.context - WARM_NEW_TOKENS)]
            if isinstance(worker, Classifier):
                _classify(worker, generation, fitting)
            else:
                _complete(worker, generation, fitting)

    return warm


def _complete(worker: Writer, generation: LoadedGeneration, prompt: Sequence[int]) -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    # Greedy: a trial is to depend on the weights alone.
    job = Completion(generation, prompt, WARM_NEW_TOKENS, Sampling(temperature=0), (), events.put, trial=True)
    # A queue that clients have filled must not keep a better generation from serving.
    worker.submit(job, unlimited=True)
    while isinstance(event := _next(events, generation), Delta):
        pass
    _require_success(event, generation)


def _classify(worker: Classifier, generation: LoadedGeneration, text: Sequence[int]) -> None:
    outcomes: SimpleQueue[Probabilities | Exception] = SimpleQueue()
    worker.submit(Classification(generation, [text], outcomes.put, trial=True), unlimited=True)
    _require_success(_next(outcomes, generation), generation)


def _next(events: SimpleQueue[T], generation: LoadedGeneration) -> T:
    try:
        return events.get(timeout=PATIENCE_S)
    except Empty:
        raise BrokenGeneration(f"generation {generation.number} gave no answer in {PATIENCE_S:g} s") from None


def _require_success(outcome: object, generation: LoadedGeneration) -> None:
    if isinstance(outcome, BrokenGeneration):
        raise outcome
    if isinstance(outcome, Exception):
        # An engine's own words, and a library's, may hold what a client wrote, by whose prompts it is tried.
        ours = isinstance(outcome, RequestError) and outcome.code != REFUSED_BY_ENGINE
        why = str(outcome) if ours else f"{type(outcome).__name__}; its log says more"
        raise BrokenGeneration(f"generation {generation.number} cannot answer: {why}") from outcome
