"""Keys with limits on a real serving process, asked by OpenAI's own client."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import openai
import pytest
from openai.types import Completion

from serving.keys.key_file import add_key, revoke_key
from serving.keys.usage import KeyUsage
from tests.harness import PLAIN_HTTP, get, wait_until
from tests.integration.test_serving import Server, make_store

pytestmark = pytest.mark.slow

LIMITS: dict[str, dict[str, int | None]] = {
    "flood": {},
    "guest": {},
    "slow": {"requests_per_minute": 1},
    "poor": {"tokens_per_day": 5},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store, the file of keys and what they have taken are."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def secrets(root: Path) -> dict[str, str]:
    """Each key by its name; the file has their hashes."""
    return {name: add_key(root / "keys", name, limits).secret for name, limits in LIMITS.items()}


@pytest.fixture(scope="module")
def server(root: Path, secrets: dict[str, str]) -> Iterator[Server]:
    """One answer at a time, so that whose turn it is shows."""
    store = make_store(root, count=1)
    with Server(store.root, api_key_file=str(root / "keys"), max_batch=1, max_queue=30) as running:
        yield running


def client_of(server: Server, secret: str) -> openai.OpenAI:
    """OpenAI's own client with a key, which tries nothing again by itself."""
    http = openai.DefaultHttpxClient(verify=PLAIN_HTTP, trust_env=False)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0, http_client=http)


def complete(server: Server, secret: str, tokens: int = 2) -> Completion:
    """An answer that is asked for once."""
    with client_of(server, secret) as client:
        return client.completions.create(model="riverkeep", prompt="the state", max_tokens=tokens, temperature=0)


def shown(server: Server) -> set[str]:
    """The names of keys that the metrics show."""
    lines = get(f"{server.url}/metrics").text.splitlines()
    return {line.split('key="')[1].split('"')[0] for line in lines if 'key="' in line}


def test_beyond_a_limit_the_client_is_told_when_to_come_back(server: Server, secrets: dict[str, str]) -> None:
    """OpenAI's own exception, with a time; others are answered."""
    complete(server, secrets["slow"])
    with pytest.raises(openai.RateLimitError, match="the key slow has reached its limit") as caught:
        complete(server, secrets["slow"])
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"
    complete(server, secrets["guest"])


def test_a_flood_of_one_key_does_not_starve_another(server: Server, secrets: dict[str, str]) -> None:
    """Who comes last has the next turn; the flood gets no more than its part of the queue, and all of that."""
    ended: list[str] = []

    def flood() -> None:
        try:
            complete(server, secrets["flood"], tokens=12)
        except openai.RateLimitError as error:
            ended.append(str(error.code))
        else:
            ended.append("answered")

    threads = [threading.Thread(target=flood) for _ in range(20)]
    for thread in threads:
        thread.start()
    # One is being answered and half of the queue is taken; what was beyond has been refused.
    wait_until(lambda: len(ended) >= 4, what="the refusals")
    answered = ended.count("answered")
    complete(server, secrets["guest"])
    assert ended.count("answered") - answered <= 3
    for thread in threads:
        thread.join()
    assert ended.count("answered") >= 16
    assert set(ended) == {"answered", "rate_limit_exceeded"}


def test_a_key_is_revoked_while_it_is_answered(server: Server, root: Path, secrets: dict[str, str]) -> None:
    """What began ends whole, the next request is a stranger's, and its series are gone."""
    with client_of(server, secrets["flood"]) as client:
        stream = client.completions.create(model="riverkeep", prompt="the state", max_tokens=300, stream=True)
        next(stream)
        revoke_key(root / "keys", "flood")
        wait_until(lambda: "flood" not in shown(server), what="the end of its series")
        with pytest.raises(openai.AuthenticationError):
            complete(server, secrets["flood"])
        assert [piece.choices[0].finish_reason for piece in stream][-1] in ("length", "stop")
    assert shown(server) == {"guest", "slow", "poor"}
    complete(server, secrets["guest"])


def test_a_days_quota_survives_the_process(server: Server, root: Path, secrets: dict[str, str]) -> None:
    """Killed with SIGKILL, it refuses a used-up quota when it comes back, and answers others."""
    complete(server, secrets["poor"], tokens=5)
    kept = KeyUsage(root / "key-usage.json")
    wait_until(lambda: kept.read(datetime.now(UTC).date()).get("poor"), what="what was counted")
    server.process.kill()
    with Server(root / "checkpoints", api_key_file=str(root / "keys")) as again:
        with pytest.raises(openai.RateLimitError) as caught:
            complete(again, secrets["poor"])
        assert caught.value.code == "insufficient_quota"
        complete(again, secrets["guest"])
