"""A trickle of completion requests against the serving process, counted answer by answer."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import httpx

PAUSE_S = 1.0
TIMEOUT_S = 30.0
GENERATION_HEADER = "x-riverkeep-generation"


@dataclass(slots=True)
class Visits:
    """What the visitors saw.

    Attributes:
        answered: answers by the generation that gave them.
        failed: requests that got an error or no answer.
        last_error: the latest failure, for a person.
    """

    answered: Counter[int] = field(default_factory=Counter)
    failed: int = 0
    last_error: str = ""

    @property
    def total(self) -> int:
        """All requests that ended, well or badly."""
        return sum(self.answered.values()) + self.failed


class Visitors:
    """Asks the same question over and over in a thread of its own; a context manager."""

    def __init__(self, serving_url: str, prompt: str) -> None:
        self.visits = Visits()
        self._client = httpx.Client(base_url=serving_url, timeout=TIMEOUT_S, trust_env=False)
        self._prompt = prompt
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visitors", daemon=True)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more; the request under way is awaited."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._visit()
            self._stop.wait(PAUSE_S)

    def _visit(self) -> None:
        try:
            answer = self._client.post("/v1/completions", json={"prompt": self._prompt, "max_tokens": 12})
            answer.raise_for_status()
            self.visits.answered[int(answer.headers[GENERATION_HEADER])] += 1
        except (httpx.HTTPError, KeyError, ValueError) as error:
            self.visits.failed += 1
            self.visits.last_error = f"{type(error).__name__}: {error}"


def complete(serving_url: str, prompt: str, *, max_tokens: int, seed: int) -> str:
    """One answer of the serving generation, without the prompt.

    Raises:
        httpx.HTTPError: the request failed.
    """
    body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0.7, "top_p": 0.9, "seed": seed}
    answer = httpx.post(f"{serving_url}/v1/completions", json=body, timeout=TIMEOUT_S, trust_env=False)
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["text"])


def await_answering(serving_url: str, timeout_s: float, lives: Callable[[], bool]) -> bool:
    """Whether the serving process was ready within `timeout_s` seconds, and while what starts it lives."""
    deadline = time.monotonic() + timeout_s
    with httpx.Client(base_url=serving_url, timeout=1.0, trust_env=False) as client:
        while time.monotonic() < deadline and lives():
            try:
                if client.get("/readyz").status_code == httpx.codes.OK:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    return False
