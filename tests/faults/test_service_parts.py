"""Bad days of a whole service: a learner that hangs or dies, serving killed, a full disk, a broker that is away."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from checkpoints.files.durable_writes import FAULT_VARIABLE, DurableStep
from checkpoints.generation_store import GenerationStore
from daemon.processes.children import OWNER_VARIABLE
from memory.ledger.states import RoundState
from tests.brokers import Broker, make_topic, running, send
from tests.daemon_harness import Daemon, Home, daemon, fake_learner, fill, make_home, sentences
from tests.harness import Facts, get, wait_until
from tests.models import make_causal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return make_causal(tmp_path_factory.mktemp("model"))


@pytest.fixture
def home(tmp_path: Path, model: Path) -> Home:
    """A daemon's home with text in its store; it reads no topics and starts no serving."""
    made = make_home(tmp_path, model=model)
    fill(made, before=120, fresh=120)
    return made


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker of the test's own, to be stopped and started."""
    with running("embedded") as started:
        yield started


def round_ends(started: Daemon, number: int, state: RoundState) -> str:
    """Wait for a round's end in that state; returns the reason."""
    started.until(lambda control: control.round(number)["state"] == state.value, what=f"round {number} {state.value}")
    with started.control as control:
        return str(control.round(number)["detail"])


def learner_of(started: Daemon) -> psutil.Process | None:
    """The learner's process, once it runs its own program: before that it has the daemon's command line."""
    children = psutil.Process(started.process.pid).children()
    return next((child for child in children if runs_fake_learner(child)), None)


def runs_fake_learner(process: psutil.Process) -> bool:
    """Whether a process is the stand-in learner, and not the daemon that was told to start one."""
    line = " ".join(process.cmdline())
    return "fake_learner.py" in line and "daemon_with_learner" not in line


