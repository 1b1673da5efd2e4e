"""A generation that a round made is watched by a real daemon and a real serving process: promoted, or taken back."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from daemon.control.answers.serving import LatencyAnswer
from daemon.control.protocol import Control
from memory.ledger.records import GenerationState
from streams.document import Partition
from tests.daemon_harness import Home, batch_of, daemon, fake_learner, fill, make_home, sentences
from tests.harness import get, post, wait_until
from tests.models import make_causal

# It starts processes that import torch.
pytestmark = pytest.mark.slow

CANARY = """
[serving.canary]
enabled = true
share = 0.5
watch_seconds = 1
minimum_answers = 10
max_error_rise = 0.5
max_first_token_ratio = 1000
max_pace_ratio = 1000
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose generations are watched first, with text for a round. Nothing warms what is to be found out."""
    home = make_home(tmp_path, model=make_causal(tmp_path / "llama"), serving=True)
    text = home.config.read_text().replace("[serving]\n", "[serving]\nwarm_prompts = 0\n")
    home.config.write_text(text + CANARY)
    fill(home, before=120, fresh=120)
    return home


class Clients:
    """Those who ask all the while, each under a name of its own; what they got is counted."""

    def __init__(self, home: Home) -> None:
        self._url = f"http://127.0.0.1:{home.serving_port}/v1/completions"
        self.got: Counter[tuple[int, str]] = Counter()
        self._enough = threading.Event()

    def ask(self, user: str) -> tuple[int, str]:
        """Status and generation of an answer."""
        body = {"prompt": "the river", "max_tokens": 2, "user": user}
        answer = post(self._url, json=body, timeout=60)
        return answer.status_code, answer.headers.get("x-riverkeep-generation", "")

    def _ask_on(self, name: int) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            self.got[self.ask(f"client {name}, user {number}")] += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While two of them ask again and again."""
        self._enough.clear()
        threads = [threading.Thread(target=self._ask_on, args=(name,)) for name in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._enough.set()
            for thread in threads:
                thread.join()


def answering(home: Home, number: int | None) -> bool:
    """Whether serving has brought a watched generation in (None: watches none any more)."""
    try:
        facts = get(f"http://127.0.0.1:{home.serving_port}/v1/riverkeep/canary").json()
    except httpx.TransportError:
        return False  # it starts
    return bool(facts["loaded"] == number)


def read_by_both(home: Home) -> int:
    """How many documents both generations have read in the watch, as the ledger has it."""
    with home.store() as store:
        canary = store.canaries.watched()
        return 0 if canary is None else int(canary.watch.get("documents", 0))


def came_of(control: Control, number: int) -> str:
    """What came of the watch over a round's generation."""
    canary = control.round(number)["canary"]
    return "" if canary is None else canary["outcome"]


def _counted(latency: LatencyAnswer) -> int:
    return sum(slot["measured"] for slot in latency["slots"])


def test_a_canary_is_promoted_and_one_that_fails_goes_back_while_clients_are_answered(home: Home) -> None:
    """Through a kill of the daemon in the watch; every request is answered, by the one generation or the other."""
    clients = Clients(home)
    with daemon(home, learner=fake_learner("hollow_2")) as started:
        with started.control as control:
            control.request_round()
        started.until(lambda control: control.status()["canary"], what="a watch")
        wait_until(lambda: answering(home, 1), timeout_s=60, what="serving with both")
        with started.control as control:
            assert control.status()["serving"]["generation"] == 0
        started.until(lambda control: control.status()["next_round"].startswith("generation 1 is watched"))
        started.kill()
    with daemon(home, learner=fake_learner("hollow_2")) as started:
        wait_until(lambda: answering(home, 1), timeout_s=60, what="serving with both again")
        with home.store() as store:
            # So few keys that nothing is proven by them, whatever the two make of their text.
            store.append(batch_of(sentences(7, seed=8), Partition("file:meanwhile", 0)))
        wait_until(lambda: read_by_both(home) > 0, timeout_s=60, what="a text that both have read")
        with clients.asking():
            started.until(lambda control: came_of(control, 1) == "promoted", what="the promotion")
            wait_until(lambda: answering(home, None), what="serving after it")
        assert {status for status, _ in clients.got} == {200}
        assert {generation for _, generation in clients.got} == {"0", "1"}
        assert clients.ask("anybody") == (200, "1")
        asked = clients.got.total() + 1
        # Each request once, by whichever generation; what is told of it follows its answer by a moment.
        latency = started.until(lambda control: _counted(told := control.latency()) == asked and told, what="the times")
        assert all(slot["half_seconds"] for slot in latency["slots"] if slot["measured"])
        assert [(each["generation"], each["outcome"]) for each in latency["watched"]] == [(1, "promoted")]
        serves = [line for line in latency["swaps"] if line["what"] == "serves"][-1]
        assert (serves["generation"], serves["at"]) == (1, latency["watched"][0]["ended_at"])
        shown = home.riverkeep("round", "show", "1").stdout
        assert "promoted by its watch in traffic" in " ".join(shown.split())
        assert "loss of what arrives" in " ".join(shown.split())
        with home.store() as store:
            store.append(batch_of(sentences(120, seed=9), Partition("file:more", 0)))
        clients.got.clear()
        with clients.asking():
            with started.control as control:
                control.request_round()
            started.until(lambda control: came_of(control, 2) == "rolled_back", what="the way back")
            wait_until(lambda: answering(home, None), what="serving after it")
        # What the canary failed on the serving generation answered: nobody saw an error.
        assert {status for status, _ in clients.got} == {200}
        assert {generation for _, generation in clients.got} == {"1"}
        assert 'riverkeep_canaries_total{outcome="rolled_back"} 1.0' in started.metrics()
        with home.store() as store:
            assert store.generations.serving() == 1
            assert store.generations.read(2).state is GenerationState.ROLLED_BACK
        assert started.stop() == 0
