"""Serving follows the pointer, keeps the last good generation, and says what it could not serve."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from checkpoints.base.prepare import import_base
from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from checkpoints.serving_pointer import Canary
from serving.answers.prompts import RecentPrompts
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.errors import BrokenGeneration
from serving.generations.loading import Loader
from serving.generations.swap import RETRIES, Follower
from serving.generations.switch import Switch
from serving.generations.warm import warming
from serving.metrics import ServingMetrics
from serving.tracing.spans import NO_TRACING, Tracing
from tests.harness import wait_until
from tests.models import make_causal
from tests.otlp_receiver import Receiver
from tests.unit.serving.conftest import Answer, reference


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Following:
    """A follower over a store, looked after by hand."""

    def __init__(
        self,
        store: GenerationStore,
        metrics: ServingMetrics,
        warm: Callable[[LoadedGeneration], None] = lambda _: None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.store = store
        self.metrics = metrics
        self.switch = Switch(metrics)
        self.clock = Clock()
        loader = Loader(store, "causal-lm", "cpu", metrics)
        self.follower = Follower(loader, self.switch, warm, metrics, poll_s=0.01, clock=self.clock, tracing=tracing)

    @property
    def serving(self) -> int | None:
        """The generation that new requests get."""
        current = self.switch.current
        return None if current is None else current.number

    def look(self, after_s: float = 0.0) -> int | None:
        """Let time pass and look at the pointer; returns what serves then."""
        self.clock.now += after_s
        self.follower.look()
        return self.serving

    def count(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"riverkeep_serving_{name}", labels)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory, paths: dict[str, Path]) -> Path:
    """Generations 0, 1, 2 of one architecture, and 3 of a deeper one."""
    root = tmp_path_factory.mktemp("stored")
    store = GenerationStore(root / "checkpoints")
    import_base(store, paths["first"])
    others = [paths["second"], make_causal(root / "2", seed=2, context=1024), make_causal(root / "3", layers=3)]
    for number, path in enumerate(others, start=1):
        store.publish(path, number, Card(number, "causal-lm", parent=number - 1, round=number))
    return store.root


@pytest.fixture
def store(stored: Path, tmp_path: Path) -> GenerationStore:
    """A copy of the generations, none pointed to."""
    return GenerationStore(Path(shutil.copytree(stored, tmp_path / "checkpoints")))


@pytest.fixture
def following(store: GenerationStore, metrics: ServingMetrics) -> Following:
    """A follower that has looked at a pointer to generation 0."""
    store.point_to(0)
    made = Following(store, metrics)
    assert made.look() == 0
    return made


def damage(store: GenerationStore, number: int) -> Path:
    """Flip one bit of a generation's weights; returns the file."""
    file = store.path(number) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)
    return file


def test_without_a_pointer_it_says_what_it_waits_for(store: GenerationStore, metrics: ServingMetrics) -> None:
    """A wrong state_dir looks like a start that never ends: the file is named, now and once in a while."""
    following = Following(store, metrics)
    with capture_logs() as logs:
        for _ in range(5):
            assert following.look(after_s=20.0) is None
    assert str(store.pointer_path) in str(following.switch.status.problem)
    told = [line["reason"] for line in logs if line["event"] == "serving_waits"]
    assert told == [following.switch.status.problem] * 2
    store.point_to(0)
    assert following.look() == 0
    assert following.switch.status.problem is None


def test_it_follows_the_pointer(following: Following) -> None:
    """Forward, back (a rollback), and to another architecture."""
    for number in (1, 2, 1, 3, 0):
        following.store.point_to(number)
        assert following.look() == number
        assert following.count("generation") == following.count("pointed_generation") == number
    assert following.count("swaps_total", outcome="served") == 6
    assert {following.count("swap_seconds_count", phase=phase) for phase in ("verify", "load", "warm")} == {6}


def test_what_it_serves_is_what_was_published(following: Following, second: LoadedGeneration) -> None:
    """A generation loaded beside another has its own weights and answers."""
    following.store.point_to(1)
    following.look()
    current = following.switch.current
    assert current
    assert current.digest == following.store.digest(1)
    assert reference(current, "the state", 12) == reference(second, "the state", 12)


def test_nothing_serves_until_something_is_pointed_to(store: GenerationStore, metrics: ServingMetrics) -> None:
    """An empty pointer is waited for."""
    following = Following(store, metrics)
    assert following.look() is None
    store.point_to(2)
    assert following.look() == 2


def test_a_damaged_candidate_never_serves(following: Following) -> None:
    """One flipped bit: the old generation serves on, the reason names the file, and the failure is counted."""
    following.store.point_to(1)
    damage(following.store, 1)
    assert following.look() == 0
    assert "model.safetensors" in following.switch.status.failed[1]
    assert following.switch.status.pointed == 1
    assert following.count("swaps_total", outcome="failed") == 1
    assert following.count("loaded_generations") == 1


