"""Answers come whole from one generation, at once or in turn, and failures stay where they belong."""

import gc
import threading
import weakref
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch

from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.errors import BrokenGeneration, Failed, NotReady, QueueFull, Unanswerable
from serving.metrics import ServingMetrics
from tests.harness import wait_until
from tests.models import embedding_of
from tests.unit.serving.conftest import Answer, load, reference, reference_ids

PROMPTS = ["the state", "one two three four", "日本語"]


def broken(path: Path, number: int = 9) -> LoadedGeneration:
    """A generation whose weights are not numbers."""
    generation = load(path, number)
    with torch.no_grad():
        embedding_of(generation.model).fill_(float("nan"))
    return generation


def test_an_answer_is_the_models_own(engine: Engine, first: LoadedGeneration) -> None:
    """Greedy text equals that of the plain model."""
    answer = Answer(first, tokens=12)
    engine.submit(answer.job)
    assert answer.end().reason == "length"
    assert answer.text == reference(first, "the state", 12)


def test_answers_together_equal_answers_alone(engine: Engine, first: LoadedGeneration) -> None:
    """Requests that share forward passes do not change each other."""
    answers = [Answer(first, prompt, tokens=10 + 3 * n) for n, prompt in enumerate(PROMPTS)]
    engine.submit(*(answer.job for answer in answers))
    for n, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=True)):
        answer.end()
        assert answer.text == reference(first, prompt, 10 + 3 * n)


def test_two_generations_answer_at_the_same_time(
    engine: Engine, first: LoadedGeneration, second: LoadedGeneration
) -> None:
    """Each answer is wholly its own generation's, though both are under way."""
    old, new = Answer(first, tokens=40), Answer(second, tokens=40)
    engine.submit(old.job)
    old.first_piece()
    engine.submit(new.job)
    new.end()
    old.end()
    assert old.text == reference(first, "the state", 40)
    assert new.text == reference(second, "the state", 40)
    assert old.text != new.text