def lives(process: psutil.Process) -> bool:
    """Whether a process, no child of ours, has not ended; a zombie that nobody reaps has."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_hung_learner_ends_with_its_reason(home: Home) -> None:
    """Silence beyond the limit fails the round; the service is ready on, the text waits, the process is gone."""
    home.write(silence_seconds=1)
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        hung = wait_until(lambda: learner_of(started))
        assert "said nothing for 1 s" in round_ends(started, 1, RoundState.FAILED)
        assert not hung.is_running()
        with started.control as control:
            assert control.readiness()["ready"]
            assert control.status()["memory"]["fresh_samples"] > 0
        assert started.stop() == 0


def test_a_stopped_learner_is_killed_too(home: Home) -> None:
    """A learner that was sent SIGSTOP is silent like a hung one, and killed all the same."""
    home.write(silence_seconds=1)
    with daemon(home, learner=fake_learner("slow")) as started:
        started.until(lambda control: control.request_round())
        frozen = wait_until(lambda: learner_of(started))
        frozen.send_signal(signal.SIGSTOP)
        assert "said nothing" in round_ends(started, 1, RoundState.FAILED)
        assert not frozen.is_running()
        assert started.stop() == 0


def test_a_killed_learner_fails_its_round_alone(home: Home) -> None:
    """The reason names the signal; the cool-down passes and another round can be asked for."""
    with daemon(home, learner=fake_learner("slow")) as started:
        started.until(lambda control: control.request_round())
        wait_until(lambda: learner_of(started)).send_signal(signal.SIGSEGV)
        assert "SIGSEGV" in round_ends(started, 1, RoundState.FAILED)
        started.until(lambda control: control.request_round())
        round_ends(started, 2, RoundState.ACCEPTED)
        assert started.stop() == 0


def test_a_learner_killed_as_the_kernel_kills_for_memory_is_tried_with_half(home: Home) -> None:
    """A SIGKILL that the daemon did not send counts as out of memory; half of a batch of eight may fit."""
    with daemon(home, learner=fake_learner("killed")) as started:
        started.until(lambda control: control.request_round())
        round_ends(started, 1, RoundState.ACCEPTED)
        (event,) = started.events("round_tried_again")
        assert "killed by signal 9, which the kernel's out-of-memory killer sends" in event["reason"]
        assert event["micro_batch"] == 4
        assert started.stop() == 0


def test_a_learner_killed_again_fails_its_round_with_both_attempts(home: Home) -> None:
    """The reason tells what was seen, what was tried and what is left to do; the text waits."""
    with daemon(home, learner=fake_learner("killed_again")) as started:
        started.until(lambda control: control.request_round())
        first, tried, second = round_ends(started, 1, RoundState.FAILED).partition(
            "; tried again with a micro-batch of 4, 2, 1, 1 with gradient checkpointing: "
        )
        assert tried
        assert "killed by signal 9" in first
        assert "killed by signal 9" in second
        assert "Set `learner.recipe.sequence_length` below" in second
        with started.control as control:
            assert control.readiness()["ready"]
            assert control.status()["memory"]["fresh_samples"] > 0
        assert started.stop() == 0


def test_a_learner_out_of_memory_succeeds_with_half_the_micro_batch(home: Home) -> None:
    """It is tried once more, which log and status say."""
    with daemon(home, learner=fake_learner("oom")) as started:
        started.until(lambda control: control.request_round())
        round_ends(started, 1, RoundState.ACCEPTED)
        (event,) = started.events("round_tried_again")
        assert event["micro_batch"] == 4
        with started.control as control:
            told = control.status()["micro_batch"]
        assert told is not None
        assert (told["begins_with"], told["wanted"], told["round"]) == (4, 8, 1)
        assert started.stop() == 0


def test_a_learner_left_behind_by_a_killed_daemon_is_ended(home: Home) -> None:
    """The next daemon ends it before it touches the round; the round is discarded and its text fresh."""
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        orphan = wait_until(lambda: learner_of(started))
        assert orphan.environ()[OWNER_VARIABLE] == str((home.path / "state").resolve())
        os.kill(started.process.pid, signal.SIGKILL)
        started.process.wait()
        assert lives(orphan)
        with daemon(home, learner=fake_learner("good")) as next_one:
            assert "cut off" in round_ends(next_one, 1, RoundState.ABANDONED)
            assert not lives(orphan)
            assert next_one.stop() == 0


@pytest.mark.parametrize("step", [DurableStep.STAGE_COPY, DurableStep.PUBLISH_RENAME, DurableStep.STAGE_MANIFEST])
def test_a_full_disk_during_a_publication_fails_the_round(home: Home, step: DurableStep) -> None:
    """The reason says so, the base serves on, and with space again the next round is accepted."""
    with daemon(home, learner=fake_learner("good"), environment={FAULT_VARIABLE: f"{step}:enospc"}) as started:
        started.until(lambda control: control.request_round())
        assert "No space left" in round_ends(started, 1, RoundState.FAILED)
        started.until(lambda control: control.request_round())
        round_ends(started, 2, RoundState.ACCEPTED)
        assert started.stop() == 0
    checkpoints = GenerationStore(home.settings.checkpoints_dir)
    for number in checkpoints.numbers():
        checkpoints.verify(number)


# Files that are replaced one by one: the replica's name, the first pointer, the draw, the verdict, the new pointer.
@pytest.mark.parametrize(
    ("step", "serves"),
    [("stage.copy@1", 1), ("published@1", 1), ("file.rename@4", 1), ("file.rename@5", 1), ("pointed@2", 1)],
)
def test_a_kill_within_a_promotion_is_finished(home: Home, step: str, serves: int) -> None:
    """The report was there: the next start judges it again by itself; store and pointer agree, what serves is whole."""
    with daemon(home, learner=fake_learner("good"), environment={FAULT_VARIABLE: f"{step}:kill"}) as started:
        started.until(lambda control: control.request_round())
        wait_until(lambda: started.process.poll() is not None, what="the kill")
        assert started.process.returncode == -signal.SIGKILL
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["serving"]["generation"] == serves)
        assert started.stop() == 0
    checkpoints = GenerationStore(home.settings.checkpoints_dir)
    pointer = checkpoints.serving()
    assert pointer is not None
    checkpoints.verify(pointer.generation, digest=pointer.digest)
    with home.store() as store:
        assert store.rounds.unfinished() == []
        assert store.generations.serving() == pointer.generation


def test_serving_that_is_killed_comes_back(tmp_path: Path, model: Path) -> None:
    """It is started again, readiness tells of it meanwhile, and the daemon never ends."""
    home = make_home(tmp_path, model=model, serving=True)
    fill(home)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.readiness()["ready"])
        first = _serving_of(started)
        first.kill()
        started.until(lambda control: not control.readiness()["ready"])
        started.until(lambda control: control.readiness()["ready"])
        assert _serving_of(started).pid != first.pid
        url = f"http://127.0.0.1:{home.serving_port}/v1/riverkeep/generation"
        assert get(url).json()["generation"] == 0
        assert started.stop() == 0


def test_another_riverkeep_on_the_port_is_not_taken_for_serving(tmp_path: Path, model: Path) -> None:
    """Its answers are no sign that this one's process lives: this one is not ready, and says what is in its way."""
    first = make_home(tmp_path / "first", model=model, serving=True)
    second = make_home(tmp_path / "second", model=model, serving=True)
    config = second.config.read_text()
    second.config.write_text(config.replace(f"port = {second.serving_port}", f"port = {first.serving_port}"))
    fill(first)
    fill(second)
    with daemon(first, learner=fake_learner("good")) as there:
        there.until(lambda control: control.readiness()["ready"])
        with daemon(second, learner=fake_learner("good")) as here:
            here.until(lambda control: _port_is_taken(control.readiness(), first.serving_port))
            wait_until(lambda: here.events("part_broken"))
            with here.control as control:
                assert _port_is_taken(control.readiness(), first.serving_port)
                serving = control.status()["serving"]
                assert (serving["ok"], serving["answering"]) == (False, None)
            assert here.stop() == 0
        there.until(lambda control: control.readiness()["ready"])
        assert there.stop() == 0