def test_each_swap_is_a_span(
    store: GenerationStore, metrics: ServingMetrics, traced: Callable[..., Tracing], receiver: Receiver
) -> None:
    """One that failed too, and the log's lines on it name it."""
    following = Following(store, metrics, tracing=traced())
    with capture_logs([merge_contextvars]) as lines:
        store.point_to(0)
        assert following.look() == 0
        store.point_to(1)
        damage(store, 1)
        assert following.look() == 0
    receiver.wait_for_more(1)
    assert [(span.name, span.facts["riverkeep.generation"], span.failed) for span in receiver.spans] == [
        ("swap", 0, False),
        ("swap", 1, True),
    ]
    named = {line["event"]: line.get("span_id") for line in lines}
    assert [named["generation_serves"], named["generation_cannot_serve"]] == [each.span_id for each in receiver.spans]


def test_a_repaired_candidate_serves_by_itself(following: Following) -> None:
    """It is tried again after a while, not at every look; then the failure is forgotten."""
    following.store.point_to(1)
    file = damage(following.store, 1)
    following.look()
    damage(following.store, 1)
    assert file.exists()
    assert following.look(after_s=RETRIES.first / 2) == 0
    assert following.look(after_s=RETRIES.first) == 1
    assert following.switch.status.failed == {}


def test_it_tries_again_ever_more_slowly(following: Following) -> None:
    """A candidate that stays damaged is not read from disk without end."""
    following.store.point_to(1)
    damage(following.store, 1)
    for _ in range(3600):
        following.look(after_s=1)
    assert following.count("swaps_total", outcome="failed") == pytest.approx(16, abs=3)