def test_a_long_prompt_is_read_in_stretches(engine: Engine, first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """A prompt longer than a turn's share is read in several passes, with the same answer."""
    prompt = "the state of the union is strong " * 90
    answer = Answer(first, prompt, tokens=4)
    assert len(answer.job.prompt) > 512
    engine.submit(answer.job)
    answer.end()
    assert answer.text == reference(first, prompt, 4)
    assert metrics.registry.get_sample_value("riverkeep_serving_forward_passes_total") == 5


def test_an_answer_ends_at_a_stop_text(engine: Engine, first: LoadedGeneration) -> None:
    """The stop itself is not part of the answer, and its reason is `stop`."""
    whole = reference(first, "the state", 12)
    stop = whole[4:6]
    answer = Answer(first, tokens=12, stop=(stop,))
    engine.submit(answer.job)
    assert answer.end().reason == "stop"
    assert answer.text == whole[: whole.index(stop)]


def test_an_answer_ends_at_an_end_token(engine: Engine, paths: dict[str, Path]) -> None:
    """The model's end of text ends the answer, unsaid."""
    generation = load(paths["first"], 1)
    ending = replace(generation, stop_ids=frozenset({reference_ids(generation, "the state", 6)[4]}))
    answer = Answer(ending, tokens=12)
    engine.submit(answer.job)
    end = answer.end()
    assert end.reason == "stop"
    assert answer.text == reference(ending, "the state", 12)
    assert end.tokens < 12


def test_a_seed_gives_the_same_answer(engine: Engine, first: LoadedGeneration) -> None:
    """Same seed, same text; another seed, another text."""
    answers = [Answer(first, tokens=12, sampling=Sampling(seed=seed)) for seed in (7, 7, 8)]
    engine.submit(*(answer.job for answer in answers))
    for answer in answers:
        answer.end()
    assert answers[0].text == answers[1].text != answers[2].text


def test_a_full_queue_refuses(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """What does not fit is refused at once, whole, with a time to come back; what fits is kept."""
    engine = Engine(at_once=1, queue=2, metrics=metrics)
    kept = [Answer(first) for _ in range(2)]
    engine.submit(*(answer.job for answer in kept))
    with pytest.raises(QueueFull) as caught:
        engine.submit(Answer(first).job, Answer(first).job)
    assert caught.value.retry_after_s == 3
    engine.start()
    for answer in kept:
        answer.end()
    engine.close()


def test_a_cancelled_answer_makes_room(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """Nobody waits for it, so the next one takes its place before it has ended."""
    engine = Engine(at_once=1, queue=1, metrics=metrics)
    engine.start()
    endless, following = Answer(first, tokens=900), Answer(first, tokens=2)
    engine.submit(endless.job)
    endless.first_piece()
    engine.submit(following.job)
    endless.job.cancelled = True
    following.end()
    assert not endless.job.ended
    engine.close()


def test_a_cancelled_request_in_the_queue_is_never_begun(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """It costs no forward pass."""
    engine = Engine(at_once=1, queue=2, metrics=metrics)
    gone, kept = Answer(first), Answer(first, tokens=1)
    gone.job.cancelled = True
    engine.submit(gone.job, kept.job)
    engine.start()
    kept.end()
    engine.close()
    assert metrics.registry.get_sample_value("riverkeep_serving_forward_passes_total") == 1


def test_a_generation_is_freed_with_its_last_answer(engine: Engine, paths: dict[str, Path]) -> None:
    """While one answer of it is under way the model stays; with its end it is gone, without the collector."""
    generation = load(paths["first"], 1)
    model = weakref.ref(generation.model)
    answer = Answer(generation, tokens=200)
    engine.submit(answer.job)
    del generation
    answer.first_piece()
    gc.disable()
    try:
        assert model() is not None
        answer.end()
        assert answer.text
        del answer
        wait_until(lambda: model() is None, what="the model's end")
    finally:
        gc.enable()


def test_a_broken_generation_fails_alone(engine: Engine, first: LoadedGeneration, paths: dict[str, Path]) -> None:
    """Weights that are not numbers fail their own request; the others answer on."""
    good, bad = Answer(first, tokens=30), Answer(broken(paths["second"]), trial=True)
    engine.submit(good.job)
    good.first_piece()
    engine.submit(bad.job)
    with pytest.raises(BrokenGeneration, match="generation 9"):
        bad.end()
    good.end()
    assert good.text == reference(first, "the state", 30)


def test_a_pass_that_raises_fails_its_generation_alone(
    engine: Engine, first: LoadedGeneration, paths: dict[str, Path]
) -> None:
    """An error in one model's pass does not reach the answers of another."""
    faulty = load(paths["second"], 9)
    faulty.model.forward = lambda **_: 1 / 0
    good, bad = Answer(first, tokens=30), Answer(faulty, trial=True)
    engine.submit(good.job)
    good.first_piece()
    engine.submit(bad.job)
    with pytest.raises(Failed):
        bad.end()
    good.end()
    assert good.text == reference(first, "the state", 30)
    assert not engine.trouble


def test_an_engine_that_fails_again_and_again_is_broken(engine: Engine, paths: dict[str, Path]) -> None:
    """The process asks to be replaced when the serving generation's passes keep failing; trials do not count."""
    faulty = load(paths["second"], 9)
    faulty.model.forward = lambda **_: 1 / 0
    for trial in (True, True, True, False, False, False):
        assert not engine.trouble
        answer = Answer(faulty, trial=trial)
        engine.submit(answer.job)
        with pytest.raises(Failed):
            answer.end()
    wait_until(lambda: engine.trouble)


def test_a_trial_takes_no_place_of_those_who_wait(
    engine: Engine, first: LoadedGeneration, second: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """As many requests are answered at once beside one as without it."""
    trial = Answer(second, tokens=900, trial=True)
    engine.submit(trial.job)
    trial.first_piece()
    others = [Answer(first, tokens=900) for _ in range(3)]
    engine.submit(*(other.job for other in others))
    for other in others:
        other.first_piece()
    assert metrics.registry.get_sample_value("riverkeep_serving_waiting") == 0
    assert metrics.registry.get_sample_value("riverkeep_serving_active") == 4
    for each in (trial, *others):
        each.job.cancelled = True


def test_a_canary_that_fails_never_breaks_the_engine(engine: Engine, paths: dict[str, Path]) -> None:
    """Its clients are told, and the process that answers the others well is not replaced."""
    faulty = load(paths["second"], 9)
    faulty.model.forward = lambda **_: 1 / 0
    for _ in range(5):
        answer = Answer(faulty)
        answer.job.watched = True
        engine.submit(answer.job)
        with pytest.raises(Failed):
            answer.end()
    assert not engine.trouble


def failing_beyond(path: Path, tokens: int) -> LoadedGeneration:
    """A generation that has fewer places for tokens than its configuration says, and nobody knows."""
    generation = load(path, 9)
    forward = generation.model.forward

    @wraps(forward)
    def limited(*args: Any, **arguments: Any) -> Any:
        cache = arguments.get("past_key_values")
        seen = 0 if cache is None else int(cache.get_seq_length())
        if seen + arguments["input_ids"].shape[1] > tokens:
            raise IndexError("index out of range in self")
        return forward(*args, **arguments)

    generation.model.forward = limited
    return generation


def test_requests_that_the_model_fails_on_never_break_the_engine(engine: Engine, paths: dict[str, Path]) -> None:
    """However many come in a row: the fault is theirs, and each is told so."""
    generation = failing_beyond(paths["second"], 64)
    for _ in range(5):
        answer = Answer(generation, "one two three four five " * 20)
        engine.submit(answer.job)
        with pytest.raises(Unanswerable, match="may be longer than the model can read") as caught:
            answer.end()
        assert caught.value.status == 400
    assert not engine.trouble
    good = Answer(generation, tokens=6)
    engine.submit(good.job)
    good.end()
    assert good.text == reference(generation, "the state", 6)


def test_who_shares_a_pass_with_a_request_that_fails_is_answered(engine: Engine, paths: dict[str, Path]) -> None:
    """It goes on alone from where it was, word for word."""
    generation = failing_beyond(paths["second"], 40)
    endless, others = Answer(generation, tokens=100), [Answer(generation, prompt, tokens=20) for prompt in PROMPTS[1:]]
    engine.submit(endless.job, *(other.job for other in others))
    with pytest.raises(Unanswerable):
        endless.end()
    for prompt, other in zip(PROMPTS[1:], others, strict=True):
        other.end()
        assert other.text == reference(generation, prompt, 20)
    assert not engine.trouble


def test_a_sampled_answer_goes_on_as_it_would_have(engine: Engine, paths: dict[str, Path]) -> None:
    """Set apart in the middle, it draws the same tokens as undisturbed."""
    sampling = Sampling(seed=7)
    undisturbed = Answer(load(paths["second"], 8), "one two", tokens=24, sampling=sampling)
    engine.submit(undisturbed.job)
    undisturbed.end()
    generation = failing_beyond(paths["second"], 40)
    endless, other = Answer(generation, tokens=100), Answer(generation, "one two", tokens=24, sampling=sampling)
    engine.submit(endless.job, other.job)
    other.end()
    with pytest.raises(Unanswerable):
        endless.end()
    assert other.text == undisturbed.text


def test_an_answer_beyond_what_is_cached_rightly_is_read_anew(engine: Engine, paths: dict[str, Path]) -> None:
    """While shorter ones use the cache beside it."""
    generation = load(paths["first"], 1)
    cautious = replace(generation, conduct=replace(generation.conduct, cached_up_to=30))
    short, long = Answer(cautious, tokens=4), Answer(cautious, "one two three four", tokens=30)
    engine.submit(short.job, long.job)
    for answer, prompt, tokens in ((short, "the state", 4), (long, "one two three four", 30)):
        answer.end()
        assert answer.text == reference(generation, prompt, tokens)


def test_what_the_cache_holds_is_shown_while_it_is_held(
    engine: Engine, first: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """In tokens, and as a share of what three answers may hold; nothing when nobody is answered."""

    def shown(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"riverkeep_serving_cache_{name}", {"generation": "1"})

    answer = Answer(first, tokens=900)
    engine.submit(answer.job)
    answer.first_piece()
    wait_until(lambda: (shown("tokens") or 0) > len(answer.job.prompt))
    assert 0 < (shown("ratio") or 0) <= 1
    answer.job.cancelled = True
    wait_until(lambda: shown("tokens") == 0 == shown("ratio"))


def test_closing_fails_what_is_left(first: LoadedGeneration, metrics: ServingMetrics) -> None:
    """Neither those under way nor those waiting are left hanging, and no new ones are taken."""
    engine = Engine(at_once=1, queue=2, metrics=metrics)
    engine.start()
    running, waiting = Answer(first, tokens=900), Answer(first)
    engine.submit(running.job, waiting.job)
    running.first_piece()
    wait_until(lambda: metrics.registry.get_sample_value("riverkeep_serving_waiting") == 1)
    engine.close()
    for answer in (running, waiting):
        with pytest.raises(NotReady):
            answer.end()
    with pytest.raises(NotReady):
        engine.submit(Answer(first).job)


def test_a_slow_listener_does_not_hold_up_the_rest(engine: Engine, first: LoadedGeneration) -> None:
    """Events are handed over as they come: an answer's end waits for no other answer."""
    seen = threading.Event()
    long = Answer(first, tokens=300)
    short = Answer(first, tokens=2, on_event=lambda _: seen.set())
    engine.submit(long.job, short.job)
    short.end()
    assert seen.is_set()
    assert not long.job.ended
    long.job.cancelled = True
