"""A whole Riverkeep: text in through Kafka, a round, a new generation that answers, and a clean end."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from daemon.admin.client import RemoteControl
from daemon.admin.token import token_path
from daemon.control.within_daemon import CANCELLED
from daemon.exit_codes import ExitCode
from daemon.lifecycle.shutdown import REPEAT_SECONDS
from memory.ledger.states import RoundState
from streams.document import Batch, Document, Partition
from tests.brokers import Broker, make_topic, running, send
from tests.daemon_harness import ROOT, Daemon, Home, daemon, fake_learner, fill, make_home, sentences
from tests.harness import get, post, wait_until
from tests.models import make_causal

MIB = 1024 * 1024
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return make_causal(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """The embedded broker."""
    with running("embedded") as started:
        yield started


def records(texts: list[str]) -> list[bytes]:
    """As a producer would send them."""
    return [json.dumps({"text": text, "key": f"person-{at}"}).encode() for at, text in enumerate(texts)]


def state_of(control: RemoteControl, number: int) -> str:
    """A round's state; empty while there is no such round."""
    return str(next((one["state"] for one in control.rounds() if one["number"] == number), ""))


def ended(control: RemoteControl, number: int) -> str:
    """A round's state once it has ended."""
    state = state_of(control, number)
    return "" if state in ("drawn", "training", "judged") else state


def test_text_becomes_a_generation_that_answers(tmp_path: Path, model: Path, broker: Broker) -> None:
    """Text in through Kafka, a real round of the real learner, and the serving process answers from the result."""
    topic = make_topic(broker)
    home = make_home(tmp_path, model=model, broker=broker, topic=topic, serving=True, import_base=True)
    fill(home, before=200, fresh=1)
    with daemon(home) as started:
        wait_until(lambda: _answers(home) == 0, timeout_s=90, what="generation 0 answering")
        send(broker, topic, *records(sentences(300, seed=5)))
        started.until(lambda control: control.status()["memory"]["fresh_samples"] > 150, what="text from Kafka")
        started.process.send_signal(signal.SIGUSR1)
        state = started.until(lambda control: ended(control, 1), timeout_s=180, what="the round's end")
        with started.control as control:
            round_ = control.round(1)
        assert state == "accepted", round_["detail"]
        assert round_["trigger"] == "by_hand"
        assert f"{topic}/0" in round_["offsets"]
        wait_until(lambda: _answers(home) == 1, timeout_s=60, what="generation 1 answering")
        answer = _complete(home)
        assert answer.headers["x-riverkeep-generation"] == "1"
        wait_until(lambda: "riverkeep_ledger_generation 1.0" in started.metrics(), what="the ledger in the metrics")
        assert _daemon_memory(started) < 150 * MIB
        assert not _has_torch(started)
        children = psutil.Process(started.process.pid).children(recursive=True)
        assert children != []
        assert started.stop() == 0
    assert [child for child in children if child.is_running()] == []


@pytest.fixture
def home(tmp_path: Path, model: Path) -> Home:
    """A daemon's home with text in its store; it reads no topics and starts no serving."""
    made = make_home(tmp_path, model=model)
    fill(made, before=120, fresh=120)
    return made


def test_a_stop_during_the_import_of_the_base_is_clean(tmp_path: Path, model: Path) -> None:
    """SIGTERM before the service is ready: exit status 0, and the next start imports."""
    home = make_home(tmp_path, model=model, import_base=True)
    with daemon(home) as started:
        wait_until(lambda: started.events("importing_base_model"))
        assert started.stop() == 0
    assert not (home.settings.checkpoints_dir / "serving.json").exists()


def test_a_model_that_cannot_be_the_base_is_refused_with_its_reason(tmp_path: Path, model: Path) -> None:
    """The daemon ends with a sentence, not with a traceback."""
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    home = make_home(tmp_path / "home", model=broken, import_base=True)
    with daemon(home) as started:
        assert started.process.wait(60) == ExitCode.FAILED
        assert f"The model at {broken} cannot be the base" in started.log.read_text()
        assert "checkpoints.errors" not in started.log.read_text()
        assert "Traceback" not in started.log.read_text()