def _port_is_taken(readiness: Facts, port: int) -> bool:
    detail = readiness["parts"]["serving"]["detail"]
    return not readiness["ready"] and f"port {port} is taken by another process" in detail


def _serving_of(started: Daemon) -> psutil.Process:
    children = psutil.Process(started.process.pid).children()
    return next(child for child in children if child.cmdline()[-1] == "serve")


def flip_a_bit(home: Home, generation: int) -> None:
    """Damage a generation's weights."""
    weights = GenerationStore(home.settings.checkpoints_dir).path(generation) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def test_a_damaged_generation_is_named_and_the_daemon_goes_on(home: Home) -> None:
    """One flipped bit: readiness names the file; ingestion and rounds go on from the ledger."""
    flip_a_bit(home, 0)
    with daemon(home, learner=fake_learner("good")) as started:
        parts = started.until(lambda control: control.readiness()["parts"])
        assert "model.safetensors" in parts["serving_generation"]["detail"]
        with started.control as control:
            assert not control.readiness()["ready"]
            assert control.health()["healthy"]
        assert started.stop() == 0


def test_a_rollback_from_a_damaged_generation_makes_ready_again(home: Home) -> None:
    """Readiness speaks of the generation that serves now, not of the one that did at the start."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.request_round())
        round_ends(started, 1, RoundState.ACCEPTED)
        assert started.stop() == 0
    flip_a_bit(home, 1)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: "serving_generation" in control.readiness()["parts"])
        with started.control as control:
            assert control.rollback() == {"from": 1, "to": 0}
        started.until(lambda control: control.readiness()["ready"])
        assert started.stop() == 0


def test_while_the_group_waits_for_the_dead_nothing_is_claimed(tmp_path: Path, model: Path, broker: Broker) -> None:
    """After a kill -9 the group waits for who was killed: until then what is unread is not known, and is not 0."""
    topic = make_topic(broker)
    home = make_home(tmp_path, model=model, broker=broker, topic=topic)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["ingest"]["lag_records"] == 0)
        started.kill()
    send(broker, topic, *(json.dumps({"text": text}).encode() for text in sentences(100, seed=9)))
    with daemon(home, learner=fake_learner("good")) as started:
        status = started.until(
            lambda control: "waiting for" in (now := control.status())["parts"]["ingest"]["detail"] and now
        )
        assert (status["ingest"]["lag_records"], status["parts"]["ingest"]["ok"]) == (None, False)
        started.until(lambda control: control.status()["memory"]["fresh_samples"] > 20, what="text from the broker")
        started.until(lambda control: control.readiness()["ready"])
        assert started.stop() == 0


def test_a_broker_that_is_away_delays_and_loses_nothing(tmp_path: Path, model: Path, broker: Broker) -> None:
    """Away at start: rounds and the admin surface work. It comes: text is read."""
    topic = make_topic(broker)
    home = make_home(tmp_path, model=model, broker=broker, topic=topic)
    fill(home, before=120, fresh=120)
    broker.stop()
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.request_round())
        round_ends(started, 1, RoundState.ACCEPTED)
        started.until(lambda control: "no broker of" in control.readiness()["parts"]["ingest"]["detail"], timeout_s=30)
        with started.control as control:
            assert not control.readiness()["ready"]
            assert control.health()["healthy"]
        broker.start()
        make_topic(broker, name=topic)
        send(broker, topic, *(json.dumps({"text": text}).encode() for text in sentences(50, seed=9)))
        started.until(lambda control: control.status()["memory"]["fresh_samples"] > 20, what="text from the broker")
        started.until(lambda control: control.readiness()["parts"]["ingest"]["ok"])
        assert started.stop() == 0