def test_at_the_start_it_falls_back_to_the_last_good_one(
    store: GenerationStore, metrics: ServingMetrics, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pointed generation and the one before are damaged: the newest good earlier one serves, loudly."""
    for number in (0, 1, 2):
        store.point_to(number)
    damage(store, 2)
    damage(store, 1)
    following = Following(store, metrics)
    assert following.look() == 0
    assert set(following.switch.status.failed) == {1, 2}
    assert following.switch.status.pointed == 2
    assert "serving_falls_back" in "".join(capsys.readouterr())


def test_it_does_not_fall_back_to_what_was_rolled_back_from(store: GenerationStore, metrics: ServingMetrics) -> None:
    """After 2 was rolled back to 1, a damaged 1 gives way to 0."""
    for number in (0, 1, 2, 1):
        store.point_to(number)
    damage(store, 1)
    assert Following(store, metrics).look() == 0


def test_from_a_fallback_it_returns_when_the_pointed_one_is_repaired(
    store: GenerationStore, metrics: ServingMetrics
) -> None:
    """The fallback is not the end."""
    for number in (0, 1):
        store.point_to(number)
    damage(store, 1)
    following = Following(store, metrics)
    assert following.look() == 0
    damage(store, 1)
    assert following.look(after_s=RETRIES.first) == 1


def test_a_candidate_that_fails_its_warm_up_never_serves(store: GenerationStore, metrics: ServingMetrics) -> None:
    """It is intact on disk but does not answer."""

    def warm(generation: LoadedGeneration) -> None:
        if generation.number == 1:
            raise BrokenGeneration("generation 1 gives no finite probabilities")

    store.point_to(0)
    following = Following(store, metrics, warm)
    following.look()
    store.point_to(1)
    assert following.look() == 0
    assert following.switch.status.failed == {1: "generation 1 gives no finite probabilities"}
    store.point_to(2)
    assert following.look() == 2


def test_weights_that_are_not_numbers_fail_the_warm_up(
    store: GenerationStore, metrics: ServingMetrics, engine: Engine, tmp_path: Path
) -> None:
    """The real warm-up refuses them, while the engine goes on answering from the old generation."""
    bad = Path(shutil.copytree(store.path(1), tmp_path / "bad"))
    weights = load_file(bad / "model.safetensors")
    weights["model.norm.weight"].fill_(torch.nan)
    save_file(weights, bad / "model.safetensors", metadata={"format": "pt"})
    store.publish(bad, 4, Card(4, "causal-lm"))
    store.point_to(0)
    following = Following(store, metrics, warming(engine, RecentPrompts(4)))
    following.look()
    store.point_to(4)
    assert following.look() == 0
    assert "finite" in following.switch.status.failed[4]
    assert not engine.trouble


def test_it_is_warmed_with_recent_prompts_before_it_serves(
    store: GenerationStore, metrics: ServingMetrics, engine: Engine
) -> None:
    """Each recent prompt is answered by the new generation while the old one still serves."""
    recent = RecentPrompts(4)
    for prompt in ([5, 6], [7, 8, 9]):
        recent.add(prompt)
    seen: list[tuple[int | None, int]] = []
    submit = engine.submit

    def watched(*jobs: object, **options: bool) -> None:
        seen.extend((following.serving, len(job.prompt)) for job in jobs)  # type: ignore[attr-defined]  # a job
        submit(*jobs, **options)  # type: ignore[arg-type]  # as it came

    engine.submit = watched  # type: ignore[method-assign]  # watched, to look within
    store.point_to(0)
    following = Following(store, metrics, warming(engine, recent))
    following.look()
    store.point_to(1)
    following.look()
    assert seen == [(None, 2), (None, 3), (0, 2), (0, 3)]


def answering(store: GenerationStore, metrics: ServingMetrics, engine: Engine) -> tuple[Following, Answer]:
    """Generation 0 serves, and a long answer of it is under way."""
    store.point_to(0)
    following = Following(store, metrics)
    following.look()
    assert following.switch.current
    answer = Answer(following.switch.current, tokens=200)
    engine.submit(answer.job)
    answer.first_piece()
    return following, answer


def test_the_old_generation_is_freed_with_its_last_answer(
    store: GenerationStore, metrics: ServingMetrics, engine: Engine
) -> None:
    """Two are in memory while an answer of the old one is under way; one when it has ended."""
    following, answer = answering(store, metrics, engine)
    store.point_to(1)
    following.look()
    assert following.count("loaded_generations") == 2
    answer.end()
    del answer
    wait_until(lambda: following.count("loaded_generations") == 1, what="the old generation's end")


def test_a_generation_gone_back_to_while_it_answers_is_not_loaded_again(
    store: GenerationStore, metrics: ServingMetrics, engine: Engine
) -> None:
    """A rollback soon after a swap: what is in memory for an answer under way answers the next ones too."""
    following, answer = answering(store, metrics, engine)
    for number in (1, 0):
        store.point_to(number)
        assert following.look() == number
    assert following.switch.current is answer.job.generation
    assert following.count("swap_seconds_count", phase="load") == 2
    wait_until(lambda: following.count("loaded_generations") == 1, what="the end of generation 1")
    answer.end()


def test_a_generation_of_other_content_is_not_taken_for_the_one_that_answers(following: Following) -> None:
    """As where a store was put back from a copy: the pointer's digest tells them apart."""
    held = following.switch.current
    following.store.point_to(1)
    following.look()
    values = json.loads(following.store.pointer_path.read_text())
    following.store.pointer_path.write_text(json.dumps(values | {"generation": 0, "digest": "0" * 64}))
    assert held is not None
    assert following.look() == 1
    assert 0 in following.switch.status.failed


def test_a_pointer_that_cannot_be_read_changes_nothing(following: Following) -> None:
    """Garbage is reported; a good pointer clears it."""
    following.store.pointer_path.write_bytes(b"{")
    assert following.look() == 0
    assert "serving.json" in (following.switch.status.problem or "")
    following.store.pointer_path.unlink()
    following.store.point_to(1)
    assert following.look() == 1
    assert following.switch.status.problem is None


def test_a_pointer_that_could_not_be_read_once_is_read_again(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is as it should be, the disk was not: it is not waited for until the pointer moves again."""
    following.store.point_to(1)
    with monkeypatch.context() as failing:
        failing.setattr(Path, "read_bytes", _input_output_error)
        assert following.look() == 0
    assert following.look(after_s=RETRIES.first) == 1


def _input_output_error(_: Path) -> bytes:
    raise OSError(5, "Input/output error")


def test_an_unmoved_pointer_costs_only_a_look(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not read again until it changes."""
    monkeypatch.setattr(GenerationStore, "serving", lambda _: pytest.fail("read again"))
    following.look()


def test_the_thread_follows_by_itself_and_ends(store: GenerationStore, metrics: ServingMetrics) -> None:
    """Started, it serves what is pointed to; closed, it is gone."""
    following = Following(store, metrics)
    following.follower.start()
    store.point_to(1)
    wait_until(lambda: following.serving == 1)
    following.follower.close()
    assert not following.follower.alive


def test_each_classifier_cuts_at_the_length_of_its_own_recipe(
    tmp_path: Path, paths: dict[str, Path], metrics: ServingMetrics
) -> None:
    """The base at the one that is set; a tokenizer is shared only among generations of one length."""
    store = GenerationStore(tmp_path)
    import_base(store, paths["classifier"], kind="classifier")
    for number, length in ((1, 16), (2, 16), (3, 32)):
        card = Card(generation=number, kind="classifier", recipe={"sequence_length": length})
        store.publish(paths["classifier"], number, card)
    loader = Loader(store, "classifier", "cpu", metrics, recipe_length=64)
    loaded: list[LoadedGeneration] = []
    for number in range(4):
        loaded.append(loader.load(number, None, loaded[-1] if loaded else None))
    assert [generation.context for generation in loaded] == [64, 16, 16, 32]
    assert loaded[1].tokenizer is loaded[2].tokenizer
    assert len({id(generation.tokenizer) for generation in loaded}) == 3


def test_replicas_with_the_same_files_have_the_same_fingerprint(
    tmp_path: Path, paths: dict[str, Path], metrics: ServingMetrics
) -> None:
    """Whenever and wherever each of them imported its base."""
    fingerprints = set()
    for place, moment in (("a", 1.0), ("b", 2.0)):
        store = GenerationStore(tmp_path / place, clock=partial(float, moment))
        import_base(store, paths["first"])
        loader = Loader(store, "causal-lm", "cpu", metrics)
        fingerprints.add(loader.load(0, None, None).fingerprint)
    assert len(fingerprints) == 1


def canary(number: int, share: float = 0.5) -> Canary:
    """A plan to watch a generation."""
    return Canary(number, share, "canary", since=1.0)


def watched(following: Following) -> int | None:
    """The generation that is watched."""
    return None if (found := following.switch.watched) is None else found.generation.number


def test_a_canary_is_brought_in_beside_the_serving_generation_and_then_serves(following: Following) -> None:
    """It is loaded once: to promote it takes no second load, and the old one is let go."""
    following.store.point_to(0, canary=canary(1))
    assert (following.look(), watched(following)) == (0, 1)
    assert following.count("canary_generation") == 1
    brought = following.switch.watched and following.switch.watched.generation
    loads = following.count("swap_seconds_count", phase="load")
    following.store.point_to(1)
    assert (following.look(), watched(following)) == (1, None)
    assert following.switch.current is brought
    assert following.count("swap_seconds_count", phase="load") == loads
    assert following.count("canary_generation") == -1
    del brought
    wait_until(lambda: following.count("loaded_generations") == 1)


def test_a_canary_that_goes_back_leaves_the_serving_generation_alone(following: Following) -> None:
    """It is let go, and what serves is the very same."""
    serving = following.switch.current
    following.store.point_to(0, canary=canary(1))
    following.look()
    following.store.point_to(0)
    assert (following.look(), watched(following)) == (0, None)
    assert following.switch.current is serving
    wait_until(lambda: following.count("loaded_generations") == 1)


def test_a_canary_whose_files_break_is_left_out_and_tried_again(following: Following) -> None:
    """The serving generation answers, its failure is told by number, and mended files are found."""
    following.store.point_to(0, canary=canary(1))
    mended = damage(following.store, 1)
    whole = bytearray(mended.read_bytes())
    whole[-5] ^= 4
    assert (following.look(), watched(following)) == (0, None)
    assert "safetensors" in following.switch.status.failed[1]
    following.look(after_s=RETRIES.wait(1) + 1)
    assert following.switch.status.canary_failures == 2
    mended.write_bytes(whole)
    assert (following.look(after_s=RETRIES.wait(2) + 1), watched(following)) == (0, 1)
    assert following.switch.status.canary_failures == 0
    assert following.switch.status.failed == {}


def test_what_failed_before_is_not_held_against_the_next_canary(following: Following) -> None:
    """Each is counted by itself, also where nobody looked between the two."""
    for number in (1, 2):
        damage(following.store, number)
        pointer = following.store.pointer_path
        values = json.loads(pointer.read_text())
        digest = following.store.digest(number)
        values["canary"] = {"generation": number, "share": 0.5, "mode": "canary", "since": 1.0, "digest": digest}
        pointer.write_text(json.dumps(values))
        following.look()
        status = following.switch.status
        assert (status.canary_failing, status.canary_failures) == (number, 1)


def test_another_share_needs_no_other_load(following: Following) -> None:
    """The plan is taken over as it stands in the pointer."""
    for share in (0.1, 0.7):
        following.store.point_to(0, canary=canary(1, share))
        following.look()
        assert following.switch.watched is not None
        assert following.switch.watched.plan.share == share
    assert following.count("swap_seconds_count", phase="load") == 2


def test_at_its_start_serving_brings_in_both(store: GenerationStore, metrics: ServingMetrics) -> None:
    """A process that was killed in a watch goes on with it."""
    store.point_to(0, canary=canary(1))
    following = Following(store, metrics)
    assert (following.look(), watched(following)) == (0, 1)


def test_a_rollback_to_a_third_ends_the_watch_first(following: Following) -> None:
    """No more than two generations are ever in memory for it."""
    following.store.point_to(1, canary=canary(2))
    following.look()
    following.store.point_to(0)
    assert (following.look(), watched(following)) == (0, None)
    wait_until(lambda: following.count("loaded_generations") == 1)