def test_a_second_daemon_is_refused_and_told_who_holds_the_directory(home: Home) -> None:
    """Its exit status says that the directory is held, its message names process and address."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["running"])
        second = subprocess.run(
            [sys.executable, "-m", "daemon", "-c", str(home.config), "run"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == ExitCode.LOCKED
        assert f"process {started.process.pid}" in second.stderr
        assert started.stop() == 0


def test_a_reload_takes_over_triggers_and_names_what_needs_a_restart(home: Home) -> None:
    """After SIGHUP the new volume begins a round; the other port is said to wait for a restart."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: "waiting for" in control.status()["next_round"])
        home.write(fresh_samples=10, host='"::1"')
        started.process.send_signal(signal.SIGHUP)
        assert started.until(lambda control: ended(control, 1)) == "accepted"
        assert started.until(lambda control: control.round(1)["trigger"]) == "volume"
        (event,) = started.events("settings_reloaded")
        assert (event["changed"], event["need_restart"]) == (["triggers"], ["admin"])
        assert started.until(lambda control: control.status()["need_restart"]) == ["admin"]
        assert started.stop() == 0


def test_a_reload_changes_the_api_keys_too(tmp_path: Path, model: Path) -> None:
    """The serving process goes on with the new key of its file, and so does the daemon that asks it."""
    home = make_home(tmp_path, model=model, serving=True)
    home.config.write_text(home.config.read_text().replace("[serving]", '[serving]\napi_key_file = "keys"'))
    keys = home.path / "keys"
    keys.write_text("first\n")
    with daemon(home, learner=fake_learner("good")) as started:
        wait_until(lambda: _answers(home, "first") == 0, timeout_s=90, what="generation 0 answering")
        started.until(lambda control: control.status()["serving"]["ok"])
        children = psutil.Process(started.process.pid).children()
        keys.write_text("second\n")
        token_path(home.settings.admin, home.settings.state_dir).write_text("another-token\n")
        started.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _answers(home, "second") == 0, timeout_s=30, what="the second key's effect")
        assert _answers(home, "first") is None
        started.until(lambda control: control.status()["serving"]["answering"] == 0)
        with started.control as control:
            counted = control.serving()["counted"]
        # Asked of the process itself, by the socket that is the daemon's own.
        assert counted is not None
        assert [each["generation"] for each in counted["generations"]] == [0]
        assert "/v1/riverkeep/generation" in [each["route"] for each in counted["routes"]]
        assert psutil.Process(started.process.pid).children() == children
        assert started.stop() == 0


def test_settings_that_cannot_be_read_are_not_taken_over(home: Home) -> None:
    """A mistake in the file is logged with its key, and the service goes on as before."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["running"])
        with started.control as control:
            right = home.config.read_text()
            home.config.write_text(right.replace("[triggers]", "[triggers]\nfresh_smaples = 3"))
            started.process.send_signal(signal.SIGHUP)
            wait_until(lambda: started.events("settings_not_reloaded"))
            assert "fresh_samples" in started.events("settings_not_reloaded")[0]["reason"]
            refused = control.status()["settings_refused"]
            assert [one["key"] for one in refused["mistakes"]] == ["triggers.fresh_smaples"]
            home.config.write_text(right)
            started.process.send_signal(signal.SIGHUP)
            wait_until(lambda: control.status()["settings_refused"] is None)
        assert started.stop() == 0


def test_a_stop_abandons_a_round_that_cannot_finish(home: Home) -> None:
    """SIGTERM in a hanging round: the exit is clean and in time, the round abandoned, its text fresh."""
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        assert started.stop(timeout_s=25) == 0
    with home.store() as store:
        assert store.rounds.read(1).state is RoundState.ABANDONED
        assert store.counts().fresh_samples > 0


def test_a_round_is_called_off_by_a_person(home: Home) -> None:
    """A hanging learner is ended, the round is abandoned, its text stays fresh, and none begins again by itself."""
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        run = home.riverkeep("round", "cancel")
        assert (run.returncode, run.stdout[:24]) == (0, "Round 1 is called off. B")
        started.until(lambda control: control.status()["round"] is None)
        assert started.stop() == 0
    with home.store() as store:
        assert (store.rounds.read(1).state, store.rounds.read(1).detail) == (RoundState.ABANDONED, CANCELLED)
        assert store.counts().fresh_samples > 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_waiting_takes_the_request_back(home: Home, ending: signal.Signals) -> None:
    """A round that has not begun is not wanted any more; the one in progress goes on."""
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        with home.riverkeep_in_background("round", "begin", "--wait") as waiting:
            started.until(lambda control: "a person" in control.status()["next_round"])
            waiting.send_signal(ending)
            _, told = waiting.communicate(timeout=60)
        assert (waiting.returncode, "The request is taken back." in told) == (130, True), told
        started.until(lambda control: "a person" not in control.status()["next_round"])
        started.until(lambda control: control.status()["round"] is not None)


def test_a_stop_lets_a_round_finish_that_can(home: Home) -> None:
    """Within its grace time a round takes effect although the service ends."""
    home.write(round_grace_seconds=15)
    with daemon(home, learner=fake_learner("slow")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("step", 0) > 2)
        assert started.stop(timeout_s=25) == 0
    with home.store() as store:
        assert store.rounds.read(1).state is RoundState.ACCEPTED


def test_a_stop_answers_requests_while_the_round_has_its_time(tmp_path: Path, model: Path) -> None:
    """Load balancers are told at once to look elsewhere; who asks all the same is answered until the round is over."""
    home = make_home(tmp_path, model=model, serving=True)
    fill(home)
    home.write(round_grace_seconds=8)
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.readiness()["ready"])
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        started.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _readyz(home).json()["ending"])
        assert (_readyz(home).status_code, _complete(home).status_code) == (503, 200)
        started.until(lambda control: control.status()["round"] is not None)
        assert started.process.wait(25) == 0
        names = [line.get("event") for line in started.lines()]
        assert names.index("round_ended") < names.index("serving_ended") < names.index("service_stopped")


def test_a_second_signal_ends_at_once(home: Home) -> None:
    """Who asks twice does not wait for the round's grace time."""
    home.write(round_grace_seconds=600, grace_seconds=600)
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        started.process.send_signal(signal.SIGTERM)
        wait_until(lambda: started.events("service_stopping"))
        deadline = time.monotonic() + REPEAT_SECONDS
        wait_until(lambda: time.monotonic() > deadline)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(25) == 0
        (event,) = started.events("service_hurries")
        assert event["reason"] == "a second signal: not waiting any longer"
        assert all(left["detail"] == event["reason"] for left in started.events("part_left_running"))


def test_every_line_of_the_log_carries_what_it_is_about(home: Home) -> None:
    """From the first on the generation that serves, also after a round and a rollback; in a round, the round."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.request_round())
        assert started.until(lambda control: ended(control, 1)) == "accepted"
        with started.control as control:
            assert control.rollback() == {"from": 1, "to": 0}
        assert started.stop() == 0
        lines = started.lines()
    names = [line["event"] for line in lines]
    ready, begun, over = (names.index(name) for name in ("service_ready", "round_begun", "round_ended"))
    assert all(isinstance(line["generation"], int) for line in lines[ready:])
    of_round = [line for line in lines if line.get("round") == 1]
    assert [line["event"] for line in of_round] == names[begun : over + 1]
    assert "round_judged" in names[begun:over]
    told = {line["event"]: (line["generation"], line["parent"]) for line in of_round}
    assert (told["round_begun"], told["round_judged"], told["round_ended"]) == ((0, 0), (0, 0), (1, 0))
    assert [line["generation"] for line in lines if line["event"] in ("service_ready", "service_stopping")] == [0, 0]


def test_figures_are_absent_until_known_outlive_a_restart_and_follow_a_rollback(home: Home) -> None:
    """Alarms look at them: a zero or a stale value would ring for nothing, or never."""
    measures = ("riverkeep_plasticity_nats ", "riverkeep_forgetting_nats ", "riverkeep_prequential_loss_nats ")
    ended_at = 'riverkeep_last_round_ended_timestamp_seconds{outcome="accepted"} '
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["running"])
        fresh = started.metrics()
        started.until(lambda control: control.request_round())
        assert started.until(lambda control: ended(control, 1)) == "accepted"
        assert started.stop() == 0
    assert not [name for name in (*measures, ended_at) if f"\n{name}" in fresh]
    assert "\nriverkeep_last_accepted_timestamp_seconds " in fresh
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.status()["running"])
        again = started.metrics()
        with started.control as control:
            control.rollback()
        gone_back = started.metrics()
        assert started.stop() == 0
    assert [name for name in (*measures, ended_at) if f"\n{name}" in again] == [*measures, ended_at]
    assert [name for name in measures if f"\n{name}" in gone_back] == ["riverkeep_prequential_loss_nats "]


def test_paused_rounds_wait_across_a_restart(home: Home) -> None:
    """However much is fresh, until a person's word; the status and a metric say so."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.pause_rounds("the GPU is lent out"))
        assert started.stop() == 0
    home.write(fresh_samples=10)
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: "paused (the GPU is lent out)" in control.status()["next_round"])
        assert "\nriverkeep_rounds_paused 1.0" in started.metrics()
        with started.control as control:
            assert control.rounds() == []
            assert control.resume_rounds() == {"resumed": True}
        assert started.until(lambda control: ended(control, 1)) == "accepted"
        assert started.until(lambda control: control.round(1)["trigger"]) == "volume"
        assert "\nriverkeep_rounds_paused 0.0" in started.metrics()
        assert started.stop() == 0


def test_a_rollback_calls_off_the_round_that_started_from_it(home: Home) -> None:
    """What began from what serves no longer is not promoted, whether a person went back or forward again."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.request_round())
        assert started.until(lambda control: ended(control, 1)) == "accepted"
        assert started.stop() == 0
    fill(home, before=0, seed=7, fresh=120)
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        with started.control as control:
            assert control.rollback() == {"from": 1, "to": 0}
        assert started.until(lambda control: ended(control, 2)) == "abandoned"
        assert started.until(lambda control: control.status()["serving"]["generation"] == 0)
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        with started.control as control:
            assert control.rollback(1) == {"from": 0, "to": 1}
        assert started.until(lambda control: ended(control, 3)) == "abandoned"
        with started.control as control:
            why = "generation 1 serves now, by a person's word, and no longer generation 0, which it started from"
            assert control.round(3)["detail"] == why
        assert started.stop() == 0


def test_forgetting_reaches_a_round_in_progress(home: Home) -> None:
    """A round that was given a person's text is called off, and its directory goes."""
    with home.store() as store:
        person = [
            Document(text, "river", "person-1", None, None, 0.0, Partition("file:p", 0), at)
            for at, text in enumerate(sentences(8, seed=99))
        ]
        store.append(Batch(tuple(person), (), (), {Partition("file:p", 0): 8}))
    with daemon(home, learner=fake_learner("hang")) as started:
        started.until(lambda control: control.request_round())
        started.until(lambda control: (control.status()["round"] or {}).get("phase") == "train")
        with started.control as control:
            forgotten = control.forget("person-1")
        assert forgotten["samples"] == 8
        assert forgotten["rounds"] == [1]
        assert started.until(lambda control: ended(control, 1)) == "abandoned"
        assert not (home.settings.rounds_dir / "000001").exists()
        assert started.stop() == 0


def test_a_round_that_waits_is_learned_on_a_persons_word(home: Home) -> None:
    """Implausible text waits; the approval outlives a restart with another learner."""
    with daemon(home, learner=fake_learner("implausible")) as started:
        started.until(lambda control: control.request_round())
        assert started.until(lambda control: ended(control, 1)) == "waiting"
        assert started.stop() == 0
    with home.store() as store:
        store.rounds.release(1)
    with daemon(home, learner=fake_learner("good")) as started:
        assert started.until(lambda control: ended(control, 2)) == "accepted"
        with started.control as control:
            assert control.round(2)["released_from"] == 1
        assert started.stop() == 0


def test_an_approval_is_carried_out_by_the_running_daemon(home: Home) -> None:
    """The round that answers it names the round that waited."""
    with daemon(home, learner=fake_learner("implausible")) as started:
        started.until(lambda control: control.request_round())
        assert started.until(lambda control: ended(control, 1)) == "waiting"
        with started.control as control:
            assert control.status()["waiting"] == [1]
            assert control.approve_round(1)["after"] == 1
        started.until(lambda control: ended(control, 2))
        with started.control as control:
            assert control.round(2)["released_from"] == 1
        assert started.stop() == 0


def test_readiness_follows_the_parts(home: Home) -> None:
    """Probes need no token; the service is ready once its parts run, and healthy all along."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.readiness()["ready"])
        with started.control as control:
            assert control.health()["healthy"]
        assert 'riverkeep_part_state{part="rounds",state="running"} 1.0' in started.metrics()
        assert started.stop() == 0


def test_text_on_disk_is_its_owners_alone(home: Home) -> None:
    """The store and the rounds' directories, whatever the umask."""
    with daemon(home, learner=fake_learner("good")) as started:
        started.until(lambda _: home.settings.rounds_dir.is_dir())
        for path in (home.settings.database, home.settings.rounds_dir):
            assert path.stat().st_mode & 0o077 == 0, path
        assert started.stop() == 0


def _answers(home: Home, key: str = "none is needed") -> int | None:
    try:
        url = f"http://127.0.0.1:{home.serving_port}/v1/riverkeep/generation"
        answer: dict[str, int | None] = get(url, timeout=5, headers={"authorization": f"Bearer {key}"}).json()
    except (httpx.HTTPError, ValueError):
        return None
    return answer.get("generation")


def _readyz(home: Home) -> httpx.Response:
    return get(f"http://127.0.0.1:{home.serving_port}/readyz", timeout=5)


def _complete(home: Home) -> httpx.Response:
    url = f"http://127.0.0.1:{home.serving_port}/v1/completions"
    body = {"model": "riverkeep", "prompt": "the river", "max_tokens": 4}
    return post(url, json=body, timeout=60)


def _daemon_memory(started: Daemon) -> int:
    return int(psutil.Process(started.process.pid).memory_info().rss)


def _has_torch(started: Daemon) -> bool:
    maps = Path(f"/proc/{started.process.pid}/maps").read_text()
    return "libtorch" in maps
